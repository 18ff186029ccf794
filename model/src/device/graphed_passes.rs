//! Passes of fixed shape, which a device can record once and repeat with one launch.
//!
//! A pass over few rows is some twenty launches a layer, each of which costs the host microseconds:
//! at small models that, not the bytes, is its time. A recorded pass costs one launch, but repeats
//! exactly what was recorded: the same shapes over the same memory. So all that changes from pass
//! to pass stands in buffers that are filled before it: the rows' embeddings, their angles, where
//! they are written, and which of the first [`STEP`], `2 STEP`, ... positions of the cache they
//! see. A longer text needs another recording; shorter ones share it. What belongs to which buffers
//! belongs to their cache, which is why a model keeps one for the next text.
//!
//! Where a device records nothing the same operations are carried out one by one.

use crate::backend::convert::{Rows, up};
use crate::backend::embedding::Row;
use crate::backend::kv_cache::KvCache;
use crate::backend::placed::{self, Placed, Standing};
use crate::backend::recordings::{Inputs, Pass, PassShape, Passes};
use crate::decode::observer::Silent;
use crate::device::graph::record;
use crate::device::repeating::{Repeating, STEP};
use crate::error::Result;
use crate::model::Model;
use crate::model::positions::Places;
use candle_core::{DType, Device, Tensor};
use s3d_data::{Drafting, Predictors, Skip};
use s3d_kernels::rotary::Rotary;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// Rows of a pass of fixed shape, at most: those of the widest verify pass.
const MOST_ROWS: usize = Predictors::MAX + 1;
/// Recordings of a cache, at most; then all are made anew.
const MOST_PASSES: usize = 256;

impl Model {
    /// Passes that were prepared (and recorded, where the device records) so far, each the first
    /// time that one of its shape was made. What prepares passes takes longer than it does the next
    /// time.
    pub fn prepared_passes(&self) -> usize {
        self.repeating.as_ref().map_or(0, |repeating| repeating.prepared.load(Ordering::Relaxed))
    }

    /// The logits (see [`Self::draft_pass`]) of a pass of fixed shape, where this model makes such
    /// passes and the rows are few.
    pub(crate) fn repeated_pass(
        &self,
        rows: &[Row],
        draft: Option<(Drafting, &Skip)>,
        cache: &mut KvCache,
    ) -> Result<Option<Tensor>> {
        let Some(repeating) = self.repeating.as_ref().filter(|_| rows.len() <= MOST_ROWS) else {
            return Ok(None);
        };
        let places = self.places(rows, draft, cache)?;
        self.check_positions(&places)?;
        let end = cache.len() + rows.len();
        let shape = PassShape {
            rows: rows.len(),
            positions: end.next_multiple_of(STEP).min(cache.capacity()),
            skip: draft.map(|(_, skip)| skip.clone()),
            adapted: places.adapted,
        };
        let inputs = self.inputs(rows, &places, shape.positions)?;
        let mut passes = std::mem::take(&mut cache.passes);
        let logits = self.repeat(repeating, shape, inputs, &mut passes, cache);
        cache.passes = passes;
        let logits = logits?;
        cache.advance(rows.len());
        Ok(Some(logits))
    }

    fn repeat(
        &self,
        repeating: &Repeating,
        shape: PassShape,
        inputs: Inputs,
        Passes(passes): &mut Passes,
        cache: &KvCache,
    ) -> Result<Tensor> {
        let pass = match passes.entry(shape.clone()) {
            Entry::Occupied(known) => {
                let pass = known.into_mut();
                pass.inputs.fill(&inputs)?;
                pass
            }
            Entry::Vacant(place) => {
                repeating.prepared.fetch_add(1, Ordering::Relaxed);
                place.insert(self.prepare(repeating, &shape, inputs, cache)?)
            }
        };
        match &mut pass.recording {
            Some(recording) => recording.launch()?,
            None => self.carry_out(&shape, &pass.inputs, &pass.logits, cache)?,
        }
        // A copy: the next pass of this shape overwrites its logits.
        let logits = pass.logits.copy()?;
        if passes.len() > MOST_PASSES {
            passes.clear();
        }
        Ok(logits)
    }

    /// The first inputs of a shape become the buffers of its pass.
    fn prepare(
        &self,
        repeating: &Repeating,
        shape: &PassShape,
        inputs: Inputs,
        cache: &KvCache,
    ) -> Result<Pass> {
        let columns = self.logits_of_row(shape.skip.is_some());
        let logits = Tensor::zeros((shape.rows, columns), DType::F32, self.device().tensors())?;
        let recorder = repeating.recorder.as_deref();
        let work = || self.carry_out(shape, &inputs, &logits, cache);
        let recording = recorder.map(|recorder| record(recorder, work)).transpose()?;
        Ok(Pass { inputs, logits, recording })
    }

    /// All that a pass of this shape does on the device.
    fn carry_out(
        &self,
        shape: &PassShape,
        inputs: &Inputs,
        logits: &Tensor,
        cache: &KvCache,
    ) -> Result<()> {
        let rows = shape.rows;
        let [x, cosines, sines, hidden] = self.parts(rows, shape.positions);
        let hidden = inputs.part(hidden, rows)?.unsqueeze(0)?;
        let told = [inputs.part(cosines, rows)?, inputs.part(sines, rows)?, hidden];
        let placed = Placed::on_device(self.heads(), told, &inputs.places)?;
        let standing = Standing::Candle(placed);
        // The host's own view of where rows stand is not looked at: they stand where the device was
        // told.
        let places = Places { adapted: shape.adapted, ..Places::next(0, rows) };
        let (x, layers) = (Rows::Tensor(inputs.part(x, rows)?), 0..self.layers.len());
        let (skip, places) = (shape.skip.as_ref(), (&places, &standing));
        let x = self.through(x, layers, skip, places, cache, &mut Silent)?;
        let found = self.head_of(shape.skip.is_some(), &x, &mut Silent)?;
        Ok(logits.slice_set(&found.tensor()?.contiguous()?, 0, 0)?)
    }

    /// Where embeddings, cosines, sines and mask of a pass stand.
    fn parts(&self, rows: usize, positions: usize) -> [Range<usize>; 4] {
        let pairs = self.rotary.pairs();
        let mut end = 0;
        [self.config.hidden_size, pairs, pairs, positions].map(|columns| {
            let start = end;
            end += rows * columns;
            start..end
        })
    }

    /// What a pass over `rows` brings, on the device.
    fn inputs(&self, rows: &[Row], places: &Places, positions: usize) -> Result<Inputs> {
        let begin = places.positions.first().copied().unwrap_or(0);
        let mut numbers = self.embedding.look_up_here(rows, &self.head)?;
        numbers.extend(placed::angles(&self.rotary, &places.positions, Rotary::cosines));
        numbers.extend(placed::angles(&self.rotary, &places.positions, Rotary::sines));
        numbers.extend(placed::mask(begin, rows.len(), positions));
        let written: Vec<u32> = places.positions.iter().map(|&place| place as u32).collect();
        let (count, device) = (numbers.len(), self.device().tensors());
        Ok(Inputs {
            numbers: up(numbers, count, self.backend.number(), device)?,
            places: Tensor::from_vec(written, rows.len(), &Device::Cpu)?.to_device(device)?,
        })
    }

    /// A cache for `capacity` positions: that of the text before, with the passes prepared over it,
    /// where it is free.
    pub(crate) fn lend_cache(&self, capacity: usize) -> Result<KvCache> {
        match self.repeating.as_ref().and_then(|repeating| repeating.take(capacity)) {
            Some(mut cache) => {
                cache.truncate(0);
                Ok(cache)
            }
            None => self.new_cache(capacity),
        }
    }

    /// Takes back a cache that [`Self::lend_cache`] gave.
    pub(crate) fn give_back(&self, cache: KvCache) {
        if let Some(repeating) = &self.repeating {
            repeating.keep(cache);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::logits::Logits;
    use crate::config::{AdapterConfig, ModelConfig, S3dConfig};
    use crate::decode::generate::{Generation, Limits};
    use crate::device::graph::{Recorder, Recording};
    use crate::error::Error;
    use crate::model::options::LoadOptions;
    use s3d_data::{Dtype, Plan, SkipWindow};
    use std::any::Any;

    /// A small model on the operations of a card.
    fn model(dtype: Dtype, repeated: bool) -> Model {
        let adapters = Some(AdapterConfig { rank: 3, alpha: 4.0 });
        let config = ModelConfig {
            hidden_size: 64,
            intermediate_size: 96,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            head_dim: Some(16),
            vocab_size: 40,
            s3d: Some(S3dConfig {
                masks: 3,
                adapters,
                draft_vocabulary: Some(19),
                ..S3dConfig::default()
            }),
            ..ModelConfig::story()
        };
        let options = LoadOptions { dtype, composed: true, repeated, ..LoadOptions::default() };
        Model::random(&config, 3, &options).unwrap()
    }

    fn skip() -> Skip {
        SkipWindow::new(1, 3).unwrap().into()
    }

    /// Logits of passes of several widths over a text that grows beyond one step, drafts between
    /// them.
    fn logits(model: &Model) -> Vec<Vec<f32>> {
        let mut cache = model.new_cache(2 * STEP).unwrap();
        let mut all = Vec::new();
        let mut keep = |logits: Logits| all.extend(logits.to_rows().unwrap());
        let prompt: Vec<u32> = (0..STEP as u32 - 12).map(|i| i * 7 % 40).collect();
        model.prompt_pass(&prompt, &mut cache, &mut Silent).unwrap();
        for (turn, width) in [1, 5, 1, 3, 5, 17, 1].into_iter().enumerate() {
            let len = cache.len();
            let token = 3 * turn as u32;
            for (drafting, masks) in [(Drafting::Simultaneous, 3), (Drafting::Sequential, 0)] {
                let cache = &mut cache;
                keep(
                    model.draft_pass(drafting, token, masks, &skip(), cache, &mut Silent).unwrap(),
                );
            }
            cache.truncate(len);
            let fed: Vec<u32> = (0..width).map(|i| (token + i) % 40).collect();
            keep(model.full_pass(&fed, &mut cache, &mut Silent).unwrap());
            // Some of the rows are rejected.
            cache.truncate(len + fed.len().div_ceil(2));
        }
        assert!(cache.len() > STEP, "{}", cache.len());
        all
    }

    #[test]
    fn a_pass_of_fixed_shape_computes_what_one_of_the_texts_own_shape_does() {
        for dtype in Dtype::ENGINE {
            let (fixed, own) = (model(dtype, true), model(dtype, false));
            let (found, expected) = (logits(&fixed).concat(), logits(&own).concat());
            assert_eq!(found.len(), expected.len());
            let size = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x * x)).sum::<f64>();
            let gap = size(&mut found.iter().zip(&expected).map(|(x, y)| x - y))
                / size(&mut expected.iter().copied());
            // source: some ten roundings of the number type one after the other: 2^-24, 2^-11, 2^-8
            // each; a code of an activation that falls to the other side is one step in 127
            let bound: f64 = match dtype {
                Dtype::F32 => 1e-6,
                Dtype::Bf16 => 4e-2,
                Dtype::F16 => 5e-3,
                _ => 2e-2,
            };
            assert!(gap.sqrt() < bound, "{dtype}: {}", gap.sqrt());
            // Widths 1, 3, 5, 17 at full depth and two draftings, within one step; 17 in turn and
            // drafts after it beyond. The passes are prepared once each.
            assert_eq!(own.prepared_passes(), 0);
            assert_eq!(fixed.prepared_passes(), 5 + 4);
        }
    }

    #[test]
    fn a_cache_and_its_passes_serve_the_next_text() {
        let model = model(Dtype::F32, true);
        let plan: Plan = "1..3:4".parse().unwrap();
        let text = |prompt: &[u32]| {
            let (limits, mut silent) = (Limits::tokens(30), Silent);
            let generation = Generation::new(&model, prompt, &plan, limits, &mut silent);
            (generation.unwrap().finish().unwrap(), model.prepared_passes())
        };
        let (first, prepared) = text(&[1, 2, 3]);
        assert_eq!(prepared, 2, "a draft pass and a verify pass");
        assert_ne!(text(&[9, 8, 7, 6, 5]).0, first, "another text through the same cache");
        assert_eq!(text(&[1, 2, 3]), (first, prepared));
    }

    #[test]
    fn an_empty_pass_and_one_beyond_the_cache_are_refused() {
        let model = model(Dtype::F32, true);
        let mut cache = model.new_cache(10).unwrap();
        assert_eq!(cache.capacity(), STEP, "whole steps");
        assert!(model.full_pass(&[], &mut cache, &mut Silent).is_err());
        assert!(model.full_pass(&[40], &mut cache, &mut Silent).is_err(), "no such token");
        for _ in 0..STEP / 16 {
            model.full_pass(&[1; 16], &mut cache, &mut Silent).unwrap();
        }
        let error = model.full_pass(&[1], &mut cache, &mut Silent).unwrap_err();
        assert!(error.to_string().contains("room for 256"), "{error}");
    }

    /// A device whose recordings do nothing, so that what they leave undone shows.
    #[derive(Debug)]
    struct Idle {
        refuses: bool,
    }

    impl Recording for () {
        fn launch(&mut self) -> Result<()> {
            Ok(())
        }
    }

    impl Recorder for Idle {
        fn keep_parameters(&self) -> Box<dyn Any> {
            Box::new(())
        }

        fn finish(&self) -> Result<()> {
            Ok(())
        }

        fn begin(&self) -> Result<()> {
            Ok(())
        }

        fn end(&self) -> Result<Box<dyn Recording>> {
            match self.refuses {
                true => Err(Error::invalid("not recorded")),
                false => Ok(Box::new(())),
            }
        }
    }

    #[test]
    fn a_recorded_pass_is_launched_and_nothing_else_is_done() {
        let mut model = model(Dtype::F32, true);
        model.repeating = Some(Repeating::new(Some(Box::new(Idle { refuses: false }))));
        let mut cache = model.new_cache(20).unwrap();
        let mut pass = |token| {
            let logits = model.full_pass(&[token], &mut cache, &mut Silent).unwrap();
            logits.to_rows().unwrap()
        };
        // Preparing the pass computed the first token's logits; that device repeats nothing.
        let first = pass(1);
        assert_eq!(pass(2), first);
        model.repeating = Some(Repeating::new(Some(Box::new(Idle { refuses: true }))));
        let mut cache = model.new_cache(20).unwrap();
        let error = model.full_pass(&[1], &mut cache, &mut Silent).unwrap_err();
        assert_eq!((error.to_string().as_str(), cache.len()), ("not recorded", 0));
    }
}
