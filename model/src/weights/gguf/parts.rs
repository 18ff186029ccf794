//! The parts of a split GGUF file, as llama-gguf-split writes them: `NAME-00001-of-00003.gguf` and
//! so on.
//!
//! The first part has all metadata; each says which part it is and of how many, and has tensors of
//! its own.

use super::header::{Header, TensorInfo, Value};
use super::keys::shown;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Most parts of a file.
const PARTS_MAX: u64 = 4096;

/// The headers of all parts of a file; one where it is not split.
pub(super) struct Parts {
    /// The parts, in order.
    pub paths: Vec<PathBuf>,
    /// The metadata of the first one.
    pub metadata: BTreeMap<String, Value>,
    /// All tensors by name.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// The part of each tensor that is not in the first.
    pub places: BTreeMap<String, usize>,
}

/// Reads the header of one file.
fn read(path: &Path) -> Result<Header> {
    let io = |e| Error::io("read", path, e);
    let found = std::fs::metadata(path).map_err(|e| Error::io("open", path, e))?;
    if !found.is_file() {
        return Err(Error::malformed(
            path,
            "expected a regular file, found a folder, pipe or device",
        ));
    }
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let length = file.metadata().map_err(io)?.len();
    Header::read(BufReader::new(file), length).map_err(|message| Error::malformed(path, message))
}

/// A whole number of the metadata.
fn whole(header: &Header, path: &Path, key: &str) -> Result<Option<u64>> {
    match header.metadata.get(key) {
        None => Ok(None),
        Some(Value::Integer(number)) if u64::try_from(*number).is_ok() => Ok(Some(*number as u64)),
        Some(other) => {
            let message =
                format!("metadata '{key}' must be a whole number; found {}", shown(other));
            Err(Error::malformed(path, message))
        }
    }
}

/// The name of part `number`, counted from 1, beside part `own`, which is at `path`.
fn sibling(path: &Path, own: u64, count: u64, number: u64) -> Result<PathBuf> {
    let end = |number: u64| format!("-{number:05}-of-{count:05}.gguf");
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.strip_suffix(&end(own)).ok_or_else(|| {
        let message = format!(
            "is part {own} of {count} of a split file; its name must end in {} for the other \
             parts to be found",
            end(own)
        );
        Error::malformed(path, message)
    })?;
    Ok(path.with_file_name(format!("{stem}{}", end(number))))
}

impl Parts {
    /// Opens a file, and where it is split, all its parts.
    ///
    /// # Errors
    /// When one cannot be read, is missing, or is a part of another file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let header = read(path)?;
        let count = whole(&header, path, "split.count")?.unwrap_or(1);
        if count <= 1 {
            let Header { metadata, tensors } = header;
            let (paths, places) = (vec![path.to_path_buf()], BTreeMap::new());
            return Ok(Self { paths, metadata, tensors, places });
        }
        let own = whole(&header, path, "split.no")?.unwrap_or(u64::MAX);
        if own >= count || count > PARTS_MAX {
            let message = format!(
                "split.no = {own} and split.count = {count}: expected a part of at most \
                 {PARTS_MAX}, counted from 0"
            );
            return Err(Error::malformed(path, message));
        }
        let paths: Vec<PathBuf> = (1..=count)
            .map(|number| sibling(path, own + 1, count, number))
            .collect::<Result<_>>()?;
        check_all_there(path, own + 1, &paths)?;
        Self::join(paths, own as usize, header)
    }

    /// All parts in one; `header` is that of part `own`.
    fn join(paths: Vec<PathBuf>, own: usize, header: Header) -> Result<Self> {
        let promised = whole(&header, &paths[own], "split.tensors.count")?;
        let count = paths.len();
        let mut header = Some(header);
        let mut all = Self {
            paths: Vec::new(),
            metadata: BTreeMap::new(),
            tensors: BTreeMap::new(),
            places: BTreeMap::new(),
        };
        for (part, path) in paths.iter().enumerate() {
            let kept = if part == own { header.take() } else { None };
            let header = kept.map_or_else(|| read(path), Ok)?;
            let said = (whole(&header, path, "split.no")?, whole(&header, path, "split.count")?);
            if said != (Some(part as u64), Some(count as u64)) {
                let message = format!("is not part {} of {count}, as its name says", part + 1);
                return Err(Error::malformed(path, message));
            }
            if part == 0 {
                all.metadata = header.metadata;
            }
            for (name, info) in header.tensors {
                if all.tensors.contains_key(&name) {
                    let message = format!("tensor '{name}' stands in an earlier part too");
                    return Err(Error::malformed(path, message));
                }
                all.places.insert(name.clone(), part);
                all.tensors.insert(name, info);
            }
        }
        match promised.filter(|promised| *promised != all.tensors.len() as u64) {
            Some(promised) => Err(Error::malformed(
                &paths[own],
                format!(
                    "split.tensors.count = {promised}, its {count} parts have {} tensors; they \
                     belong to different files",
                    all.tensors.len()
                ),
            )),
            None => Ok(Self { paths, ..all }),
        }
    }
}

/// Names the parts that are missing.
fn check_all_there(path: &Path, own: u64, paths: &[PathBuf]) -> Result<()> {
    const SHOWN: usize = 4;
    let missing: Vec<String> = paths
        .iter()
        .filter(|path| !path.is_file())
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let more = missing.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!(
        "is part {own} of {}; missing beside it: {}{more}",
        paths.len(),
        missing[..missing.len().min(SHOWN)].join(", ")
    );
    Err(Error::malformed(path, message))
}
