//! Masks and adapters for a checkpoint that has none.

use super::*;
use crate::corpus::{Split, document};
use s3d_data::{Plan, SkipWindow};
use s3d_model::{Generation, Limits, LoadOptions, Model, Silent};
use std::path::{Path, PathBuf};

/// A tiny model that has learned its text alone, saved; and texts to train it on.
pub(crate) fn checkpoint(dir: &Path, model: ModelConfig) -> (PathBuf, Texts) {
    let config = TrainConfig {
        model,
        batch: 4,
        context: 48,
        steps: 120,
        warmup: 5,
        learning_rate: 2e-2,
        ..TrainConfig::story(3)
    };
    let tokenizer = learn_tokenizer(3, 300, 20).unwrap();
    let mut trainer = Trainer::with_tokenizer(config.text_only(), tokenizer, 2).unwrap();
    (0..120).for_each(|_| drop(trainer.step().unwrap()));
    let folder = dir.join("base");
    trainer.save(&folder).unwrap();
    std::fs::write(folder.join("generation_config.json"), "{}").unwrap();
    (folder, Texts { files: vec![(0..40).map(|i| document(3, Split::Training, i).text).collect()] })
}

pub(crate) fn own<'a>(folder: &'a Path, texts: &'a Texts) -> Finetune<'a> {
    Finetune {
        folder,
        corpus: Corpus::Texts(texts),
        warm: None,
        groups: None,
        practice: Practice::default(),
        adapters: Some(AdapterConfig::of_rank(4)),
        draft_targets: DraftTargets::Choices,
        masks: 3,
        context: Some(48),
        batch: 3,
        steps: 60,
        learning_rate: Some(1e-2),
        seed: 5,
    }
}

/// All weights are trained.
fn jointly<'a>(folder: &'a Path, texts: &'a Texts) -> Finetune<'a> {
    Finetune { adapters: None, draft_targets: DraftTargets::Text, ..own(folder, texts) }
}

pub(crate) fn plain(folder: &Path) -> Vec<u32> {
    let model = Model::load(folder, &LoadOptions::default()).unwrap();
    let limits = Limits { stop_at_end: false, ..Limits::tokens(60) };
    Generation::new(&model, &[5, 9, 2], &Plan::Plain, limits, &mut Silent)
        .unwrap()
        .finish()
        .unwrap()
}

/// Every file of a folder but its configuration, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let mut files: Vec<_> =
        entries.filter(|p| p.is_file()).map(|p| (name(&p), std::fs::read(&p).unwrap())).collect();
    files.retain(|(name, _)| name != "config.json");
    files.sort();
    files
}

/// Tokens per iteration at 4 drafts with layer 1 skipped, and the losses of the masks.
fn skill(trainer: &Trainer) -> (f64, f64) {
    let window = SkipWindow::new(1, 2).unwrap();
    let texts = trainer.greedy_texts(6, 32).unwrap();
    assert!(texts.len() == 6 && texts.iter().all(|text| text.tokens.len() > text.prompt));
    let traces = trainer.acceptance(&texts, &[window]).unwrap();
    let rate = walk(&traces[0].iter().collect::<Vec<_>>(), 4).0;
    let losses = trainer.held_out_drafts(4, window).unwrap();
    (rate, losses[1..].iter().sum::<f64>() / 3.0)
}

/// Adapters leave the model's own files and its text as they are, and lower the losses of the
/// masks. More is accepted too; that is asked of the first model alone: texts of models that have
/// learned so little repeat themselves, some so much that masks which know nothing are accepted.
#[test]
fn adapters_learn_to_draft_and_leave_the_model_as_it_is() {
    let more = attentions().map(|(model, _)| learn_to_draft(model));
    assert!(more[0] > 0.1, "{more:?}");
}

/// By how much the tokens per iteration rose.
fn learn_to_draft(model: ModelConfig) -> f64 {
    let class = model.class();
    let dir = tempfile::tempdir().unwrap();
    let (base, texts) = checkpoint(dir.path(), model);
    let mut trainer = Finetune { steps: 200, ..own(&base, &texts) }.begin(2).unwrap();
    let frozen = trainer.weights[..trainer.network.layout.trained.start].to_vec();
    let text_loss = trainer.held_out(4).unwrap();
    let before = skill(&trainer);
    (0..200).for_each(|_| drop(trainer.step().unwrap()));
    let after = skill(&trainer);
    assert!(after.1 < before.1 - 0.6, "{class}: {before:?} {after:?}");
    assert_eq!(trainer.weights[..frozen.len()], frozen);
    assert_eq!(trainer.held_out(4).unwrap(), text_loss);
    let out = dir.path().join("out");
    trainer.save(&out).unwrap();
    trainer.save_prompts(&out, 6).unwrap();
    let (mut found, wanted) = (files(&out), files(&base));
    let added = ["s3d.safetensors", "s3d.json", "prompts.jsonl"];
    found.retain(|(name, _)| !added.contains(&name.as_str()));
    assert_eq!(found, wanted);
    assert_eq!(plain(&out), plain(&base));
    let config = ModelConfig::load(&out).unwrap();
    assert_eq!(
        (config.masks(), config.adapters()),
        (3, Some(AdapterConfig { rank: 4, alpha: 8.0 }))
    );
    let source = ModelConfig { s3d: None, ..config };
    assert_eq!(source, ModelConfig::load(&base).unwrap());
    assert_eq!(s3d_data::load_prompts(&out.join("prompts.jsonl"), None).unwrap().len(), 6);
    // A configuration that does not know of the adapters is another model than the folder holds.
    std::fs::copy(base.join("config.json"), out.join("config.json")).unwrap();
    let error = Model::load(&out, &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("s3d.adapters."), "{error}");
    after.0 - before.0
}

/// The engine drafts with adapters as the trainer does.
#[test]
fn the_engine_agrees_about_adapters() {
    [tiny_model(), full_model()].into_iter().for_each(compare_drafts_with_the_engine);
}

fn compare_drafts_with_the_engine(model: ModelConfig) {
    let dir = tempfile::tempdir().unwrap();
    let (base, texts) = checkpoint(dir.path(), model);
    let mut trainer = Finetune { steps: 200, ..own(&base, &texts) }.begin(2).unwrap();
    (0..200).for_each(|_| drop(trainer.step().unwrap()));
    let range = trainer.network.layout.trained.clone();
    trainer.weights[range].iter_mut().for_each(|w| *w = half::f16::from_f32(*w).to_f32());
    let out = dir.path().join("out");
    trainer.save(&out).unwrap();
    let model = Model::load(&out, &LoadOptions::default()).unwrap();
    let mut some = 0;
    for text in trainer.greedy_texts(4, 32).unwrap() {
        for (start, end) in [(0, 0), (1, 2), (0, 2)] {
            let window = SkipWindow::new(start, end).unwrap();
            let ours = trainer
                .acceptance(std::slice::from_ref(&text), &[window])
                .unwrap()
                .remove(0)
                .remove(0);
            let (prompt, output) = text.tokens.split_at(text.prompt);
            let (drafting, skips) = (s3d_data::Drafting::Simultaneous, [window.into()]);
            let theirs = s3d_model::trace_text(&model, prompt, output, drafting, &skips, 4, false);
            let theirs = theirs.unwrap().remove(0).accepted;
            let ours: Vec<u32> = ours.accepted.iter().map(|a| *a as u32).collect();
            assert_eq!(ours, theirs[..ours.len()], "{start}..{end}");
            some += ours.iter().filter(|a| **a > 1).count();
        }
    }
    assert!(some > 10, "masks draft nothing: {some}");
}

/// Stopping and going on changes no bit; a state of another run is refused.
#[test]
fn resumed_on_a_checkpoint_is_uninterrupted() {
    let dir = tempfile::tempdir().unwrap();
    let (base, texts) = checkpoint(dir.path(), tiny_model());
    let state = dir.path().join("state");
    for own in [own(&base, &texts), jointly(&base, &texts)] {
        let mut whole = own.begin(1).unwrap();
        let reports: Vec<StepReport> = (0..6).map(|_| whole.step().unwrap()).collect();
        let mut first = own.begin(2).unwrap();
        (0..2).for_each(|_| drop(first.step().unwrap()));
        first.checkpoint(&state).unwrap();
        let mut second = own.begin(1).unwrap();
        second.go_on(&state, false).unwrap();
        let rest: Vec<StepReport> = (0..4).map(|_| second.step().unwrap()).collect();
        assert_eq!(rest, reports[2..]);
        assert_eq!(second.weights, whole.weights);
        let refuse =
            |own: Finetune| own.begin(1).unwrap().go_on(&state, false).unwrap_err().to_string();
        assert!(
            refuse(Finetune { steps: 70, ..own.clone() })
                .contains("steps 60, but 70 was asked for")
        );
        assert!(
            Finetune { steps: 70, ..own.clone() }.begin(1).unwrap().go_on(&state, true).is_ok()
        );
        assert!(refuse(Finetune { masks: 2, ..own.clone() }).contains("other masks or adapters"));
        let shorter = Texts { files: vec![texts.files[0][1..].to_vec()] };
        assert!(
            refuse(Finetune { corpus: Corpus::Texts(&shorter), ..own.clone() })
                .contains("other texts")
        );
        if own.adapters.is_some() {
            let said = refuse(Finetune { draft_targets: DraftTargets::Text, ..own.clone() });
            let wanted = r#"draft_targets "choices", but "text" was asked for"#;
            assert!(said.contains(wanted), "{said}");
        }
    }
}

/// All weights together: the saved checkpoint holds the names of the one it began with.
#[test]
fn joint_training_begins_with_a_checkpoint_too() {
    let more = train_jointly(fused_model(), &["self_attn.qkv_proj.weight"]);
    assert!(more > 0.1, "{more}");
    let vectors = ["q_norm.weight", "k_norm.weight", "v_proj.bias", "o_proj.bias"];
    train_jointly(full_model(), &vectors.map(|name| format!("self_attn.{name}")));
}

/// By how much the tokens per iteration rose.
fn train_jointly(model: ModelConfig, some_names: &[impl AsRef<str>]) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let model = ModelConfig { dtype: Some("float32".into()), ..model };
    let (base, texts) = checkpoint(dir.path(), model);
    let mut trainer = jointly(&base, &texts).begin(2).unwrap();
    let before = skill(&trainer);
    (0..60).for_each(|_| drop(trainer.step().unwrap()));
    let after = skill(&trainer);
    assert!(after.1 < before.1 - 0.8, "{before:?} {after:?}");
    let out = dir.path().join("out");
    trainer.save(&out).unwrap();
    assert_ne!(plain(&out), plain(&base));
    let names = |folder: &Path| {
        let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut names: Vec<String> = file.names().into_iter().map(|n| n.to_string()).collect();
        names.sort();
        names
    };
    let mut wanted = names(&base);
    wanted.push("s3d.mask_embeddings.weight".into());
    assert_eq!(names(&out), wanted);
    for name in some_names {
        let name = format!("model.layers.2.{}", name.as_ref());
        assert!(wanted.contains(&name), "{name}: {wanted:?}");
    }
    after.0 - before.0
}

#[test]
fn what_cannot_be_trained_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (base, texts) = checkpoint(dir.path(), tiny_model());
    let refuse = |own: Finetune| own.begin(1).err().unwrap().to_string();
    let usual = own(&base, &texts);
    let file = Finetune { folder: &base.join("config.json"), ..jointly(&base, &texts) };
    assert!(refuse(file).contains("Hugging Face folder"));
    let short = Texts { files: vec![vec!["a few words".into()]] };
    assert!(
        refuse(Finetune { corpus: Corpus::Texts(&short), ..usual.clone() })
            .contains("a context of 48 needs about 490")
    );
    assert!(refuse(Finetune { context: Some(4), ..usual.clone() }).contains("context above 5"));
    assert!(refuse(Finetune { adapters: None, ..usual.clone() }).contains("own choices only"));
    assert!(
        refuse(Finetune { adapters: Some(AdapterConfig::of_rank(99)), ..usual.clone() })
            .contains("rank")
    );
    let trainer = usual.begin(1).unwrap();
    assert!(trainer.save(&base).unwrap_err().to_string().contains("another folder"));
    let out = dir.path().join("out");
    trainer.save(&out).unwrap();
    assert!(
        refuse(Finetune { folder: &out, ..usual.clone() }).contains("3 mask predictors already")
    );
    assert!(
        refuse(Finetune { corpus: Corpus::Generated, ..usual.clone() }).contains("eos_token_id")
    );
    std::fs::remove_file(base.join("tokenizer.json")).unwrap();
    assert!(refuse(usual).contains("no tokenizer.json"));
    let unknown = as_class("FalconForCausalLM", false);
    let error = Network::new(&unknown, 80, 1).err().unwrap().to_string();
    assert!(error.contains("'FalconForCausalLM' is not supported"), "{error}");
}
