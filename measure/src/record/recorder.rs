//! The run directory while it grows: header, journal, and what was finished before an interruption.

use crate::clock::{self, Clock};
use crate::error::Result;
use crate::record::resume::{Start, begin, finished_stages, other_plans, resume, stage_of};
use crate::request::Request;
use crate::shards::words::{asked, sharding};
use s3d_data::output::NewFiles;
use s3d_data::run::replace::fill;
use s3d_data::{
    Journal, Machine, MemoryItem, ModelIdentity, Observation, Observations, Origin, Output, Run,
    RunDir, RunHeader, Seconds,
};
use std::collections::HashSet;

/// Time of measuring that a kill may forget: the header is written at least this often.
const HEADER_EVERY: Seconds = Seconds(2.0);

/// The growing record of a run.
pub(crate) struct Recorder<'a> {
    /// Header and all observations so far.
    pub run: Run,
    output: &'a Output,
    start: Start,
    /// A new run until something is observed: aside, so that a start that fails changes nothing.
    aside: Option<NewFiles<'a>>,
    dir: RunDir,
    journal: Journal,
    finished: HashSet<String>,
    clock: &'a dyn Clock,
    begun: Seconds,
    spent_before: Seconds,
    cpu_before: Seconds,
    /// CPU time of children that decode.
    pub children_cpu: Seconds,
    saved_at: Seconds,
}

impl<'a> Recorder<'a> {
    /// Opens the directory: a new one, or one of the same run that goes on.
    pub(crate) fn open(
        output: &'a Output,
        header: RunHeader,
        start: Start,
        clock: &'a dyn Clock,
    ) -> Result<Self> {
        let dir = RunDir::new(output.path());
        let now = header.asked.clone().unwrap_or_default();
        let ((header, more_time), aside) = match start == Start::Resume && dir.header().exists() {
            true => (resume(&dir, header)?, None),
            false => ((header, false), Some(begin(output, &dir, start)?)),
        };
        let dir = aside.as_ref().map_or(dir, |draft| RunDir::new(draft.path()));
        let (mut journal, mut entries) = Journal::open(&dir.journal())?;
        let torn = torn_at_end(&entries);
        if torn > 0 {
            entries.truncate(entries.len() - torn);
            journal.keep(entries.len())?;
        }
        if more_time {
            journal.append(&[Observation::MoreTime])?;
            entries.push(Observation::MoreTime);
        }
        let finished = finished_stages(&entries, &now);
        other_plans(&dir, &header, &now, &entries)?;
        dir.save_header(&header)?;
        let observations = Observations::from_journal(entries);
        let spent_before = header.seconds_measuring;
        let cpu_before = header.cpu_seconds.unwrap_or_default() - clock.cpu();
        let run = Run { header, observations };
        let begun = clock.now();
        let saved_at = begun;
        let (spent, cpu) = (spent_before, cpu_before);
        Ok(Self {
            run,
            output,
            start,
            aside,
            dir,
            journal,
            finished,
            clock,
            begun,
            spent_before: spent,
            cpu_before: cpu,
            children_cpu: Seconds::ZERO,
            saved_at,
        })
    }

    /// Time spent measuring, over all resumptions.
    pub(crate) fn spent(&self) -> Seconds {
        self.spent_before + self.clock.now() - self.begun
    }

    /// Keeps finished observations: in the journal first, then in memory.
    pub(crate) fn append(&mut self, entries: Vec<Observation>) -> Result<()> {
        let written = self.journal.append(&entries);
        let observed = entries.iter().any(|entry| stage_of(entry).is_none());
        // Of a new run what a full disk took stays; an old one is not given up for it.
        let out = match observed && (written.is_ok() || self.start == Start::Resume) {
            true => self.come_out(),
            false => Ok(()),
        };
        written?;
        out?;
        self.run.observations.append(Observations::from_journal(entries));
        self.save_header_now_and_then()
    }

    /// Puts a new run to its place; with [`Start::Over`] the old one goes in this moment.
    fn come_out(&mut self) -> Result<()> {
        let Some(draft) = self.aside.take() else { return Ok(()) };
        match self.start {
            Start::Over => draft.replace()?,
            Start::Resume => draft.add()?,
        }
        self.dir = RunDir::new(self.output.path());
        self.journal.moved_to(self.dir.journal());
        Ok(())
    }

    fn save_header_now_and_then(&mut self) -> Result<()> {
        let now = self.clock.now();
        if now - self.saved_at < HEADER_EVERY {
            return Ok(());
        }
        self.saved_at = now;
        self.save_header()
    }

    /// Writes the header with the time spent so far.
    pub(crate) fn save_header(&mut self) -> Result<()> {
        self.run.header.seconds_measuring = self.spent();
        self.run.header.cpu_seconds = Some(self.cpu_before + self.clock.cpu() + self.children_cpu);
        Ok(self.dir.save_header(&self.run.header)?)
    }

    /// Whether the stage of this name is complete.
    pub(crate) fn is_finished(&self, stage: &str) -> bool {
        self.finished.contains(stage)
    }

    /// Notes that the stage of this name is complete.
    pub(crate) fn finish(&mut self, stage: &str) -> Result<()> {
        self.append(vec![Observation::Finished { stage: stage.to_string() }])?;
        self.finished.insert(stage.to_string());
        self.save_header()
    }

    /// Writes header and tables; `ended` closes the run.
    pub(crate) fn save(&mut self, ended: bool) -> Result<()> {
        self.come_out()?;
        self.run.header.ended = ended.then(clock::utc_now);
        self.save_header()?;
        let draft = self.output.draft()?;
        self.run.header = fill(&draft, &self.run, None)?;
        Ok(draft.add()?)
    }
}

/// How many entries at the end were torn off those that were written together with them: a turn of
/// the schedule ends with a whole pass, memory with its computed peak. They are measured again.
fn torn_at_end(entries: &[Observation]) -> usize {
    match entries.last() {
        Some(Observation::Latency(last)) if !last.component.ends_turn() => {
            let turn = (last.block, last.order);
            let of_turn = |entry: &&Observation| match entry {
                Observation::Latency(sample) => (sample.block, sample.order) == turn,
                _ => false,
            };
            entries.iter().rev().take_while(of_turn).count()
        }
        Some(Observation::Memory(last))
            if (last.item, last.origin) != (MemoryItem::Peak, Origin::Computed) =>
        {
            let memory = |entry: &&Observation| matches!(entry, Observation::Memory(_));
            entries.iter().rev().take_while(memory).count()
        }
        _ => 0,
    }
}

/// The header of a run that starts now.
pub(crate) fn new_header(request: &Request, model: ModelIdentity, machine: Machine) -> RunHeader {
    let how = request.provenance.clone();
    RunHeader {
        command: how.command,
        program_version: how.program_version,
        program_commit: how.program_commit,
        device: how.device,
        driver: how.driver,
        threads: request.threads,
        dtype: how.dtype,
        widen: how.widen,
        gamma_max: request.gamma_max,
        context: request.context,
        contexts: request.contexts.clone(),
        memory_budget_bytes: how.memory_budget_bytes,
        imposed: request.impose.as_ref().map(|imposed| imposed.rates().to_vec()),
        sampling: request.sampling,
        seed: request.seed,
        started: clock::utc_now(),
        time_budget_seconds: Some(request.time_budget),
        precision: request.precision,
        cpu_seconds: Some(Seconds::ZERO),
        shard: sharding(request),
        asked: Some(asked(request)),
        ..RunHeader::new(machine, model)
    }
}
