//! The steps on candle's tensors against those on slices: two implementations of one objective.

use super::*;
use crate::candle::backend::{Gradients, OnDevice};
use candle_core::{DType, Device};
use std::ops::Range;

/// Two samples that go through together, one with another window, one that skips nothing.
fn samples() -> Vec<Sample> {
    let sample = |shift: u32, anchors: [usize; 3], skip: Range<usize>| {
        let tokens = (0..41).map(|i| (i * i * 7 + 3 * i + shift) % 11).collect();
        Sample::new(tokens, anchors.to_vec(), skip)
    };
    vec![
        sample(0, [1, 9, 36], 1..2),
        sample(1, [3, 3, 20], 0..2),
        sample(2, [2, 17, 30], 1..2),
        sample(3, [5, 6, 7], 0..0),
    ]
}

const ROW: RowWeights = RowWeights::even(0.05, 0.1);

/// What drafts of this network learn.
fn targets(network: &Network) -> DraftTargets {
    match network.config.adapters() {
        Some(_) => DraftTargets::Choices,
        None => DraftTargets::Text,
    }
}

/// The gradient of what is trained.
fn on_slices(network: &Network, weights: &[f32], targets: DraftTargets) -> (Vec<f32>, Vec<Losses>) {
    let (mut gradient, mut tape) = (vec![0.0; network.layout.trained.len()], Tape::default());
    let losses = samples().into_iter().map(|mut sample| {
        let first = network.first_trained(&sample);
        network.forward_to_learn(first, targets, weights, &mut sample, &mut tape);
        let losses = network.losses(&sample, &mut tape, ROW);
        network.backward(weights, &sample, &mut tape, &mut gradient);
        losses
    });
    let losses = losses.collect();
    (gradient, losses)
}

fn on_tensors(
    network: &Network,
    weights: &[f32],
    targets: DraftTargets,
    number: DType,
) -> (Gradients, Vec<Losses>) {
    let state = (weights, &Adam::new(&network.layout));
    let device = OnDevice::new(network, state, &Device::Cpu, number).unwrap();
    device.gradients(network, &samples(), ROW, targets).unwrap()
}

/// The furthest apart two lists are, in parts of the longer one's norm.
fn apart(found: &[f32], wanted: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
    };
    let difference = norm(&mut found.iter().zip(wanted).map(|(a, b)| a - b));
    difference / norm(&mut wanted.iter().copied()).max(f64::MIN_POSITIVE)
}

/// source: the gradients over slices, which agree with finite differences.
#[test]
fn gradients_and_losses_are_those_over_slices() {
    let untied = ModelConfig { tie_word_embeddings: false, ..tiny_model() };
    // Stretches: norms and matrices of a layer, one for all biases or gains that stand together.
    let per_layer = [6, 6 + 1, 6 + 1, 6 + 3];
    let attentions = attentions().into_iter().map(|(config, _)| config).zip(per_layer);
    for (config, per_layer) in attentions.chain([(untied, 6)]) {
        let others = 3 + usize::from(!config.tie_word_embeddings);
        compare_with_slices(&config, 3 * per_layer + others);
        // Two factors for each of four matrices, and the masks.
        compare_with_slices(&adapted(config), 3 * 4 * 2 + 1);
    }
}

/// `stretches` of variables have a gradient.
fn compare_with_slices(config: &ModelConfig, stretches: usize) {
    let network = Network::new(config, 80, 4).unwrap();
    let weights = lively(&network);
    let targets = targets(&network);
    let (wanted, wanted_losses) = on_slices(&network, &weights, targets);
    let (found, losses) = on_tensors(&network, &weights, targets, DType::F32);
    assert_eq!(found.len(), stretches);
    for (start, apart) in all_apart(&network, &found, &wanted) {
        assert!(apart < 2e-5, "{} at {start}: {apart}", config.class());
    }
    for (found, wanted) in losses.iter().zip(&wanted_losses) {
        let pairs = found.draft.iter().zip(&wanted.draft);
        let mut pairs = pairs.chain([(&found.text, &wanted.text)]);
        assert!(pairs.all(|(a, b)| (a - b).abs() <= 1e-5 * b), "{found:?}, {wanted:?}");
    }
}

/// How far gradients are from those over slices, by their place.
fn all_apart(network: &Network, found: &Gradients, wanted: &[f32]) -> Vec<(usize, f64)> {
    let one = |(start, gradient): (&usize, &candle_core::Tensor)| {
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let place = network.layout.trained_part(&(*start..start + gradient.len())).unwrap();
        (*start, apart(&gradient, &wanted[place]))
    };
    found.iter().map(one).collect()
}

/// A number of 8 bits keeps the direction of the gradient. (Of choices by logits that were never
/// trained it makes some differently, and these have another gradient: here drafts learn the text.)
#[test]
fn halves_lose_little() {
    for config in [tiny_model(), full_model(), adapted(full_model())] {
        let network = Network::new(&config, 80, 4).unwrap();
        let weights = lively(&network);
        let (wanted, _) = on_slices(&network, &weights, DraftTargets::Text);
        let (found, _) = on_tensors(&network, &weights, DraftTargets::Text, DType::BF16);
        for (start, apart) in all_apart(&network, &found, &wanted) {
            assert!((1e-5..0.2).contains(&apart), "at {start}: {apart}");
        }
    }
}

/// The same gradients move weights and moments alike, clipped or not, decaying or not.
#[test]
fn updates_are_those_over_slices() {
    let cases = [(full_model(), 1e9), (full_model(), 0.1), (adapted(full_model()), 0.1)];
    for (config, clip) in cases {
        let network = Network::new(&config, 80, 4).unwrap();
        let rule = Rule { learning_rate: 0.01, decay: 0.1, clip };
        let (mut weights, mut adam) = (lively(&network), Adam::new(&network.layout));
        let (mut gradient, _) = on_slices(&network, &weights, DraftTargets::Text);
        let (gradients, _) = on_tensors(&network, &weights, DraftTargets::Text, DType::F32);
        let state = (&weights[..], &adam);
        let mut device = OnDevice::new(&network, state, &Device::Cpu, DType::F32).unwrap();
        // What is not trained is not brought back: it stands where it was.
        let mut other = (weights.clone(), Adam::new(&network.layout));
        other.0[network.layout.trained.clone()].fill(0.0);
        for step in 1..=3 {
            let norm = device.update(&gradients, step, rule).unwrap();
            let trained = &mut weights[network.layout.trained.clone()];
            let wanted = adam.update(trained, &mut [&mut gradient], step, rule);
            assert!((norm - wanted).abs() < 1e-4 * wanted, "{norm} {wanted}");
        }
        device.download(&mut other.0, &mut other.1).unwrap();
        let pairs =
            [(&other.0, &weights), (&other.1.first, &adam.first), (&other.1.second, &adam.second)];
        for (found, wanted) in pairs {
            assert!(apart(found, wanted) < 1e-4, "{}", apart(found, wanted));
        }
    }
}

/// A run makes the same steps on either, and goes on on the other.
#[test]
fn a_run_changes_places() {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = tiny_run(2);
    let wanted: Vec<StepReport> = (0..8).map(|_| whole.step().unwrap()).collect();
    let near = |found: &StepReport, wanted: &StepReport| {
        assert_eq!((found.step, found.tokens), (wanted.step, wanted.tokens));
        let (found, wanted) = (found.text_loss, wanted.text_loss);
        assert!((found - wanted).abs() < 2e-3 * wanted, "{found}, {wanted}");
    };
    let mut first = tiny_run(1);
    first.move_to(&Device::Cpu).unwrap();
    for wanted in &wanted[..4] {
        near(&first.step().unwrap(), wanted);
    }
    let early = first.checkpoint(dir.path()).unwrap_err().to_string();
    assert!(early.contains("download"), "{early}");
    first.download().unwrap();
    first.checkpoint(dir.path()).unwrap();
    let mut second = Trainer::resume(dir.path(), 1).unwrap();
    for wanted in &wanted[4..] {
        near(&second.step().unwrap(), wanted);
        near(&first.step().unwrap(), wanted);
    }
    assert!(wanted[7].text_loss < wanted[0].text_loss - 0.3);
}

/// Samples of a step share their window where that is asked for, and steps differ.
#[test]
fn a_step_can_share_its_window() {
    let windows = |shared_window: bool| -> Vec<Range<usize>> {
        let mut config = tiny_run(1).config.clone();
        (config.shared_window, config.model.num_hidden_layers) = (shared_window, 12);
        let tokenizer = learn_tokenizer(3, 300, 20).unwrap();
        let trainer = Trainer::with_tokenizer(config, tokenizer, 1).unwrap();
        (0..30).map(|index| trainer.data.sample(index, 2).unwrap().skip).collect()
    };
    let (shared, free) = (windows(true), windows(false));
    assert!(shared.chunks_exact(3).all(|step| step.iter().all(|window| *window == step[0])));
    assert!(shared.chunks_exact(3).any(|step| step[0] != shared[0]));
    assert!(free.chunks_exact(3).any(|step| step.iter().any(|window| *window != step[0])));
}

/// Adapters make the same steps on either; the model's own weights stand still.
#[test]
fn adapters_change_places_too() {
    let config = TrainConfig {
        model: adapted(tiny_model()),
        draft_targets: DraftTargets::Choices,
        ..tiny_run(1).config.clone()
    };
    let run = || {
        let tokenizer = learn_tokenizer(3, 300, 20).unwrap();
        Trainer::with_tokenizer(config.clone(), tokenizer, 1).unwrap()
    };
    let (mut here, mut there) = (run(), run());
    there.move_to(&Device::Cpu).unwrap();
    for _ in 0..6 {
        let (found, wanted) = (there.step().unwrap(), here.step().unwrap());
        assert_eq!((found.text_loss, found.draft_loss.len()), (0.0, 4));
        let mut pairs = found.draft_loss.iter().zip(&wanted.draft_loss);
        assert!(pairs.all(|(a, b)| (a - b).abs() < 2e-3 * b), "{found:?} {wanted:?}");
    }
    there.download().unwrap();
    let begun = run().weights;
    let start = there.network.layout.trained.start;
    assert_eq!(there.weights[..start], begun[..start]);
    let moved = apart(&begun[start..], &here.weights[start..]);
    let difference = apart(&there.weights[start..], &here.weights[start..]);
    assert!(difference < 0.05 * moved, "{difference} of {moved}");
}

/// source: counted by hand from the shape.
#[test]
fn the_large_preset_has_its_size() {
    let config = TrainConfig::story_large(1);
    let network = Network::new(&config.model, config.context, config.group()).unwrap();
    let layer = 768 * (12 + 8) * 64 + 768 * 768 + 3 * 768 * 2304 + 2 * 768;
    assert_eq!(network.layout.size(), 16 * layer + (1024 + 7 + 1) * 768);
    assert!(network.layout.size() > 100_000_000 && config.check().is_ok());
}
