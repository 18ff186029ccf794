//! The list of what this program made in a folder, and whether it may write there.

use crate::error::{Error, Result};
use crate::store::{self, UNFINISHED};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Component, Path};

/// The file that holds the list.
pub(super) const MARKER: &str = ".s3d-files.json";

/// Names at the top of a run directory that are its own by the format, listed or not: programs
/// before this list made them too.
const OF_A_RUN: [&str; 10] = [
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
];

/// What a file system itself keeps at the top of a disk, which may be mounted as an output.
const OF_THE_DISK: &str = "lost+found";

/// As [`OF_A_RUN`], of a training: what is appended to while it is made.
const OF_A_MODEL: [&str; 1] = ["texts.jsonl"];

/// Files that tell the folder of a training made before this list.
const OF_AN_OLD_TRAINING: [&str; 2] = ["state/training.safetensors", "training.json"];

/// What a folder is for. A folder of one purpose is not written into for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// A run directory, with its report.
    Run,
    /// The comparison of several runs.
    Comparison,
    /// Published results beside ours.
    Paper,
    /// Manual pages.
    Manual,
    /// Skip lists of free sets.
    Sets,
    /// A trained model, with the state that training goes on from.
    Model,
}

impl Holds {
    /// Names of files that are its own by the format, listed or not.
    fn own(self) -> &'static [&'static str] {
        match self {
            Self::Run => &OF_A_RUN,
            Self::Model => &OF_A_MODEL,
            _ => &[],
        }
    }
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run => "a run",
            Self::Comparison => "a comparison of runs",
            Self::Paper => "a comparison with published results",
            Self::Manual => "manual pages",
            Self::Sets => "skip lists",
            Self::Model => "a trained model",
        })
    }
}

/// What was made in a folder, with paths from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    /// What for.
    pub holds: Holds,
    /// Files that this program made.
    pub files: BTreeSet<String>,
    /// Files that it made before and took away as these came.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub removed: BTreeSet<String>,
    /// Whether a program before this list made it: figures and tables of a run, files of a training
    /// may be written over, but nobody knows which ones are its own, so that they are not removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
}

impl Made {
    /// The list in `folder`, if there is one.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(MARKER);
        if !path.is_file() {
            return Ok(None);
        }
        let made: Self = store::load_json(&path)?;
        match made.files.iter().chain(&made.removed).find(|name| !is_inside(name)) {
            Some(name) => Err(Error::malformed(
                &path,
                format!(
                    "expected paths of files inside this folder, found '{}'",
                    name.escape_debug()
                ),
            )),
            None => Ok(Some(made)),
        }
    }

    /// Whether this program made the file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        let old = || match self.holds {
            Holds::Run => name.starts_with("figures/") || name.starts_with("tables/"),
            holds => holds == Holds::Model,
        };
        self.files.contains(name) || self.holds.own().contains(&name) || self.unlisted && old()
    }
}

/// The names of the format that lie in a folder, listed or not.
pub(super) fn own_in(root: &Path, made: &Made) -> Vec<String> {
    let here = |name: &&&str| root.join(name).is_file();
    made.holds.own().iter().filter(here).map(|name| (*name).to_string()).collect()
}

/// Whether a path leads to something below the folder it starts from, and not to this module's own
/// files.
fn is_inside(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    parts.peek().is_some()
        && parts.all(|part| {
            matches!(part, Component::Normal(part) if !part.to_string_lossy().starts_with(".s3d-"))
        })
}

/// The names in a folder that count: not those of unfinished files, the list of what was made, the
/// disk's own.
pub(super) fn names_in(root: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(root).map_err(|e| Error::io("read folder", root, e))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != MARKER && name != OF_THE_DISK && !name.starts_with(UNFINISHED));
    names.sort();
    Ok(names)
}

/// What was made in `folder` for this purpose; an empty folder has nothing yet.
///
/// # Errors
/// A folder that holds what this program did not make, or made for another purpose.
pub(super) fn guard(folder: &Path, holds: Holds) -> Result<Made> {
    let nothing = Made { holds, files: BTreeSet::new(), removed: BTreeSet::new(), unlisted: false };
    let names = names_in(folder)?;
    if let Some(made) = Made::load(folder)? {
        return match made.holds == holds || names.is_empty() {
            true if made.holds == holds => Ok(made),
            true => Ok(nothing),
            false => refuse(folder, &format!("holds {}, no place for {holds}", made.holds)),
        };
    }
    let Some(first) = names.first() else { return Ok(nothing) };
    if is_run(folder) {
        if holds != Holds::Run {
            return refuse(folder, &format!("holds a run, no place for {holds}"));
        }
        let own = names.iter().filter(|name| OF_A_RUN.contains(&name.as_str()));
        return Ok(Made { files: own.cloned().collect(), unlisted: true, ..nothing });
    }
    if holds == Holds::Run && names.iter().any(|name| name == "journal.jsonl") {
        return refuse(
            folder,
            "holds 'journal.jsonl' without the run.json that says what was measured; put that back",
        );
    }
    if holds == Holds::Model && OF_AN_OLD_TRAINING.iter().any(|name| folder.join(name).is_file()) {
        return Ok(Made { unlisted: true, ..nothing });
    }
    refuse(
        folder,
        &format!("is not empty: it holds '{}', which s3d did not make", first.escape_debug()),
    )
}

fn refuse<T>(folder: &Path, why: &str) -> Result<T> {
    let message =
        format!("{why}; give another folder, one that is empty or new. Nothing was changed");
    Err(Error::malformed(folder, message))
}

/// Whether the `run.json` in `folder` is one of this program, of whatever version.
fn is_run(folder: &Path) -> bool {
    let header: Option<serde_json::Value> = store::load_json(&folder.join("run.json")).ok();
    let has = |key: &str| header.as_ref().is_some_and(|header| header.get(key).is_some());
    ["schema_version", "program_version", "command", "model"].into_iter().all(has)
}
