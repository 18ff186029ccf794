//! A run directory that appears as a whole or not at all: for runs that are put together, not measured.

use crate::journal::Observation;
use crate::run::{Run, RunDir};
use crate::{Error, Journal, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders that programs of this project write into a run directory.
const KNOWN: [&str; 13] = [
    "run.json",
    "journal.jsonl",
    "latency.csv",
    "acceptance.jsonl",
    "throughput.csv",
    "memory.csv",
    "near_ties.csv",
    "fit.json",
    "recommendation.json",
    "report.html",
    "figures",
    "tables",
    "comparison.html",
];

/// Writes header, journal and tables of `run` to `out`: into a folder beside it, which then takes its
/// place. `entries` is what the journal holds. A folder that holds a run is replaced only with `force`.
///
/// # Errors
/// A folder that may not be replaced; a disk that refuses. `out` is then as it was.
pub fn save_whole(out: &RunDir, run: &Run, entries: &[Observation], force: bool) -> Result<()> {
    let occupied = occupied(out, force)?;
    let folder = match out.root().parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(|e| Error::io("create folder", folder, e))?;
    let place = tempfile::Builder::new()
        .prefix(".s3d-")
        .tempdir_in(folder)
        .map_err(|e| Error::io("create a folder in", folder, e))?;
    let fresh = RunDir::new(place.path().join("new"));
    fresh.save_tables(&run.observations)?;
    Journal::open(&fresh.journal())?.0.append(entries)?;
    fresh.save_header(&run.header)?;
    let old = occupied.then(|| place.path().join("old"));
    replace(out.root(), fresh.root(), old.as_ref()).map_err(|e| Error::io("write", out.root(), e))
}

/// Puts `fresh` where `out` is, which goes to `old` first; back again where that fails.
fn replace(out: &Path, fresh: &Path, old: Option<&PathBuf>) -> std::io::Result<()> {
    if let Some(old) = old {
        fs::rename(out, old)?;
    }
    fs::rename(fresh, out).inspect_err(|_| {
        if let Some(old) = old {
            // The first error is the one to tell.
            let _ = fs::rename(old, out);
        }
    })
}

/// Whether a run stands in `out` that may be replaced; false where nothing is there.
fn occupied(out: &RunDir, force: bool) -> Result<bool> {
    let root = out.root();
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io("read folder", root, e)),
    };
    let names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let strange = names.iter().find(|name| !KNOWN.contains(&name.as_str()));
    let refuse = |why: String| Err(Error::invalid(format!("{}: {why}", root.display())));
    match (names.is_empty(), strange) {
        (true, _) => Ok(false),
        (false, Some(name)) => refuse(format!(
            "holds '{name}', which is no part of a run, and would be lost; give another --out"
        )),
        (false, None) if !force => {
            refuse("holds a run already; give another --out, or --force to replace it".into())
        }
        (false, None) => Ok(true),
    }
}
