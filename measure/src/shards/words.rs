//! The request in words: parts of different requests are told apart, and a run goes on only with
//! its own.

use crate::request::{Plans, Prompt, Request, Stage};
use s3d_data::Sharding;
use s3d_data::run::shard::{Asked, RequestWords, digest};

/// What the header of a shard says; nothing for a run that is not divided.
pub(crate) fn sharding(request: &Request) -> Option<Sharding> {
    request.shard.map(|shard| Sharding { shard, request: words(request) })
}

/// The prompts in words.
pub(crate) const PROMPTS: &str = "--prompts";
/// Contexts that passes are timed at beside those of every run.
const CONTEXTS: &str = "contexts of --context";
/// The digest of each prompt: of two lists that begin alike, one begins the other.
pub(crate) const TEXTS: &str = "texts";

/// What is asked of each stage that measures. Nothing about time, which may be given more of.
pub(crate) fn asked(request: &Request) -> Asked {
    let wanted = Stage::ALL.into_iter().filter(|&stage| request.wants(stage));
    let named = wanted.map(|stage| (request.stage_name(stage), of_stage(stage, request)));
    named.filter(|(_, words)| !words.is_empty()).collect()
}

/// Whether traces keep ranks.
const RANKS: &str = "--ranks";

fn of_stage(stage: Stage, request: &Request) -> RequestWords {
    let texts = [PROMPTS, TEXTS, "--tokens"];
    let windows = ["--windows", "draftings"];
    let names: Vec<&str> = match stage {
        Stage::Probe | Stage::Memory => Vec::new(),
        Stage::Latency => [&windows[..], &[CONTEXTS]].concat(),
        Stage::Acceptance | Stage::Refinement => {
            [&texts[..], &windows, &["positions", "first look", "--confidence", RANKS]].concat()
        }
        Stage::Throughput | Stage::RunOff | Stage::Confirmation => texts.to_vec(),
        Stage::Batch => [&windows[..], &["--batch"]].concat(),
        Stage::BatchConfirmation => [&texts[..], &["--batch"]].concat(),
    };
    let mut all = words(request);
    let first_look = request.first_look.map_or("none".into(), |positions| positions.to_string());
    all.insert("first look".into(), first_look);
    all.insert("--batch".into(), list(&request.batches));
    let each = request.prompts.iter().map(|prompt| digest(bytes(prompt)));
    all.insert(TEXTS.into(), each.collect::<Vec<_>>().join(" "));
    all.retain(|name, _| names.contains(&name.as_str()));
    all
}

/// All that decides which work there is, beside what every header says. Nothing about time: a part
/// does not depend on it.
fn words(request: &Request) -> RequestWords {
    let positions = match request.positions {
        Request::EVERY_PROMPT => "those of every prompt".into(),
        positions => positions.to_string(),
    };
    let plans = match &request.plans {
        Plans::Exactly(plans) => list(plans),
        Plans::Judged(_) => "none".into(),
    };
    [
        ("kinds", kinds(request)),
        ("--plans", plans),
        ("--windows", list(&request.skips)),
        ("draftings", list(&request.draftings)),
        (PROMPTS, prompts(&request.prompts)),
        ("positions", positions),
        ("--tokens", request.tokens.to_string()),
        ("--confidence", request.confidence.to_string()),
    ]
    .into_iter()
    // Runs of older programs do not know this one.
    .chain(request.ranks.then(|| (RANKS, "true".into())))
    .map(|(name, value)| (name.to_string(), value))
    .chain(contexts(request))
    .collect()
}

/// The contexts of a run that was asked about several.
fn contexts(request: &Request) -> Option<(String, String)> {
    (!request.contexts.is_empty()).then(|| (CONTEXTS.into(), list(&request.contexts)))
}

fn kinds(request: &Request) -> String {
    let wanted = Stage::ALL.into_iter().filter(|&s| s != Stage::Probe && request.wants(s));
    list(&wanted.collect::<Vec<_>>())
}

/// A few things by name, many by their number and digest.
fn list<T: ToString>(things: &[T]) -> String {
    let words: Vec<String> = things.iter().map(ToString::to_string).collect();
    match words.len() {
        0..=6 => words.join(","),
        many => format!("{many} of digest {}", digest(&words)),
    }
}

fn prompts(prompts: &[Prompt]) -> String {
    format!("{} of digest {}", prompts.len(), digest(prompts.iter().flat_map(bytes)))
}

/// What decides about a prompt: its name and its tokens.
fn bytes(prompt: &Prompt) -> [Vec<u8>; 2] {
    let tokens = prompt.tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    [prompt.id.clone().into_bytes(), tokens]
}
