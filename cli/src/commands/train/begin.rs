//! The flags of a training, checked, and the training that they ask for: a new one, or one to go on
//! with.

use super::cues;
use super::place::Place;
use crate::args::{Method, Objective, Products, Targets, TrainArgs};
use crate::shared::heartbeat::Heartbeat;
use crate::shared::usage::{or_usage, usage};
use crate::shared::{locate, resolve};
use s3d_model::config::AdapterConfig;
use s3d_train::{
    Corpus, DraftLoss, DraftTargets, Finetune, Practice, TrainConfig, Trainer, Windows, Written,
    read_texts, texts_hash,
};

/// Steps on a checkpoint, where nothing else is said.
const OWN_STEPS: u64 = 600;
/// Steps of a run until the first ones have told how many fit into its time: the rate still rises.
const PROVISIONAL_STEPS: u64 = 1 << 20;

/// What a list of windows begins with in `--train-windows`.
const LAYERS: &str = "layers:";

/// Refuses flags that are wrong whatever the files hold.
///
/// # Errors
/// The flag, what was expected and what was found.
pub fn check(args: &TrainArgs) -> anyhow::Result<()> {
    resolve::threads(args.threads, args.oversubscribe)?;
    if args.checkpoint_every == 0 {
        return Err(usage("--checkpoint-every: expected at least 1, found 0"));
    }
    if args.steps == Some(0) {
        return Err(usage("--steps: expected at least 1, found 0"));
    }
    if args.validate_positions == Some(0) {
        return Err(usage("--validate-positions: expected at least 1, found 0"));
    }
    if let Some(seconds) = args.cpu_seconds.filter(|s| !s.is_finite() || *s <= 0.0) {
        return Err(usage(format!("--cpu-seconds: expected a time above 0, found {seconds}")));
    }
    if let Some(rate) = args.learning_rate.filter(|r| !r.is_finite() || *r <= 0.0) {
        return Err(usage(format!("--learning-rate: expected a number above 0, found {rate}")));
    }
    for (flag, value, least, most) in [
        ("--rank", args.rank, 1, 1024),
        ("--batch", args.batch, 1, 1024),
        ("--gamma-max", args.gamma_max, 2, 64),
        ("--context", args.context.unwrap_or(1), 1, 1 << 20),
        ("--groups", args.groups.unwrap_or(1), 1, 1 << 16),
        ("--own-tokens", args.own_tokens, 1, 1 << 16),
        ("--own-texts", args.own_texts, 1, 1024),
        ("--own-questions", args.own_questions, 0, 1 << 24),
    ] {
        if !(least..=most).contains(&value) {
            return Err(usage(format!("{flag}: expected {least} to {most}, found {value}")));
        }
    }
    for (flag, value) in
        [("--soft", args.soft), ("--variation", args.variation), ("--fall", args.fall)]
    {
        if !(0.0..=1.0).contains(&value) {
            return Err(usage(format!("{flag}: expected 0 to 1, found {value}")));
        }
    }
    if let Some(model) = &args.model
        && let (folder, _) = locate::model(model, false)?
        && folder.canonicalize().ok().is_some_and(|from| args.out.canonicalize().ok() == Some(from))
    {
        return Err(usage(format!(
            "--out {}: expected another folder than --model, which is not changed",
            args.out.display()
        )));
    }
    windows(args).map(drop)
}

/// The windows of `--train-windows`: lengths of symmetric ones, or windows one by one.
fn windows(args: &TrainArgs) -> anyhow::Result<Option<Windows>> {
    let Some(text) = &args.train_windows else { return Ok(None) };
    let pair = |text: &str| -> Option<[usize; 2]> {
        let (a, b) = text.split_once("..")?;
        Some([a.parse().ok()?, b.parse().ok()?]).filter(|[a, b]| a <= b)
    };
    let windows = match text.strip_prefix(LAYERS) {
        Some(list) => list.split(',').map(pair).collect::<Option<_>>().map(Windows::These),
        None => pair(text).map(Windows::Symmetric),
    };
    windows.map(Some).ok_or_else(|| {
        usage(format!(
            "--train-windows: expected A..B, such as 8..14 (symmetric windows of 8 to 14 layers), \
             or {LAYERS}A..B,C..D, such as {LAYERS}3..13,5..20 (these windows), A at most B; found \
             {text}"
        ))
    })
}

/// A run to begin or to go on with.
///
/// # Errors
/// Flags that do not go together, files that cannot be read, a folder of another training.
pub fn trainer(args: &TrainArgs, place: &Place, talk: &Heartbeat) -> anyhow::Result<Trainer> {
    let threads = resolve::threads(args.threads, args.oversubscribe)?;
    match (&args.model, args.preset.as_deref().unwrap_or("story")) {
        (Some(model), "story") => own(args, model, place, threads, talk),
        (Some(_), other) => Err(usage(format!("--preset: expected story, found '{other}'"))),
        (None, "story") => preset(args, TrainConfig::story(args.seed), place, threads),
        (None, "story-large") => preset(args, TrainConfig::story_large(args.seed), place, threads),
        (None, other) => {
            Err(usage(format!("--preset: expected story or story-large, found '{other}'")))
        }
    }
}

/// Steps that were asked for; provisional ones with `--cpu-seconds`.
fn steps(args: &TrainArgs, default: u64) -> u64 {
    match args.cpu_seconds {
        Some(_) => PROVISIONAL_STEPS,
        None => args.steps.unwrap_or(default),
    }
}

fn preset(
    args: &TrainArgs,
    mut config: TrainConfig,
    place: &Place,
    threads: usize,
) -> anyhow::Result<Trainer> {
    config.steps = steps(args, config.steps);
    if args.objective == Objective::Text {
        config = config.text_only();
    }
    if !place.has_state() {
        return Ok(Trainer::new(config, threads)?);
    }
    let state = place.state();
    let trainer = Trainer::resume(&state, threads)?;
    anyhow::ensure!(
        trainer.config().model.hidden_size == config.model.hidden_size,
        "{}: holds a training of another preset; give another --out, or remove the folder to \
         start over",
        state.display()
    );
    let known = |config: &TrainConfig| {
        let steps = if args.cpu_seconds.is_some() { 0 } else { config.steps };
        (config.seed, steps, config.model.masks(), config.began_with.is_some())
    };
    let found = trainer.config();
    anyhow::ensure!(
        known(found) == known(&config),
        "{}: holds a training with seed {}, {} steps and {} masks, but seed {}, {} steps and {} \
         masks were \
         asked for; give another --out, or remove the folder to start over",
        state.display(),
        found.seed,
        found.steps,
        found.model.masks(),
        config.seed,
        config.steps,
        config.model.masks()
    );
    Ok(trainer)
}

/// What drafts of a checkpoint learn: what was asked for, else what suits the method.
fn draft_targets(args: &TrainArgs) -> anyhow::Result<DraftTargets> {
    match (args.targets, args.method) {
        (Some(Targets::Choices), Method::Joint) => Err(usage(
            "--targets: expected text with --method joint, which changes what the model chooses; \
             found choices",
        )),
        (Some(Targets::Text), _) | (None, Method::Joint) => Ok(DraftTargets::Text),
        (_, Method::Adapters) => Ok(DraftTargets::Choices),
    }
}

/// How drafting is practised.
fn practice(args: &TrainArgs) -> anyhow::Result<Practice> {
    let practice = Practice {
        windows: windows(args)?,
        loss: DraftLoss { soft: args.soft, variation: args.variation },
        fall: args.fall,
        halves: args.products == Products::Bf16,
        vocabulary: args.vocabulary,
    };
    if args.method == Method::Joint && (practice.halves || practice.vocabulary.is_some()) {
        return Err(usage(
            "--products bf16 and --vocabulary: only with --method adapters, where the model's own \
             weights stay",
        ));
    }
    if practice.loss.soft > 0.0 && draft_targets(args)? == DraftTargets::Text {
        return Err(usage("--soft: expected --targets choices beside it, found text"));
    }
    Ok(practice)
}

/// Texts to train on, whosever they are.
enum Read {
    Generated,
    Texts(s3d_train::Texts),
    Written(Vec<Written>, String),
}

impl Read {
    fn corpus(&self) -> Corpus<'_> {
        match self {
            Self::Generated => Corpus::Generated,
            Self::Texts(texts) => Corpus::Texts(texts),
            Self::Written(texts, hash) => Corpus::Written(texts, hash),
        }
    }
}

/// The texts of `--corpus`; those of the model's own are written where they are not there yet.
fn corpus(args: &TrainArgs, model: &str, place: &Place, talk: &Heartbeat) -> anyhow::Result<Read> {
    let own = args.corpus.iter().any(|name| name.as_os_str() == "self");
    match (&args.corpus[..], &args.preset) {
        ([], None) => Err(usage(format!(
            "--model {model}: expected --corpus FILES with texts to train on, --corpus self with \
             --prompts FILE, \
             or --preset story for generated ones"
        ))),
        ([], Some(_)) => Ok(Read::Generated),
        ([_, _, ..], _) if own => {
            Err(usage("--corpus: expected either self or FILES, found both; leave one out"))
        }
        (_, _) if own && args.prompts.is_empty() => Err(usage(
            "--corpus self: expected --prompts FILE beside it, such as data/prompts/tasks.jsonl",
        )),
        (_, _) if own => {
            let cues = cues::read(&args.prompts)?;
            let texts = cues::texts(args, model, &cues, place, talk)?;
            let hash = texts_hash(&texts);
            Ok(Read::Written(texts, hash))
        }
        (_, _) if !args.prompts.is_empty() => {
            Err(usage("--prompts: expected --corpus self beside it, found FILES"))
        }
        (files, _) => Ok(Read::Texts(read_texts(files)?)),
    }
}

fn own(
    args: &TrainArgs,
    model: &str,
    place: &Place,
    threads: usize,
    talk: &Heartbeat,
) -> anyhow::Result<Trainer> {
    let (folder, _) = locate::model(model, false)?;
    let (draft_targets, practice) = (draft_targets(args)?, practice(args)?);
    if args.adapters.is_some() && args.method == Method::Joint {
        return Err(usage("--adapters: only with --method adapters"));
    }
    let texts = corpus(args, model, place, talk)?;
    talk.show(0.0, "reading the model".into());
    let own = Finetune {
        folder: &folder,
        corpus: texts.corpus(),
        warm: args.adapters.as_deref(),
        adapters: (args.method == Method::Adapters).then_some(AdapterConfig::of_rank(args.rank)),
        draft_targets,
        masks: args.gamma_max - 1,
        context: args.context,
        groups: args.groups,
        practice,
        batch: args.batch,
        steps: steps(args, OWN_STEPS),
        learning_rate: args.learning_rate,
        seed: args.seed,
    };
    let mut trainer = own.begin(threads)?;
    if let Some(size) = args.draft_vocabulary {
        or_usage("--draft-vocabulary", trainer.list_draft_vocabulary(size))?;
    }
    if place.has_state() {
        trainer.go_on(&place.state(), args.cpu_seconds.is_some())?;
    }
    Ok(trainer)
}
