//! The one place that opens a file to read it: a regular file, of a size that its kind may have.

use crate::error::{Error, Result};
use crate::units::Bytes;
use std::fs::File;
use std::io::{Read, Take};
use std::path::Path;

const MIB: u64 = 1 << 20;

/// How large a file of a kind may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u64);

impl Limit {
    /// `run.json`, `recommendation.json` and other records of one object.
    pub(crate) const OBJECT: Self = Self(8 * MIB);
    /// Tables: `latency.csv`, `acceptance.jsonl`. They are read row by row.
    pub const TABLE: Self = Self(512 * MIB);
    /// What is imported, tables and measurements of other engines: read as a whole.
    pub const IMPORT: Self = Self(128 * MIB);
    /// Texts to train on: read as a whole.
    pub const CORPUS: Self = Self(1024 * MIB);
    /// `journal.jsonl`, which holds all tables.
    pub const JOURNAL: Self = Self(1024 * MIB);
    /// Prompts.
    pub const PROMPTS: Self = Self(256 * MIB);
    /// What people type: plans, costs, sets of sub-layers.
    pub const TYPED: Self = Self(4 * MIB);

    /// Its bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

/// The bytes of the regular file at `path`.
///
/// # Errors
/// When it cannot be read, is no regular file (a folder, a pipe, a device) or is larger than
/// `limit`.
pub fn read(path: &Path, limit: Limit) -> Result<Vec<u8>> {
    let io = |e| Error::io("read", path, e);
    let mut file = open(path, limit)?;
    let known = file.get_ref().metadata().map_err(io)?;
    let mut bytes = Vec::with_capacity(known.len().min(limit.0) as usize);
    file.read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit.0 {
        return Err(too_large(path, bytes.len() as u64, limit));
    }
    Ok(bytes)
}

/// The regular file at `path`, to be read piece by piece.
///
/// # Errors
/// As [`read`].
pub fn open(path: &Path, limit: Limit) -> Result<Take<File>> {
    let io = |e| Error::io("read", path, e);
    // Before it is opened: opening a pipe waits for its writer.
    regular(path, &std::fs::metadata(path).map_err(io)?, limit)?;
    let file = File::open(path).map_err(io)?;
    regular(path, &file.metadata().map_err(io)?, limit)?;
    // One byte more than it may have, to see that it grew beyond.
    Ok(file.take(limit.0 + 1))
}

/// Refuses a file that is a link, or has a second name: it is to be appended to in place, so that
/// another file would change with it. One that is not there yet is as good as one of its own.
///
/// # Errors
/// A link, a file with several names, or something that is no file.
pub fn own(path: &Path) -> Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    #[cfg(unix)]
    let names = std::os::unix::fs::MetadataExt::nlink(&found);
    #[cfg(not(unix))]
    let names = 1;
    match found.is_file() && names == 1 {
        true => Ok(()),
        false => Err(Error::malformed(
            path,
            "expected a file of its own, found a link, a file with several names, or no file; put \
             a copy in its place, or give another --out",
        )),
    }
}

fn regular(path: &Path, known: &std::fs::Metadata, limit: Limit) -> Result<()> {
    if !known.is_file() {
        let found = if known.is_dir() { "a folder" } else { "a pipe or a device" };
        return Err(Error::malformed(path, format!("expected a regular file, found {found}")));
    }
    if known.len() > limit.0 {
        return Err(too_large(path, known.len(), limit));
    }
    Ok(())
}

fn too_large(path: &Path, found: u64, limit: Limit) -> Error {
    let (most, found) = (Bytes(limit.0), Bytes(found));
    Error::malformed(path, format!("expected a file of at most {most}, found {found} or more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_fitting_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plans");
        std::fs::write(&path, "plain").unwrap();
        assert_eq!(read(&path, Limit::TYPED).unwrap(), b"plain");
        let refused = |path: &Path| read(path, Limit::TYPED).unwrap_err().to_string();
        // Sparse: it takes no room on the disk, and is not read.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(refused(&path).contains("at most 4.00 MiB, found 1024 GiB"), "{}", refused(&path));
        assert!(refused(dir.path()).contains("found a folder"));
        assert!(refused(&dir.path().join("none")).contains("cannot read"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_and_a_pipe_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            let message = read(path, Limit::TYPED).unwrap_err().to_string();
            assert!(message.contains("found a pipe or a device"), "{message}");
        }
    }
}
