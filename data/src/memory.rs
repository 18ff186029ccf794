//! Peak memory of decoding with a model: the one formula that measurements are checked against,
//! that plans are chosen by, and that a model without room is refused by.
//!
//! Peak = program + weights + key-value cache + activations of the widest pass + what a method adds
//! (cost model, section 5). Methods: S3D adds `gamma - 1` mask embeddings; EAGLE about one decoder
//! layer, its cache and a projection (arXiv 2401.15077); Medusa one residual block and one
//! vocabulary-sized head per predictor (arXiv 2401.10774); a separate draft model all of itself.
//! What an engine holds while it computes is its own, so activations are counted by [`Engine`].

mod added;

pub use added::{Added, without_drafting};

use crate::dtype::Dtype;
use crate::records::memory::{MemoryItem, MemoryRecord, Origin};
use crate::records::observation::Observations;
use crate::run::RunHeader;
use crate::shape::ModelShape;
use crate::units::Bytes;
use serde::Serialize;

/// Whose passes hold activations, and where masks and the embedding lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// This project's CPU kernels: all numbers outside matrices in f32, the whole prompt in one
    /// pass, no table of attention scores.
    Cpu,
    /// This project's engine on a card: embedding and masks stay in the host's memory, attention
    /// holds the scores of some rows at a time.
    Card,
    /// The same on a Vulkan device: all numbers outside matrices in f32, no table of attention
    /// scores, and memory of activations that is kept for the next pass.
    Gpu,
    /// Any other engine, as papers count: passes of decoding alone.
    Other,
}

impl Engine {
    /// Positions that the cache of this project's engine grows by.
    const CACHE_STEP: usize = 16;

    /// The engine behind a run's `device`: `cpu`, `cuda:N`, `gpu:N`, or what another engine or a
    /// data sheet named.
    pub fn of_device(name: &str) -> Self {
        match name {
            "cpu" => Self::Cpu,
            card if card.starts_with("cuda") => Self::Card,
            gpu if gpu.starts_with("gpu") => Self::Gpu,
            _ => Self::Other,
        }
    }

    /// Bytes of a number that is not in a matrix (cache, activations, norms).
    pub fn number_bytes(self, dtype: Dtype) -> u64 {
        if matches!(self, Self::Cpu | Self::Gpu) || dtype == Dtype::F32 { 4 } else { 2 }
    }

    /// Whether embedding and masks lie in the memory of the host, beside the device's.
    fn leaves_tables_behind(self) -> bool {
        matches!(self, Self::Card | Self::Gpu)
    }
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

/// How a model is held, whatever is decoded with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Who computes.
    pub engine: Engine,
    /// How its matrices are stored.
    pub dtype: Dtype,
    /// Weights and adapters on the device, masks left out.
    pub weights: Bytes,
    /// Bytes of a number of the cache and of activations.
    pub number_bytes: u64,
    /// Positions that the cache grows by.
    pub cache_step: usize,
    /// Resident before the model was loaded; 0 where that was not measured.
    pub program: Bytes,
}

impl Held {
    /// What a model of `shape` holds when stored as `dtype`, computed from its shape.
    pub fn computed(shape: &ModelShape, dtype: Dtype, engine: Engine) -> Self {
        let number_bytes = engine.number_bytes(dtype);
        Self {
            engine,
            dtype,
            weights: weights(shape, dtype, engine, number_bytes),
            number_bytes,
            cache_step: if engine == Engine::Other { 1 } else { Engine::CACHE_STEP },
            program: Bytes(0),
        }
    }

    /// What the model of a run holds: computed, with the program's share and the exact bytes of the
    /// weights where the run has them. None where the model's shape is not known.
    ///
    /// # Errors
    /// A number type that is not known.
    pub fn of_run(
        header: &RunHeader,
        observations: &Observations,
    ) -> crate::error::Result<Option<Self>> {
        let shape = &header.model.shape;
        if !shape.is_known() {
            return Ok(None);
        }
        let engine = Engine::of_device(&header.device);
        let mut held = Self::computed(shape, header.dtype.parse()?, engine);
        let found = |item, origin| {
            let is = |record: &&MemoryRecord| record.item == item && record.origin == origin;
            observations.memory.iter().find(is).map(|record| record.bytes)
        };
        if engine != Engine::Other {
            held.weights = found(MemoryItem::Weights, Origin::Computed).unwrap_or(held.weights);
            held.program = found(MemoryItem::Program, Origin::Measured).unwrap_or(held.program);
        }
        Ok(Some(held))
    }
}

/// Peak memory by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The program itself, where it was measured.
    pub program_bytes: Bytes,
    /// The target model's weights.
    pub weights_bytes: Bytes,
    /// Its KV cache.
    pub kv_cache_bytes: Bytes,
    /// Activations of the widest pass.
    pub activations_bytes: Bytes,
    /// What the method adds.
    pub method_bytes: Bytes,
    /// All of them.
    pub peak_bytes: Bytes,
}

impl Memory {
    /// Peak memory of a model of `shape` stored as `dtype` in another engine, computed as papers
    /// do.
    pub fn elsewhere(shape: &ModelShape, dtype: Dtype, load: Load, method: &Method) -> Self {
        Self::of(shape, &Held::computed(shape, dtype, Engine::Other), load, method)
    }

    /// Peak memory of a model of `shape`, held as `held`, under `load`, with what `method` adds.
    pub fn of(shape: &ModelShape, held: &Held, load: Load, method: &Method) -> Self {
        let program_bytes = held.program;
        let weights_bytes = held.weights;
        let kv_cache_bytes = cache(shape, held, load);
        let activations_bytes = Bytes(activations(shape, held, load));
        let method_bytes = added(shape, held, load, method);
        let parts = [program_bytes, weights_bytes, kv_cache_bytes, activations_bytes, method_bytes];
        let peak_bytes = Bytes(parts.iter().map(|part| part.0).sum());
        Self {
            program_bytes,
            weights_bytes,
            kv_cache_bytes,
            activations_bytes,
            method_bytes,
            peak_bytes,
        }
    }
}

/// Bytes of the weights that every pass reads: all layers and the head. The embedding is looked up.
pub fn streamed_bytes(shape: &ModelShape, dtype: Dtype) -> f64 {
    let head = (shape.vocab * shape.hidden) as u64;
    let layers = shape.layers as u64 * shape.layer_parameters();
    dtype.bytes(layers) + dtype.of_tables().bytes(head)
}

/// Matrices in their format, embedding and head in that of tables, adapters in theirs (they are
/// held whatever the method), norms as plain numbers. A card holds the head and not the embedding,
/// even where they are one table. A draft head is a copy of some of the head's rows. Mask
/// embeddings belong to the method.
fn weights(shape: &ModelShape, dtype: Dtype, engine: Engine, number_bytes: u64) -> Bytes {
    let norms = (2 * shape.layers * shape.hidden + shape.hidden) as u64;
    let layer_norms = (2 * shape.hidden) as u64;
    let matrices = shape.layers as u64 * (shape.layer_parameters() - layer_norms);
    let table = (shape.vocab * shape.hidden) as u64;
    let one = shape.tied || engine.leaves_tables_behind();
    let tables = if one { table } else { 2 * table };
    let bytes = dtype.bytes(matrices) + dtype.of_tables().bytes(tables);
    let drafting = adapter_bytes(shape, dtype).0 + draft_head_bytes(shape, dtype).0;
    Bytes(bytes.round() as u64 + drafting + norms * number_bytes)
}

/// The adapters of draft rows.
fn adapter_bytes(shape: &ModelShape, dtype: Dtype) -> Bytes {
    let adapters = shape.layers as u64 * shape.adapter_parameters();
    Bytes(dtype.of_adapters().bytes(adapters).round() as u64)
}

/// The copy of some rows of the head.
fn draft_head_bytes(shape: &ModelShape, dtype: Dtype) -> Bytes {
    let rows = (shape.draft_vocab * shape.hidden) as u64;
    Bytes(dtype.of_tables().bytes(rows).round() as u64)
}

fn cache(shape: &ModelShape, held: &Held, load: Load) -> Bytes {
    let positions = (load.context + load.width).next_multiple_of(held.cache_step);
    let tokens = (load.batch * positions) as u64;
    Bytes(shape.kv_elements_per_token() * tokens * held.number_bytes)
}

/// The largest set of numbers alive at once, in bytes.
fn activations(shape: &ModelShape, held: &Held, load: Load) -> u64 {
    // The prompt pass is the widest of all.
    let widest = load.context.max(load.batch * load.width);
    match held.engine {
        Engine::Cpu => cpu_numbers(shape, widest, load.batch * load.width) * held.number_bytes,
        Engine::Card => card_numbers(shape, widest) * held.number_bytes,
        Engine::Gpu => gpu_numbers(shape, widest, load.batch * load.width) * held.number_bytes,
        Engine::Other => decoding_bytes(shape, held.number_bytes, load),
    }
}

/// The residual stream, the input and the output of one matrix, of `rows` rows; or, at the end,
/// logits of the `decoded` rows that a verify pass asks for.
fn cpu_numbers(shape: &ModelShape, rows: usize, decoded: usize) -> u64 {
    let projected = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
    let attended = shape.heads * shape.head_dim;
    let attention = shape.hidden + projected + attended.max(shape.hidden);
    let mlp = 2 * shape.hidden + shape.intermediate;
    let head = 2 * decoded * shape.hidden + decoded * shape.vocab;
    (rows * attention.max(mlp)).max(head) as u64
}

/// In the MLP the residual stream, its norm, gates, ups and their product; in attention the scores
/// of some rows, masked, and as weights.
fn card_numbers(shape: &ModelShape, rows: usize) -> u64 {
    /// Rows of a prompt whose scores are held at once.
    const SCORED: usize = 256;
    let mlp = rows * (2 * shape.hidden + 3 * shape.intermediate);
    let scores = 3 * shape.heads * SCORED.min(rows) * rows;
    mlp.max(scores) as u64
}

/// Memory for rows of each width that a pass has, kept for passes over the prompt (in pieces) and
/// for those of decoding: three residual streams or norms, queries, keys and values, gates and ups,
/// their product; and logits. It is taken for a power of two of rows.
fn gpu_numbers(shape: &ModelShape, rows: usize, decoded: usize) -> u64 {
    /// Rows of one pass, at most.
    const PASS: usize = 512;
    let attended = shape.heads * shape.head_dim;
    let projected = attended + 2 * shape.kv_heads * shape.head_dim;
    let apart = if attended == shape.hidden { 0 } else { attended };
    let of_a_row = 3 * shape.hidden + projected + apart + 3 * shape.intermediate;
    let power = |rows: usize| if rows == 0 { 0 } else { rows.next_power_of_two() };
    let pieces = [PASS.min(rows / PASS * PASS), rows % PASS, decoded].map(power);
    (pieces.iter().sum::<usize>() * of_a_row + (1 + power(decoded)) * shape.vocab) as u64
}

/// Residual and normed input, beside what a layer or the head holds.
fn decoding_bytes(shape: &ModelShape, number_bytes: u64, load: Load) -> u64 {
    let inner = (number_bytes * decoding_layers(shape, load)).max(logits_of_a_row(shape));
    let residual = number_bytes * (2 * shape.hidden) as u64;
    (load.batch * load.width) as u64 * (residual + inner)
}

/// Numbers of a row within a layer: query, key, value and scores, or gate, up and product.
fn decoding_layers(shape: &ModelShape, load: Load) -> u64 {
    let attention = (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim
        + shape.heads * (load.context + load.width);
    attention.max(3 * shape.intermediate) as u64
}

/// Logits of a row in another engine: always 4 bytes each.
fn logits_of_a_row(shape: &ModelShape) -> u64 {
    shape.vocab as u64 * 4
}

fn added(shape: &ModelShape, held: &Held, load: Load, method: &Method) -> Bytes {
    let hidden = shape.hidden as u64;
    let bytes = match method {
        Method::Plain => return Bytes(0),
        Method::S3d { .. } if held.engine.leaves_tables_behind() => return Bytes(0),
        Method::S3d { predictors } => {
            return Bytes(predictors.saturating_sub(1) as u64 * hidden * held.number_bytes);
        }
        Method::Eagle => {
            held.dtype.bytes(shape.layer_parameters() + 2 * hidden * hidden)
                + cache(shape, held, load).0 as f64 / shape.layers as f64
        }
        Method::Medusa { predictors } => {
            let head = hidden * hidden + hidden * shape.vocab as u64;
            *predictors as f64 * held.dtype.bytes(head)
        }
        Method::DraftModel { shape, format } => {
            let draft = Held::computed(shape, *format, held.engine);
            return Memory::of(shape, &draft, load, &Method::Plain).peak_bytes;
        }
    };
    Bytes(bytes.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn llama_7b() -> ModelShape {
        crate::published::preset("llama-2-7b").unwrap().shape()
    }

    /// TinyLlama 1.1B with masks for up to 8 drafts.
    fn tiny_llama() -> ModelShape {
        ModelShape {
            layers: 22,
            hidden: 2048,
            intermediate: 5632,
            kv_heads: 4,
            head_dim: 64,
            masks: 7,
            ..llama_7b()
        }
    }

    const LOAD: Load = Load { context: 2043, width: 5, batch: 1 };

    fn elsewhere(dtype: Dtype, method: &Method) -> Memory {
        Memory::elsewhere(&llama_7b(), dtype, LOAD, method)
    }

    #[test]
    fn llama_2_7b_at_f16() {
        // source: 6,738,415,616 parameters x 2; 512 KiB of cache a token (arXiv 2307.09288)
        let found = elsewhere(Dtype::F16, &Method::Plain);
        assert_eq!(found.weights_bytes, Bytes(13_476_831_232));
        assert_eq!(found.kv_cache_bytes, Bytes(2048 * 524_288));
        assert_eq!((found.method_bytes, found.program_bytes), (Bytes(0), Bytes(0)));
        // source: by hand: 5 rows of 2 (2 * 4096) + max(2 * 81,920, 2 * 33,024, 4 * 32,000) bytes
        assert_eq!(found.activations_bytes, Bytes(5 * (2 * 8192 + 2 * 81_920)));
    }

    #[test]
    fn what_methods_add() {
        let added = |method| elsewhere(Dtype::F16, &method).method_bytes.0;
        // source: by hand. 3 embeddings of 4096 halves; a layer has 202,383,360 parameters.
        assert_eq!(added(Method::S3d { predictors: 4 }), 3 * 4096 * 2);
        assert_eq!(added(Method::Eagle), 2 * (202_383_360 + 2 * 4096 * 4096) + 2048 * 16_384);
        assert_eq!(added(Method::Medusa { predictors: 4 }), 4 * 2 * 4096 * (4096 + 32_000));
        let draft = Method::DraftModel { shape: Box::new(llama_7b()), format: Dtype::F16 };
        assert_eq!(added(draft), elsewhere(Dtype::F16, &Method::Plain).peak_bytes.0);
    }

    #[test]
    fn quantized_weights_keep_their_tables_in_8_bits() {
        // source: by hand: 32 x 202,375,168 weights of 18 / 32 bytes, 2 x 131,072,000 of 34 / 32,
        // and 65 norms of 4096 halves
        let found = elsewhere(Dtype::Q4_0, &Method::Plain);
        let layers = 32 * 202_375_168 * 18 / 32;
        assert_eq!(found.weights_bytes, Bytes(layers + 2 * 131_072_000 * 34 / 32 + 65 * 4096 * 2));
        let streamed = streamed_bytes(&llama_7b(), Dtype::F32);
        assert_eq!(streamed, 4.0 * (32.0 * 202_383_360.0 + 131_072_000.0));
    }

    #[test]
    fn a_draft_head_is_a_copy_of_some_rows_of_the_head_in_the_type_of_tables() {
        let with = ModelShape { draft_vocab: 8000, ..tiny_llama() };
        for engine in [Engine::Cpu, Engine::Card] {
            // source: by hand: 8000 rows of 2048 weights; with q4_0 tables are in q8_0, 34 bytes
            // for 32
            for (dtype, bytes) in
                [(Dtype::F16, 8000 * 2048 * 2), (Dtype::Q4_0, 8000 * 2048 / 32 * 34)]
            {
                let weights = |shape| Held::computed(shape, dtype, engine).weights.0;
                assert_eq!(weights(&with), weights(&tiny_llama()) + bytes);
            }
        }
        assert!(with.check().is_ok());
        assert!(ModelShape { draft_vocab: 32_001, ..with }.check().is_err());
    }

    #[test]
    fn our_engine_passes_the_prompt_at_once() {
        let shape = tiny_llama();
        let load = Load { context: 2048, width: 9, batch: 1 };
        let method = Method::S3d { predictors: 8 };
        let cpu = Held::computed(&shape, Dtype::F32, Engine::Cpu);
        let found = Memory::of(&shape, &cpu, load, &method);
        // source: 2 (K and V) x 22 layers x 4 heads x 64 x 2064 positions (2057 rounded up) x 4
        // bytes
        assert_eq!(found.kv_cache_bytes, Bytes(2 * 22 * 4 * 64 * 2064 * 4));
        // source: 2048 prompt rows x (2 x 2048 + 5632) numbers x 4 bytes
        assert_eq!(found.activations_bytes, Bytes(2048 * (2 * 2048 + 5632) * 4));
        assert_eq!(found.method_bytes, Bytes(7 * 2048 * 4));
        let card = Held::computed(&shape, Dtype::F16, Engine::Card);
        let on_card = Memory::of(&shape, &card, load, &method);
        assert_eq!(on_card.kv_cache_bytes, Bytes(2 * 22 * 4 * 64 * 2064 * 2));
        // source: scores, masked scores and weights of 32 heads, 256 rows and 2048 positions, 2
        // bytes each
        assert_eq!(on_card.activations_bytes, Bytes(3 * 32 * 256 * 2048 * 2));
        assert_eq!(on_card.method_bytes, Bytes(0));
        // source: a card holds no embedding: 32000 x 2048 numbers fewer, all of them halves
        let tables = 32_000 * 2048;
        let both = Bytes(on_card.weights_bytes.0 * 2 + tables * 4);
        assert_eq!(found.weights_bytes, both);
    }

    #[test]
    fn a_vulkan_device_keeps_rows_of_each_width_for_a_power_of_two_of_rows() {
        let shape = tiny_llama();
        let gpu = Held::computed(&shape, Dtype::Q8_0, Engine::Gpu);
        let load = Load { context: 600, width: 5, batch: 1 };
        let found = Memory::of(&shape, &gpu, load, &Method::S3d { predictors: 8 });
        // source: by hand. Pieces of 512 and 88 rows and a pass of 5 take memory for 512, 128 and 8
        // rows: 3 x 2048, 2560 and 3 x 5632 numbers each; logits of the last prompt row and of 8.
        let rows = (512 + 128 + 8) * (3 * 2048 + 2560 + 3 * 5632) + (1 + 8) * 32_000;
        assert_eq!(found.activations_bytes, Bytes(rows * 4));
        assert_eq!(found.kv_cache_bytes, Bytes(2 * 22 * 4 * 64 * 608 * 4));
        assert_eq!(found.method_bytes, Bytes(0), "masks stay on the host");
    }

    #[test]
    fn texts_at_once_share_the_weights_and_not_the_cache() {
        let shape = tiny_llama();
        let held = Held::computed(&shape, Dtype::F16, Engine::Cpu);
        let of = |batch| {
            Memory::of(&shape, &held, Load { context: 1024, width: 5, batch }, &Method::Plain)
        };
        let (one, eight) = (of(1), of(8));
        assert_eq!(eight.weights_bytes, one.weights_bytes);
        assert_eq!(eight.kv_cache_bytes.0, 8 * one.kv_cache_bytes.0);
        // source: a prompt pass of 1024 rows is wider than 8 x 5 rows of decoding
        assert_eq!(eight.activations_bytes, one.activations_bytes);
    }

    /// source: the peak resident set of a child process, in each shipped run's `memory.csv`
    #[test]
    fn computed_memory_is_within_five_percent_below_the_measured_peak_of_every_shipped_run() {
        let runs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("runs");
        let mut seen = 0;
        for entry in std::fs::read_dir(runs).unwrap() {
            let run = crate::run::RunDir::new(entry.unwrap().path()).load().unwrap();
            let is = |record: &&MemoryRecord| {
                record.item == MemoryItem::Peak && record.origin == Origin::Measured
            };
            let Some(peak) = run.observations.memory.iter().find(is) else { continue };
            let (header, shape) = (&run.header, &run.header.model.shape);
            let held = Held::of_run(header, &run.observations).unwrap().unwrap();
            let load = Load { context: peak.context, width: peak.width, batch: 1 };
            let method = Method::S3d { predictors: shape.masks + 1 };
            let computed = Memory::of(shape, &held, load, &method).peak_bytes.0;
            let share = computed as f64 / peak.bytes.0 as f64;
            assert!((0.95..=1.0).contains(&share), "{}: {share}", header.model.name);
            // The shape alone, without the weights that the run wrote down, says the same.
            let engine = Engine::of_device(&header.device);
            let alone = Held::computed(shape, header.dtype.parse().unwrap(), engine);
            assert_eq!(alone.weights, held.weights);
            seen += 1;
        }
        assert!(seen >= 4, "{seen} runs with a measured peak");
    }

    #[test]
    fn a_device_says_which_engine_computes() {
        for (device, engine) in [
            ("cpu", Engine::Cpu),
            ("cuda:0", Engine::Card),
            ("cuda:1+graphs", Engine::Card),
            ("gpu:0", Engine::Gpu),
            ("derived from the data sheet", Engine::Other),
            ("imported", Engine::Other),
        ] {
            assert_eq!(Engine::of_device(device), engine, "{device}");
        }
    }
}
