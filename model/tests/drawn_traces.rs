//! Traces of drawn texts: the probabilities of acceptance are exact, for both draftings. Against an
//! enumeration of everything that speculative sampling can do on a tiny vocabulary, and against the
//! iterations that generations took.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{grouped, random, rows, tiny, window};
use s3d_data::{DraftPlan, Drafting, Plan, Predictors, Skip, load_prompts};
use s3d_model::{
    Generation, Limits, LoadOptions, Model, ModelConfig, Sampling, Silent, TextTrace,
    trace_drawn_text, trace_text,
};
use std::collections::HashMap;
use std::path::Path;

const VOCAB: usize = 5;
const PROMPT: [u32; 2] = [3, 1];
/// Tokens of an enumerated text.
const LENGTH: usize = 4;
const DRAFTS: usize = 2;
/// Skipping one of two layers.
const SKIPPED: [usize; 2] = [0, 1];

/// How tokens are drawn.
#[derive(Clone, Copy)]
struct Rule {
    temperature: f64,
    top_p: f64,
}

impl Rule {
    fn sampling(&self) -> Sampling {
        Sampling::new(self.temperature, 7).unwrap().top_p(self.top_p).unwrap()
    }

    /// The distribution of a row of logits over the `tokens` it is of, as the definitions read.
    fn naive(&self, logits: &[f32], tokens: &[u32]) -> Vec<f64> {
        let power = |logit: f32| (f64::from(logit) / self.temperature).exp();
        let all: f64 = logits.iter().map(|&logit| power(logit)).sum();
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        let (mut found, mut mass) = (vec![0.0; VOCAB], 0.0);
        for column in order {
            if mass < self.top_p {
                found[tokens[column] as usize] = power(logits[column]) / all;
                mass += power(logits[column]) / all;
            }
        }
        found.iter().map(|weight| weight / mass).collect()
    }
}

/// Everything that speculative sampling can do, by its definition (arXiv 2211.17192, algorithm 1).
struct Process<'m> {
    model: &'m Model,
    rule: Rule,
    drafting: Drafting,
    /// Iterations to expect, by the output committed.
    known: HashMap<Vec<u32>, f64>,
}

impl Process<'_> {
    /// What the full model draws after `output` from.
    fn target(&self, output: &[u32]) -> Vec<f64> {
        let fed = [&PROMPT[..], output].concat();
        let mut cache = self.model.new_cache(fed.len()).unwrap();
        let logits = self.model.full_pass(&fed, &mut cache, &mut Silent).unwrap();
        let all: Vec<u32> = (0..VOCAB as u32).collect();
        self.rule.naive(rows(&logits).last().unwrap(), &all)
    }

    /// What the second draft after `output` is drawn from when the first was `first`; without it,
    /// what the first is drawn from.
    fn proposal(&self, output: &[u32], first: Option<u32>) -> Vec<f64> {
        let fed = [&PROMPT[..], output].concat();
        let (last, before) = fed.split_last().unwrap();
        let mut cache = self.model.new_cache(fed.len() + 4).unwrap();
        self.model.full_pass(before, &mut cache, &mut Silent).unwrap();
        let skip = window(SKIPPED[0], SKIPPED[1]);
        let mut pass = |token: u32, masks: usize| {
            let (cache, silent) = (&mut cache, &mut Silent);
            rows(&self.model.draft_pass(self.drafting, token, masks, &skip, cache, silent).unwrap())
        };
        let logits = match (self.drafting, first) {
            (Drafting::Simultaneous, _) => pass(*last, 1),
            (Drafting::Sequential, None) => pass(*last, 0),
            (Drafting::Sequential, Some(first)) => [pass(*last, 0), pass(first, 0)].concat(),
        };
        let all: Vec<u32> = (0..VOCAB as u32).collect();
        let tokens = self.model.draft_tokens().unwrap_or(&all);
        self.rule.naive(&logits[usize::from(first.is_some())], tokens)
    }

    /// Iterations to expect from `output` on until the text is complete.
    fn iterations(&mut self, output: &[u32]) -> f64 {
        if output.len() >= LENGTH {
            return 0.0;
        }
        if let Some(&known) = self.known.get(output) {
            return known;
        }
        let found = 1.0 + self.after(output, output, None);
        self.known.insert(output.to_vec(), found);
        found
    }

    /// Iterations to expect after the one that began at `start`, once `output` is accepted of it.
    fn after(&mut self, start: &[u32], output: &[u32], first: Option<u32>) -> f64 {
        if output.len() >= LENGTH {
            return 0.0;
        }
        let p = self.target(output);
        let on = |token: usize| [output, &[token as u32]].concat();
        if output.len() == start.len() + DRAFTS {
            return (0..VOCAB).map(|x| p[x] * self.iterations(&on(x))).sum();
        }
        let q = self.proposal(start, first);
        let mut found = 0.0;
        for draft in (0..VOCAB).filter(|&draft| q[draft] > 0.0) {
            let accept = (p[draft] / q[draft]).min(1.0);
            found += q[draft] * accept * self.after(start, &on(draft), Some(draft as u32));
            let positive: Vec<f64> = p.iter().zip(&q).map(|(p, q)| (p - q).max(0.0)).collect();
            let total: f64 = positive.iter().sum();
            for x in (0..VOCAB).filter(|&x| accept < 1.0 && positive[x] > 0.0) {
                let chance = q[draft] * (1.0 - accept) * positive[x] / total;
                found += chance * self.iterations(&on(x));
            }
        }
        found
    }
}

/// Iterations to expect from `committed` output tokens on, by probabilities of acceptance.
fn replayed(accept: &[Vec<f32>], committed: usize, drafts: usize) -> f64 {
    if committed >= accept.len() {
        return 0.0;
    }
    let (mut found, mut reached) = (1.0, 1.0);
    for draft in 0..drafts {
        let p = accept[committed - 1].get(draft).map_or(0.0, |&p| f64::from(p));
        found += reached * (1.0 - p) * replayed(accept, committed + draft + 1, drafts);
        reached *= p;
    }
    found + reached * replayed(accept, committed + drafts + 1, drafts)
}

/// All texts of [`LENGTH`] tokens with their probabilities.
fn texts(process: &Process) -> Vec<(Vec<u32>, f64)> {
    let mut texts = vec![(Vec::new(), 1.0)];
    for _ in 0..LENGTH {
        let longer = texts.iter().flat_map(|(text, probability)| {
            let next = process.target(text).into_iter().enumerate();
            next.map(move |(token, p)| ([&text[..], &[token as u32]].concat(), probability * p))
        });
        texts = longer.filter(|(_, probability)| *probability > 0.0).collect();
    }
    texts
}

fn trace(model: &Model, output: &[u32], rule: Rule, drafting: Drafting) -> TextTrace {
    let skips = [window(SKIPPED[0], SKIPPED[1])];
    let text = [&PROMPT[..], output];
    trace_drawn_text(model, text, rule.sampling(), drafting, &skips, DRAFTS, false)
        .unwrap()
        .remove(0)
}

#[test]
fn expected_iterations_are_those_of_everything_that_can_happen() {
    let all = Rule { temperature: 0.3, top_p: 1.0 };
    let cut = Rule { temperature: 0.5, top_p: 0.8 };
    for (model, rule) in
        [(tiny(VOCAB, None), all), (tiny(VOCAB, None), cut), (tiny(VOCAB, Some(4)), all)]
    {
        for drafting in Drafting::ALL {
            let mut process = Process { model: &model, rule, drafting, known: HashMap::new() };
            let first = process.target(&[]);
            let exact: f64 =
                (0..VOCAB as u32).map(|x| first[x as usize] * process.iterations(&[x])).sum();
            let (mut found, mut without_the_token) = (0.0, 0.0);
            for (text, probability) in texts(&process) {
                let accept = trace(&model, &text, rule, drafting).accept_probability.unwrap();
                found += probability * replayed(&accept, 1, DRAFTS);
                // The probability before the text's token is known, the sum of min(p, q): right for
                // one draft, and no basis of a replay.
                let overlap = |start: usize, draft: usize| {
                    let first = (draft == 1).then(|| text[start]);
                    let q = process.proposal(&text[..start], first);
                    let p = process.target(&text[..start + draft]);
                    p.iter().zip(&q).map(|(p, q)| p.min(*q)).sum::<f64>() as f32
                };
                let of = |start: usize| {
                    (0..DRAFTS.min(LENGTH - start)).map(|draft| overlap(start, draft)).collect()
                };
                let overlaps: Vec<Vec<f32>> = (1..=LENGTH).map(of).collect();
                without_the_token += probability * replayed(&overlaps, 1, DRAFTS);
            }
            let (least, most) = (1.2, LENGTH as f64 - 1.2);
            assert!((least..most).contains(&exact), "drafts must matter: {exact}");
            assert!((found - exact).abs() < 1e-6, "{drafting}: {found}, exact {exact}");
            assert!((without_the_token - exact).abs() > 1e-4, "{drafting}: {without_the_token}");
        }
    }
}

#[test]
fn without_temperature_a_drawn_trace_is_the_greedy_one() {
    let model = random(&grouped(), 1);
    let prompt = [1, 2, 3];
    let limits = Limits::tokens(40);
    let mut silent = Silent;
    let generation = Generation::new(&model, &prompt, &Plan::Plain, limits, &mut silent).unwrap();
    let output = generation.finish().unwrap();
    let skips = [window(1, 3), window(2, 2)];
    for drafting in Drafting::ALL {
        let greedy = trace_text(&model, &prompt, &output, drafting, &skips, 4, true).unwrap();
        for temperature in [0.0, 1e-7] {
            let sampling = Sampling::new(temperature, 1).unwrap();
            let text = [&prompt[..], &output];
            let drawn =
                trace_drawn_text(&model, text, sampling, drafting, &skips, 4, true).unwrap();
            for (drawn, greedy) in drawn.iter().zip(&greedy) {
                assert_eq!(drawn.accepted, greedy.accepted);
                assert_eq!(drawn.confidence, greedy.confidence);
                let accept = drawn.accept_probability.as_ref().unwrap();
                assert!(accept.iter().flatten().all(|p| *p == 0.0 || *p == 1.0));
                let right = |row: &Vec<f32>| row.iter().take_while(|p| **p == 1.0).count() as u32;
                assert_eq!(accept.iter().map(right).collect::<Vec<_>>(), greedy.accepted);
            }
        }
    }
}

/// Iterations of generations under `plan`, less those that their texts let expect: mean, standard
/// error, and how many iterations there were.
fn differences(
    model: &Model,
    prompts: &[Vec<u32>],
    plan: &DraftPlan,
    temperature: f64,
    tokens: usize,
) -> (f64, f64, usize) {
    let drafts = plan.predictors.get();
    let (mut found, mut iterations) = (Vec::new(), 0);
    for (seed, prompt) in prompts.iter().enumerate() {
        let sampling = Sampling::new(temperature, 100 + seed as u64).unwrap();
        let limits = Limits { stop_at_end: false, ..Limits::tokens(tokens) };
        let (whole, mut silent) = (Plan::Speculate(plan.clone()), Silent);
        let generation = Generation::new(model, prompt, &whole, limits, &mut silent).unwrap();
        let steps: Vec<_> = generation.sampling(sampling).map(Result::unwrap).collect();
        let text: Vec<u32> = steps.iter().flat_map(|step| step.tokens.clone()).collect();
        let skips = [plan.skip.clone()];
        let text = [&prompt[..], &text];
        let traces =
            trace_drawn_text(model, text, sampling, plan.drafting, &skips, drafts, false).unwrap();
        let accept = traces[0].accept_probability.as_ref().unwrap();
        found.push((steps.len() - 1) as f64 - forward(accept, drafts));
        iterations += steps.len() - 1;
    }
    let count = found.len() as f64;
    let mean = found.iter().sum::<f64>() / count;
    let squares: f64 = found.iter().map(|one| (one - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt(), iterations)
}

/// [`replayed`] from the start of a long text, each position once.
fn forward(accept: &[Vec<f32>], drafts: usize) -> f64 {
    let mut visits = vec![0.0; accept.len() + drafts + 2];
    visits[1] = 1.0;
    for committed in 1..accept.len() {
        let mut here = visits[committed];
        for draft in 0..drafts {
            let p = accept[committed - 1].get(draft).map_or(0.0, |&p| f64::from(p));
            visits[committed + draft + 1] += here * (1.0 - p);
            here *= p;
        }
        visits[committed + drafts + 1] += here;
    }
    visits[1..accept.len()].iter().sum()
}

fn check(model: &Model, prompts: &[Vec<u32>], skip: &Skip, tokens: usize) {
    for temperature in [0.5, 0.8, 1.0] {
        for drafting in Drafting::ALL {
            let predictors = Predictors::new(3).unwrap();
            let plan = DraftPlan { drafting, skip: skip.clone(), predictors };
            let (mean, error, iterations) = differences(model, prompts, &plan, temperature, tokens);
            assert!(iterations >= 2000, "{iterations} iterations");
            assert!(mean.abs() < 2.0 * error, "{plan} at {temperature}: {mean} +- {error}");
        }
    }
}

#[test]
fn two_thousand_iterations_are_as_many_as_expected() {
    let config = ModelConfig { eos_token_id: None, ..grouped() };
    let model = random(&config, 2);
    let prompts: Vec<Vec<u32>> = (0..60).map(|i| vec![i % 11, i / 11, (3 * i + 1) % 11]).collect();
    check(&model, &prompts, &window(1, 4), 120);
}

#[test]
#[ignore = "minutes: the shipped model, six times two thousand iterations"]
fn the_shipped_model_takes_as_many_iterations_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models/story");
    let model = Model::load(&folder, &LoadOptions::default()).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let texts = load_prompts(&folder.join("prompts.jsonl"), Some(70)).unwrap();
    let prompts: Vec<Vec<u32>> =
        texts.iter().map(|prompt| tokenizer.encode(&prompt.text).unwrap()).collect();
    check(&model, &prompts, &window(3, 9), 128);
}
