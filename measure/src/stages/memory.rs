//! Memory: computed from the shape, and measured as the peak resident set of a child process that
//! loads the model and decodes. Both are written down, and they must agree.

use crate::bench::Bench;
use crate::error::{Error, Result};
use crate::machine::kilobytes;
use crate::warning::Warning;
use s3d_data::{MemoryItem, MemoryRecord, ModelShape, Observation, Origin};
use s3d_model::device::{self, memory_pool};
use s3d_model::{LoadOptions, Model, ModelConfig, Silent};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::process::Command;

/// Bytes of one number of mask embeddings, which the host holds in f32 whatever the weights.
const NUMBER: u64 = 4;

/// What a process that only loads and decodes needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peak {
    /// Resident before the model was loaded: the program, once it has run a model of no size and read
    /// the tokenizer.
    pub program_bytes: u64,
    /// Resident at most while decoding.
    pub peak_bytes: u64,
}

/// Stage: computed records, then measured ones if there is a child to ask.
pub(crate) fn record(bench: &mut Bench<'_>) -> Result<()> {
    let (model, request) = (bench.subject.model, bench.request);
    let records = &bench.recorder.run.observations.memory;
    // One thing to measure: the last shard's.
    if !records.is_empty() || request.part(1).is_empty() {
        return Ok(());
    }
    bench.tell("peak memory in a child process")?;
    let (context, width) = (request.context, request.gamma_max.get() + 1);
    let mut records = computed(&model.shape(), Held::by(model), context, width);
    let needed: u64 = records.iter().map(|record| record.bytes).sum();
    let mut program = 0;
    if let Some(pool) = device::pool_of(model.device()) {
        records.extend(on_device(&*pool, model, context, width)?);
    } else if let Some(command) = &request.memory_child {
        match peak_of_child(command) {
            Ok(peak) => {
                program = peak.program_bytes;
                let measured = [
                    (MemoryItem::Program, peak.program_bytes),
                    (MemoryItem::Peak, peak.peak_bytes),
                ];
                records.extend(
                    measured
                        .map(|(item, bytes)| row(item, context, width, bytes, Origin::Measured)),
                );
            }
            // Times and texts are worth having without this: said, not fatal.
            Err(error) => {
                bench.warnings.push(Warning::MemoryNotMeasured { message: error.to_string() });
            }
        }
    }
    records.push(row(MemoryItem::Peak, context, width, needed + program, Origin::Computed));
    bench.recorder.append(records.into_iter().map(Observation::Memory).collect())
}

/// What a model takes on a card, from its pool, and in the driver's view everything that is taken there. Other
/// models that are loaded count for the driver alone.
fn on_device(
    pool: &dyn memory_pool::Pool,
    model: &Model,
    context: usize,
    width: usize,
) -> Result<Vec<MemoryRecord>> {
    let positions = model.positions();
    let context_run = context.min(positions.saturating_sub(width));
    let work = || run(model, context_run, width);
    let rise = memory_pool::watch(pool, work)?;
    Ok([
        (MemoryItem::Peak, model.weight_bytes() + rise.added().0),
        (MemoryItem::Driver, rise.driver.0),
    ]
    .map(|(item, bytes)| row(item, context, width, bytes, Origin::Measured))
    .to_vec())
}

/// What a model holds, and how.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Of the weights, in bytes.
    pub weights: u64,
    /// Bytes of a number of the cache and of activations.
    pub number: u64,
    /// Positions that the cache grows by.
    pub cache_step: usize,
    /// Whether on a card: embeddings are then in the host's memory, and attention keeps its scores.
    pub on_card: bool,
}

impl Held {
    fn by(model: &Model) -> Self {
        let (weights, number) = (model.weight_bytes(), model.number_bytes() as u64);
        let (cache_step, on_card) = (model.cache_step(), !model.device().is_cpu());
        Self { weights, number, cache_step, on_card }
    }
}

/// What a model of `shape` needs to decode up to `context` tokens with passes up to `width` tokens,
/// beside the program itself.
pub fn computed(shape: &ModelShape, held: Held, context: usize, width: usize) -> Vec<MemoryRecord> {
    let masks = match held.on_card {
        true => 0,
        false => (shape.masks * shape.hidden) as u64 * NUMBER,
    };
    let positions = (context + width).next_multiple_of(held.cache_step) as u64;
    // The prompt pass is the widest of all.
    let widest = context.max(width);
    let activations = match held.on_card {
        true => device::activation_numbers(shape, widest) * held.number,
        false => activation_bytes(shape, widest, width),
    };
    [
        (MemoryItem::Weights, held.weights.saturating_sub(masks)),
        (MemoryItem::KvCache, shape.kv_elements_per_token() * positions * held.number),
        (MemoryItem::Activations, activations),
        (MemoryItem::Masks, masks),
    ]
    .map(|(item, bytes)| row(item, context, width, bytes, Origin::Computed))
    .to_vec()
}

/// The most that a pass of `rows` rows holds at once: the residual stream, the input and the output
/// of one matrix; or, at the end, logits of the `width` rows that a verify pass asks for.
fn activation_bytes(shape: &ModelShape, rows: usize, width: usize) -> u64 {
    let projected = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
    let attended = shape.heads * shape.head_dim;
    let attention = shape.hidden + projected + attended.max(shape.hidden);
    let mlp = 2 * shape.hidden + shape.intermediate;
    let inside = rows * attention.max(mlp);
    let head = 2 * width * shape.hidden + width * shape.vocab;
    inside.max(head) as u64 * NUMBER
}

fn row(item: MemoryItem, context: usize, width: usize, bytes: u64, origin: Origin) -> MemoryRecord {
    MemoryRecord { item, context, width, bytes, origin }
}

/// For the child process: loads a model by `load`, fills a cache up to `context` tokens, makes a pass
/// of `width` tokens, and says what was resident at most. Loading itself, which reads and converts,
/// is not counted where the system lets the mark be reset (Linux 4.0 and later). What `prepare` makes
/// (a tokenizer) counts as the program's, whatever the model's size.
///
/// # Errors
/// When the model cannot be loaded or run, or the system does not tell.
pub fn peak_of_this_process<T>(
    prepare: impl FnOnce() -> s3d_model::Result<T>,
    load: impl FnOnce() -> s3d_model::Result<Model>,
    context: usize,
    width: usize,
) -> Result<Peak> {
    run(&smallest()?, 2, 2)?;
    let prepared = prepare()?;
    let program_bytes = resident("VmRSS")?;
    drop(prepared); // loading makes it again, in the same place
    let model = load()?;
    // proc(5): writing 5 to clear_refs resets the peak of the resident set. Not a record: no store.
    let _ = fs::write("/proc/self/clear_refs", "5");
    run(&model, context, width)?;
    Ok(Peak { program_bytes, peak_bytes: resident("VmHWM")? })
}

/// A prompt pass up to `context` tokens and a pass of `width` tokens.
fn run(model: &Model, context: usize, width: usize) -> s3d_model::Result<()> {
    let mut cache = model.new_cache(context + width)?;
    let prompt = vec![0; context.saturating_sub(1).max(1)];
    model.prompt_pass(&prompt, &mut cache, &mut Silent)?;
    model.full_pass(&vec![0; width], &mut cache, &mut Silent)?;
    Ok(())
}

/// A model of next to no size: running it brings the program's code and threads into memory.
fn smallest() -> Result<Model> {
    let config = ModelConfig {
        hidden_size: 32,
        intermediate_size: 32,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        num_key_value_heads: None,
        vocab_size: 8,
        s3d: None,
        ..ModelConfig::story()
    };
    Ok(Model::random(&config, 0, &LoadOptions::default())?)
}

/// A size of this process (proc(5), `status`), in bytes.
fn resident(field: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    kilobytes(&text, field)
        .ok_or_else(|| Error::invalid(format!("this system does not tell {field} of a process")))
}

/// Starts `command`, which prints a [`Peak`] as JSON in its last line.
///
/// # Errors
/// When it cannot be started, fails, or prints something else.
pub fn peak_of_child(command: &[OsString]) -> Result<Peak> {
    let words = || command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let fail = |message: String| Error::Child { command: words(), message };
    let [program, arguments @ ..] = command else {
        return Err(fail("expected a program to start, found nothing".into()));
    };
    // mallopt(3): a fixed threshold, so that what loading frees goes back to the system and is not
    // counted as needed. Other allocators pass over it.
    let mut child = Command::new(program);
    child.args(arguments).env("MALLOC_MMAP_THRESHOLD_", "131072");
    let output = child.output().map_err(|e| fail(e.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(fail(format!("{}: {}", output.status, text.trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .map_err(|e| fail(format!("expected the peak as JSON, found '{line}': {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TinyLlama 1.1B (Zhang et al., arXiv 2401.02385).
    fn tiny_llama() -> ModelShape {
        ModelShape {
            layers: 22,
            hidden: 2048,
            intermediate: 5632,
            heads: 32,
            kv_heads: 4,
            head_dim: 64,
            vocab: 32_000,
            tied: false,
            masks: 7,
            adapter_rank: 0,
        }
    }

    #[test]
    fn a_known_shape_needs_what_its_arithmetic_says() {
        let shape = tiny_llama();
        let weights = shape.parameters() * 4;
        let on_cpu = Held { weights, number: 4, cache_step: 16, on_card: false };
        let records = computed(&shape, on_cpu, 2048, 9);
        let bytes = |item: MemoryItem| records.iter().find(|r| r.item == item).unwrap().bytes;
        // source: 2 (K and V) x 22 layers x 4 heads x 64 x 2064 positions (2057 rounded up) x 4 bytes
        assert_eq!(bytes(MemoryItem::KvCache), 2 * 22 * 4 * 64 * 2064 * 4);
        // source: 2048 prompt rows x (2 x 2048 + 5632) numbers x 4 bytes
        assert_eq!(bytes(MemoryItem::Activations), 2048 * (2 * 2048 + 5632) * 4);
        assert_eq!(bytes(MemoryItem::Masks), 7 * 2048 * 4);
        assert_eq!(bytes(MemoryItem::Weights) + bytes(MemoryItem::Masks), weights);
        let on_card = Held { weights: weights / 2, number: 2, cache_step: 16, on_card: true };
        let records = computed(&shape, on_card, 2048, 9);
        let bytes = |item: MemoryItem| records.iter().find(|r| r.item == item).unwrap().bytes;
        assert_eq!(bytes(MemoryItem::KvCache), 2 * 22 * 4 * 64 * 2064 * 2);
        // source: scores, masked scores and weights of 32 heads, 256 rows and 2048 positions, 2 bytes each
        assert_eq!(bytes(MemoryItem::Activations), 3 * 32 * 256 * 2048 * 2);
        assert_eq!((bytes(MemoryItem::Weights), bytes(MemoryItem::Masks)), (weights / 2, 0));
    }

    /// A pool of which the work seems to take 1000 bytes.
    struct SteadyPool;

    impl memory_pool::Pool for SteadyPool {
        fn finish(&self) -> s3d_model::Result<()> {
            Ok(())
        }

        fn used(&self) -> s3d_model::Result<u64> {
            Ok(7000)
        }

        fn high(&self) -> s3d_model::Result<u64> {
            Ok(8000)
        }

        fn reset_high(&self) -> s3d_model::Result<()> {
            Ok(())
        }

        fn keep_all(&self) -> s3d_model::Result<()> {
            Ok(())
        }

        fn room(&self) -> s3d_model::Result<device::Room> {
            let (free, total) = (s3d_data::Bytes(20_000), s3d_data::Bytes(80_000));
            Ok(device::Room { free, total })
        }
    }

    #[test]
    fn pool_and_driver_are_both_recorded() {
        let model = smallest().unwrap();
        let rows = on_device(&SteadyPool, &model, 8, 2).unwrap();
        let found: Vec<_> = rows.iter().map(|r| (r.item, r.bytes, r.origin)).collect();
        let expected = model.weight_bytes() + 1000;
        let measured = Origin::Measured;
        assert_eq!(
            found,
            [(MemoryItem::Peak, expected, measured), (MemoryItem::Driver, 60_000, measured)]
        );
    }

    #[test]
    fn a_child_that_fails_or_babbles_is_reported() {
        let ask = |words: &[&str]| {
            let command: Vec<OsString> = words.iter().map(OsString::from).collect();
            peak_of_child(&command).map_err(|e| e.to_string())
        };
        let line = r#"{"program_bytes":5,"peak_bytes":9}"#;
        assert_eq!(ask(&["echo", line]), Ok(Peak { program_bytes: 5, peak_bytes: 9 }));
        assert!(ask(&["echo", "hello"]).unwrap_err().contains("found 'hello'"));
        assert!(ask(&["false"]).unwrap_err().contains("'false'"));
        assert!(ask(&["/no/such/program"]).is_err() && ask(&[]).is_err());
    }
}
