//! Texts of the model's own, and adapters that stand alone.

use super::finetune::{checkpoint, own, plain};
use super::*;
use s3d_data::prompt::HELD_OUT;
use s3d_data::{Plan, Prompt};
use s3d_model::weights::{AddedConfig, NEAR};
use s3d_model::{Generation, Limits, LoadOptions, Model, Silent};
use std::path::{Path, PathBuf};

fn prompts() -> Vec<Prompt> {
    let prompt = |i: usize| Prompt {
        id: format!("c{i}"),
        task: Some("tale".into()),
        split: (i % 4 == 3).then(|| HELD_OUT.into()),
        text: format!("The miller counts {i} sacks"),
        ..Prompt::default()
    };
    (0..8).map(prompt).collect()
}

fn writing(texts: usize) -> Writing {
    Writing { tokens: 24, texts, seed: 3, chat: true, of: String::new() }
}

fn on_written<'a>(base: &'a Path, texts: &'a [Written], hash: &'a str) -> Finetune<'a> {
    let practice = Practice {
        windows: Some(Windows::Symmetric([1, 1])),
        loss: DraftLoss { soft: 0.5, variation: 0.2 },
        fall: 0.8,
        halves: false,
        vocabulary: Some(8),
    };
    let none = Texts { files: Vec::new() };
    Finetune {
        corpus: Corpus::Written(texts, hash),
        groups: Some(6),
        practice,
        steps: 30,
        ..own(base, Box::leak(Box::new(none)))
    }
}

/// Written once, then read; a file that was cut off goes on to the same texts. Each first text is
/// what plain decoding gives.
#[test]
fn texts_of_the_models_own_are_what_it_decodes_and_are_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let (base, _) = checkpoint(dir.path(), tiny_model());
    let model = Model::load(&base, &LoadOptions::default()).unwrap();
    let file = dir.path().join("texts.jsonl");
    let mut said = Vec::new();
    let mut write = |writing: &Writing, prompts: &[Prompt]| {
        write_texts(&model, prompts, writing, &file, &mut |done, all| said.push((done, all)))
    };
    let texts = write(&writing(2), &prompts()).unwrap();
    // 8 greedy texts, and one drawn for each of the 6 prompts that are trained on.
    assert_eq!(texts.len(), 14);
    let prompt = model.tokenizer().unwrap().encode(&prompts()[5].text).unwrap();
    let limits = Limits::tokens(24);
    let mut silent = Silent;
    let greedy = Generation::new(&model, &prompt, &Plan::Plain, limits, &mut silent).unwrap();
    assert_eq!(texts[5].tokens, [prompt, greedy.finish().unwrap()].concat());
    assert_ne!(texts[8].tokens, texts[0].tokens);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(write(&writing(2), &prompts()).unwrap(), texts);
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    for (writing, prompts) in [(writing(1), prompts()), (writing(2), prompts()[1..].to_vec())] {
        let error = write(&writing, &prompts).unwrap_err().to_string();
        assert!(error.contains("other prompts or other settings"), "{error}");
    }
    assert_eq!(said.last(), Some(&(14, 14)));
}

/// Masks and adapters learn from such texts; laid over the base they are the trained model, also
/// from a copy in another number type, and over another model they are refused.
#[test]
fn adapters_alone_are_laid_over_their_base_and_over_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (base, _) = checkpoint(dir.path(), tiny_model());
    let model = Model::load(&base, &LoadOptions::default()).unwrap();
    let file = dir.path().join("texts.jsonl");
    let texts = write_texts(&model, &prompts(), &writing(2), &file, &mut |_, _| ()).unwrap();
    let hash = texts_hash(&texts);
    let mut trainer = on_written(&base, &texts, &hash).begin(2).unwrap();
    let losses: Vec<f64> =
        (0..30).map(|_| trainer.step().unwrap().draft_loss.iter().sum()).collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[24..]) < mean(&losses[..6]) - 0.5, "{losses:?}");
    let out = dir.path().join("out");
    trainer.save(&out).unwrap();
    let with = |base: &Path| {
        let options = LoadOptions { adapters: Some(out.clone()), ..LoadOptions::default() };
        Model::load(base, &options)
    };
    let (laid, whole) = (with(&base).unwrap(), Model::load(&out, &LoadOptions::default()).unwrap());
    assert_eq!(laid.base_distance(), Some(0.0));
    let drafts = |model: &Model| {
        let plan: Plan = "1..2:4".parse().unwrap();
        let limits = Limits { stop_at_end: false, ..Limits::tokens(30) };
        let mut silent = Silent;
        let steps = Generation::new(model, &[5, 9, 2], &plan, limits, &mut silent).unwrap();
        steps.map(|step| step.unwrap().tokens).collect::<Vec<_>>()
    };
    assert_eq!(drafts(&laid), drafts(&whole));
    assert_eq!(drafts(&laid).concat()[..20], plain(&base)[..20]);
    assert_ne!(laid.identity().content_hash, model.identity().content_hash);
    // A base that is near: every value moved by 0.4 %, as q8_0 moves them; and one that is not.
    for (factor, near) in [(1.004, true), (1.1, false)] {
        let copy = scaled_copy(&base, dir.path(), factor);
        match with(&copy) {
            Ok(model) => {
                let distance = model.base_distance().unwrap();
                assert!(near && distance > 0.0 && distance < NEAR, "{distance}");
            }
            Err(error) => {
                let said = error.to_string();
                let known = AddedConfig::read(&out).unwrap().base.hash;
                assert!(!near && said.contains(&known[..12]) && said.contains("'copy"), "{said}");
            }
        }
    }
    let error = with(&out).unwrap_err().to_string();
    assert!(error.contains("this one has 3"), "{error}");
}

/// A copy of a folder whose weights are `factor` times as large.
fn scaled_copy(base: &Path, dir: &Path, factor: f32) -> PathBuf {
    use safetensors::tensor::{Dtype, SafeTensors, TensorView};
    let copy = dir.join(format!("copy-{factor}"));
    std::fs::create_dir(&copy).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        std::fs::copy(base.join(name), copy.join(name)).unwrap();
    }
    let bytes = std::fs::read(base.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let scaled: Vec<(String, Vec<usize>, Vec<u8>)> = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            assert_eq!(tensor.dtype(), Dtype::F16);
            let halves = tensor.data().chunks_exact(2);
            let values = halves.map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32() * factor);
            let bytes = values.flat_map(f32::to_le_bytes).collect();
            (name, tensor.shape().to_vec(), bytes)
        })
        .collect();
    let views = scaled.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let path = copy.join("model.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    copy
}

/// A later training begins where an earlier one ended.
#[test]
fn adapters_of_an_earlier_training_are_begun_with() {
    let dir = tempfile::tempdir().unwrap();
    let (base, _) = checkpoint(dir.path(), tiny_model());
    let model = Model::load(&base, &LoadOptions::default()).unwrap();
    let file = dir.path().join("texts.jsonl");
    let texts = write_texts(&model, &prompts(), &writing(1), &file, &mut |_, _| ()).unwrap();
    let hash = texts_hash(&texts);
    let usual = on_written(&base, &texts, &hash);
    let mut first = usual.begin(1).unwrap();
    (0..10).for_each(|_| drop(first.step().unwrap()));
    let range = first.network.layout.trained.clone();
    first.weights[range.clone()].iter_mut().for_each(|w| *w = half::f16::from_f32(*w).to_f32());
    let out = dir.path().join("out");
    first.save(&out).unwrap();
    let second = Finetune { warm: Some(&out), ..usual.clone() }.begin(1).unwrap();
    assert_eq!(second.weights[range.clone()], first.weights[range]);
    assert_ne!(second.config.began_with, first.config.began_with);
    let error =
        Finetune { warm: Some(&out), masks: 2, ..usual }.begin(1).err().unwrap().to_string();
    assert!(error.contains("rank 4 for 4 drafts; rank 4 and 3 drafts"), "{error}");
}

/// A learning rate beyond all reason ends the training; the state that was there is the last good
/// one.
#[test]
fn a_loss_that_is_not_finite_ends_the_training_and_keeps_its_last_state() {
    let dir = tempfile::tempdir().unwrap();
    let (base, texts) = checkpoint(dir.path(), tiny_model());
    let mut trainer =
        Finetune { learning_rate: Some(1e30), ..own(&base, &texts) }.begin(1).unwrap();
    let state = dir.path().join("state");
    trainer.checkpoint(&state).unwrap();
    let before = std::fs::read(state.join("training.safetensors")).unwrap();
    let error = (0..4).find_map(|_| trainer.step().err()).unwrap().to_string();
    assert!(error.contains("not a finite number"), "{error}");
    let saved = trainer.save(&dir.path().join("out"));
    assert!(saved.unwrap_err().to_string().contains("cannot hold"));
    assert_eq!(std::fs::read(state.join("training.safetensors")).unwrap(), before);
}

/// Products in `bf16` change the gradient of adapters by the rounding of `bf16` alone.
/// source: the same in f32.
#[test]
fn products_in_halves_and_a_whole_vocabulary_give_the_same_gradient() {
    let config = adapted(tiny_model());
    let row =
        RowWeights { loss: DraftLoss { soft: 0.5, variation: 0.3 }, ..RowWeights::even(0.0, 0.1) };
    let gradient = |network: &Network| {
        let (weights, mut sample) = (lively(network), Sample { skip: 0..0, ..tiny_sample() });
        let (first, mut tape) = (network.first_trained(&sample), Tape::default());
        network.forward_to_learn(first, DraftTargets::Choices, &weights, &mut sample, &mut tape);
        network.losses(&sample, &mut tape, row);
        let mut gradient = vec![0.0; network.layout.trained.len()];
        network.backward(&weights, &sample, &mut tape, &mut gradient);
        gradient
    };
    let mut network = Network::new(&config, 80, 4).unwrap();
    let exact = gradient(&network);
    let size = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let apart = |other: &[f32]| {
        let difference: Vec<f32> = exact.iter().zip(other).map(|(a, b)| a - b).collect();
        size(&difference) / size(&exact)
    };
    let (layout, weights) = (network.layout.clone(), lively(&network));
    let all = (0..config.vocab_size as u32).collect();
    let head = &weights[layout.head.clone()];
    let whole = crate::cpu::products::Vocabulary::new(all, head, config.hidden_size, false);
    network.products.vocabulary = Some(whole);
    assert!(apart(&gradient(&network)) < 1e-5);
    network.products.pack_layers(&layout, &config, &weights);
    let off = apart(&gradient(&network));
    assert!(off > 1e-5 && off < 0.05, "{off}");
}
