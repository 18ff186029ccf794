//! Measurements of other engines, into a run directory: `fit` and `optimize` then work without any
//! model. The forms of the files are those of [`s3d_data::import`].

use crate::clock;
use crate::error::{Error, Result};
use crate::request::Provenance;
use s3d_data::import::{self, Facts, Found, Kind, Setting};
use s3d_data::run::replace::{fill, vacant};
use s3d_data::{
    Bytes, Limit, Machine, ModelIdentity, ModelShape, Observation, Observations, Run, RunDir,
    RunHeader, SCHEMA_VERSION, file, store,
};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What the files do not say.
#[derive(Debug, Clone, PartialEq)]
pub struct Outside {
    /// The model's name, where it is given.
    pub model: Option<String>,
    /// Its shape; the number of layers must be known, the rest may be 0.
    pub shape: ModelShape,
    /// Name of the machine or card, where it is given.
    pub machine: Option<String>,
    /// Precision of the weights, where it is given.
    pub dtype: Option<String>,
    /// The context that choices are made for, in tokens; that of the timed passes where it is not
    /// given.
    pub context: Option<usize>,
    /// Times of the passes of a draft model.
    pub draft_times: Option<PathBuf>,
    /// Speed of plain decoding, for sweeps that do not hold it.
    pub plain_tokens_per_s: Option<f64>,
    /// What else the files do not say.
    pub setting: Setting,
    /// How the import was made.
    pub provenance: Provenance,
}

/// Reads `files` and writes a run directory at `out`. Nothing is written when one of them is wrong.
///
/// # Errors
/// A file of no known form; a missing column, a number that is not finite or below 0, two units, a
/// cell twice: with path and line. A directory that holds a run already.
pub fn import(files: &[PathBuf], outside: &Outside, out: &RunDir) -> Result<Run> {
    let output = vacant(out.root())?.sparing(files);
    let mut header = None;
    let mut all = Found::default();
    for file in files {
        let bytes = file::read(file, Limit::IMPORT)?;
        match import::kind_of(&bytes, file)? {
            Kind::Header => {
                header =
                    Some(store::parse_versioned(&bytes, file, SCHEMA_VERSION, RunHeader::check)?)
            }
            kind => add(&mut all, import::parse(&bytes, kind, file, &outside.setting)?),
        }
    }
    // A run of this program says itself what it timed.
    if header.is_none() {
        complete(&mut all, outside)?;
    }
    let Found { observations: all, facts } = all;
    let header = header.unwrap_or_else(|| header_of(outside, &facts, &all));
    let run = Run { header, observations: Observations::from_journal(all.iter().cloned()) };
    run.check()?;
    let draft = output.draft()?;
    let header = fill(&draft, &run, Some(&all))?;
    draft.add()?;
    Ok(Run { header, ..run })
}

fn add(all: &mut Found, found: Found) {
    all.observations.extend(found.observations);
    all.facts.add(found.facts);
}

/// Adds what the files left to the flags: draft passes, the speed of plain decoding.
fn complete(all: &mut Found, outside: &Outside) -> Result<()> {
    let setting = &outside.setting;
    let read = |file: &PathBuf| -> Result<Vec<Observation>> {
        let bytes = file::read(file, Limit::IMPORT)?;
        let kind = import::kind_of(&bytes, file)?;
        Ok(import::parse(&bytes, kind, file, setting)?.observations)
    };
    let table = outside.draft_times.as_ref().map(|file| Ok::<_, Error>((file, read(file)?)));
    let table = table.transpose()?;
    let draft_times = table.as_ref().map(|(file, times)| (file.as_path(), times.as_slice()));
    let (drafts, note) = import::drafts::added(&all.observations, draft_times, setting)?;
    all.observations.extend(drafts);
    all.facts.notes.extend(note);
    if let Some(rate) = outside.plain_tokens_per_s {
        all.observations.push(Observation::Throughput(import::native::means::plain(rate)));
        all.facts.notes.push(format!("plain decoding is taken as {rate} tokens/s, as given"));
    }
    Ok(())
}

/// The middle one of the contexts at which passes were timed; 256 where none was.
fn context_of(observations: &[Observation]) -> usize {
    let timed = observations.iter().filter_map(|observation| match observation {
        Observation::Latency(sample) => Some(sample.context),
        _ => None,
    });
    let contexts: Vec<usize> = timed.collect::<BTreeSet<_>>().into_iter().collect();
    contexts.get(contexts.len() / 2).copied().unwrap_or(256)
}

/// What a header says of a precision that nobody stated.
const UNKNOWN_DTYPE: &str = "unknown dtype";

fn header_of(outside: &Outside, facts: &Facts, observations: &[Observation]) -> RunHeader {
    let how = outside.provenance.clone();
    let now = clock::utc_now();
    let name = outside.machine.as_ref().or(facts.machine.as_ref()).cloned();
    let name = name.unwrap_or_else(|| "unknown machine".into());
    let machine = Machine { system: "imported".into(), ..Machine::named(name, Bytes(0)) };
    let model = ModelIdentity::named(
        (outside.model.as_ref().or(facts.model.as_ref()).cloned())
            .unwrap_or_else(|| "imported".into()),
        outside.shape.clone(),
    );
    RunHeader {
        command: how.command,
        program_version: how.program_version,
        program_commit: how.program_commit,
        device: how.device,
        driver: how.driver,
        threads: facts.threads.unwrap_or(0),
        dtype: (outside.dtype.as_ref().or(facts.dtype.as_ref()).cloned())
            .unwrap_or_else(|| UNKNOWN_DTYPE.into()),
        gamma_max: outside.setting.gamma_max,
        context: outside.context.unwrap_or_else(|| context_of(observations)),
        memory_budget_bytes: how.memory_budget_bytes,
        started: now.clone(),
        ended: Some(now),
        warnings: facts.notes.clone(),
        ..RunHeader::new(machine, model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn outside() -> Outside {
        let shape = ModelShape::of_layers(12);
        Outside {
            model: Some("some-12-layers".into()),
            shape,
            machine: Some("their card".into()),
            dtype: None,
            context: None,
            draft_times: None,
            plain_tokens_per_s: None,
            setting: Setting::new(12, s3d_data::Predictors::of::<4>(), 256),
            provenance: Provenance::default(),
        }
    }

    #[test]
    fn nothing_is_written_when_one_file_is_wrong() {
        let line = concat!(
            r#"{"drafting":"sequential","skip_start":3,"skip_end":9,"id":"a","prompt":4,"#,
            r#""accepted":[2,1,0]}"#
        );
        let dir = tempfile::tempdir().unwrap();
        let [good, bad] = ["good.jsonl", "bad.jsonl"].map(|name| dir.path().join(name));
        fs::write(&good, line).unwrap();
        fs::write(&bad, format!("{line}\n{{\"id\":\"b\",\"prompt\":1,\"accepted\":[]}}\n"))
            .unwrap();
        let out = RunDir::new(dir.path().join("out"));
        let message = import(&[good.clone(), bad], &outside(), &out).unwrap_err().to_string();
        assert!(message.contains("bad.jsonl, line 2"), "{message}");
        assert!(!out.root().exists());
        let run = import(std::slice::from_ref(&good), &outside(), &out).unwrap();
        assert_eq!(out.load().unwrap(), run, "what was written is what was read");
        assert_eq!(run.header.model.name, "some-12-layers");
        let message = import(&[good], &outside(), &out).unwrap_err().to_string();
        assert!(message.contains("holds a run already"), "{message}");
    }
}
