//! A loaded model: weights, sizes, identity. What it does stands in [`crate::model::passes`].

pub(crate) mod draft_head;
pub(crate) mod layer;
mod load;
pub(crate) mod options;
pub(crate) mod passes;
pub(crate) mod positions;
#[cfg(test)]
mod tests;
pub(crate) mod together;

use crate::backend::Backend;
use crate::backend::adapter::Adapters;
use crate::backend::convert::Vector;
use crate::backend::embedding::Embedding;
use crate::backend::kv_cache::KvCache;
use crate::backend::linear::Linear;
use crate::config::ModelConfig;
use crate::device::Device;
use crate::device::repeating::{Repeating, STEP};
use crate::error::{Error, Result};
use crate::model::draft_head::DraftHead;
use crate::model::layer::Layer;
use crate::model::positions::rotary;
use crate::tokenizer::Tokenizer;
use s3d_data::{ModelIdentity, ModelShape};
use s3d_kernels::heads::HeadShape;
use s3d_kernels::panels::LANES;
use s3d_kernels::rotary::Rotary;
use std::sync::{Arc, OnceLock};

/// A decoder that can leave out any of its layers. Immutable; share it freely between threads.
#[derive(Debug)]
pub struct Model {
    pub(crate) config: ModelConfig,
    pub(crate) backend: Arc<Backend>,
    pub(crate) embedding: Embedding,
    pub(crate) layers: Vec<Layer>,
    /// `[hidden]`.
    pub(crate) norm: Vector,
    /// `[hidden]` to `[vocab]`.
    pub(crate) head: Linear,
    /// None: drafts are chosen from all of the vocabulary.
    pub(crate) draft_head: Option<DraftHead>,
    pub(crate) rotary: Arc<Rotary>,
    /// The longest text, with these rotary factors.
    pub(crate) positions: usize,
    pub(crate) tokenizer: Option<Tokenizer>,
    pub(crate) notes: Vec<String>,
    pub(crate) identity: ModelIdentity,
    /// How far the base is from the one that adapters laid over it were trained for; none: none
    /// are.
    pub(crate) base_distance: Option<f64>,
    pub(crate) stock: OnceLock<Box<Model>>,
    /// None: every pass has the shape of its text.
    pub(crate) repeating: Option<Repeating>,
}

impl Model {
    /// Name, shape as it runs, and a hash of what was loaded.
    pub fn identity(&self) -> ModelIdentity {
        self.identity.clone()
    }

    /// The configuration as it runs: widened.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The sizes as they run: widened.
    pub fn shape(&self) -> ModelShape {
        self.config.shape()
    }

    /// How far the base is from the one that the adapters laid over it were trained for: 0 where it
    /// holds the same values; none where no adapters are laid over it.
    pub fn base_distance(&self) -> Option<f64> {
        self.base_distance
    }

    /// The tokenizer that came with the checkpoint.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// What was read in the checkpoint and is not followed, a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The longest text that this model decodes, in tokens: see [`ModelConfig::positions`]. Where
    /// short texts have rotary factors of their own, it is theirs until [`Self::expect`] has
    /// announced a longer text.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Announces texts of up to `context` tokens, prompt and output together: where long texts have
    /// rotary factors of their own, these hold from now on, from the first position of every text
    /// (as in llama.cpp). Texts are then of another length than before, and caches of before are of
    /// no use.
    ///
    /// # Errors
    /// As [`ModelConfig::rope_for`].
    pub fn expect(&mut self, context: usize) -> Result<()> {
        if self.config.short_positions().is_some() {
            let (rotary, positions) = rotary(&self.config, context)?;
            (self.rotary, self.positions) = (Arc::new(rotary), positions);
            self.stock = OnceLock::new();
        }
        Ok(())
    }

    /// Refuses a text of `tokens` tokens that this model cannot decode whole.
    ///
    /// # Errors
    /// With the number of positions, and why there are no more.
    pub(crate) fn check_length(&self, tokens: usize) -> Result<()> {
        let positions = self.positions;
        if tokens <= positions {
            return Ok(());
        }
        let limit = match self.config.sliding_window() {
            Some(window) if window == positions => ", its sliding window",
            _ if positions < self.config.positions() => {
                ", its rotary factors for short texts: ask for a longer context from the start"
            }
            _ => "",
        };
        Err(Error::invalid(format!(
            "a text of {tokens} tokens is too long for this model: it decodes {positions} \
             positions{limit}; shorten prompt or output"
        )))
    }

    /// Threads of the kernels.
    pub fn threads(&self) -> usize {
        self.backend.threads()
    }

    /// Weight bytes that one full pass of width 1 reads.
    pub fn streamed_bytes(&self) -> u64 {
        let layers = self.layers.iter().flat_map(Layer::linears);
        layers.chain([&self.head]).map(Linear::bytes).sum()
    }

    /// Weight bytes held in the memory of the device, without the copy that `stock` keeps for
    /// candle's matmul. Embeddings are held by the host, whatever the device.
    pub fn weight_bytes(&self) -> u64 {
        let norms = (2 * self.layers.len() + 1) * self.config.hidden_size;
        let extra: usize = self.layers.iter().map(Layer::extra_numbers).sum();
        let small = (norms + extra) * self.number_bytes();
        let table = self.embedding.tokens.as_ref().map_or(0, |table| table.bytes.len());
        let host = table + size_of_val(self.embedding.masks.as_slice());
        let host = if self.device().is_cpu() { host } else { 0 };
        let adapters = self.layers.iter().filter_map(|layer| layer.adapters.as_ref());
        let adapters: u64 = adapters.map(Adapters::bytes).sum();
        let draft_head = self.draft_head.as_ref().map_or(0, |head| head.rows.bytes());
        self.streamed_bytes() + adapters + draft_head + (small + host) as u64
    }

    /// Bytes of a number of the cache and of activations.
    pub fn number_bytes(&self) -> usize {
        self.backend.number().size_in_bytes()
    }

    /// How far apart, as a share of the largest logit, two logits may be and yet change places
    /// between passes of different widths: 0 where a row's bits do not depend on the pass it sits
    /// in, as on the CPU; else 16 roundings of the number type of activations (a bound to be judged
    /// by, not a proven one).
    pub fn tie_width(&self) -> f64 {
        self.backend.tie_width()
    }

    /// Whether rows of many texts can share a pass: where a row's bits do not depend on it.
    pub fn decodes_together(&self) -> bool {
        self.tie_width() == 0.0
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        self.backend.device()
    }

    /// Positions that caches grow by: the lanes of the kernels' vectors, or the steps of passes of
    /// fixed shape.
    pub fn cache_step(&self) -> usize {
        if self.repeating.is_some() { STEP } else { LANES }
    }

    /// A cache for at least `capacity` positions.
    ///
    /// # Errors
    /// When the memory is refused.
    pub fn new_cache(&self, capacity: usize) -> Result<KvCache> {
        let capacity = capacity.next_multiple_of(self.cache_step());
        self.backend.new_cache(self.layers.len(), self.heads(), capacity)
    }

    /// The same model on candle's own matmul. Made at the first call (a second copy of the weights)
    /// and kept.
    ///
    /// # Errors
    /// When the memory is refused.
    pub fn stock(&self) -> Result<&Self> {
        if self.stock.get().is_none() {
            let stock = Box::new(self.to_stock()?);
            // A copy that another thread made meanwhile is as good.
            let _ = self.stock.set(stock);
        }
        self.stock.get().map(Box::as_ref).ok_or_else(|| Error::invalid("no stock model"))
    }

    fn to_stock(&self) -> Result<Self> {
        let device = self.device().tensors();
        let plain = |layer: &Layer| -> Result<Layer> {
            Ok(Layer {
                qkv: layer.qkv.to_plain(device)?,
                attention_out: layer.attention_out.to_plain(device)?,
                gate_up: layer.gate_up.to_plain(device)?,
                down: layer.down.to_plain(device)?,
                ..layer.clone()
            })
        };
        Ok(Self {
            base_distance: self.base_distance,
            config: self.config.clone(),
            backend: Arc::clone(&self.backend),
            embedding: self.embedding.clone(),
            layers: self.layers.iter().map(plain).collect::<Result<_>>()?,
            norm: self.norm.clone(),
            head: self.head.to_plain(device)?,
            draft_head: self.draft_head.clone(),
            rotary: Arc::clone(&self.rotary),
            positions: self.positions,
            notes: self.notes.clone(),
            tokenizer: self.tokenizer.clone(),
            identity: self.identity.clone(),
            stock: OnceLock::new(),
            repeating: None,
        })
    }

    /// Sizes of an attention sub-layer.
    pub(crate) fn heads(&self) -> HeadShape {
        HeadShape {
            heads: self.config.num_attention_heads,
            kv_heads: self.config.kv_heads(),
            head_dim: self.config.head_dim(),
        }
    }
}
