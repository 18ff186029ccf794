//! What the host hands over for some samples that go through the layers together on a device.

use super::network::{Network, RowWeights, Sample};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::ops::Range;

/// Samples that skip the same layers, row by row, on a device.
pub(super) struct Batch {
    pub samples: usize,
    /// Text rows of a sample.
    pub text: usize,
    /// All rows of a sample.
    pub rows: usize,
    /// Layers that draft rows leave out.
    pub skip: Range<usize>,
    /// Rows of the embedding with the masks below it: `[samples * rows]`.
    pub ids: Tensor,
    /// The tokens to predict: `[samples * rows, 1]`.
    pub targets: Tensor,
    /// What a row's cross-entropy counts: `[samples * rows]`.
    pub weights: Tensor,
    /// `[samples, rows, 1, head_dim / 2]`.
    cosines: Tensor,
    sines: Tensor,
    /// Added to the scores: 0 where a row sees a row, else minus infinity; `[samples, 1, rows, rows]`.
    hidden: Tensor,
}

impl Batch {
    /// Uploads samples of one shape.
    ///
    /// # Errors
    /// No samples; too little memory on the device.
    pub fn new(
        network: &Network,
        samples: &[&Sample],
        weight: RowWeights,
        number: DType,
        device: &Device,
    ) -> Result<Self> {
        let Some(first) = samples.first() else {
            return Err(Error::invalid("a batch needs a sample"));
        };
        let geometry = network.geometry(first);
        let (count, text, rows) = (samples.len(), geometry.text, geometry.rows());
        let width = network.config.hidden_size;
        let (mut ids, mut targets, mut angles) = (Vec::new(), Vec::new(), Vec::new());
        let mut hidden = vec![f32::NEG_INFINITY; count * rows * rows];
        for (sample, hidden) in samples.iter().zip(hidden.chunks_exact_mut(rows * rows)) {
            let geometry = network.geometry(sample);
            for (row, hidden) in hidden.chunks_exact_mut(rows).enumerate() {
                ids.push((network.embedding(sample, row).start / width) as u32);
                targets.push(network.target(sample, row));
                angles.extend_from_slice(network.rotary.angles(geometry.position(row)));
                hidden[..geometry.limit(row)].fill(0.0);
                if let Some((group, _)) = geometry.group_of(row) {
                    hidden[group..=row].fill(0.0);
                }
            }
        }
        let weights = (0..count * rows).map(|row| match row % rows < text {
            true => weight.text,
            false => weight.draft,
        });
        let half = network.config.head_dim() / 2;
        let turn = |part: fn(&(f32, f32)) -> f32| -> Result<Tensor> {
            let values: Vec<f32> = angles.iter().map(part).collect();
            let host = Tensor::from_vec(values, (count, rows, 1, half), &Device::Cpu)?;
            Ok(host.to_dtype(number)?.to_device(device)?)
        };
        Ok(Self {
            samples: count,
            text,
            rows,
            skip: first.skip.clone(),
            ids: Tensor::from_vec(ids, count * rows, device)?,
            targets: Tensor::from_vec(targets, (count * rows, 1), device)?,
            weights: Tensor::from_iter(weights, device)?,
            cosines: turn(|angle| angle.0)?,
            sines: turn(|angle| angle.1)?,
            hidden: Tensor::from_vec(hidden, (count, 1, rows, rows), device)?,
        })
    }

    /// The text rows of `[samples, rows, ..]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn texts(&self, state: &Tensor) -> Result<Tensor> {
        Ok(state.narrow(1, 0, self.text)?.contiguous()?)
    }

    /// What the first `rows` rows do not see of each other.
    ///
    /// # Errors
    /// When the device fails.
    pub fn hidden(&self, rows: usize) -> Result<Tensor> {
        Ok(self.hidden.narrow(2, 0, rows)?.narrow(3, 0, rows)?)
    }

    /// Turns `[samples, rows, heads, head_dim]`, the text rows or all, each row to its position.
    ///
    /// # Errors
    /// When the device fails.
    pub fn rotate(&self, heads: &Tensor) -> Result<Tensor> {
        let (_, rows, _, width) = heads.dims4()?;
        let half = width / 2;
        let (left, right) = (heads.narrow(3, 0, half)?, heads.narrow(3, half, half)?);
        let (cos, sin) = (self.cosines.narrow(1, 0, rows)?, self.sines.narrow(1, 0, rows)?);
        let turned_left = (left.broadcast_mul(&cos)? - right.broadcast_mul(&sin)?)?;
        let turned_right = (right.broadcast_mul(&cos)? + left.broadcast_mul(&sin)?)?;
        Ok(Tensor::cat(&[turned_left, turned_right], 3)?)
    }
}
