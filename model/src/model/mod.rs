//! A loaded model: weights, sizes, identity. What it does stands in [`crate::model::passes`].

mod load;
pub(crate) mod passes;

use crate::backend::Ops;
use crate::backend::adapter::Adapters;
use crate::backend::embedding::Embedding;
use crate::backend::kv_cache::KvCache;
use crate::backend::linear::Linear;
use crate::config::ModelConfig;
use crate::device::graphed_passes::{Repeating, STEP};
use crate::device::recorder_of;
use crate::error::{Error, Result};
use crate::model::load::Builder;
use crate::tokenizer::Tokenizer;
use crate::weights::checkpoint::Opened;
use crate::weights::source::{Seeded, WeightSource};
use candle_core::{DType, Device, Tensor};
use s3d_data::{Dtype, ModelIdentity, ModelShape, Predictors};
use s3d_kernels::heads::HeadShape;
use s3d_kernels::isa::Isa;
use s3d_kernels::panels::LANES;
use s3d_kernels::rotary::Rotary;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Where the tokenizer of a model comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TokenizerFrom {
    /// The checkpoint itself, where it has one.
    #[default]
    Checkpoint,
    /// A `tokenizer.json`.
    File(PathBuf),
    /// Token ids are all that is wanted.
    Nowhere,
}

/// How a model is to run.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: Device,
    /// The number type that the weights of matrices are held in: one of [`Dtype::ENGINE`]. Embedding
    /// and head take [`Dtype::of_tables`]; norms and mask embeddings are always `f32` on the CPU, as are
    /// activations and cache; on a card all these are of the weights' type, halves where that is coded.
    pub dtype: Dtype,
    /// How often each channel, head and neuron is repeated: 1, 2 or 4.
    pub widen: usize,
    /// Threads of the kernels; 0 takes all cores.
    pub threads: usize,
    /// Where its tokenizer comes from.
    pub tokenizer: TokenizerFrom,
    /// Adapters and masks to lay over the checkpoint: a folder of [`crate::weights::added::ADDED_CONFIG`].
    pub adapters: Option<PathBuf>,
    /// Candle's own operations even where there are kernels: what a card runs, tried on the CPU.
    pub composed: bool,
    /// Passes over few rows have fixed shapes, and a card records them once and repeats them with one launch each
    /// (CUDA graphs). Not with the kernels of the CPU, which have no launches to spare.
    pub repeated: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            dtype: Dtype::F32,
            widen: 1,
            threads: 0,
            tokenizer: TokenizerFrom::Checkpoint,
            adapters: None,
            composed: false,
            repeated: false,
        }
    }
}

/// One decoder layer.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// `[hidden]`.
    pub attention_norm: Tensor,
    /// `[hidden]` to `[(heads + 2 kv_heads) * head_dim]`.
    pub qkv: Linear,
    /// `[(heads + 2 kv_heads) * head_dim]`.
    pub qkv_bias: Option<Tensor>,
    /// `[2, head_dim]`: of every query head, of every key head.
    pub head_norms: Option<Tensor>,
    /// Whether queries and keys turn with their positions.
    pub turns: bool,
    /// `[heads * head_dim]` to `[hidden]`.
    pub attention_out: Linear,
    /// `[hidden]`.
    pub out_bias: Option<Tensor>,
    /// `[hidden]`.
    pub mlp_norm: Tensor,
    /// `[hidden]` to `[intermediate]`, SwiGLU included.
    pub gate_up: Linear,
    /// As the products of `gate_up` stand before SwiGLU.
    pub gate_up_bias: Option<Tensor>,
    /// `[intermediate]` to `[hidden]`.
    pub down: Linear,
    /// `[hidden]`.
    pub down_bias: Option<Tensor>,
    /// Act on draft rows alone.
    pub adapters: Option<Adapters>,
}

impl Layer {
    /// The linear layers, in the order of use.
    pub fn linears(&self) -> [&Linear; 4] {
        [&self.qkv, &self.attention_out, &self.gate_up, &self.down]
    }

    /// Numbers of biases and head norms.
    fn extra_numbers(&self) -> usize {
        let attention = [&self.qkv_bias, &self.head_norms, &self.out_bias];
        let parts = attention.into_iter().chain([&self.gate_up_bias, &self.down_bias]);
        parts.flatten().map(Tensor::elem_count).sum()
    }
}

/// A decoder that can leave out any of its layers. Immutable; share it freely between threads.
#[derive(Debug)]
pub struct Model {
    pub(crate) config: ModelConfig,
    pub(crate) device: Device,
    pub(crate) ops: Arc<Ops>,
    pub(crate) embedding: Embedding,
    pub(crate) layers: Vec<Layer>,
    /// `[hidden]`.
    pub(crate) norm: Tensor,
    /// `[hidden]` to `[vocab]`.
    pub(crate) head: Linear,
    pub(crate) rotary: Arc<Rotary>,
    /// The longest text, with these rotary factors.
    pub(crate) positions: usize,
    pub(crate) tokenizer: Option<Tokenizer>,
    notes: Vec<String>,
    identity: ModelIdentity,
    /// How far the base is from the one that adapters laid over it were trained for; none: none are.
    base_distance: Option<f64>,
    stock: OnceLock<Box<Model>>,
    /// None: every pass has the shape of its text.
    pub(crate) repeating: Option<Repeating>,
}

impl Model {
    /// Reads a Hugging Face folder (`config.json`, `model.safetensors` or shards with an index, and
    /// `tokenizer.json` where there is one) or a GGUF file.
    ///
    /// # Errors
    /// When a file is missing, damaged, or does not fit the others.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self> {
        let mut opened = Opened::new(path, &options.tokenizer)?;
        let mut distance = None;
        if let Some(folder) = &options.adapters {
            let (laid, found) = opened.lay(folder)?;
            (opened, distance) = (laid, Some(found));
        }
        let Opened { config, tokenizer, source, name, notes } = opened;
        let mut model = Self::build(&*source, &config, options, ops_for(options), &name)?;
        (model.tokenizer, model.notes) = (tokenizer, notes);
        model.base_distance = distance;
        Ok(model)
    }

    /// A model of random weights: for tests and timing. It has no tokenizer.
    ///
    /// # Errors
    /// When the configuration cannot be run.
    pub fn random(config: &ModelConfig, seed: u64, options: &LoadOptions) -> Result<Self> {
        Self::geometry("random", config, seed, options)
    }

    /// [`Self::random`] under a name: a model that is timed for its shape.
    ///
    /// # Errors
    /// As there.
    pub fn geometry(
        name: &str,
        config: &ModelConfig,
        seed: u64,
        options: &LoadOptions,
    ) -> Result<Self> {
        let source = Seeded::new(seed);
        let mut model = Self::build(&source, config, options, ops_for(options), name)?;
        model.identity.random_weights = true;
        Ok(model)
    }

    /// A model from any source of weights, with given operations.
    pub(crate) fn build(
        source: &dyn WeightSource,
        config: &ModelConfig,
        options: &LoadOptions,
        ops: Ops,
        name: &str,
    ) -> Result<Self> {
        let builder = Builder::new(source, config, options, &ops)?;
        let wide = builder.wide_config();
        let content_hash = content_hash(config, source)?;
        let (rotary, positions) = rotary(config, 0)?;
        // The largest matrices come first: what packing them needs beside them is free again before the
        // layers fill the memory.
        let (head, embedding) = (builder.head()?, builder.embedding()?);
        let layers = (0..config.num_hidden_layers).map(|n| builder.layer(n));
        let layers = layers.collect::<Result<_>>()?;
        let norm = builder.final_norm()?;
        builder.check_all_used()?;
        let repeats = options.repeated && !ops.is_fused();
        Ok(Self {
            embedding,
            layers,
            norm,
            head,
            rotary: Arc::new(rotary),
            positions,
            notes: Vec::new(),
            ops: Arc::new(ops),
            device: options.device.clone(),
            tokenizer: None,
            base_distance: None,
            identity: ModelIdentity {
                name: name.into(),
                shape: wide.shape(),
                content_hash,
                random_weights: false,
                training_steps: config.s3d.as_ref().and_then(|s3d| s3d.training_steps),
                positions: Some(config.positions()),
            },
            config: wide,
            stock: OnceLock::new(),
            repeating: repeats.then(|| Repeating::new(recorder_of(&options.device))),
        })
    }

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

    /// How far the base is from the one that the adapters laid over it were trained for: 0 where it holds the
    /// same values; none where no adapters are laid over it.
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

    /// The longest text that this model decodes, in tokens: see [`ModelConfig::positions`]. Where short texts
    /// have rotary factors of their own, it is theirs until [`Self::expect`] has announced a longer text.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Announces texts of up to `context` tokens, prompt and output together: where long texts have rotary factors
    /// of their own, these hold from now on, from the first position of every text (as in llama.cpp). Texts are
    /// then of another length than before, and caches of before are of no use.
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
    pub fn check_length(&self, tokens: usize) -> Result<()> {
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
            "a text of {tokens} tokens is too long for this model: it decodes {positions} positions{limit}; shorten prompt or output"
        )))
    }

    /// Threads of the kernels.
    pub fn threads(&self) -> usize {
        self.ops.kernels().threads()
    }

    /// Weight bytes that one full pass of width 1 reads.
    pub fn streamed_bytes(&self) -> u64 {
        let layers = self.layers.iter().flat_map(Layer::linears);
        layers.chain([&self.head]).map(Linear::bytes).sum()
    }

    /// Weight bytes held in the memory of the device, without the copy that `stock` keeps for candle's
    /// matmul. Embeddings are held by the host, whatever the device.
    pub fn weight_bytes(&self) -> u64 {
        let norms = (2 * self.layers.len() + 1) * self.config.hidden_size;
        let extra: usize = self.layers.iter().map(Layer::extra_numbers).sum();
        let small = (norms + extra) * self.number_bytes();
        let table = self.embedding.tokens.as_ref().map_or(0, |table| table.bytes.len());
        let host = table + size_of_val(self.embedding.masks.as_slice());
        let host = if self.device.is_cpu() { host } else { 0 };
        let adapters = self.layers.iter().filter_map(|layer| layer.adapters.as_ref());
        let adapters: u64 = adapters.map(Adapters::bytes).sum();
        self.streamed_bytes() + adapters + (small + host) as u64
    }

    /// Bytes of a number of the cache and of activations.
    pub fn number_bytes(&self) -> usize {
        self.ops.number().size_in_bytes()
    }

    /// How far apart, as a share of the largest logit, two logits may be and yet change places between passes
    /// of different widths: 0 where a row's bits do not depend on the pass it sits in, as on the CPU; else 16
    /// roundings of the number type of activations (a bound to be judged by, not a proven one).
    pub fn tie_width(&self) -> f64 {
        const ROUNDINGS: f64 = 16.0;
        if self.ops.is_fused() {
            return 0.0;
        }
        ROUNDINGS
            * match self.ops.number() {
                DType::BF16 => f64::from(half::bf16::EPSILON),
                DType::F16 => f64::from(half::f16::EPSILON),
                _ => f64::from(f32::EPSILON),
            }
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Positions that caches grow by: the lanes of the kernels' vectors, or the steps of passes of fixed shape.
    pub fn cache_step(&self) -> usize {
        if self.repeating.is_some() { STEP } else { LANES }
    }

    /// A cache for at least `capacity` positions.
    ///
    /// # Errors
    /// When the memory is refused.
    pub fn new_cache(&self, capacity: usize) -> Result<KvCache> {
        let capacity = capacity.next_multiple_of(self.cache_step());
        let (layers, panels) = (self.layers.len(), self.ops.is_fused());
        KvCache::new(layers, self.heads(), capacity, panels, self.ops.number(), &self.device)
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
        let plain = |layer: &Layer| -> Result<Layer> {
            Ok(Layer {
                qkv: layer.qkv.to_plain(&self.device)?,
                attention_out: layer.attention_out.to_plain(&self.device)?,
                gate_up: layer.gate_up.to_plain(&self.device)?,
                down: layer.down.to_plain(&self.device)?,
                ..layer.clone()
            })
        };
        Ok(Self {
            base_distance: self.base_distance,
            config: self.config.clone(),
            device: self.device.clone(),
            ops: Arc::clone(&self.ops),
            embedding: self.embedding.clone(),
            layers: self.layers.iter().map(plain).collect::<Result<_>>()?,
            norm: self.norm.clone(),
            head: self.head.to_plain(&self.device)?,
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

/// The rotary angles of texts of up to `context` tokens, and how long such texts may be. Draft rows may stand a
/// little beyond their end.
fn rotary(config: &ModelConfig, context: usize) -> Result<(Rotary, usize)> {
    let rope = config.rope_for(context.min(config.positions())).map_err(Error::invalid)?;
    let positions = rope.limit.unwrap_or(usize::MAX).min(config.positions());
    let rotary = Rotary::new(rope.frequencies, rope.scale, positions + Predictors::MAX + 1);
    Ok((rotary, positions))
}

/// The operations that suit a device.
fn ops_for(options: &LoadOptions) -> Ops {
    if options.composed || !options.device.is_cpu() {
        return Ops::composed(number_on_device(options.dtype));
    }
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    Ops::fused(threads, Isa::detect())
}

/// The number type of activations and cache on a device, where the weights are of `dtype`: that of the weights,
/// and halves where those are codes.
fn number_on_device(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F32 => DType::F32,
        Dtype::Bf16 => DType::BF16,
        _ => DType::F16,
    }
}

/// SHA-256 over the configuration and the weights, before widening.
fn content_hash(config: &ModelConfig, source: &dyn WeightSource) -> Result<String> {
    let config = serde_json::to_string(config).map_err(|e| Error::invalid(e.to_string()))?;
    let digest = Sha256::digest(config + &source.content_hash()?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AdapterConfig, S3dConfig};
    use crate::decode::observer::Silent;
    use crate::decode::trace_text::trace_text;
    use crate::weights::encoded::{decode_row, encode_row};
    use s3d_data::{Drafting, Skip, SkipWindow};

    fn config() -> ModelConfig {
        ModelConfig {
            hidden_size: 40,
            intermediate_size: 50,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            head_dim: Some(12),
            vocab_size: 13,
            s3d: Some(S3dConfig { masks: 3, ..S3dConfig::default() }),
            ..ModelConfig::story()
        }
    }

    fn model(ops: Ops) -> Model {
        Model::build(&Seeded::new(1), &config(), &LoadOptions::default(), ops, "test").unwrap()
    }

    /// The same with adapters.
    fn adapted(ops: Ops) -> Model {
        let adapters = Some(AdapterConfig { rank: 3, alpha: 4.0 });
        let s3d = Some(S3dConfig { masks: 3, adapters, ..S3dConfig::default() });
        let config = ModelConfig { s3d, ..config() };
        Model::build(&Seeded::new(1), &config, &LoadOptions::default(), ops, "test").unwrap()
    }

    /// Logits of a text in three passes, and of a draft after it.
    fn logits(model: &Model) -> Vec<Vec<f32>> {
        let skip = Skip::from(SkipWindow::new(1, 3).unwrap());
        let mut cache = model.new_cache(40).unwrap();
        let mut all = Vec::new();
        for text in [&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11][..], &[12], &[0, 3, 6]] {
            let pass = model.full_pass(text, &mut cache, &mut Silent).unwrap();
            all.extend(pass.to_vec2::<f32>().unwrap());
        }
        let pass =
            model.draft_pass(Drafting::Simultaneous, 5, 3, &skip, &mut cache, &mut Silent).unwrap();
        all.extend(pass.to_vec2::<f32>().unwrap());
        all
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for build in [model, adapted] {
            let portable = logits(&build(Ops::fused(1, Isa::Portable)));
            for isa in Isa::available() {
                assert_eq!(logits(&build(Ops::fused(2, isa))), portable, "{isa:?}");
            }
        }
    }

    /// Weights of a seed, rounded to a number type and given as numbers.
    struct Rounded(Dtype);

    impl WeightSource for Rounded {
        fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
            let mut weights = Seeded::new(1).tensor(name, shape)?;
            let tables = name.contains("embed") || name.contains("lm_head");
            let dtype = if tables { self.0.of_tables() } else { self.0 };
            if let (&[_, columns], false) = (shape, name.contains("mask")) {
                let mut raw = vec![0; s3d_kernels::packed::row_bytes(dtype, columns)];
                for row in weights.chunks_exact_mut(columns) {
                    encode_row(dtype, row, &mut raw);
                    decode_row(dtype, &raw, row);
                }
            }
            Ok(weights)
        }

        fn names(&self) -> Vec<String> {
            Vec::new()
        }

        fn content_hash(&self) -> Result<String> {
            Ok(String::new())
        }
    }

    #[test]
    fn logits_in_a_number_type_are_those_of_its_weights() {
        let config = ModelConfig {
            hidden_size: 256,
            intermediate_size: 256,
            head_dim: Some(64),
            ..config()
        };
        let run = |source: &dyn WeightSource, dtype| {
            let options = LoadOptions { dtype, ..LoadOptions::default() };
            let ops = Ops::fused(2, Isa::detect());
            logits(&Model::build(source, &config, &options, ops, "test").unwrap()).concat()
        };
        let size = |x: &[f32]| x.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        let gap = |x: &[f32], y: &[f32]| {
            size(&x.iter().zip(y).map(|(x, y)| x - y).collect::<Vec<_>>()) / size(y)
        };
        let exact = run(&Rounded(Dtype::F32), Dtype::F32);
        for dtype in Dtype::ENGINE {
            let rounded = run(&Rounded(dtype), Dtype::F32);
            let found = run(&Rounded(Dtype::F32), dtype);
            if dtype.is_quantized() {
                // Activations in 8 bits cost no more than weights in 8 bits or fewer do.
                let (own, weights) = (gap(&found, &rounded), gap(&rounded, &exact));
                assert!(own < 1.5 * weights && own < 0.03, "{dtype}: {own} {weights}");
            } else {
                assert_eq!(found, rounded, "{dtype}");
            }
        }
    }

    #[test]
    fn composed_operations_compute_the_same_function() {
        compare(&model(Ops::fused(1, Isa::detect())), &model(Ops::composed(DType::F32)));
        compare(&adapted(Ops::fused(1, Isa::detect())), &adapted(Ops::composed(DType::F32)));
    }

    fn compare(fused: &Model, composed: &Model) {
        for (fused, composed) in
            logits(fused).iter().flatten().zip(logits(composed).iter().flatten())
        {
            assert!((fused - composed).abs() < 1e-4, "{fused} {composed}");
        }
        let skips = [Skip::from(SkipWindow::new(1, 3).unwrap())];
        for drafting in Drafting::ALL {
            let trace = |model| {
                trace_text(model, &[1, 2, 3], &[4, 5, 6, 7, 8, 9], drafting, &skips, 4, false)
                    .unwrap()
            };
            assert_eq!(trace(fused), trace(composed));
        }
    }

    #[test]
    fn composed_operations_run_every_number_type() {
        let config = ModelConfig {
            hidden_size: 256,
            intermediate_size: 256,
            head_dim: Some(64),
            ..config()
        };
        let size = |x: &[f32]| x.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        for dtype in Dtype::ENGINE {
            let options = LoadOptions { dtype, ..LoadOptions::default() };
            let run = |ops| {
                let source = Seeded::new(1);
                logits(&Model::build(&source, &config, &options, ops, "test").unwrap()).concat()
            };
            let number = number_on_device(dtype);
            let exact = run(Ops::fused(1, Isa::detect()));
            let found = run(Ops::composed(number));
            // source: some 20 roundings of the number type one after the other; codes of activations differ
            // between the kernels by one in 127 at most
            let bound = match number {
                DType::F32 => 1e-5,
                DType::F16 if dtype.is_quantized() => 2e-2,
                DType::F16 => 5e-3,
                _ => 4e-2,
            };
            let gap: Vec<f32> = found.iter().zip(&exact).map(|(x, y)| x - y).collect();
            let gap = size(&gap) / size(&exact);
            assert!(gap < bound, "{dtype}: {gap}");
        }
    }

    #[test]
    fn on_a_device_texts_may_differ_at_near_ties_alone() {
        let of = |ops| model(ops).tie_width();
        assert_eq!(of(Ops::fused(1, Isa::detect())), 0.0);
        // source: unit in the last place of 1: 2^-23, 2^-10, 2^-7
        assert_eq!(of(Ops::composed(DType::F32)), 16.0 * 2.0f64.powi(-23));
        assert_eq!(of(Ops::composed(DType::F16)), 16.0 * 2.0f64.powi(-10));
        assert_eq!(of(Ops::composed(DType::BF16)), 16.0 * 2.0f64.powi(-7));
    }

    #[test]
    fn composed_operations_read_long_prompts_in_parts() {
        let tokens: Vec<u32> = (0..600).map(|i| i % 13).collect();
        let last = |ops| {
            let model = model(ops);
            let mut cache = model.new_cache(601).unwrap();
            model.prompt_pass(&tokens, &mut cache, &mut Silent).unwrap();
            let next = model.full_pass(&[7], &mut cache, &mut Silent).unwrap();
            next.to_vec2::<f32>().unwrap().concat()
        };
        let (fused, composed) =
            (last(Ops::fused(2, Isa::detect())), last(Ops::composed(DType::F32)));
        for (fused, composed) in fused.iter().zip(&composed) {
            assert!((fused - composed).abs() < 1e-4, "{fused} {composed}");
        }
    }
}
