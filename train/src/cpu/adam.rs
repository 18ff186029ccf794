//! AdamW (Kingma, Ba 2015; Loshchilov, Hutter 2019), fused into one pass over the flat buffers.

use crate::layout::Layout;
use pulp::Arch;
use rayon::prelude::*;

/// Elements updated by one task; also the unit in which the gradient norm is summed, so that the
/// sum does not depend on the number of threads.
const CHUNK: usize = 1 << 16;

/// Constants of the update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub learning_rate: f32,
    pub decay: f32,
    /// Gradients are scaled down to this Euclidean norm.
    pub clip: f32,
}

pub(crate) const BETA_1: f32 = 0.9;
pub(crate) const BETA_2: f32 = 0.95;
pub(crate) const EPSILON: f32 = 1e-8;

/// First and second moments of every parameter that is trained.
pub(crate) struct Adam {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
    /// 1 where weight decay applies, 0 elsewhere.
    decays: Vec<f32>,
}

impl Adam {
    /// Moments at zero.
    pub(crate) fn new(layout: &Layout) -> Self {
        let size = layout.trained.len();
        let mut decays = vec![0.0; size];
        for variable in layout.variables.iter().filter(|v| v.decays()) {
            if let Some(decays) = layout.gradient(&mut decays, &variable.range) {
                decays.fill(1.0);
            }
        }
        Self { first: vec![0.0; size], second: vec![0.0; size], decays }
    }

    /// Sums the lanes' gradients in their order into the first, and updates the trained `weights`;
    /// `step` counts from 1. Returns the norm of the gradient before clipping; where that is not
    /// finite, nothing is updated.
    pub(crate) fn update(
        &mut self,
        weights: &mut [f32],
        lanes: &mut [&mut [f32]],
        step: u64,
        rule: Rule,
    ) -> f32 {
        let Some((gradient, others)) = lanes.split_first_mut() else { return 0.0 };
        let others: Vec<&[f32]> = others.iter().map(|lane| &**lane).collect();
        let squares: Vec<f64> = gradient
            .par_chunks_mut(CHUNK)
            .enumerate()
            .map(|(i, chunk)| sum_lanes(chunk, &others, i * CHUNK))
            .collect();
        let norm = squares.iter().sum::<f64>().sqrt() as f32;
        if !norm.is_finite() {
            return norm;
        }
        let shrink = if norm > rule.clip { rule.clip / norm } else { 1.0 };
        let bias = [1.0 - BETA_1.powi(step as i32), 1.0 - BETA_2.powi(step as i32)];
        weights
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(self.first.par_chunks_mut(CHUNK).zip(self.second.par_chunks_mut(CHUNK)))
            .zip(self.decays.par_chunks(CHUNK))
            .for_each(|(((w, g), (m, v)), d)| update_chunk(w, g, m, v, d, shrink, bias, rule));
        norm
    }
}

/// Adds the other lanes' gradients to `chunk`, which begins at element `start`; returns the sum of
/// squares.
fn sum_lanes(chunk: &mut [f32], others: &[&[f32]], start: usize) -> f64 {
    Arch::new().dispatch(|| {
        for other in others {
            for (g, o) in chunk.iter_mut().zip(&other[start..]) {
                *g += o;
            }
        }
        chunk.chunks(1024).map(|part| f64::from(super::ops::dot(part, part))).sum()
    })
}

#[expect(clippy::too_many_arguments, reason = "one fused loop over all buffers")]
fn update_chunk(
    weights: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    decays: &[f32],
    shrink: f32,
    [bias_1, bias_2]: [f32; 2],
    rule: Rule,
) {
    let (rate, decay) = (rule.learning_rate, rule.decay * rule.learning_rate);
    Arch::new().dispatch(|| {
        let moments = first.iter_mut().zip(second.iter_mut());
        for (((w, g), (m, v)), d) in weights.iter_mut().zip(gradient).zip(moments).zip(decays) {
            let g = g * shrink;
            *m = BETA_1 * *m + (1.0 - BETA_1) * g;
            *v = BETA_2 * *v + (1.0 - BETA_2) * g * g;
            *w -= decay * d * *w + rate * (*m / bias_1) / ((*v / bias_2).sqrt() + EPSILON);
        }
    });
}
