//! What was divided into shards: the request in words, so that parts of different requests are told apart.

use crate::{Plans, Prompt, Request, Stage};
use s3d_data::Sharding;
use s3d_data::shard::{RequestWords, digest};

/// What the header of a shard says; nothing for a run that is not divided.
pub(crate) fn sharding(request: &Request) -> Option<Sharding> {
    request.shard.map(|shard| Sharding { shard, request: words(request) })
}

/// All that decides which work there is, beside what every header says. Nothing about time: a part does
/// not depend on it.
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
        ("--prompts", prompts(&request.prompts)),
        ("positions", positions),
        ("--tokens", request.tokens.to_string()),
        ("--confidence", request.confidence.to_string()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
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
    let parts = prompts.iter().flat_map(|prompt| {
        let tokens = prompt.tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        [prompt.id.clone().into_bytes(), tokens]
    });
    format!("{} of digest {}", prompts.len(), digest(parts.collect::<Vec<Vec<u8>>>()))
}
