//! A run directory that appears as a whole or not at all: for runs that are put together, not
//! measured.

use crate::error::{Error, Result};
use crate::output::{Holds, NewFiles, Output};
use crate::records::observation::Observation;
use crate::run::journal::Journal;
use crate::run::{Run, RunDir, RunHeader};
use std::path::Path;

/// Takes the folder at `out` for a run that is not there yet.
///
/// # Errors
/// A folder that holds a run, or something else (see [`Output::open`]).
pub fn vacant(out: &Path) -> Result<Output> {
    let output = Output::open(out, Holds::Run)?;
    match RunDir::new(out).header().exists() {
        true => Err(Error::malformed(out, "holds a run already; give another --out")),
        false => Ok(output),
    }
}

/// Writes header, journal and tables of `run` to `out`, whole or not at all, and returns the header
/// as written. `entries` is what the journal holds. A folder that holds a run is replaced only with
/// `force`.
///
/// # Errors
/// A folder that may not be replaced; a disk that refuses. `out` is then as it was.
pub fn save_whole(
    out: &RunDir,
    run: &Run,
    entries: &[Observation],
    force: bool,
) -> Result<RunHeader> {
    let output = Output::open(out.root(), Holds::Run)?;
    let refuse = |why: String| Err(Error::malformed(out.root(), why));
    if let Some(name) = output.stranger()? {
        return refuse(format!(
            "holds '{}', which is no part of a run; give another --out",
            name.escape_debug()
        ));
    }
    if !force && out.header().exists() {
        return refuse("holds a run already; give another --out, or --force to replace it".into());
    }
    let draft = output.draft()?;
    let header = fill(&draft, run, Some(entries))?;
    draft.replace()?;
    Ok(header)
}

/// Makes the files of `run` in `draft`, with a journal of `entries` where there is to be one;
/// returns the header as written.
///
/// # Errors
/// A disk that refuses.
pub fn fill(draft: &NewFiles, run: &Run, entries: Option<&[Observation]>) -> Result<RunHeader> {
    let dir = RunDir::new(draft.path());
    if let Some(entries) = entries {
        Journal::open(&dir.journal())?.0.append(entries)?;
    }
    dir.save(&run.header, &run.observations)
}
