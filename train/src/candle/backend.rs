//! The same objective on candle's tensors, for cards: whole batches at once, gradients by candle's
//! autograd.
//!
//! Weights, moments, the residual stream, norms, probabilities and losses are `f32`; what goes
//! through a matrix, and what attends, is of the number type that the device multiplies fastest.
//! Samples of a step that skip the same layers go through together. The slices of
//! [`crate::cpu::network`] are the other implementation: on the CPU in `f32` both give the same
//! gradients.

use super::batch::Batch;
use crate::cpu::adam::{Adam, BETA_1, BETA_2, EPSILON, Rule};
use crate::cpu::network::Network;
use crate::layout::AdapterRanges;
use crate::layout::{LayerRanges, Layout};
use crate::targets::DraftTargets;
use crate::targets::{Losses, RowWeights, Sample};
use candle_core::{DType, Device, Tensor, Var};
use s3d_model::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;

/// Variables that are used together and trained: one stretch of the flat buffer, with its moments.
struct Group {
    range: Range<usize>,
    /// Where gradients and moments have it.
    trained: Range<usize>,
    /// 0 for gains and biases, which do not decay, else 1.
    decays: f64,
    /// `[rows, columns]`, or `[length]`.
    weight: Var,
    first: Tensor,
    second: Tensor,
}

/// All weights on a device.
pub(crate) struct OnDevice {
    pub(super) device: Device,
    pub(super) number: DType,
    /// What is trained, by the place in the flat buffer where it begins.
    groups: BTreeMap<usize, Group>,
    /// What is not: matrices in the number type that they multiply in.
    frozen: BTreeMap<usize, Tensor>,
}

/// The gradient of every group that has one, by its place.
pub(crate) type Gradients = BTreeMap<usize, Tensor>;

impl OnDevice {
    /// Uploads weights and moments; matrices and attention compute in `number`.
    ///
    /// # Errors
    /// Too little memory on the device.
    pub(crate) fn new(
        network: &Network,
        (weights, adam): (&[f32], &Adam),
        device: &Device,
        number: DType,
    ) -> Result<Self> {
        let layout = &network.layout;
        let (mut groups, mut frozen) = (BTreeMap::new(), BTreeMap::new());
        for range in stretches(layout) {
            let variable = layout.variables.iter().find(|v| v.range.start == range.start);
            let variable = variable.ok_or_else(|| Error::invalid("a stretch without a name"))?;
            let shape = match &variable.shape[..] {
                [_, columns] => vec![range.len() / columns, *columns],
                _ => vec![range.len()],
            };
            let up = |values: &[f32]| Tensor::from_slice(values, &shape[..], device);
            let weight = up(&weights[range.clone()])?;
            let Some(trained) = layout.trained_part(range) else {
                let number = if variable.decays() { number } else { DType::F32 };
                frozen.insert(range.start, weight.to_dtype(number)?);
                continue;
            };
            let group = Group {
                range: range.clone(),
                decays: f64::from(u8::from(variable.decays())),
                weight: Var::from_tensor(&weight)?,
                first: up(&adam.first[trained.clone()])?,
                second: up(&adam.second[trained.clone()])?,
                trained,
            };
            groups.insert(range.start, group);
        }
        Ok(Self { device: device.clone(), number, groups, frozen })
    }

    /// Where the variables are.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Weights and moments back into the flat buffers.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn download(&self, weights: &mut [f32], adam: &mut Adam) -> Result<()> {
        let down = |from: &Tensor, to: &mut [f32]| -> Result<()> {
            to.copy_from_slice(&from.flatten_all()?.to_vec1::<f32>()?);
            Ok(())
        };
        for group in self.groups.values() {
            down(group.weight.as_tensor(), &mut weights[group.range.clone()])?;
            down(&group.first, &mut adam.first[group.trained.clone()])?;
            down(&group.second, &mut adam.second[group.trained.clone()])?;
        }
        Ok(())
    }

    /// The gradient of the weighted loss of all samples, and each one's losses.
    ///
    /// # Errors
    /// When the device fails, or its memory does not hold a batch.
    pub(crate) fn gradients(
        &self,
        network: &Network,
        samples: &[Sample],
        weight: RowWeights,
        targets: DraftTargets,
    ) -> Result<(Gradients, Vec<Losses>)> {
        let (mut sums, mut losses) = (Gradients::new(), vec![Losses::default(); samples.len()]);
        for places in together(samples) {
            let part: Vec<&Sample> = places.iter().map(|place| &samples[*place]).collect();
            let batch = Batch::new(network, &part, weight, self.number, &self.device)?;
            let nats = self.forward(network, &batch, targets)?;
            let gradients = (&nats * &batch.weights)?.sum_all()?.backward()?;
            for (start, group) in &self.groups {
                let Some(own) = gradients.get(group.weight.as_tensor()) else { continue };
                let sum = match sums.remove(start) {
                    Some(sum) => (sum + own)?,
                    None => own.clone(),
                };
                sums.insert(*start, sum);
            }
            let nats = nats.to_vec1::<f32>()?;
            for (place, nats) in places.iter().zip(nats.chunks_exact(batch.rows)) {
                losses[*place] = of_rows(nats, batch.text, network.group);
            }
        }
        Ok((sums, losses))
    }

    /// AdamW, as [`Adam::update`] has it. Returns the norm of the gradient before clipping.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn update(&mut self, gradients: &Gradients, step: u64, rule: Rule) -> Result<f32> {
        let squares = gradients.values().map(|g| g.sqr()?.sum_all()).collect::<Vec<_>>();
        let squares = squares.into_iter().collect::<candle_core::Result<Vec<_>>>()?;
        let norm = Tensor::stack(&squares, 0)?.sum_all()?.to_scalar::<f32>()?.sqrt();
        let shrink = f64::from(if norm > rule.clip { rule.clip / norm } else { 1.0 });
        let [first, second] = [BETA_1, BETA_2].map(f64::from);
        let bias = [1.0 - first.powi(step as i32), 1.0 - second.powi(step as i32)];
        let rate = f64::from(rule.learning_rate);
        for (start, group) in &mut self.groups {
            // Without a gradient the moments fade, as those of a slice of zeros do.
            let gradient = match gradients.get(start) {
                Some(gradient) => (gradient * shrink)?,
                None => group.first.zeros_like()?,
            };
            group.first = ((&group.first * first)? + (&gradient * (1.0 - first))?)?;
            group.second = ((&group.second * second)? + (gradient.sqr()? * (1.0 - second))?)?;
            let spread = ((&group.second / bias[1])?.sqrt()? + f64::from(EPSILON))?;
            let step = ((&group.first / bias[0])? / spread)?;
            let kept = 1.0 - f64::from(rule.decay) * rate * group.decays;
            let weight = ((group.weight.as_detached_tensor() * kept)? - (step * rate)?)?;
            group.weight.set(&weight)?;
        }
        Ok(norm)
    }

    /// The variables that begin where `range` does.
    pub(super) fn weight(&self, range: &Range<usize>) -> Result<&Tensor> {
        let trained = self.groups.get(&range.start).map(|group| group.weight.as_tensor());
        let found = trained.or_else(|| self.frozen.get(&range.start));
        found
            .filter(|weight| weight.elem_count() == range.len())
            .ok_or_else(|| Error::invalid("a stretch without a variable"))
    }
}

/// The stretches of the flat buffer that are used as one, each once.
fn stretches(layout: &Layout) -> impl Iterator<Item = &Range<usize>> {
    let layers = layout.layers.iter().flat_map(LayerRanges::all);
    let others = [&layout.embedding, &layout.masks, &layout.norm, &layout.head];
    let others = others.into_iter().take(if layout.head == layout.embedding { 3 } else { 4 });
    let adapters = layout.adapters.iter().flatten().flat_map(AdapterRanges::both);
    layers.chain(others).chain(adapters).filter(|range| !range.is_empty())
}

/// Places of the samples that go through together: same layers skipped, same number of draft
/// groups.
fn together(samples: &[Sample]) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for (place, sample) in samples.iter().enumerate() {
        let shape = |s: &Sample| (s.skip.clone(), s.anchors.len(), s.tokens.len());
        let same = |part: &&mut Vec<usize>| shape(&samples[part[0]]) == shape(sample);
        match parts.iter_mut().find(same) {
            Some(part) => part.push(place),
            None => parts.push(vec![place]),
        }
    }
    parts
}

/// Sums over the rows of one sample.
fn of_rows(nats: &[f32], text: usize, group: usize) -> Losses {
    let sum = |rows: &mut dyn Iterator<Item = &f32>| rows.map(|nat| f64::from(*nat)).sum();
    let (texts, drafts) = nats.split_at(text);
    Losses {
        text: sum(&mut texts.iter()),
        draft: (0..group).map(|p| sum(&mut drafts.iter().skip(p).step_by(group))).collect(),
        groups: drafts.len() / group,
    }
}
