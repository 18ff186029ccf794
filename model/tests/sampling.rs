//! Sampled texts of a tiny model: every plan draws from the distribution that the full model's own logits give.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::chi_square::{p_value, total_variation};
use common::{grouped, options, random, window};
use s3d_data::{DraftPlan, Drafting, Plan, Predictors};
use s3d_model::config::S3dConfig;
use s3d_model::sample::Sampling;
use s3d_model::{DraftThreshold, Generation, Limits, Model, ModelConfig, Silent, Step};
use std::thread;

const VOCAB: usize = 8;
const PROMPT: [u32; 2] = [3, 5];
/// Tokens of a text.
const LENGTH: usize = 3;
const DRAWS: u64 = 50_000;

fn tiny() -> Model {
    let config = ModelConfig {
        hidden_size: 8,
        intermediate_size: 8,
        num_hidden_layers: 2,
        num_attention_heads: 1,
        num_key_value_heads: None,
        head_dim: None,
        vocab_size: VOCAB,
        max_position_embeddings: 16,
        eos_token_id: None,
        s3d: Some(S3dConfig { masks: 1, ..S3dConfig::default() }),
        ..grouped()
    };
    Model::random(&config, 3, &options(1, 1)).unwrap()
}

/// The first layer skipped, two drafts.
fn plan(drafting: Drafting) -> Plan {
    let predictors = Predictors::new(2).unwrap();
    Plan::Speculate(DraftPlan { drafting, skip: window(0, 1), predictors })
}

/// How tokens are drawn, and the same in numbers for the naive transformation.
#[derive(Clone, Copy)]
struct Rule {
    temperature: f64,
    top_k: usize,
    top_p: f64,
    threshold: f64,
}

/// All tokens, sharpened; and cut from both sides, with drafts ended early.
const RULES: [Rule; 2] = [
    Rule { temperature: 0.25, top_k: VOCAB, top_p: 1.0, threshold: 0.0 },
    Rule { temperature: 0.5, top_k: 6, top_p: 0.9, threshold: 0.16 },
];

impl Rule {
    fn sampling(&self, seed: u64) -> Sampling {
        let all = Sampling::new(self.temperature, seed).unwrap();
        all.top_k(self.top_k).unwrap().top_p(self.top_p).unwrap()
    }

    /// The distribution of a row of logits, as the definitions read.
    fn naive(&self, logits: &[f32]) -> Vec<f64> {
        let powers: Vec<f64> =
            logits.iter().map(|&l| (f64::from(l) / self.temperature).exp()).collect();
        let mut order: Vec<usize> = (0..VOCAB).collect();
        order.sort_by(|&a, &b| powers[b].total_cmp(&powers[a]));
        order.truncate(self.top_k);
        let total: f64 = order.iter().map(|&token| powers[token]).sum();
        let mut kept = Vec::new();
        while kept.iter().map(|&token: &usize| powers[token] / total).sum::<f64>() < self.top_p
            && kept.len() < order.len()
        {
            kept.push(order[kept.len()]);
        }
        let total: f64 = kept.iter().map(|&token| powers[token]).sum();
        let share = |token| if kept.contains(&token) { powers[token] / total } else { 0.0 };
        (0..VOCAB).map(share).collect()
    }

    /// The probability of every text, by its place: full passes over all beginnings.
    fn exact(&self, model: &Model) -> Vec<f64> {
        let mut texts = vec![(Vec::new(), 1.0)];
        for _ in 0..LENGTH {
            let longer = texts.iter().flat_map(|(text, probability)| {
                let fed = [&PROMPT[..], text].concat();
                let mut cache = model.new_cache(fed.len()).unwrap();
                let logits = model.full_pass(&fed, &mut cache, &mut Silent).unwrap();
                let next = self.naive(common::rows(&logits).last().unwrap());
                next.into_iter()
                    .enumerate()
                    .map(move |(token, p)| ([&text[..], &[token as u32]].concat(), probability * p))
            });
            texts = longer.collect();
        }
        texts.into_iter().map(|(_, probability)| probability).collect()
    }
}

fn steps(model: &Model, plan: &Plan, rule: &Rule, seed: u64) -> Vec<Step> {
    let mut silent = Silent;
    let limits = Limits::tokens(LENGTH);
    let generation = Generation::new(model, &PROMPT, plan, limits, &mut silent).unwrap();
    let threshold = DraftThreshold::new(rule.threshold).unwrap();
    let generation = generation.sampling(rule.sampling(seed)).ending_drafts(threshold);
    generation.map(Result::unwrap).collect()
}

/// Counts of texts by their place, drafts and accepted drafts, over the seeds from 0.
#[derive(Default)]
struct Counts {
    texts: Vec<u64>,
    drafted: usize,
    accepted: usize,
}

fn counts(model: &Model, plan: &Plan, rule: &Rule, draws: u64) -> Counts {
    let part = |seeds: std::ops::Range<u64>| {
        let mut counts = Counts { texts: vec![0; VOCAB.pow(LENGTH as u32)], ..Counts::default() };
        for seed in seeds {
            let steps = steps(model, plan, rule, seed);
            let tokens = steps.iter().flat_map(|step| &step.tokens);
            counts.texts[tokens.fold(0, |place, &token| place * VOCAB + token as usize)] += 1;
            counts.drafted += steps[1..].iter().map(|step| step.drafted).sum::<usize>();
            counts.accepted += steps[1..].iter().map(|step| step.accepted).sum::<usize>();
        }
        counts
    };
    let [mut one, other] = thread::scope(|scope| {
        let half = draws / 2;
        let other = scope.spawn(move || part(half..draws));
        [part(0..half), other.join().unwrap()]
    });
    one.texts.iter_mut().zip(other.texts).for_each(|(sum, count)| *sum += count);
    let (drafted, accepted) = (one.drafted + other.drafted, one.accepted + other.accepted);
    Counts { texts: one.texts, drafted, accepted }
}

/// Tokens 2 and 3, whatever token 1 is.
fn later<T: Copy + std::iter::Sum<T>>(texts: &[T]) -> Vec<T> {
    let pairs = VOCAB * VOCAB;
    (0..pairs).map(|pair| texts[pair..].iter().step_by(pairs).copied().sum()).collect()
}

fn check(drafting: Drafting) {
    let model = tiny();
    for rule in &RULES {
        let exact = rule.exact(&model);
        assert!((exact.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let found = counts(&model, &plan(drafting), rule, DRAWS);
        let p = p_value(&found.texts, &exact);
        assert!(p > 0.001, "{drafting}, temperature {}: p = {p}", rule.temperature);
        let accepted = found.accepted as f64 / found.drafted as f64;
        assert!((0.1..0.9).contains(&accepted), "drafts must matter: {accepted}");
        if rule.threshold == 0.0 {
            let few = counts(&model, &plan(drafting), rule, DRAWS / 16);
            let [near, far] =
                [&found, &few].map(|c| total_variation(&later(&c.texts), &later(&exact)));
            assert!((far / near / 4.0 - 1.0).abs() < 0.3, "{drafting}: {far} / {near}");
        } else {
            let all = 2 * (DRAWS as usize);
            assert!(found.drafted * 10 < all * 9, "some drafts end early: {} {all}", found.drafted);
        }
    }
}

#[test]
fn drafting_at_once_keeps_the_distribution() {
    check(Drafting::Simultaneous);
}

#[test]
fn drafting_in_turn_keeps_the_distribution() {
    check(Drafting::Sequential);
}

#[test]
fn plain_decoding_draws_from_the_same_distribution() {
    let model = tiny();
    let p = p_value(&counts(&model, &Plan::Plain, &RULES[1], DRAWS).texts, &RULES[1].exact(&model));
    assert!(p > 0.001, "p = {p}");
}

/// 40 tokens of a larger model.
fn decode(model: &Model, plan: &Plan, sampling: Option<Sampling>) -> Vec<Step> {
    let mut silent = Silent;
    let limits = Limits::tokens(40);
    let generation = Generation::new(model, &PROMPT, plan, limits, &mut silent).unwrap();
    match sampling {
        Some(sampling) => generation.sampling(sampling).map(Result::unwrap).collect(),
        None => generation.map(Result::unwrap).collect(),
    }
}

fn plans() -> [Plan; 4] {
    ["plain", "1..4:3", "seq:1..4:3", "seq:0..4:5"].map(|plan| plan.parse().unwrap())
}

#[test]
fn no_temperature_and_a_single_token_are_greedy() {
    let model = random(&grouped(), 1);
    let at = |temperature| Sampling::new(temperature, 9).unwrap();
    for plan in plans() {
        let greedy = decode(&model, &plan, None);
        assert_eq!(decode(&model, &plan, Some(at(0.0))), greedy);
        assert_eq!(
            decode(&model, &plan, Some(at(0.0).top_k(3).unwrap().top_p(0.5).unwrap())),
            greedy
        );
        // The limit from above, through the whole of speculative sampling.
        assert_eq!(decode(&model, &plan, Some(at(1e-7))), greedy);
        assert_eq!(decode(&model, &plan, Some(at(1.0).top_k(1).unwrap())), greedy);
        assert_eq!(decode(&model, &plan, Some(at(1.0).top_p(1e-9).unwrap())), greedy);
    }
}

#[test]
fn a_seed_gives_one_text_on_any_number_of_threads() {
    let [one, two] = [1, 2].map(|n| Model::random(&grouped(), 2, &options(1, n)).unwrap());
    for plan in plans() {
        let text = |model, seed| decode(model, &plan, Some(Sampling::new(1.0, seed).unwrap()));
        assert_eq!(text(&one, 5), text(&two, 5));
        assert_ne!(text(&one, 5), text(&one, 6));
    }
}

#[test]
fn a_draft_that_skips_nothing_is_always_accepted_in_turn() {
    let model = random(&grouped(), 4);
    let plan = "seq:2..2:3".parse().unwrap();
    let steps = decode(&model, &plan, Some(Sampling::new(0.8, 1).unwrap()));
    for step in &steps[1..steps.len() - 1] {
        assert_eq!((step.drafted, step.accepted), (3, 3));
    }
}
