//! Whether a run that is there goes on: what was asked for then and now, compared.

use crate::error::{Error, Result};
use crate::request::Stage;
use crate::shards::words::{PROMPTS, TEXTS};
use s3d_data::output::{NewFiles, Output};
use s3d_data::run::drawn;
use s3d_data::run::shard::{Asked, RequestWords};
use s3d_data::{Observation, RunDir, RunHeader, Seconds};
use std::collections::HashSet;

/// Whether a run that is there goes on or is begun again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// A run that is there goes on, if it is the same.
    #[default]
    Resume,
    /// A run that is there is replaced.
    Over,
}

/// A place for a new run. Where one is there it must be replaced, not added to.
pub(crate) fn begin<'a>(output: &'a Output, dir: &RunDir, start: Start) -> Result<NewFiles<'a>> {
    match start {
        Start::Resume if dir.journal().exists() => Err(Error::invalid(format!(
            "{}: there is no run.json beside it, which says what was measured; put it back, or \
             give another --out, or --force to start over",
            dir.journal().display()
        ))),
        _ => Ok(output.draft()?),
    }
}

/// The header of the run in `dir`, if it is the run that `asked` describes, and whether it was
/// finished and is given more time.
pub(crate) fn resume(dir: &RunDir, asked: RunHeader) -> Result<(RunHeader, bool)> {
    let mut found = dir.load_header()?;
    if found.merged.is_some() {
        let path = dir.root().display();
        return Err(Error::invalid(format!(
            "{path}: merged from shards, nothing is measured into it; give another --out"
        )));
    }
    if let Some((what, found, expected)) = first_difference(&identity(&found), &identity(&asked)) {
        return Err(Error::OtherRun { path: dir.header(), what, found, expected });
    }
    if found.ended.is_some() && !dir.journal().exists() {
        let path = dir.root().display();
        return Err(Error::invalid(format!(
            "{path}: holds the tables of a run and no journal, nothing is measured into it; give \
             another --out"
        )));
    }
    compare_asked(dir, &mut found, asked.asked.clone().unwrap_or_default())?;
    let more_time = gets_more_time(&found, &asked);
    if more_time {
        // Advice on what was too little is given anew.
        found.warnings.clear();
    }
    found.memory_budget_bytes = asked.memory_budget_bytes;
    if !asked.contexts.is_empty() {
        found.contexts.clone_from(&asked.contexts);
    }
    let budgets = [found.time_budget_seconds, asked.time_budget_seconds];
    found.time_budget_seconds = budgets.into_iter().flatten().reduce(Seconds::max);
    found.precision = match (found.precision, asked.precision) {
        (Some(before), Some(now)) => Some(before.min(now)),
        (before, now) => now.or(before),
    };
    found.ended = None;
    found.tables = None;
    Ok((found, more_time))
}

/// The time budget of runs whose header does not say it: that of a run without the flag.
const UNTOLD_BUDGET: Seconds = Seconds(120.0);

/// Whether a run that came to its end is now given time that it has not had: a longer budget, or a
/// narrower interval to reach within a budget that was not spent.
fn gets_more_time(found: &RunHeader, asked: &RunHeader) -> bool {
    let spent = found.seconds_measuring;
    let budget = asked.time_budget_seconds.unwrap_or_default();
    let before = found.time_budget_seconds.unwrap_or(UNTOLD_BUDGET);
    let longer = budget > before;
    let narrower = asked.precision.is_some_and(|now| found.precision.is_none_or(|old| now < old));
    found.ended.is_some() && budget > spent && (longer || narrower)
}

/// The stages that are complete by the entries of a journal, `now` being asked for.
pub(crate) fn finished_stages(entries: &[Observation], now: &Asked) -> HashSet<String> {
    let mut finished = HashSet::new();
    for entry in entries {
        match entry {
            Observation::Finished { stage } => drop(finished.insert(stage.clone())),
            Observation::MoreTime => finished.retain(|stage| !uses_more_time(stage, now)),
            _ => {}
        }
    }
    finished
}

/// Whether a stage that was finished measures on when there is more time. Texts are traced further
/// where the choice is undecided, if that is a stage of the run; plans that were asked for by name
/// meet every prompt once, and no more.
fn uses_more_time(stage: &str, now: &Asked) -> bool {
    match stage.parse() {
        Ok(Stage::Probe | Stage::Memory) | Err(_) => false,
        Ok(Stage::Acceptance) => !now.contains_key(Stage::Refinement.name()),
        Ok(_) => true,
    }
}

/// Compares what is asked of each stage with what was asked before, and notes what is new. An older
/// program noted nothing.
fn compare_asked(dir: &RunDir, found: &mut RunHeader, now: Asked) -> Result<()> {
    let Some(before) = &mut found.asked else { return Ok(()) };
    for (stage, words) in now {
        let Some(known) = before.get(&stage) else {
            before.insert(stage, words);
            continue;
        };
        if let Some((what, found, expected)) = first_difference(&list(known), &list(&words)) {
            let (path, what) = (dir.header(), format!("{what} (of {stage})"));
            return Err(Error::OtherRun { path, what, found, expected });
        }
    }
    texts_agree(dir, before)
}

fn list(words: &RequestWords) -> Identity {
    words.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Stages may read another number of prompts, but they are the same ones: those of one begin those
/// of another.
fn texts_agree(dir: &RunDir, asked: &Asked) -> Result<()> {
    let texts = |words: &RequestWords| words.get(TEXTS).cloned().unwrap_or_default();
    let Some(longest) = asked.values().max_by_key(|words| texts(words).len()) else {
        return Ok(());
    };
    let prompts = |words: &RequestWords| words.get(PROMPTS).cloned().unwrap_or_default();
    match asked.iter().find(|(_, words)| !texts(longest).starts_with(&texts(words))) {
        None => Ok(()),
        Some((stage, other)) => Err(Error::OtherRun {
            path: dir.header(),
            what: PROMPTS.to_string(),
            found: prompts(longest),
            expected: format!("{} (for {stage})", prompts(other)),
        }),
    }
}

/// Refuses to leave end-to-end blocks unfinished beside those of other plans.
pub(crate) fn other_plans(
    dir: &RunDir,
    header: &RunHeader,
    now: &Asked,
    entries: &[Observation],
) -> Result<()> {
    let finished: HashSet<String> = entries.iter().filter_map(stage_of).collect();
    let open = |stage: &&String| plans_of(stage).is_some() && !finished.contains(*stage);
    let done: HashSet<&str> = finished.iter().filter_map(|s| plans_of(s)).flatten().collect();
    let seen: HashSet<String> = entries
        .iter()
        .filter_map(|entry| match entry {
            Observation::Throughput(sample) => Some(sample.plan.to_string()),
            _ => None,
        })
        .collect();
    let begun = |stage: &&String| {
        let mut own = plans_of(stage).into_iter().flatten();
        own.any(|plan| plan != "plain" && seen.contains(plan) && !done.contains(plan))
    };
    let Some(wanted) = now.keys().find(open) else { return Ok(()) };
    let before = header.asked.iter().flat_map(|asked| asked.keys());
    match before.filter(open).filter(begun).find(|stage| *stage != wanted) {
        None => Ok(()),
        Some(other) => Err(Error::OtherRun {
            path: dir.header(),
            what: "unfinished blocks of --plans".into(),
            found: plans_of(other).into_iter().flatten().collect::<Vec<_>>().join(","),
            expected: plans_of(wanted).into_iter().flatten().collect::<Vec<_>>().join(","),
        }),
    }
}

/// The plans of a stage that measures exactly these end to end; see `Request::stage_name`.
fn plans_of(stage: &str) -> Option<std::str::Split<'_, char>> {
    stage.strip_prefix(Stage::Throughput.name())?.strip_prefix(' ').map(|plans| plans.split(','))
}

fn imposed(header: &RunHeader) -> String {
    let words = |rate: &f64| rate.to_string();
    match &header.imposed {
        Some(rates) => rates.iter().map(words).collect::<Vec<_>>().join(","),
        None => "nothing".into(),
    }
}

/// Names and values of what must be the same.
pub(crate) type Identity = Vec<(String, String)>;

/// The first thing that differs, as the first and as the second has it; what only one has is
/// "nothing" in the other.
pub(crate) fn first_difference(
    first: &Identity,
    second: &Identity,
) -> Option<(String, String, String)> {
    let value = |of: &Identity, name: &str| {
        let found = of.iter().find(|(other, _)| other == name);
        found.map_or("nothing".to_string(), |(_, value)| value.clone())
    };
    let names = first.iter().chain(second).map(|(name, _)| name);
    let differs = |name: &&String| value(first, name) != value(second, name);
    names
        .into_iter()
        .find(differs)
        .map(|name| (name.clone(), value(first, name), value(second, name)))
}

/// What must be the same for observations to belong to one run; its shard, where it is one, and
/// what was divided.
fn identity(header: &RunHeader) -> Identity {
    let model = format!("{} ({:.12})", header.model.name, header.model.content_hash);
    let mut identity = vec![("model".to_string(), model)];
    identity.extend(settings(header));
    identity.extend(header.shard.iter().flat_map(|part| {
        let request = part.request.iter().map(|(name, value)| (name.clone(), value.clone()));
        std::iter::once(("--shard".to_string(), part.shard.to_string())).chain(request)
    }));
    identity
}

/// The flags that decide how everything is measured.
pub(crate) fn settings(header: &RunHeader) -> Identity {
    [
        ("--dtype", header.dtype.clone()),
        ("--widen", header.widen.to_string()),
        ("--device", header.device.clone()),
        ("--threads", header.threads.to_string()),
        ("--gamma-max", header.gamma_max.to_string()),
        ("--context", header.context.to_string()),
        ("--seed", header.seed.to_string()),
        ("--impose", imposed(header)),
        ("--temperature", drawn::words(header.sampling.as_ref())),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
}

/// The stage that an entry says is complete.
pub(crate) fn stage_of(entry: &Observation) -> Option<String> {
    match entry {
        Observation::Finished { stage } => Some(stage.clone()),
        _ => None,
    }
}
