//! Pass times of a machine that was never measured, from its data sheet: the larger of the bytes
//! that a pass reads over the bandwidth and its operations over the rate (the roofline of Williams,
//! Waterman, Patterson, CACM 52, 2009), each at a share of the sheet that real kernels reach.

use crate::cost::experts::Experts;
use crate::error::{Error, Result};
use s3d_data::memory::Engine;
use s3d_data::{
    BytesPerSecond, Component, DraftPlan, Drafting, Dtype, FlopsPerSecond, LatencySample,
    ModelShape, Plan, Predictors, Run, Seconds, SkipWindow,
};

/// What a data sheet promises.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sheet {
    /// Bytes per second.
    pub read_bytes_per_s: BytesPerSecond,
    /// Operations per second at the precision of the arithmetic; a multiply-add counts as two.
    pub flops_per_s: FlopsPerSecond,
}

/// The shares of the sheet that kernels reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Efficiency {
    /// Of the bandwidth.
    pub bandwidth: f64,
    /// Of the rate.
    pub compute: f64,
}

impl Efficiency {
    /// Shares in (0, 1].
    ///
    /// # Errors
    /// A share outside.
    pub fn new(bandwidth: f64, compute: f64) -> Result<Self> {
        for (name, share) in [("bandwidth share", bandwidth), ("compute share", compute)] {
            if !(share > 0.0 && share <= 1.0) {
                return Err(Error::domain(name, "above 0 and at most 1", share));
            }
        }
        Ok(Self { bandwidth, compute })
    }
}

/// A model on a machine known by its sheet.
#[derive(Debug, Clone)]
pub struct Derivation<'a> {
    /// The model; of a mixture of experts with all of them ([`Experts::of`]).
    pub shape: &'a ModelShape,
    /// The experts of its MLPs, where they are a mixture.
    pub experts: Option<&'a Experts>,
    /// How its weights are stored.
    pub format: Dtype,
    /// The machine.
    pub sheet: Sheet,
    /// How much of it is reached.
    pub efficiency: Efficiency,
}

impl Derivation<'_> {
    /// Bytes that a full pass of `width` tokens with `kept` layers reads: their weights and the
    /// head's once (of experts those that its tokens touch), and the keys and values of `context`
    /// tokens in each of them.
    pub(crate) fn read_bytes(&self, kept: usize, width: usize, context: usize) -> f64 {
        self.bytes_of([kept, self.shape.vocab], width, context)
    }

    /// The same for any rows of the head.
    fn bytes_of(&self, [kept, rows]: [usize; 2], width: usize, context: usize) -> f64 {
        let cached = self.shape.kv_elements_per_token() as f64 / self.shape.layers as f64;
        let cache =
            Engine::Other.number_bytes(self.format) as f64 * cached * (kept * context) as f64;
        let touched = self.experts.map_or(1.0, |experts| experts.share(width));
        self.format.bytes(self.weights([kept, rows], touched)) + cache
    }

    /// Operations of a pass of `width` tokens through `kept` layers and `rows` rows of the head:
    /// two a weight, and four a cached element of the queries.
    fn operations(&self, [kept, rows]: [usize; 2], width: usize, context: usize) -> f64 {
        let attention = 4 * self.shape.heads * self.shape.head_dim * kept * (context + width);
        let active = self.experts.map_or(1.0, Experts::active_share);
        width as f64 * (2.0 * self.weights([kept, rows], active) as f64 + attention as f64)
    }

    /// Weights of `kept` layers, `share` of their MLPs counted, and of `rows` rows of the head.
    fn weights(&self, [kept, rows]: [usize; 2], share: f64) -> u64 {
        let mlp = 3 * self.shape.hidden * self.shape.intermediate;
        let left_out = (mlp as f64 * (1.0 - share)).round() as u64;
        let head = (rows * self.shape.hidden) as u64;
        kept as u64 * (self.shape.layer_parameters() - left_out) + head
    }

    /// Seconds of one full pass.
    pub fn seconds(&self, kept: usize, width: usize, context: usize) -> f64 {
        self.seconds_of([kept, self.shape.vocab], width, context)
    }

    /// Seconds of one draft pass, which multiplies by the rows of the draft head.
    pub fn draft_seconds(&self, kept: usize, width: usize, context: usize) -> f64 {
        self.seconds_of([kept, self.shape.draft_head_rows()], width, context)
    }

    fn seconds_of(&self, parts: [usize; 2], width: usize, context: usize) -> f64 {
        let reading = self.bytes_of(parts, width, context)
            / (self.sheet.read_bytes_per_s * self.efficiency.bandwidth).0;
        let computing = self.operations(parts, width, context)
            / (self.sheet.flops_per_s * self.efficiency.compute).0;
        reading.max(computing)
    }

    /// What an iteration of `drafts` tokens costs in plain passes, all at `context`: the verify
    /// pass, and the draft pass with half of the layers.
    pub fn in_plain_passes(&self, drafts: usize, context: usize) -> [f64; 2] {
        let layers = self.shape.layers;
        let draft = self.draft_seconds(layers / 2, drafts, context);
        let passes = [self.seconds(layers, drafts + 1, context), draft];
        passes.map(|pass| pass / self.seconds(layers, 1, context))
    }

    /// The rows of `latency.csv` at `contexts`: full passes up to `gamma_max + 1` tokens, and draft
    /// passes of both draftings for every window in the middle of the model.
    ///
    /// # Errors
    /// A `gamma_max` outside its domain.
    pub fn latency(&self, gamma_max: usize, contexts: &[usize]) -> Result<Vec<LatencySample>> {
        let layers = self.shape.layers;
        let mut rows = Vec::new();
        for (block, &context) in contexts.iter().enumerate() {
            let mut push = |component, plan, kept: usize, width: usize| {
                let seconds = Seconds(match component {
                    Component::DraftPass => self.draft_seconds(kept, width, context),
                    _ => self.seconds(kept, width, context),
                });
                rows.push(LatencySample::whole(component, plan, width, context, block, seconds));
            };
            push(Component::FullPass, Some(Plan::Plain), layers, 1);
            for window in SkipWindow::all_symmetric(layers) {
                let kept = layers - window.len();
                let single = draft(Drafting::Sequential, window, 1)?;
                push(Component::DraftPass, Some(single), kept, 1);
                for predictors in 1..=gamma_max {
                    let plan = draft(Drafting::Simultaneous, window, predictors)?;
                    push(Component::DraftPass, Some(plan.clone()), kept, predictors);
                    push(Component::VerifyPass, Some(plan), layers, predictors + 1);
                }
            }
        }
        Ok(rows)
    }
}

fn draft(drafting: Drafting, window: SkipWindow, predictors: usize) -> Result<Plan> {
    let predictors = Predictors::new(predictors)?;
    Ok(Plan::Speculate(DraftPlan { drafting, skip: window.into(), predictors }))
}

/// The usual one of the measured shares: their median; `None` without any.
pub fn usual_share(shares: &[f64]) -> Option<f64> {
    crate::statistics::median(shares)
}

/// The share of the sheet's bandwidth at which the plain passes of a measured run read; `None`
/// where none was timed.
pub fn bandwidth_share(run: &Run, sheet: Sheet) -> Option<f64> {
    let format: Dtype = run.header.dtype.parse().ok()?;
    let efficiency = Efficiency { bandwidth: 1.0, compute: 1.0 };
    let ideal =
        Derivation { shape: &run.header.model.shape, experts: None, format, sheet, efficiency };
    let plain = |s: &&LatencySample| {
        s.component == Component::FullPass && s.width == 1 && s.plan != Some(Plan::Stock)
    };
    let layers = run.header.model.shape.layers;
    let share = |s: &LatencySample| {
        ideal.read_bytes(layers, 1, s.context) / s.seconds.0 / sheet.read_bytes_per_s.0
    };
    let shares: Vec<f64> = run.observations.latency.iter().filter(plain).map(share).collect();
    crate::statistics::median(&shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama_7b() -> ModelShape {
        s3d_data::published::preset("llama-2-7b").unwrap().shape()
    }

    fn on_a10g(shape: &ModelShape, bandwidth: f64) -> Derivation<'_> {
        let sheet =
            Sheet { read_bytes_per_s: BytesPerSecond(600e9), flops_per_s: FlopsPerSecond(70e12) };
        let efficiency = Efficiency::new(bandwidth, 0.5).unwrap();
        Derivation { shape, experts: None, format: Dtype::F16, sheet, efficiency }
    }

    #[test]
    fn a_plain_pass_reads_the_weights_and_the_cache_once() {
        // source: by hand: (32 x 202,383,360 + 32,000 x 4096) x 2 bytes, and 1024 tokens of 512 KiB
        let shape = llama_7b();
        let derived = on_a10g(&shape, 1.0);
        let weights = 2.0 * (32.0 * 202_383_360.0 + 32_000.0 * 4096.0);
        let bytes = weights + 536_870_912.0;
        assert!((derived.read_bytes(32, 1, 1024) - bytes).abs() < 1.0);
        assert!((derived.seconds(32, 1, 1024) - bytes / 600e9).abs() < 1e-12);
        // A pass over many tokens is bound by arithmetic: 2 operations a weight and token at least.
        let wide = derived.seconds(32, 512, 1024);
        assert!(wide > 512.0 * weights / 35e12 && wide < 520.0 * weights / 35e12 * 1.2);
        assert!((derived.seconds(16, 1, 0) / derived.seconds(32, 1, 0) - 0.51).abs() < 0.01);
    }

    /// source: by hand: layers of Mixtral 8x7B (those of Llama 3 8B with 8 experts of which a token
    /// uses 2): 41,943,040 weights of attention, 176,160,768 an expert, 8,192 of norms. A row reads
    /// 2 experts, two rows 8 (1 - 0.75^2) = 3.5 of them.
    #[test]
    fn a_mixture_of_experts_reads_what_its_rows_touch() {
        let experts = Experts::new(8, 2).unwrap();
        let dense = ModelShape { kv_heads: 8, intermediate: 14336, ..llama_7b() };
        let shape = experts.of(&dense);
        let derived = Derivation { experts: Some(&experts), ..on_a10g(&shape, 1.0) };
        let weights = |touched: f64| {
            32.0 * (41_943_040.0 + 8_192.0 + touched * 176_160_768.0) + 32_000.0 * 4096.0
        };
        let bytes = [1, 2].map(|width| derived.read_bytes(32, width, 0));
        assert_eq!(bytes, [2.0, 3.5].map(|touched| 2.0 * weights(touched)));
        let operations = derived.operations([32, 32_000], 1, 0);
        assert!((operations / (2.0 * weights(2.0)) - 1.0).abs() < 1e-3);
        // Two rows cost 1.66 plain passes where a dense model's cost one.
        let ratio = derived.seconds(32, 2, 0) / derived.seconds(32, 1, 0);
        assert!((ratio - weights(3.5) / weights(2.0)).abs() < 1e-12 && ratio > 1.66, "{ratio}");
    }

    #[test]
    fn a_draft_pass_reads_the_rows_of_its_own_head_alone() {
        let (whole, some) = (llama_7b(), ModelShape { draft_vocab: 8000, ..llama_7b() });
        let [whole, some] = [&whole, &some].map(|shape| on_a10g(shape, 1.0));
        // source: by hand: 24,000 of 32,000 rows of 4096 halves are not read, at 600 GB/s
        let saved = 24_000.0 * 4096.0 * 2.0 / 600e9;
        let gap = whole.draft_seconds(16, 1, 0) - some.draft_seconds(16, 1, 0);
        assert!((gap - saved).abs() < 1e-12);
        assert_eq!(some.seconds(32, 5, 256), whole.seconds(32, 5, 256));
        assert_eq!(whole.draft_seconds(16, 1, 0), whole.seconds(16, 1, 0));
        let of = |run: &Derivation<'_>, component| {
            let rows = run.latency(4, &[256]).unwrap();
            rows.iter()
                .filter(|row| row.component == component)
                .map(|row| row.seconds.0)
                .sum::<f64>()
        };
        let (verify, draft) = (Component::VerifyPass, Component::DraftPass);
        assert_eq!(of(&some, verify), of(&whole, verify));
        assert!(of(&some, draft) < of(&whole, draft));
    }

    #[test]
    fn the_share_of_a_derived_run_is_the_one_it_was_derived_with() {
        let shape = llama_7b();
        let derived = on_a10g(&shape, 0.6);
        let rows = derived.latency(4, &[256, 1024]).unwrap();
        // source: by hand: 2 contexts x (1 + 32 windows x (1 + 2 x 4)), the empty window included
        let windows = SkipWindow::all_symmetric(32).len();
        assert_eq!(rows.len(), 2 * (1 + windows * 9));
        let plain = rows.iter().find(|row| row.component == Component::FullPass).unwrap();
        let share = derived.read_bytes(32, 1, 256) / plain.seconds.0 / 600e9;
        assert!((share - 0.6).abs() < 1e-12);
        assert!(Efficiency::new(0.0, 0.5).is_err() && Efficiency::new(0.5, 1.5).is_err());
    }
}
