//! Sampled texts of a tiny model: every plan draws from the distribution that the full model's own
//! logits give.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::chi_square::{p_value, total_variation};
use common::{grouped, options, random, tiny, window};
use s3d_data::{DraftPlan, Drafting, Plan, Predictors};
use s3d_model::sample::Sampling;
use s3d_model::{DraftThreshold, Generation, Limits, Model, Silent, Step};
use std::thread;

const VOCAB: usize = 8;
const PROMPT: [u32; 2] = [3, 5];
/// Tokens of a text.
const LENGTH: usize = 3;
const DRAWS: u64 = 50_000;
/// Parts that the draws are looked at in.
const BATCHES: u64 = 64;

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
}

/// All tokens, sharpened.
const ALL: Rule = Rule { temperature: 0.25, top_k: VOCAB, top_p: 1.0 };
/// Cut from both sides.
const CUT: Rule = Rule { temperature: 0.5, top_k: 6, top_p: 0.9 };

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

/// A threshold that half of the first tokens' drafts lie below.
fn middle_confidence(model: &Model) -> f64 {
    let even = Rule { temperature: 1.0, ..ALL };
    let confidence = |token| {
        let mut cache = model.new_cache(8).unwrap();
        model.full_pass(&PROMPT, &mut cache, &mut Silent).unwrap();
        let row = model
            .draft_pass(Drafting::Sequential, token, 0, &window(0, 1), &mut cache, &mut Silent)
            .unwrap();
        even.naive(&common::rows(&row)[0]).into_iter().fold(0.0, f64::max)
    };
    let mut all: Vec<f64> = (0..VOCAB as u32).map(confidence).collect();
    all.sort_unstable_by(f64::total_cmp);
    (all[VOCAB / 2 - 1] + all[VOCAB / 2]) / 2.0
}

fn steps(model: &Model, plan: &Plan, rule: &Rule, threshold: f64, seed: u64) -> Vec<Step> {
    let mut silent = Silent;
    let limits = Limits::tokens(LENGTH);
    let generation = Generation::new(model, &PROMPT, plan, limits, &mut silent).unwrap();
    let threshold = DraftThreshold::new(threshold).unwrap();
    let generation = generation.sampling(rule.sampling(seed)).ending_drafts(threshold);
    generation.map(Result::unwrap).collect()
}

/// What the seeds from 0 gave.
#[derive(Default)]
struct Counts {
    /// Counts of texts by their place, for each batch of seeds.
    batches: Vec<Vec<u64>>,
    iterations: usize,
    drafted: usize,
    accepted: usize,
}

impl Counts {
    /// The texts of some seeds become a batch.
    fn add(&mut self, texts: impl Iterator<Item = Vec<Step>>) {
        let mut counts = vec![0; VOCAB.pow(LENGTH as u32)];
        for steps in texts {
            let tokens = steps.iter().flat_map(|step| &step.tokens);
            counts[tokens.fold(0, |place, &token| place * VOCAB + token as usize)] += 1;
            self.iterations += steps.len() - 1;
            self.drafted += steps[1..].iter().map(|step| step.drafted).sum::<usize>();
            self.accepted += steps[1..].iter().map(|step| step.accepted).sum::<usize>();
        }
        self.batches.push(counts);
    }

    /// Every so many batches made one.
    fn joined(&self, batches: usize) -> Vec<Vec<u64>> {
        let of = |some: &[Vec<u64>], place: usize| some.iter().map(|batch| batch[place]).sum();
        let join = |some: &[Vec<u64>]| (0..some[0].len()).map(|place| of(some, place)).collect();
        self.batches.chunks(batches).map(join).collect()
    }

    /// All batches together.
    fn texts(&self) -> Vec<u64> {
        self.joined(self.batches.len()).concat()
    }
}

/// Draws [`DRAWS`] texts, on two threads.
fn counts(model: &Model, plan: &Plan, rule: &Rule, threshold: f64) -> Counts {
    let of_batches = |batches: std::ops::Range<u64>| {
        let mut counts = Counts::default();
        for batch in batches {
            let seeds = batch * DRAWS / BATCHES..(batch + 1) * DRAWS / BATCHES;
            counts.add(seeds.map(|seed| steps(model, plan, rule, threshold, seed)));
        }
        counts
    };
    let [mut one, other] = thread::scope(|scope| {
        let other = scope.spawn(|| of_batches(BATCHES / 2..BATCHES));
        [of_batches(0..BATCHES / 2), other.join().unwrap()]
    });
    one.batches.extend(other.batches);
    one.iterations += other.iterations;
    one.drafted += other.drafted;
    one.accepted += other.accepted;
    one
}

/// Tokens 2 and 3, whatever token 1 is.
fn later<T: Copy + std::iter::Sum<T>>(texts: &[T]) -> Vec<T> {
    let pairs = VOCAB * VOCAB;
    (0..pairs).map(|pair| texts[pair..].iter().step_by(pairs).copied().sum()).collect()
}

/// Draws texts and compares them with the exact distribution; some drafts are accepted and some are
/// not.
fn check(drafting: Drafting, rule: &Rule, threshold: f64) -> (Counts, Vec<f64>) {
    let model = tiny(VOCAB, None);
    let exact = rule.exact(&model);
    assert!((exact.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    let found = counts(&model, &plan(drafting), rule, threshold);
    let p = p_value(&found.texts(), &exact);
    assert!(p > 0.001, "{drafting}, temperature {}: p = {p}", rule.temperature);
    let accepted = found.accepted as f64 / found.drafted as f64;
    assert!((0.1..0.9).contains(&accepted), "drafts must matter: {accepted}");
    (found, exact)
}

#[test]
fn both_draftings_keep_the_distribution() {
    for drafting in Drafting::ALL {
        let (found, exact) = check(drafting, &ALL, 0.0);
        assert_eq!(found.drafted, 2 * found.iterations);
        // Mean distance of batches, each 16 times as large as those of the other.
        let mean = |batches: Vec<Vec<u64>>| {
            let distance = |texts: &Vec<u64>| total_variation(&later(texts), &later(&exact));
            batches.iter().map(distance).sum::<f64>() / batches.len() as f64
        };
        let (far, near) = (mean(found.joined(1)), mean(found.joined(16)));
        assert!((far / near / 4.0 - 1.0).abs() < 0.3, "{drafting}: {far} / {near}");
    }
}

#[test]
fn drafts_that_end_early_keep_the_distribution() {
    let threshold = middle_confidence(&tiny(VOCAB, None));
    for drafting in Drafting::ALL {
        let (found, _) = check(drafting, &CUT, threshold);
        let share = found.drafted as f64 / found.iterations as f64;
        assert!((0.2..1.8).contains(&share), "drafts of an iteration: {share}");
    }
}

#[test]
fn plain_decoding_draws_from_the_same_distribution() {
    let model = tiny(VOCAB, None);
    let found = counts(&model, &Plan::Plain, &CUT, 0.0);
    let p = p_value(&found.texts(), &CUT.exact(&model));
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
