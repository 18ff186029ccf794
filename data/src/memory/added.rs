//! What drafting adds to the memory of plain decoding, by part.

use super::{Engine, Held, Load, Memory, Method, adapter_bytes, added, draft_head_bytes};
use super::{cpu_numbers, decoding_layers, logits_of_a_row};
use crate::shape::ModelShape;
use crate::units::Bytes;
use serde::Serialize;

/// What a plan holds beside plain decoding of the same model, which needs no masks, no adapters and
/// no draft head, and whose passes have one row. The parts add up to the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Added {
    /// Mask embeddings.
    pub masks_bytes: Bytes,
    /// Adapters of draft rows.
    pub adapters_bytes: Bytes,
    /// The copy of some rows of the head that draft passes multiply by.
    pub draft_head_bytes: Bytes,
    /// Cache of the rows of the widest pass beyond the first.
    pub cache_rows_bytes: Bytes,
    /// Activations of these rows, where the layers hold the most at once.
    pub activations_bytes: Bytes,
    /// Logits of these rows and what they are computed from, where the head holds the most at once.
    pub logits_bytes: Bytes,
    /// All of them.
    pub total_bytes: Bytes,
}

impl Added {
    /// What decoding by `method` under `load` adds.
    pub fn of(shape: &ModelShape, held: &Held, load: Load, method: &Method) -> Self {
        let alone = Load { width: 1, ..load };
        let drafting = Memory::of(shape, held, load, method);
        let plain = Memory::of(shape, &without_drafting(shape, held), alone, &Method::Plain);
        let rows = Bytes(drafting.activations_bytes.0.saturating_sub(plain.activations_bytes.0));
        let (activations_bytes, logits_bytes) = match head_leads(shape, held, load) {
            true => (Bytes(0), rows),
            false => (rows, Bytes(0)),
        };
        Self {
            masks_bytes: added(shape, held, load, method),
            adapters_bytes: adapter_bytes(shape, held.dtype),
            draft_head_bytes: draft_head_bytes(shape, held.dtype),
            cache_rows_bytes: Bytes(drafting.kv_cache_bytes.0 - plain.kv_cache_bytes.0),
            activations_bytes,
            logits_bytes,
            total_bytes: Bytes(drafting.peak_bytes.0.saturating_sub(plain.peak_bytes.0)),
        }
    }
}

/// The same model without what only drafting needs: no adapters, no draft head.
pub fn without_drafting(shape: &ModelShape, held: &Held) -> Held {
    let drafting = adapter_bytes(shape, held.dtype).0 + draft_head_bytes(shape, held.dtype).0;
    Held { weights: Bytes(held.weights.0.saturating_sub(drafting)), ..*held }
}

/// Whether the head holds more at once than any layer does.
fn head_leads(shape: &ModelShape, held: &Held, load: Load) -> bool {
    let decoded = load.batch * load.width;
    match held.engine {
        Engine::Cpu => {
            let rows = load.context.max(decoded);
            cpu_numbers(shape, rows, decoded) > cpu_numbers(shape, rows, 0)
        }
        // A card computes the logits of a pass row after row.
        Engine::Card => false,
        // Rows of layers and logits are kept side by side there, and counted together.
        Engine::Gpu => false,
        Engine::Other => logits_of_a_row(shape) > held.number_bytes * decoding_layers(shape, load),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;

    /// TinyLlama 1.1B with masks for up to 8 drafts, adapters and a draft head.
    fn drafting() -> ModelShape {
        let llama = crate::published::preset("tinyllama-1.1b").unwrap().shape();
        ModelShape { masks: 7, draft_vocab: 8000, adapter_rank: 16, ..llama }
    }

    fn of(shape: &ModelShape, engine: Engine, load: Load, predictors: usize) -> (Added, u64, u64) {
        let held = Held::computed(shape, Dtype::F16, engine);
        let method = Method::S3d { predictors };
        let load = Load { width: predictors + 1, ..load };
        let plain = without_drafting(shape, &held);
        let alone = Memory::of(shape, &plain, Load { width: 1, ..load }, &Method::Plain);
        let peak = Memory::of(shape, &held, load, &method).peak_bytes.0;
        (Added::of(shape, &held, load, &method), peak, alone.peak_bytes.0)
    }

    /// source: the parts of a sum add up to it: peak with drafting less peak without
    #[test]
    fn parts_add_up_to_the_whole() {
        let shape = drafting();
        for engine in [Engine::Cpu, Engine::Card, Engine::Other] {
            for (context, batch) in [(1, 1), (9, 1), (256, 1), (4096, 1), (256, 8), (40, 64)] {
                for predictors in [1, 4, 8] {
                    let load = Load { context, width: 1, batch };
                    let (added, peak, plain) = of(&shape, engine, load, predictors);
                    let parts = [
                        added.masks_bytes,
                        added.adapters_bytes,
                        added.draft_head_bytes,
                        added.cache_rows_bytes,
                        added.activations_bytes,
                        added.logits_bytes,
                    ];
                    let sum: u64 = parts.iter().map(|part| part.0).sum();
                    assert_eq!(sum, added.total_bytes.0, "{engine:?} {context} {batch}");
                    assert_eq!(sum, peak - plain, "{engine:?} {context} {batch}");
                }
            }
        }
    }

    #[test]
    fn parts_are_what_they_are_called() {
        let shape = drafting();
        let load = Load { context: 255, width: 1, batch: 1 };
        let (added, ..) = of(&shape, Engine::Cpu, load, 4);
        // source: by hand: 3 masks of 2048 numbers of 4 bytes; 8000 rows of 2048 halves; adapters
        // of their own formula; 255 + 5 positions take 272, 255 + 1 take 256: 16 more of 2 x 22
        // layers x 4 heads x 64 x 4 bytes
        assert_eq!(added.masks_bytes, Bytes(3 * 2048 * 4));
        assert_eq!(added.draft_head_bytes, Bytes(8000 * 2048 * 2));
        assert_eq!(added.adapters_bytes, adapter_bytes(&shape, Dtype::F16));
        assert!(added.adapters_bytes.0 > 0);
        assert_eq!(added.cache_rows_bytes, Bytes(16 * 2 * 22 * 4 * 64 * 4));
        // The prompt of 255 rows is wider than any pass of decoding.
        assert_eq!((added.activations_bytes, added.logits_bytes), (Bytes(0), Bytes(0)));
        // source: by hand: at one token of context 5 rows of 32,000 logits and twice 2048 numbers
        // are more than 5 rows of 2 x 2048 + 5632; plain decoding holds one such row
        let load = Load { context: 1, width: 1, batch: 1 };
        let (added, ..) = of(&shape, Engine::Cpu, load, 4);
        assert_eq!(added.logits_bytes, Bytes(4 * (32_000 + 2 * 2048) * 4));
        assert_eq!(added.activations_bytes, Bytes(0));
    }

    /// source: a longer context, a wider pass or one more text never takes less
    #[test]
    fn memory_never_falls_with_context_width_or_texts() {
        let shape = drafting();
        for engine in [Engine::Cpu, Engine::Card, Engine::Other] {
            let held = Held::computed(&shape, Dtype::F16, engine);
            let peak = |context, width, batch| {
                let method = Method::S3d { predictors: width - 1 };
                Memory::of(&shape, &held, Load { context, width, batch }, &method).peak_bytes.0
            };
            for context in 1..600 {
                assert!(peak(context, 5, 1) <= peak(context + 1, 5, 1), "{engine:?} {context}");
            }
            for width in 2..16 {
                assert!(peak(64, width, 1) <= peak(64, width + 1, 1), "{engine:?} {width}");
                assert!(peak(64, 5, width) <= peak(64, 5, width + 1), "{engine:?} {width}");
            }
        }
    }
}
