//! What was measured on a device: the model's shape, latency samples, memory, throughput blocks.

use crate::plan::Plan;
use serde::{Deserialize, Serialize};

/// The shape of a Llama-style decoder; enough to count its bytes and operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelShape {
    /// Decoder layers (`L` in the paper).
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the gated MLP.
    pub intermediate: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Vocabulary, masks not counted.
    pub vocab: usize,
    /// Whether the head shares the embedding's weights.
    pub tied: bool,
    /// Mask embeddings (0 where the checkpoint has none).
    pub masks: usize,
    /// Rank of the adapters that act on draft rows (0 where the checkpoint has none).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub adapter_rank: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl ModelShape {
    /// Whether more than the number of layers is known: of measurements from outside it is often not,
    /// and then neither is the memory.
    pub fn is_known(&self) -> bool {
        self.hidden > 0
    }

    /// A shape of which only the number of layers is known.
    pub fn of_layers(layers: usize) -> Self {
        Self {
            layers,
            hidden: 0,
            intermediate: 0,
            heads: 0,
            kv_heads: 0,
            head_dim: 0,
            vocab: 0,
            tied: false,
            masks: 0,
            adapter_rank: 0,
        }
    }

    /// Parameters of one decoder layer: projections, MLP and its two norms.
    pub fn layer_parameters(&self) -> u64 {
        let q = self.hidden * self.heads * self.head_dim;
        let kv = self.hidden * self.kv_heads * self.head_dim;
        let mlp = self.hidden * self.intermediate;
        (2 * q + 2 * kv + 3 * mlp + 2 * self.hidden) as u64
    }

    /// Parameters of the adapters of one decoder layer: two factors for each of its four matrices
    /// (queries, keys and values count as one, gate and up projection as another).
    pub fn adapter_parameters(&self) -> u64 {
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let attention = (self.hidden + queries + 2 * keys) + (queries + self.hidden);
        let mlp = (self.hidden + 2 * self.intermediate) + (self.intermediate + self.hidden);
        (self.adapter_rank * (attention + mlp)) as u64
    }

    /// All parameters: embedding, layers, last norm, head (if untied), masks, adapters.
    pub fn parameters(&self) -> u64 {
        let table = (self.vocab * self.hidden) as u64;
        let tables = if self.tied { table } else { 2 * table };
        let rest = (self.hidden + self.masks * self.hidden) as u64;
        let layer = self.layer_parameters() + self.adapter_parameters();
        tables + self.layers as u64 * layer + rest
    }

    /// Key-value elements that one token of context holds, over all layers.
    pub fn kv_elements_per_token(&self) -> u64 {
        (2 * self.layers * self.kv_heads * self.head_dim) as u64
    }
}

/// A part of a pass that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// Token (and mask) embedding.
    Embed,
    /// Attention sub-layer of one layer, its norm and residual included.
    Attention,
    /// MLP sub-layer of one layer, its norm and residual included.
    Mlp,
    /// Last norm, head and arg max.
    Head,
    /// What a pass costs beside its components.
    Rest,
    /// A whole pass at full depth, outside of speculation.
    FullPass,
    /// A whole draft pass.
    DraftPass,
    /// A whole verify pass.
    VerifyPass,
}

impl Component {
    /// Whether a turn of the schedule ends with it: a plain step with its pass, an iteration with its
    /// verify pass.
    pub fn ends_turn(self) -> bool {
        matches!(self, Self::FullPass | Self::VerifyPass)
    }
}

/// One raw latency observation: a row of `latency.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencySample {
    /// Index into the machines of `run.json`.
    pub machine: usize,
    /// What was timed.
    pub component: Component,
    /// Its layer, for `attention` and `mlp`.
    pub layer: Option<usize>,
    /// The plan that was running, where there was one (the skip of a draft pass).
    pub plan: Option<Plan>,
    /// Tokens fed to the pass (`w`).
    pub width: usize,
    /// Tokens committed, the one being fed counted in (`c`).
    pub context: usize,
    /// The block of the schedule.
    pub block: usize,
    /// Place in the block.
    pub order: usize,
    /// 1 for the second copy of the control cell, else 0.
    pub copy: usize,
    /// Wall time.
    pub seconds: f64,
    /// CPU time of all threads together, of whole passes; none where it was not read.
    #[serde(default)]
    pub cpu_seconds: Option<f64>,
}

/// One end-to-end generation: a row of `throughput.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThroughputSample {
    /// Index into the machines of `run.json`.
    pub machine: usize,
    /// The block of the schedule.
    pub block: usize,
    /// Place in the block.
    pub order: usize,
    /// 1 for the second copy of the control cell, else 0.
    pub copy: usize,
    /// How it was decoded.
    pub plan: Plan,
    /// The prompt's name.
    pub id: String,
    /// Output tokens.
    pub tokens: usize,
    /// Iterations (plain: steps) after the prompt pass.
    pub iterations: usize,
    /// Prompt pass, the token it commits included.
    pub prompt_seconds: f64,
    /// All draft passes.
    pub draft_seconds: f64,
    /// All verify passes (plain: all steps).
    pub verify_seconds: f64,
    /// The whole generation, prompt pass included.
    pub seconds: f64,
    /// CPU time of all threads together over the whole generation; none where it was not read.
    #[serde(default)]
    pub cpu_seconds: Option<f64>,
}

impl ThroughputSample {
    /// Blocks from this number on set the leading plans beside each other: all of them help to choose, none
    /// reports.
    pub const RUN_OFF_FROM: usize = 1_000_000;
    /// Blocks with this number or above were measured after the choice was made, to confirm it:
    /// they hold plain decoding and the choice alone, on fresh prompts where there are enough, and
    /// must not enter the choice.
    pub const CONFIRMATION_FROM: usize = 2_000_000;

    /// Whether this block confirms the choice instead of leading to it.
    pub fn confirms(&self) -> bool {
        self.block >= Self::CONFIRMATION_FROM
    }
}

/// Where a memory figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Read from the system or the device.
    Measured,
    /// Computed from the shape.
    Computed,
}

/// A row of `memory.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryRecord {
    /// `weights`, `kv_cache`, `activations`, `masks`, `program`, `peak`; on a card `driver` too: all that is taken
    /// there, whoever took it.
    pub item: String,
    /// The context it holds for, in tokens.
    pub context: usize,
    /// The widest pass it holds for.
    pub width: usize,
    /// Bytes.
    pub bytes: u64,
    /// Measured or computed.
    pub origin: Origin,
}

/// A position whose top-1 token differs between two ways to compute it: a row of `near_ties.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearTie {
    /// The prompt's name.
    pub id: String,
    /// Output position, from 0.
    pub position: usize,
    /// First way, such as `f32 width 1`.
    pub first: String,
    /// Second way.
    pub second: String,
    /// Token chosen by the first way.
    pub first_token: u32,
    /// Token chosen by the second way.
    pub second_token: u32,
    /// Gap between the two tokens' logits by the first way.
    pub logit_gap: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_2_7b_has_its_published_parameter_count() {
        // source: Touvron et al., arXiv 2307.09288: 6.74e9 parameters (6,738,415,616 in the checkpoint)
        let shape = ModelShape {
            layers: 32,
            hidden: 4096,
            intermediate: 11008,
            heads: 32,
            kv_heads: 32,
            head_dim: 128,
            vocab: 32000,
            tied: false,
            masks: 0,
            adapter_rank: 0,
        };
        assert_eq!(shape.parameters(), 6_738_415_616);
        assert_eq!(shape.kv_elements_per_token() * 2, 524_288); // 512 KiB a token at f16
    }
}
