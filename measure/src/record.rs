//! The run directory while it grows: header, journal, and what was finished before an interruption.

use crate::clock::{self, Clock};
use crate::{Error, Request, Result, Stage};
use s3d_data::{
    Journal, Machine, ModelIdentity, Observation, Observations, Run, RunDir, RunHeader,
    SCHEMA_VERSION,
};
use std::collections::HashSet;

/// Seconds of measuring that a kill may forget: the header is written at least this often.
const HEADER_EVERY_SECONDS: f64 = 2.0;

/// The growing record of a run.
pub(crate) struct Recorder<'a> {
    /// Header and all observations so far.
    pub run: Run,
    dir: &'a RunDir,
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
    pub fn open(dir: &'a RunDir, header: RunHeader, clock: &'a dyn Clock) -> Result<Self> {
        let header = match dir.header().exists() {
            true => resume(dir, header)?,
            false => {
                dir.save_header(&header)?;
                header
            }
        };
        // Refused while another process writes this run: its header is left as it is.
        let (journal, entries) = Journal::open(&dir.journal())?;
        dir.save_header(&header)?;
        let finished = entries.iter().filter_map(stage_of).collect();
        let observations = Observations::from_journal(entries);
        let spent_before = header.seconds_measuring;
        let cpu_before = header.cpu_seconds.unwrap_or(0.0) - clock.cpu().0;
        let run = Run { header, observations };
        let begun = clock.now().0;
        let saved_at = begun;
        Ok(Self { run, dir, journal, finished, clock, begun, spent_before, cpu_before, saved_at })
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
        Ok(self.dir.save_tables(&self.run.observations)?)
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
        seed: request.seed,
        started: clock::utc_now(),
        ended: None,
        seconds_measuring: 0.0,
        cpu_seconds: Some(0.0),
        stopped: None,
        coverage: None,
        warnings: Vec::new(),
    }
}

/// The header of the interrupted run in `dir`, if it is the run that `asked` describes.
fn resume(dir: &RunDir, asked: RunHeader) -> Result<RunHeader> {
    let mut found = dir.load_header()?;
    for ((what, found), (_, expected)) in identity(&found).into_iter().zip(identity(&asked)) {
        if found != expected {
            return Err(Error::OtherRun { path: dir.header(), what, found, expected });
        }
    }
    found.memory_budget_bytes = asked.memory_budget_bytes;
    found.ended = None;
    Ok(found)
}

/// What must be the same for observations to belong to one run.
fn identity(header: &RunHeader) -> [(&'static str, String); 8] {
    let model = format!("{} ({:.12})", header.model.name, header.model.content_hash);
    [
        ("model", model),
        ("--dtype", header.dtype.clone()),
        ("--widen", header.widen.to_string()),
        ("--device", header.device.clone()),
        ("--threads", header.threads.to_string()),
        ("--gamma-max", header.gamma_max.to_string()),
        ("--context", header.context.to_string()),
        ("--seed", header.seed.to_string()),
    ]
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
