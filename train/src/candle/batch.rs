//! What the host hands over for some samples that go through the layers together on a device.

use crate::cpu::network::Network;
use crate::targets::{RowWeights, Sample};
use candle_core::{DType, Device, Tensor};
use s3d_model::{Error, Result};
use std::ops::Range;

/// Samples that skip the same layers, row by row, on a device.
pub(crate) struct Batch {
    pub samples: usize,
    /// Text rows of a sample.
    pub text: usize,
    /// All rows of a sample.
    pub rows: usize,
    /// Layers that draft rows leave out.
    pub skip: Range<usize>,
    /// Tokens of text rows: `[samples * text]`.
    pub text_ids: Tensor,
    /// The tokens that they are to predict: `[samples * text, 1]`.
    pub text_targets: Tensor,
    /// The draft rows, if there are any.
    pub drafts: Option<Drafts>,
    /// What a row's cross-entropy counts: `[samples * rows]`.
    pub weights: Tensor,
    /// `[samples, rows, 1, head_dim / 2]`.
    cosines: Tensor,
    sines: Tensor,
    /// Added to the scores: 0 where a row sees a row, else minus infinity;
    /// `[samples, 1, rows, rows]`.
    hidden: Tensor,
}

/// The draft rows of a batch.
pub(crate) struct Drafts {
    /// The token that each group begins with: `[samples * groups]`.
    pub ids: Tensor,
    /// The tokens to predict, as the samples say: `[samples * groups * group, 1]`.
    pub targets: Tensor,
    /// The text row that the token to predict follows: `[samples * groups * group]`.
    pub after: Tensor,
}

impl Drafts {
    fn new(network: &Network, samples: &[&Sample], device: &Device) -> Result<Self> {
        let (mut ids, mut targets) = (Vec::<u32>::new(), Vec::<u32>::new());
        let mut after = Vec::new();
        for (number, sample) in samples.iter().enumerate() {
            for anchor in &sample.anchors {
                ids.push(sample.tokens[*anchor]);
                let places = *anchor..*anchor + network.group;
                targets.extend(&sample.next[places.clone()]);
                after.extend(places.map(|place| (number * sample.text() + place) as u32));
            }
        }
        let (groups, rows) = (ids.len(), targets.len());
        Ok(Self {
            ids: Tensor::from_vec(ids, groups, device)?,
            targets: Tensor::from_vec(targets, (rows, 1), device)?,
            after: Tensor::from_vec(after, rows, device)?,
        })
    }
}

impl Batch {
    /// Uploads samples of one shape.
    ///
    /// # Errors
    /// No samples; too little memory on the device.
    pub(crate) fn new(
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
        let (mut ids, mut targets) = (Vec::<u32>::new(), Vec::<u32>::new());
        let mut angles = Vec::new();
        let mut hidden = vec![f32::NEG_INFINITY; count * rows * rows];
        for (sample, hidden) in samples.iter().zip(hidden.chunks_exact_mut(rows * rows)) {
            let geometry = network.geometry(sample);
            ids.extend(&sample.tokens[..text]);
            targets.extend(&sample.tokens[1..]);
            for (row, hidden) in hidden.chunks_exact_mut(rows).enumerate() {
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
            text_ids: Tensor::from_vec(ids, count * text, device)?,
            text_targets: Tensor::from_vec(targets, (count * text, 1), device)?,
            drafts: match rows > text {
                true => Some(Drafts::new(network, samples, device)?),
                false => None,
            },
            weights: Tensor::from_iter(weights, device)?,
            cosines: turn(|angle| angle.0)?,
            sines: turn(|angle| angle.1)?,
            hidden: Tensor::from_vec(hidden, (count, 1, rows, rows), device)?,
        })
    }

    /// What the text rows do not see of each other, or, where `first` is the first draft row, what
    /// the draft rows do not see of all rows.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn hidden(&self, first: usize) -> Result<Tensor> {
        match first {
            0 => Ok(self.hidden.narrow(2, 0, self.text)?.narrow(3, 0, self.text)?),
            first => Ok(self.hidden.narrow(2, first, self.rows - first)?),
        }
    }

    /// Turns `[samples, rows, heads, head_dim]`, rows of the batch from `first` on, each to its
    /// position.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn rotate(&self, first: usize, heads: &Tensor) -> Result<Tensor> {
        let (_, rows, _, width) = heads.dims4()?;
        let half = width / 2;
        let (left, right) = (heads.narrow(3, 0, half)?, heads.narrow(3, half, half)?);
        let (cos, sin) = (self.cosines.narrow(1, first, rows)?, self.sines.narrow(1, first, rows)?);
        let turned_left = (left.broadcast_mul(&cos)? - right.broadcast_mul(&sin)?)?;
        let turned_right = (right.broadcast_mul(&cos)? + left.broadcast_mul(&sin)?)?;
        Ok(Tensor::cat(&[turned_left, turned_right], 3)?)
    }
}
