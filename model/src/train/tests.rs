//! Gradients against finite differences, drafting against plain recomputation, resuming.

use super::network::{Network, RowWeights, Sample, Tape};
use super::*;
use crate::config::S3dConfig;

/// A model small enough for finite differences: 3 layers, 2 query heads on 1 key head.
fn tiny_model() -> ModelConfig {
    ModelConfig {
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 3,
        num_attention_heads: 2,
        num_key_value_heads: Some(1),
        head_dim: Some(8),
        vocab_size: 300,
        s3d: Some(S3dConfig { masks: 3, ..S3dConfig::default() }),
        ..ModelConfig::story()
    }
}

fn tiny_sample() -> Sample {
    let tokens = (0..81).map(|i| (i * i * 7 + 3 * i) % 11).collect();
    Sample { tokens, anchors: vec![1, 9, 9, 40, 76], skip: 1..2 }
}

/// The weighted loss that [`Network::backward`] differentiates.
fn loss(network: &Network, weights: &[f32], sample: &Sample, row: RowWeights) -> f64 {
    let mut tape = Tape::default();
    network.forward(weights, sample, &mut tape);
    let losses = network.losses(sample, &mut tape, row);
    let draft: f64 = losses.draft.iter().sum();
    losses.text * f64::from(row.text) + draft * f64::from(row.draft)
}

/// Every variable receives a gradient, and it is the derivative of the loss.
/// source: central differences along the gradient's own direction, per variable; in f32 with step 1e-2
/// over the norm they agree to about 1e-3.
#[test]
fn gradients_are_derivatives() {
    let network = Network::new(&tiny_model(), 80, 4);
    let (sample, row) = (tiny_sample(), RowWeights { text: 0.05, draft: 0.1 });
    let mut weights = network.layout.init(5);
    // Larger than at the start of training, so that no part of the network is nearly linear.
    weights.iter_mut().for_each(|w| *w *= 1.7);
    weights[..network.layout.masks.end].iter_mut().for_each(|w| *w *= 10.0);
    let mut tape = Tape::default();
    network.forward(&weights, &sample, &mut tape);
    network.losses(&sample, &mut tape, row);
    let mut gradient = vec![0.0; weights.len()];
    network.backward(&weights, &sample, &mut tape, &mut gradient);
    for variable in &network.layout.variables {
        let range = variable.range.clone();
        let norm =
            gradient[range.clone()].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-4, "{} receives no gradient", variable.name);
        let along = |step: f64| {
            let mut moved = weights.clone();
            for i in range.clone() {
                moved[i] += (step * f64::from(gradient[i]) / norm) as f32;
            }
            loss(&network, &moved, &sample, row)
        };
        let slope = (along(3e-3) - along(-3e-3)) / 6e-3;
        eprintln!("{} {norm} {slope}", variable.name);
        assert!(
            (slope - norm).abs() < 0.01 * norm + 2e-4,
            "{}: gradient norm {norm}, slope {slope}",
            variable.name
        );
    }
}
