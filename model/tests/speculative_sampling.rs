//! Speculative sampling has exactly the distribution of the full model, whatever the drafts come
//! from: verification alone, on distributions of several shapes that depend on all tokens before.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::chi_square::{p_value, total_variation};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_data::Drafting;
use s3d_model::sample::{Distribution, Numbers};
use s3d_model::verify::verify_sampled;

const VOCAB: usize = 4;
/// Tokens of a text.
const LENGTH: usize = 3;
const TEXTS: usize = VOCAB.pow(LENGTH as u32);
/// Drafts of an iteration.
const DRAFTS: usize = 2;
const DRAWS: u64 = 50_000;
/// Tokens that the last target of an iteration may follow.
const SEEN: usize = LENGTH - 1 + DRAFTS;

/// What follows a text, by its tokens.
type Rule = fn(&[u32]) -> Vec<f64>;

/// Uneven weights that belong to a text.
fn uneven(salt: u64, text: &[u32]) -> Vec<f64> {
    let place = text.iter().fold(1, |place, &token| place * VOCAB as u64 + u64::from(token));
    let mut source = ChaCha8Rng::seed_from_u64(salt << 32 | place);
    (0..VOCAB).map(|_| source.random::<f64>().powi(3)).collect()
}

fn target(text: &[u32]) -> Vec<f64> {
    uneven(1, text)
}

fn other(text: &[u32]) -> Vec<f64> {
    uneven(2, text)
}

/// The weights of `parity` tokens alone.
fn half(weights: Vec<f64>, parity: usize) -> Vec<f64> {
    let keep = |(i, weight)| if i % 2 == parity { weight } else { 0.0 };
    weights.into_iter().enumerate().map(keep).collect()
}

/// The largest weight alone.
fn point(weights: Vec<f64>) -> Vec<f64> {
    let most = weights.iter().copied().fold(0.0, f64::max);
    weights.into_iter().map(|weight| if weight == most { weight } else { 0.0 }).collect()
}

/// Without the smallest weight, as top-k leaves them.
fn cut(weights: Vec<f64>) -> Vec<f64> {
    let least = weights.iter().copied().fold(f64::INFINITY, f64::min);
    weights.into_iter().map(|weight| if weight == least { 0.0 } else { weight }).collect()
}

/// Name, full model, draft model.
const SHAPES: [(&str, Rule, Rule); 8] = [
    ("two uneven ones", target, other),
    ("twice the same", target, target),
    ("nothing in common", |text| half(target(text), 0), |text| half(other(text), 1)),
    ("a certain draft", target, |text| point(other(text))),
    ("a certain target", |text| point(target(text)), other),
    ("both certain", |text| point(target(text)), |text| point(other(text))),
    ("both cut", |text| cut(target(text)), |text| cut(other(text))),
    ("an even draft", target, |_| vec![1.0; VOCAB]),
];

/// A rule for all short texts.
struct Table(Vec<Vec<Distribution>>);

impl Table {
    fn new(rule: Rule) -> Self {
        let of_length = |length: usize| {
            let texts = (0..VOCAB.pow(length as u32)).map(|place| text(place, length));
            texts.map(|text| Distribution::new(rule(&text)).unwrap()).collect()
        };
        Self((0..=SEEN).map(of_length).collect())
    }

    fn after(&self, text: &[u32]) -> &Distribution {
        &self.0[text.len()][place(text)]
    }

    /// The probability of every text of [`LENGTH`] tokens.
    fn texts(&self) -> Vec<f64> {
        let probability = |text: &[u32]| -> f64 {
            (0..LENGTH).map(|i| self.after(&text[..i]).probability(text[i])).product()
        };
        (0..TEXTS).map(|place| probability(&text(place, LENGTH))).collect()
    }
}

fn place(text: &[u32]) -> usize {
    text.iter().fold(0, |place, &token| place * VOCAB + token as usize)
}

fn text(place: usize, length: usize) -> Vec<u32> {
    (0..length).rev().map(|i| (place / VOCAB.pow(i as u32) % VOCAB) as u32).collect()
}

/// Decodes one text with one seed, as the engine does.
fn decode(target: &Table, proposal: &Table, drafting: Drafting, seed: u64) -> Vec<u32> {
    let mut text = Vec::new();
    while text.len() < LENGTH {
        let numbers = |draft| Numbers::at(seed, text.len() + draft);
        let (mut fed, mut proposals) = (text.clone(), Vec::new());
        for draft in 0..DRAFTS {
            // Drafting at once knows how far ahead it is, not what was drafted before.
            let q = match drafting {
                Drafting::Simultaneous => proposal.after(&[&text[..], &vec![0; draft]].concat()),
                Drafting::Sequential => proposal.after(&fed),
            };
            fed.push(q.draw(numbers(draft).draft));
            proposals.push(q.clone());
        }
        let drafts = &fed[text.len()..];
        let targets = (text.len()..=fed.len()).map(|known| Ok(target.after(&fed[..known]).clone()));
        let verified = verify_sampled(drafts, &proposals, targets, numbers).unwrap();
        let accepted = text.len() + verified.accepted;
        text = [&fed[..accepted], &[verified.next]].concat();
    }
    text.truncate(LENGTH);
    text
}

/// Counts of the texts of some seeds, by their place.
fn counts(
    target: &Table,
    proposal: &Table,
    drafting: Drafting,
    seeds: std::ops::Range<u64>,
) -> Vec<u64> {
    let mut counts = vec![0; TEXTS];
    seeds.for_each(|seed| counts[place(&decode(target, proposal, drafting, seed))] += 1);
    counts
}

#[test]
fn texts_have_the_distribution_of_the_full_model() {
    for (name, p, q) in SHAPES {
        let (target, proposal) = (Table::new(p), Table::new(q));
        let exact = target.texts();
        for drafting in Drafting::ALL {
            let found = p_value(&counts(&target, &proposal, drafting, 0..DRAWS), &exact);
            assert!(found > 0.001, "{name}, {drafting}: p = {found}");
        }
    }
}

#[test]
fn drafts_that_are_not_verified_would_be_noticed() {
    let (target, proposal) = (Table::new(target), Table::new(other));
    let mut counts = vec![0; TEXTS];
    for seed in 0..DRAWS / 10 {
        let mut text = Vec::new();
        while text.len() < LENGTH {
            text.push(proposal.after(&text).draw(Numbers::at(seed, text.len()).draft));
        }
        counts[place(&text)] += 1;
    }
    assert!(p_value(&counts, &proposal.texts()) > 0.001);
    assert!(p_value(&counts, &target.texts()) < 1e-9);
}

#[test]
fn sixteen_times_the_draws_are_four_times_as_close() {
    let (target, proposal) = (Table::new(target), Table::new(other));
    let exact = target.texts();
    for drafting in Drafting::ALL {
        // Mean distance of so many draws at once.
        let mean = |draws: u64| {
            let distance = |batch| {
                let seeds = batch * draws..(batch + 1) * draws;
                total_variation(&counts(&target, &proposal, drafting, seeds), &exact)
            };
            let batches = 4 * DRAWS / draws;
            (0..batches).map(distance).sum::<f64>() / batches as f64
        };
        let ratio = mean(DRAWS / 16) / mean(DRAWS);
        assert!((ratio / 4.0 - 1.0).abs() < 0.3, "{drafting}: {ratio}");
    }
}
