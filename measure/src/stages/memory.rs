//! Memory: computed from the shape, and measured as the peak resident set of a child process that
//! loads the model and decodes. Both are written down, and they must agree.

use crate::bench::Bench;
use crate::error::{Error, Result};
use crate::machine::kilobytes;
use crate::warning::Warning;
use s3d_data::memory::{Held, Load, Memory, Method};
use s3d_data::{Bytes, Dtype, MemoryItem, MemoryRecord, ModelShape, Observation, Origin};
use s3d_model::device::{self, memory_pool};
use s3d_model::{LoadOptions, Model, ModelConfig, Silent};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::process::Command;

/// What a process that only loads and decodes needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peak {
    /// Resident before the model was loaded: the program, once it has run a model of no size and
    /// read the tokenizer.
    pub program_bytes: Bytes,
    /// Resident at most while decoding.
    pub peak_bytes: Bytes,
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
    let held = held_by(model, request.provenance.dtype.parse()?);
    let mut records = computed(&model.shape(), &held, context, width);
    let needed: Bytes = records.iter().map(|record| record.bytes).sum();
    let mut program = Bytes(0);
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

/// What a model takes on a card, from its pool, and in the driver's view everything that is taken
/// there. Other models that are loaded count for the driver alone.
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
        (MemoryItem::Peak, Bytes(model.weight_bytes()) + rise.added()),
        (MemoryItem::Driver, rise.driver),
    ]
    .map(|(item, bytes)| row(item, context, width, bytes, Origin::Measured))
    .to_vec())
}

/// How the loaded model, stored as `dtype`, is held: exact bytes of its weights, masks left out.
pub(crate) fn held_by(model: &Model, dtype: Dtype) -> Held {
    let engine = model.device().engine();
    let shape = model.shape();
    let computed = Held::computed(&shape, dtype, engine);
    let load = Load { context: 0, width: 0, batch: 0 };
    let masks = Memory::of(&shape, &computed, load, &all_masks(&shape)).method_bytes;
    Held {
        weights: Bytes(model.weight_bytes().saturating_sub(masks.0)),
        number_bytes: model.number_bytes() as u64,
        cache_step: model.cache_step(),
        ..computed
    }
}

/// All masks of the checkpoint, whatever a plan uses.
fn all_masks(shape: &ModelShape) -> Method {
    Method::S3d { predictors: shape.masks + 1 }
}

/// What a model of `shape` needs to decode up to `context` tokens with passes up to `width` tokens,
/// beside the program itself, by cause.
pub fn computed(
    shape: &ModelShape,
    held: &Held,
    context: usize,
    width: usize,
) -> Vec<MemoryRecord> {
    let load = Load { context, width, batch: 1 };
    let memory = Memory::of(shape, held, load, &all_masks(shape));
    [
        (MemoryItem::Weights, memory.weights_bytes),
        (MemoryItem::KvCache, memory.kv_cache_bytes),
        (MemoryItem::Activations, memory.activations_bytes),
        (MemoryItem::Masks, memory.method_bytes),
    ]
    .map(|(item, bytes)| row(item, context, width, bytes, Origin::Computed))
    .to_vec()
}

fn row(
    item: MemoryItem,
    context: usize,
    width: usize,
    bytes: Bytes,
    origin: Origin,
) -> MemoryRecord {
    MemoryRecord { item, context, width, bytes, origin }
}

/// For the child process: loads a model by `load`, fills a cache up to `context` tokens, makes a
/// pass of `width` tokens, and says what was resident at most. Loading itself, which reads and
/// converts, is not counted where the system lets the mark be reset (Linux 4.0 and later). What
/// `prepare` makes (a tokenizer) counts as the program's, whatever the model's size.
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
    give_back_free_memory();
    let program_bytes = resident("VmRSS")?;
    drop(prepared); // loading makes it again, in the same place
    let model = load()?;
    // proc(5): writing 5 to clear_refs resets the peak of the resident set. Not a record: no store.
    let _ = fs::write("/proc/self/clear_refs", "5");
    run(&model, context, width)?;
    Ok(Peak { program_bytes, peak_bytes: resident("VmHWM")? })
}

/// Gives memory that is free, but still with this process, back to the system (with glibc): what
/// reading a tokenizer or a file leaves behind, tens of megabytes for a vocabulary of 49,152
/// tokens.
pub fn give_back_free_memory() {
    // SAFETY: gives free pages of the heap back to the system, and touches nothing that is held.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
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

/// A size of this process (proc(5), `status`).
fn resident(field: &str) -> Result<Bytes> {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    kilobytes(&text, field)
        .ok_or_else(|| Error::invalid(format!("this system does not tell {field} of a process")))
}

/// Starts `command`, which prints a [`Peak`] as JSON in its last line.
///
/// # Errors
/// When it cannot be started, fails, or prints something else.
pub(crate) fn peak_of_child(command: &[OsString]) -> Result<Peak> {
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
    use s3d_data::memory::Engine;

    #[test]
    fn a_model_says_what_it_holds_and_the_formula_agrees() {
        let config = ModelConfig { s3d: None, ..ModelConfig::story() };
        for dtype in Dtype::ENGINE {
            let options = LoadOptions { dtype, ..LoadOptions::default() };
            let model = Model::random(&config, 0, &options).unwrap();
            let held = held_by(&model, dtype);
            // source: the shape's own arithmetic; codes may keep their scales wider (q4_k: 2.8 %)
            let computed = Held::computed(&model.shape(), dtype, Engine::Cpu);
            let ratio = held.weights.0 as f64 / computed.weights.0 as f64;
            assert!((0.999..1.03).contains(&ratio), "{dtype}: {ratio}");
            assert_eq!((held.number_bytes, held.cache_step), (4, computed.cache_step));
        }
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
            let (free, total) = (Bytes(20_000), Bytes(80_000));
            Ok(device::Room { free, total })
        }
    }

    #[test]
    fn pool_and_driver_are_both_recorded() {
        let model = smallest().unwrap();
        let rows = on_device(&SteadyPool, &model, 8, 2).unwrap();
        let found: Vec<_> = rows.iter().map(|r| (r.item, r.bytes, r.origin)).collect();
        let expected = Bytes(model.weight_bytes() + 1000);
        let measured = Origin::Measured;
        assert_eq!(
            found,
            [(MemoryItem::Peak, expected, measured), (MemoryItem::Driver, Bytes(60_000), measured)]
        );
    }

    #[test]
    fn a_child_that_fails_or_babbles_is_reported() {
        let ask = |words: &[&str]| {
            let command: Vec<OsString> = words.iter().map(OsString::from).collect();
            peak_of_child(&command).map_err(|e| e.to_string())
        };
        let line = r#"{"program_bytes":5,"peak_bytes":9}"#;
        assert_eq!(
            ask(&["echo", line]),
            Ok(Peak { program_bytes: Bytes(5), peak_bytes: Bytes(9) })
        );
        assert!(ask(&["echo", "hello"]).unwrap_err().contains("found 'hello'"));
        assert!(ask(&["false"]).unwrap_err().contains("'false'"));
        assert!(ask(&["/no/such/program"]).is_err() && ask(&[]).is_err());
    }
}
