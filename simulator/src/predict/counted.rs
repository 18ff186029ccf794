//! Plans that were run end to end and not traced: their tokens per iteration are counted in their
//! own generations. Greedy decoding of a text takes the same iterations each time, so a count over
//! the texts that were generated is what replay of their traces would give.

use crate::predict::prediction::TokenDraws;
use crate::statistics::Resamples;
use s3d_data::{Plan, ThroughputSample};
use std::collections::{BTreeMap, BTreeSet};

/// Tokens and iterations of each text under each plan, and draws of texts.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    plans: BTreeMap<&'a Plan, Vec<(f64, f64)>>,
    resamples: Resamples,
}

impl<'a> Counted<'a> {
    /// Counts the generations of speculative plans; `draws` draws of `seed`.
    pub(crate) fn new(
        samples: impl Iterator<Item = &'a ThroughputSample>,
        draws: usize,
        seed: u64,
    ) -> Self {
        let decoded = |s: &&ThroughputSample| s.plan.draft().is_some() && s.tokens > 1;
        let samples: Vec<_> = samples.filter(decoded).filter(|s| s.iterations > 0).collect();
        let texts: BTreeSet<&str> = samples.iter().map(|s| s.id.as_str()).collect();
        let places: BTreeMap<&str, usize> = texts.into_iter().zip(0..).collect();
        let mut plans: BTreeMap<&Plan, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in samples {
            let texts = plans.entry(&sample.plan).or_insert_with(|| vec![(0.0, 0.0); places.len()]);
            let text = &mut texts[places[sample.id.as_str()]];
            *text = (text.0 + (sample.tokens - 1) as f64, text.1 + sample.iterations as f64);
        }
        Self { plans, resamples: Resamples::new(places.len(), draws, seed) }
    }

    /// The plans, in order.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &'a Plan> {
        self.plans.keys().copied()
    }

    /// Texts that were generated under any plan.
    pub(crate) fn texts(&self) -> usize {
        self.resamples.clusters()
    }

    /// Tokens per iteration of `plan`; nothing where it was not run.
    pub(crate) fn of(&self, plan: &Plan) -> Option<TokenDraws> {
        let texts = self.plans.get(plan)?;
        let rate = |weights: &[u32]| {
            let weighted = texts.iter().zip(weights);
            let sum = weighted.fold((0.0, 0.0), |sum, (text, &weight)| {
                (sum.0 + f64::from(weight) * text.0, sum.1 + f64::from(weight) * text.1)
            });
            sum.0 / sum.1
        };
        Some(TokenDraws {
            value: rate(&vec![1; texts.len()]),
            draws: self.resamples.draws().map(rate).collect(),
            clusters: texts.iter().filter(|(tokens, _)| *tokens > 0.0).count(),
            readings: None,
            counted: None,
        })
    }
}
