//! Gradients against finite differences, drafting against plain recomputation, resuming.

use crate::cpu::adam::{Adam, Rule};
use crate::cpu::network::Network;
use crate::cpu::tape::Tape;
use crate::data::learn_tokenizer::{END_OF_TEXT, learn_tokenizer};
use crate::data::self_written::{Writing, Written, texts_hash, write_texts};
use crate::data::texts::Texts;
use crate::evaluate::{GreedyTrace, walk};
use crate::finetune::{Corpus, Finetune};
use crate::layout::Variable;
use crate::recipe::{Practice, Stage, TrainConfig, Windows};
use crate::targets::DraftLoss;
use crate::targets::DraftTargets;
use crate::targets::{Losses, RowWeights, Sample};
use crate::trainer::{StepReport, Trainer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_model::config::{AdapterConfig, S3dConfig};
use s3d_model::{ModelConfig, Tokenizer};

mod added;
mod finetune;
mod on_device;
mod questions;

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

/// The tiny model as a class of another architecture, with `attention_bias` or without.
fn as_class(class: &str, attention_bias: bool) -> ModelConfig {
    let mut config = tiny_model();
    config.other.insert("architectures".into(), vec![class].into());
    config.other.remove("model_type");
    config.other.insert("attention_bias".into(), attention_bias.into());
    config
}

/// An untied head, matrices fused as Phi-3 has them, scaled rotations.
fn fused_model() -> ModelConfig {
    let mut config = as_class("Phi3ForCausalLM", false);
    config.tie_word_embeddings = false;
    let halved = vec![2.0; config.head_dim() / 2];
    let scaling =
        serde_json::json!({"type": "su", "short_factor": halved, "attention_factor": 1.5});
    config.other.insert("rope_scaling".into(), scaling);
    config
}

/// Norms of heads and every bias.
fn full_model() -> ModelConfig {
    as_class("Qwen3ForCausalLM", true)
}

/// Models that differ in what attention has besides its matrices; each with its variables per
/// layer.
fn attentions() -> [(ModelConfig, usize); 4] {
    [
        (tiny_model(), 9),
        (as_class("Qwen2ForCausalLM", false), 12),
        (as_class("Qwen3ForCausalLM", false), 11),
        (full_model(), 15),
    ]
}

/// The same with adapters of rank 4.
fn adapted(config: ModelConfig) -> ModelConfig {
    let adapters = Some(AdapterConfig { rank: 4, alpha: 6.0 });
    ModelConfig { s3d: Some(S3dConfig { masks: 3, adapters, ..S3dConfig::default() }), ..config }
}

/// Weights larger than at the start of training, so that no part of the network is nearly linear,
/// and none that is left at 0 or 1 where that hides something.
fn lively(network: &Network) -> Vec<f32> {
    let layout = &network.layout;
    let mut weights = layout.init(5);
    weights.iter_mut().for_each(|w| *w *= 1.7);
    weights[layout.embedding.clone()].iter_mut().for_each(|w| *w *= 10.0);
    weights[layout.masks.clone()].iter_mut().for_each(|w| *w *= 10.0);
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut add = |range: &std::ops::Range<usize>, most: f32| {
        weights[range.clone()].iter_mut().for_each(|w| *w += random.random_range(-most..most));
    };
    layout.adapters.iter().flatten().for_each(|adapter| add(&adapter.b, 0.1));
    for layer in &layout.layers {
        let vectors = [&layer.qkv_bias, &layer.head_norms, &layer.out_bias];
        vectors.into_iter().flatten().for_each(|range| add(range, 0.6));
    }
    weights
}

fn tiny_sample() -> Sample {
    let tokens = (0..81).map(|i| (i * i * 7 + 3 * i) % 11).collect();
    Sample::new(tokens, vec![1, 9, 9, 40, 76], 1..2)
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
/// source: central differences along the gradient's own direction, per variable; in f32 with a step
/// of 3e-3 they agree to about 1e-3.
#[test]
fn gradients_are_derivatives() {
    for (config, per_layer) in attentions().into_iter().chain([(fused_model(), 6)]) {
        let network = Network::new(&config, 80, 4).unwrap();
        let others = if config.tie_word_embeddings { 3 } else { 4 };
        assert_eq!(network.layout.variables.len(), 3 * per_layer + others);
        compare_slopes(&network, tiny_sample(), DraftTargets::Text);
    }
}

/// The same where adapters act on draft rows and learn what the model would choose: they and the
/// masks have gradients, and nothing else has.
#[test]
fn gradients_of_adapters_are_derivatives() {
    for (config, per_layer) in attentions() {
        let network = Network::new(&adapted(config), 80, 4).unwrap();
        let (layout, first) = (&network.layout, &network.layout.trained);
        let frozen = layout.variables.iter().filter(|v| v.range.start < first.start);
        assert!(frozen.clone().all(Variable::is_models_own));
        assert_eq!(frozen.count(), 3 * per_layer + 2);
        // A skipped layer has no draft rows, hence no gradient: here every layer is kept.
        let sample = Sample { skip: 0..0, ..tiny_sample() };
        compare_slopes(&network, sample, DraftTargets::Choices);
    }
}

fn compare_slopes(network: &Network, mut sample: Sample, targets: DraftTargets) {
    let (weights, row) = (&lively(network)[..], RowWeights::even(0.05, 0.1));
    let (first, mut tape) = (network.first_trained(&sample), Tape::default());
    network.forward_to_learn(first, targets, weights, &mut sample, &mut tape);
    let sample = &sample;
    network.losses(sample, &mut tape, row);
    let trained = network.layout.trained.clone();
    let mut gradient = vec![0.0; weights.len()];
    network.backward(weights, sample, &mut tape, &mut gradient[trained.clone()]);
    for variable in network.layout.variables.iter().filter(|v| v.range.start >= trained.start) {
        let range = variable.range.clone();
        let norm =
            gradient[range.clone()].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-4, "{} receives no gradient", variable.name);
        let along = |step: f64| {
            let mut moved = weights.to_vec();
            for i in range.clone() {
                moved[i] += (step * f64::from(gradient[i]) / norm) as f32;
            }
            loss(network, &moved, sample, row)
        };
        let slope = |step: f64| (along(step) - along(-step)) / (2.0 * step);
        // Where the loss bends strongly a shorter step comes closer.
        let slope = match slope(3e-3) {
            long if (long - norm).abs() < 0.01 * norm + 2e-4 => long,
            _ => slope(3e-4),
        };
        assert!(
            (slope - norm).abs() < 0.01 * norm + 2e-4,
            "{} of {}: gradient norm {norm}, slope {slope}",
            variable.name,
            network.config.class()
        );
    }
}

/// Row 0 of a draft that skips nothing is the text's own row: same token, same keys, same logits.
/// With layers skipped it is not.
#[test]
fn draft_without_skipping_is_the_full_model() {
    let network = Network::new(&tiny_model(), 80, 4).unwrap();
    let weights = network.layout.init(6);
    let vocabulary = network.config.vocab_size;
    let difference = |skip: std::ops::Range<usize>| {
        let sample = Sample { skip, ..tiny_sample() };
        let mut tape = Tape::default();
        network.forward(&weights, &sample, &mut tape);
        let row = |row: usize| &tape.logits[row * vocabulary..][..vocabulary];
        let pairs = sample.anchors.iter().enumerate();
        pairs
            .flat_map(|(i, t)| row(80 + 4 * i).iter().zip(row(*t)).map(|(a, b)| (a - b).abs()))
            .fold(0.0, f32::max)
    };
    assert!(difference(0..0) < 1e-6, "{}", difference(0..0));
    assert!(difference(1..2) > 1e-4, "{}", difference(1..2));
}

/// What draft rows are to predict: the text, or what the full model finds most likely after it.
/// source: the logits of the text alone, without draft rows.
#[test]
fn draft_targets_are_the_text_or_the_models_own_choices() {
    let network = Network::new(&adapted(tiny_model()), 80, 4).unwrap();
    let (weights, mut tape) = (lively(&network), Tape::default());
    let text = Sample::new(tiny_sample().tokens, Vec::new(), 0..0);
    network.forward(&weights, &text, &mut tape);
    let rows = tape.logits.chunks_exact(network.config.vocab_size);
    let chosen: Vec<u32> = rows.map(crate::cpu::ops::arg_max).collect();
    assert_ne!(chosen, text.next);
    let learn = |targets| {
        let (mut sample, mut tape) = (tiny_sample(), Tape::default());
        network.forward_to_learn(80, targets, &weights, &mut sample, &mut tape);
        // The second of two draft rows after anchor 9 stands at place 10 of the text.
        assert_eq!(network.target(&sample, 80 + 4 + 1), sample.next[10]);
        assert_eq!(network.target(&sample, 10), sample.tokens[11]);
        (sample.next, tape.logits)
    };
    let ((own, logits), (as_text, others)) =
        (learn(DraftTargets::Choices), learn(DraftTargets::Text));
    assert_eq!((own, as_text), (chosen, tiny_sample().tokens[1..].to_vec()));
    assert_eq!(logits, others);
}

/// A draft row sees only the text before its anchor: what comes after changes nothing. Token t
/// enters as row 0 of the group.
#[test]
fn drafts_cannot_see_ahead() {
    let network = Network::new(&tiny_model(), 80, 4).unwrap();
    let weights = network.layout.init(7);
    let vocabulary = network.config.vocab_size;
    let group = |change: usize| {
        let mut sample = Sample { anchors: vec![40], ..tiny_sample() };
        sample.tokens[change] += 1;
        let mut tape = Tape::default();
        network.forward(&weights, &sample, &mut tape);
        tape.logits[80 * vocabulary..].to_vec()
    };
    assert_eq!(group(41), group(80));
    assert_ne!(group(40), group(80));
    assert_ne!(group(39), group(80));
}

/// Token by token with a cache gives what one pass over the whole text gives; and the first draft
/// of a window that skips nothing is always accepted.
#[test]
fn decoding_follows_the_training_layout() {
    for (config, _) in attentions() {
        let network = Network::new(&config, 80, 4).unwrap();
        let (weights, prompt, mut tape) = (lively(&network), [5, 9, 2], Tape::default());
        let text = network.continue_text(&weights, &prompt, 30, 999, &mut tape);
        let sample = Sample::new(text.clone(), Vec::new(), 0..0);
        network.forward(&weights, &sample, &mut tape);
        for (t, row) in tape.logits.chunks_exact(network.config.vocab_size).enumerate().skip(2) {
            assert_eq!(crate::cpu::ops::arg_max(row), text[t + 1], "{} at {t}", config.class());
        }
        let accepted = network.accepted(&weights, &text, 3, 0..0, &mut tape);
        assert_eq!(accepted.len(), text.len() - 4 - 3);
        assert!(accepted.iter().all(|a| (1..=4).contains(a)), "{accepted:?}");
    }
}

fn tiny_run(threads: usize) -> Trainer {
    run_of(tiny_model(), threads)
}

fn run_of(model: ModelConfig, threads: usize) -> Trainer {
    let config = TrainConfig {
        model,
        batch: 3,
        context: 48,
        stages: vec![
            Stage { until: 0.5, anchors: 4, draft_weight: 1.0 },
            Stage { until: 1.0, anchors: 6, draft_weight: 1.5 },
        ],
        steps: 8,
        warmup: 2,
        learning_rate: 1e-2,
        ..TrainConfig::story(3)
    };
    let tokenizer = learn_tokenizer(3, 300, 20).unwrap();
    Trainer::with_tokenizer(config, tokenizer, threads).unwrap()
}

/// Neither stopping and going on nor the number of threads changes a bit; and the loss falls.
#[test]
fn resumed_is_uninterrupted() {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = tiny_run(2);
    let reports: Vec<StepReport> = (0..8).map(|_| whole.step().unwrap()).collect();
    let mut first = tiny_run(1);
    (0..3).for_each(|_| drop(first.step().unwrap()));
    first.checkpoint(dir.path()).unwrap();
    let mut second = Trainer::resume(dir.path(), 1).unwrap();
    assert_eq!(second.config(), whole.config());
    let rest: Vec<StepReport> = (0..5).map(|_| second.step().unwrap()).collect();
    assert_eq!(rest, reports[3..]);
    assert_eq!(second.weights, whole.weights);
    assert!(reports[7].text_loss < reports[0].text_loss - 0.3, "{reports:?}");
}

/// A damaged or foreign checkpoint is an error that names the file.
#[test]
fn bad_checkpoints_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |what: &str| {
        let error = Trainer::resume(dir.path(), 1).err().unwrap().to_string();
        assert!(error.contains("training.safetensors"), "{what}: {error}");
    };
    refused("missing");
    let trainer = tiny_run(1);
    trainer.checkpoint(dir.path()).unwrap();
    let path = dir.path().join("training.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    refused("truncated");
    trainer.save(dir.path()).unwrap();
    std::fs::copy(dir.path().join("model.safetensors"), &path).unwrap();
    refused("a model, not a training state");
}

/// The saved model holds every variable under its Hugging Face name, rounded to half precision.
#[test]
fn saved_models_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let trainer = tiny_run(1);
    trainer.save(dir.path()).unwrap();
    let bytes = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 2 + 3 * 9 + 1);
    let masks = file.tensor("s3d.mask_embeddings.weight").unwrap();
    assert_eq!(masks.shape(), [3, 16]);
    let key = file.tensor("model.layers.2.self_attn.k_proj.weight").unwrap();
    assert_eq!(key.shape(), [8, 16]);
    let range = &trainer.network.layout.variables.iter().find(|v| v.name.contains("2.self_attn.k"));
    let wanted = &trainer.weights[range.unwrap().range.clone()];
    for (pair, wanted) in key.data().chunks_exact(2).zip(wanted) {
        let value = half::f16::from_le_bytes([pair[0], pair[1]]).to_f32();
        assert!((value - wanted).abs() <= wanted.abs() * 4.9e-4 + 1e-7);
    }
    let config = ModelConfig::load(dir.path()).unwrap();
    assert_eq!((config.masks(), config.vocab_size), (3, 300));
    assert!(Tokenizer::load(&dir.path().join("tokenizer.json")).is_ok());
    trainer.save_prompts(dir.path(), 5).unwrap();
    let lines = std::fs::read_to_string(dir.path().join("prompts.jsonl")).unwrap();
    let read: Vec<crate::corpus::Prompt> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, crate::corpus::prompts(3, 5));
}

/// source: counted by hand. Gamma 2 walks 0, 3 (2 accepted), 4, 6; gamma 1 walks 0, 2, 4, 6.
#[test]
fn walking_counts_visited_positions_only() {
    let trace = GreedyTrace { task: "story".into(), accepted: vec![3, 0, 1, 0, 1, 0, 0] };
    let (mean, rates) = walk(&[&trace], 2);
    assert_eq!((mean, rates), (7.0 / 4.0, vec![2.0 / 4.0, 1.0 / 2.0]));
    let (mean, rates) = walk(&[&trace], 1);
    assert_eq!((mean, rates), (7.0 / 4.0, vec![3.0 / 4.0]));
}

/// source: the ends and the middle of half a cosine; in the second stage, the longer cosine.
#[test]
fn the_rate_rises_and_falls() {
    let stage = |until| Stage { until, anchors: 1, draft_weight: 1.0 };
    let config = |stages| TrainConfig { warmup: 10, steps: 210, stages, ..TrainConfig::story(1) };
    let near = |config: &TrainConfig, step, share: f32| {
        let rate = config.rate(step) / config.learning_rate;
        assert!((rate - share).abs() < 1e-6, "step {step}: {rate}");
    };
    let whole = config(vec![stage(1.0)]);
    for (step, share) in [(5, 0.5), (10, 1.0), (110, 0.525), (210, 0.05), (300, 0.05)] {
        near(&whole, step, share);
    }
    let split = config(vec![stage(11.0 / 21.0), stage(1.0)]);
    for (step, share) in [(10, 1.0), (60, 0.525), (110, 0.05), (210, 0.05)] {
        near(&split, step, share);
    }
    assert_eq!(split.rate(111), whole.rate(111));
}

/// Any text survives encoding, words and digits come apart as promised, and learning is repeatable.
#[test]
fn tokenizer_is_lossless_and_repeatable() {
    let tokenizer = learn_tokenizer(1, 400, 60).unwrap();
    assert_eq!(tokenizer.vocab_size(), 400);
    assert_eq!(tokenizer.token_to_id(END_OF_TEXT), Some(0));
    for text in ["Part 12. Anna had 307 kites.\n", "grüße, 你好 \u{1F600}\t\r\n  x", ""] {
        assert_eq!(tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap(), text);
    }
    assert_eq!(tokenizer.encode(" 307").unwrap().len(), 3);
    let again = learn_tokenizer(1, 400, 60).unwrap();
    let text = crate::corpus::document(1, crate::corpus::Split::HeldOut, 0).text;
    assert_eq!(tokenizer.encode(&text).unwrap(), again.encode(&text).unwrap());
}

/// The inference engine is another implementation of the same network: loaded from what the trainer
/// saved, it gives the same logits, the same greedy text and the same accepted drafts.
#[test]
fn the_engine_agrees() {
    attentions().into_iter().for_each(|(model, _)| compare_with_the_engine(model));
}

fn compare_with_the_engine(model: ModelConfig) {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = run_of(model, 2);
    (0..8).for_each(|_| drop(trainer.step().unwrap()));
    trainer.weights.iter_mut().for_each(|w| *w = half::f16::from_f32(*w * 1.5).to_f32());
    trainer.save(dir.path()).unwrap();
    let model = s3d_model::Model::load(dir.path(), &s3d_model::LoadOptions::default()).unwrap();
    let (network, weights) = (&trainer.network, &trainer.weights);
    let (prompt, mut tape) = ([7, 80, 90, 11], Tape::default());
    let text = network.continue_text(weights, &prompt, 36, u32::MAX, &mut tape);
    let mut cache = model.new_cache(64).unwrap();
    let logits = model.full_pass(&text, &mut cache, &mut s3d_model::Silent).unwrap();
    let sample = Sample::new(text.clone(), Vec::new(), 0..0);
    network.forward(weights, &sample, &mut tape);
    let theirs = logits.to_rows().unwrap().concat();
    let furthest = theirs.iter().zip(&tape.logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(furthest < 1e-4, "logits differ by {furthest}");
    for (start, end) in [(0, 0), (1, 2), (1, 3), (0, 2)] {
        let ours = network.accepted(weights, &text, 4, start..end, &mut tape);
        let skip = s3d_data::Skip::Window(s3d_data::SkipWindow::new(start, end).unwrap());
        let drafting = s3d_data::Drafting::Simultaneous;
        let (prompt, output) = text.split_at(4);
        let traces =
            s3d_model::trace_text(&model, prompt, output, drafting, &[skip], 4, false).unwrap();
        let theirs: Vec<usize> = traces[0].accepted.iter().map(|a| *a as usize).collect();
        assert_eq!(ours, theirs[..ours.len()], "{start}..{end}");
    }
}
