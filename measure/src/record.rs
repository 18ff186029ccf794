//! The run directory while it grows: header, journal, and what was finished before an interruption.

use crate::clock::{self, Clock};
use crate::divide::{PROMPTS, TEXTS, asked, sharding};
use crate::{Error, Request, Result, Stage};
use s3d_data::output::{Draft, Output};
use s3d_data::shard::{Asked, RequestWords};
use s3d_data::whole::fill;
use s3d_data::{
    Journal, Machine, ModelIdentity, Observation, Observations, Origin, Run, RunDir, RunHeader,
    SCHEMA_VERSION,
};
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

/// Seconds of measuring that a kill may forget: the header is written at least this often.
const HEADER_EVERY_SECONDS: f64 = 2.0;

/// The growing record of a run.
pub(crate) struct Recorder<'a> {
    /// Header and all observations so far.
    pub run: Run,
    output: &'a Output,
    dir: RunDir,
    journal: Journal,
    finished: HashSet<String>,
    clock: &'a dyn Clock,
    begun: f64,
    spent_before: f64,
    cpu_before: f64,
    saved_at: f64,
}

impl<'a> Recorder<'a> {
    /// Opens the directory: a new one, or one of the same run that goes on.
    pub fn open(
        output: &'a Output,
        header: RunHeader,
        start: Start,
        clock: &'a dyn Clock,
    ) -> Result<Self> {
        let dir = RunDir::new(output.path());
        let now = header.asked.clone().unwrap_or_default();
        let header = match start == Start::Resume && dir.header().exists() {
            true => resume(&dir, header)?,
            false => begin(output, &dir, header, start)?,
        };
        let (mut journal, mut entries) = Journal::open(&dir.journal())?;
        let torn = torn_at_end(&entries);
        if torn > 0 {
            entries.truncate(entries.len() - torn);
            journal.keep(entries.len())?;
        }
        let finished: HashSet<String> = entries.iter().filter_map(stage_of).collect();
        other_plans(&dir, &header, &now, &entries)?;
        dir.save_header(&header)?;
        let observations = Observations::from_journal(entries);
        let spent_before = header.seconds_measuring;
        let cpu_before = header.cpu_seconds.unwrap_or(0.0) - clock.cpu().0;
        let run = Run { header, observations };
        let begun = clock.now().0;
        let saved_at = begun;
        let (spent, cpu) = (spent_before, cpu_before);
        Ok(Self {
            run,
            output,
            dir,
            journal,
            finished,
            clock,
            begun,
            spent_before: spent,
            cpu_before: cpu,
            saved_at,
        })
    }

    /// Seconds spent measuring, over all resumptions.
    pub fn spent(&self) -> f64 {
        self.spent_before + self.clock.now().0 - self.begun
    }

    /// Keeps finished observations: in the journal first, then in memory.
    pub fn append(&mut self, entries: Vec<Observation>) -> Result<()> {
        self.journal.append(&entries)?;
        let new = Observations::from_journal(entries);
        let all = &mut self.run.observations;
        all.latency.extend(new.latency);
        all.traces.extend(new.traces);
        all.throughput.extend(new.throughput);
        all.memory.extend(new.memory);
        all.near_ties.extend(new.near_ties);
        self.save_header_now_and_then()
    }

    fn save_header_now_and_then(&mut self) -> Result<()> {
        let now = self.clock.now().0;
        if now - self.saved_at < HEADER_EVERY_SECONDS {
            return Ok(());
        }
        self.saved_at = now;
        self.save_header()
    }

    /// Writes the header with the time spent so far.
    pub fn save_header(&mut self) -> Result<()> {
        self.run.header.seconds_measuring = self.spent();
        self.run.header.cpu_seconds = Some(self.cpu_before + self.clock.cpu().0);
        Ok(self.dir.save_header(&self.run.header)?)
    }

    /// Whether the stage of this name is complete.
    pub fn is_finished(&self, stage: &str) -> bool {
        self.finished.contains(stage)
    }

    /// Notes that the stage of this name is complete.
    pub fn finish(&mut self, stage: &str) -> Result<()> {
        self.append(vec![Observation::Finished { stage: stage.to_string() }])?;
        self.finished.insert(stage.to_string());
        self.save_header()
    }

    /// Writes header and tables; `ended` closes the run.
    pub fn save(&mut self, ended: bool) -> Result<()> {
        self.run.header.ended = ended.then(clock::utc_now);
        self.save_header()?;
        let draft = self.output.draft()?;
        self.run.header = fill(&draft, &self.run, None)?;
        Ok(draft.add()?)
    }
}

/// How many entries at the end were torn off those that were written together with them: a turn of the
/// schedule ends with a whole pass, memory with its computed peak. They are measured again.
fn torn_at_end(entries: &[Observation]) -> usize {
    match entries.last() {
        Some(Observation::Latency(last)) if !last.component.ends_turn() => {
            let turn = (last.block, last.order);
            let of_turn = |entry: &&Observation| matches!(entry, Observation::Latency(s) if (s.block, s.order) == turn);
            entries.iter().rev().take_while(of_turn).count()
        }
        Some(Observation::Memory(last))
            if (last.item.as_str(), last.origin) != ("peak", Origin::Computed) =>
        {
            let memory = |entry: &&Observation| matches!(entry, Observation::Memory(_));
            entries.iter().rev().take_while(memory).count()
        }
        _ => 0,
    }
}

fn stage_of(entry: &Observation) -> Option<String> {
    match entry {
        Observation::Finished { stage } => Some(stage.clone()),
        _ => None,
    }
}

/// The header of a run that starts now.
pub(crate) fn new_header(request: &Request, model: ModelIdentity, machine: Machine) -> RunHeader {
    let how = request.provenance.clone();
    RunHeader {
        schema_version: SCHEMA_VERSION,
        command: how.command,
        program_version: how.program_version,
        program_commit: how.program_commit,
        machines: vec![machine],
        device: how.device,
        driver: how.driver,
        threads: request.threads,
        dtype: how.dtype,
        widen: how.widen,
        model,
        gamma_max: request.gamma_max,
        context: request.context,
        memory_budget_bytes: how.memory_budget_bytes,
        imposed: request.impose.as_ref().map(|imposed| imposed.rates().to_vec()),
        seed: request.seed,
        started: clock::utc_now(),
        ended: None,
        seconds_measuring: 0.0,
        cpu_seconds: Some(0.0),
        stopped: None,
        coverage: None,
        shard: sharding(request),
        merged: None,
        asked: Some(asked(request)),
        tables: None,
        warnings: Vec::new(),
    }
}

/// Writes the header and the empty journal of a new run; with [`Start::Over`] in the place of the old one,
/// which goes in the moment when both are written.
fn begin(output: &Output, dir: &RunDir, header: RunHeader, start: Start) -> Result<RunHeader> {
    let draft = output.draft()?;
    fill_empty(&draft, &header)?;
    match start {
        Start::Over => draft.replace()?,
        Start::Resume if dir.journal().exists() => {
            return Err(Error::invalid(format!(
                "{}: there is no run.json beside it, which says what was measured; put it back, or give \
                 another --out, or --force to start over",
                dir.journal().display()
            )));
        }
        Start::Resume => draft.add()?,
    }
    Ok(header)
}

fn fill_empty(draft: &Draft, header: &RunHeader) -> Result<()> {
    let dir = RunDir::new(draft.path());
    drop(Journal::open(&dir.journal())?);
    Ok(dir.save_header(header)?)
}

/// The header of the interrupted run in `dir`, if it is the run that `asked` describes.
fn resume(dir: &RunDir, asked: RunHeader) -> Result<RunHeader> {
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
            "{path}: holds the tables of a run and no journal, nothing is measured into it; give another --out"
        )));
    }
    compare_asked(dir, &mut found, asked.asked.unwrap_or_default())?;
    found.memory_budget_bytes = asked.memory_budget_bytes;
    found.ended = None;
    found.tables = None;
    Ok(found)
}

/// Compares what is asked of each stage with what was asked before, and notes what is new. An older program
/// noted nothing.
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

/// Stages may read another number of prompts, but they are the same ones: those of one begin those of another.
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
fn other_plans(
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

/// The plans of a stage that measures exactly these end to end; see [`stage_name`].
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

/// The first thing that differs, as the first and as the second has it; what only one has is "nothing"
/// in the other.
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

/// What must be the same for observations to belong to one run; its shard, where it is one, and what
/// was divided.
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
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
}

/// The name under which a stage is noted as complete. End-to-end blocks of other plans are another
/// stage.
pub(crate) fn stage_name(stage: Stage, request: &Request) -> String {
    match (&request.plans, stage) {
        (crate::Plans::Exactly(plans), Stage::Throughput) => {
            let plans: Vec<String> = plans.iter().map(ToString::to_string).collect();
            format!("{stage} {}", plans.join(","))
        }
        _ => stage.name().to_string(),
    }
}
