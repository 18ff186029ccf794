//! Peak memory of a plan: weights, KV cache, activations of the widest pass, and what a method adds.
//!
//! Computed from the model's shape (cost model, section 5). Methods: S3D adds `gamma - 1` mask
//! embeddings; EAGLE about one decoder layer, its cache and a projection (arXiv 2401.15077); Medusa
//! one residual block and one vocabulary-sized head per predictor (arXiv 2401.10774); a separate
//! draft model all of itself.

use s3d_data::{Bytes, Dtype, ModelShape};
use serde::Serialize;

/// Bytes of a number that is not in a matrix (cache, activations, masks, norms) where most engines
/// keep it: in halves, but for models in f32.
pub fn plain_bytes(format: Dtype) -> f64 {
    if format == Dtype::F32 { 4.0 } else { 2.0 }
}

/// [`plain_bytes`] on a device: on the CPU this project's engine keeps all of it in f32.
pub fn plain_bytes_on(device: &str, format: Dtype) -> f64 {
    if device == "cpu" { 4.0 } else { plain_bytes(format) }
}

/// Bytes of the weights that every pass reads: all layers and the head. The embedding is looked up.
pub fn streamed_bytes(shape: &ModelShape, format: Dtype) -> f64 {
    let head = (shape.vocab * shape.hidden) as u64;
    let layers = shape.layers as u64 * shape.layer_parameters();
    format.bytes(layers) + format.of_tables().bytes(head)
}

/// What speculation adds to the model.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// Nothing: plain decoding, or sequential self-speculation.
    Plain,
    /// Mask embeddings: one fewer than the predictors.
    S3d {
        /// Tokens drafted.
        predictors: usize,
    },
    /// One decoder layer with its cache and a projection of two hidden states to one.
    Eagle,
    /// A residual block and a vocabulary-sized head for each predictor.
    Medusa {
        /// Heads.
        predictors: usize,
    },
    /// A second model with its own cache.
    DraftModel {
        /// Its shape.
        shape: Box<ModelShape>,
        /// How it is stored.
        format: Dtype,
    },
}

/// For what the memory is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Tokens held in the cache.
    pub context: usize,
    /// The widest pass of decoding: `gamma + 1`.
    pub width: usize,
    /// Texts decoded at once.
    pub batch: usize,
}

/// Peak memory by cause, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The target model's weights.
    pub weights_bytes: Bytes,
    /// Its KV cache.
    pub kv_cache_bytes: Bytes,
    /// Activations of the widest pass: residual, MLP, attention scores, logits.
    pub activations_bytes: Bytes,
    /// What the method adds.
    pub method_bytes: Bytes,
    /// All of them.
    pub peak_bytes: Bytes,
}

/// Peak memory of `shape` stored as `format`, under `load`, with what `method` adds.
pub fn memory(shape: &ModelShape, format: Dtype, load: Load, method: &Method) -> Memory {
    memory_with(shape, format, plain_bytes(format), load, method)
}

/// [`memory`] with `plain` bytes for every number that is not in a matrix.
pub fn memory_with(
    shape: &ModelShape,
    format: Dtype,
    plain: f64,
    load: Load,
    method: &Method,
) -> Memory {
    let parts = [
        weights(shape, format, plain),
        cache(shape, plain, load),
        activations(shape, plain, load),
        added(shape, format, plain, load, method),
    ]
    .map(|bytes| Bytes(bytes.round() as u64));
    let [weights_bytes, kv_cache_bytes, activations_bytes, method_bytes] = parts;
    let peak_bytes = Bytes(parts.iter().map(|part| part.0).sum());
    Memory { weights_bytes, kv_cache_bytes, activations_bytes, method_bytes, peak_bytes }
}

/// Matrices in their format, embedding and head in that of tables, adapters in theirs (they are held
/// whatever the method), norms at plain precision. Mask embeddings belong to the method.
fn weights(shape: &ModelShape, format: Dtype, plain: f64) -> f64 {
    let norms = (2 * shape.layers * shape.hidden + shape.hidden) as u64;
    let masks = (shape.masks * shape.hidden) as u64;
    let table = (shape.vocab * shape.hidden) as u64;
    let tables = if shape.tied { table } else { 2 * table };
    let adapters = shape.layers as u64 * shape.adapter_parameters();
    format.bytes(shape.parameters() - norms - masks - tables - adapters)
        + format.of_tables().bytes(tables)
        + format.of_adapters().bytes(adapters)
        + plain * norms as f64
}

fn cache(shape: &ModelShape, plain: f64, load: Load) -> f64 {
    let tokens = load.batch * (load.context + load.width);
    plain * shape.kv_elements_per_token() as f64 * tokens as f64
}

/// The largest set alive at once: residual and normed input, beside query, key, value and scores,
/// or gate, up and product, or logits (always 4 bytes).
fn activations(shape: &ModelShape, plain: f64, load: Load) -> f64 {
    let attention = (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim
        + shape.heads * (load.context + load.width);
    let mlp = 3 * shape.intermediate;
    let logits = shape.vocab as f64 * 4.0;
    let inner = (plain * attention.max(mlp) as f64).max(logits);
    let residual = plain * (2 * shape.hidden) as f64;
    (load.batch * load.width) as f64 * (residual + inner)
}

fn added(shape: &ModelShape, format: Dtype, plain: f64, load: Load, method: &Method) -> f64 {
    let hidden = shape.hidden as u64;
    match method {
        Method::Plain => 0.0,
        Method::S3d { predictors } => plain * (predictors.saturating_sub(1) * shape.hidden) as f64,
        Method::Eagle => {
            format.bytes(shape.layer_parameters() + 2 * hidden * hidden)
                + cache(shape, plain, load) / shape.layers as f64
        }
        Method::Medusa { predictors } => {
            let head = hidden * hidden + hidden * shape.vocab as u64;
            *predictors as f64 * format.bytes(head)
        }
        Method::DraftModel { shape, format } => {
            let draft = memory(shape, *format, load, &Method::Plain);
            draft.peak_bytes.0 as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama_7b() -> ModelShape {
        ModelShape {
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
        }
    }

    const LOAD: Load = Load { context: 2043, width: 5, batch: 1 };

    #[test]
    fn llama_2_7b_at_f16() {
        // source: 6,738,415,616 parameters x 2; 512 KiB of cache a token (arXiv 2307.09288)
        let found = memory(&llama_7b(), Dtype::F16, LOAD, &Method::Plain);
        assert_eq!(found.weights_bytes, Bytes(13_476_831_232));
        assert_eq!(found.kv_cache_bytes, Bytes(2048 * 524_288));
        assert_eq!(found.method_bytes, Bytes(0));
        // source: by hand: 5 rows of 2 (2 * 4096) + max(2 * 81,920, 2 * 33,024, 4 * 32,000) bytes
        assert_eq!(found.activations_bytes, Bytes(5 * (2 * 8192 + 2 * 81_920)));
    }

    #[test]
    fn what_methods_add() {
        let added = |method| memory(&llama_7b(), Dtype::F16, LOAD, &method).method_bytes.0;
        // source: by hand. 3 embeddings of 4096 halves; a layer has 202,383,360 parameters.
        assert_eq!(added(Method::S3d { predictors: 4 }), 3 * 4096 * 2);
        assert_eq!(added(Method::Eagle), 2 * (202_383_360 + 2 * 4096 * 4096) + 2048 * 16_384);
        assert_eq!(added(Method::Medusa { predictors: 4 }), 4 * 2 * 4096 * (4096 + 32_000));
        let draft = Method::DraftModel { shape: Box::new(llama_7b()), format: Dtype::F16 };
        let plain = memory(&llama_7b(), Dtype::F16, LOAD, &Method::Plain).peak_bytes.0;
        assert_eq!(added(draft), plain);
    }

    #[test]
    fn quantized_weights_keep_their_tables_in_8_bits() {
        // source: by hand: 32 x 202,375,168 weights of 18 / 32 bytes, 2 x 131,072,000 of 34 / 32, and
        // 65 norms of 4096 halves
        let found = memory(&llama_7b(), Dtype::Q4_0, LOAD, &Method::Plain);
        let layers = 32 * 202_375_168 * 18 / 32;
        assert_eq!(found.weights_bytes, Bytes(layers + 2 * 131_072_000 * 34 / 32 + 65 * 4096 * 2));
        let streamed = streamed_bytes(&llama_7b(), Dtype::F32);
        assert_eq!(streamed, 4.0 * (32.0 * 202_383_360.0 + 131_072_000.0));
    }
}
