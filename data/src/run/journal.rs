//! The journal: one JSON object a line, appended and flushed, so that a kill at any byte loses at
//! most the line being written.

use crate::error::{Error, Result};
use crate::records::bounds::Bounds;
use crate::records::observation::Observation;
use crate::store::file::{self, Limit};
use crate::store::rows;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The writing end of a journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens (or creates) a journal for appending; a torn last line is cut off first.
    ///
    /// # Errors
    /// When the file cannot be opened, another process has it open, or it is malformed before its
    /// last line.
    pub fn open(path: &Path) -> Result<(Self, Vec<Observation>)> {
        file::own(path)?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(|e| Error::io("open", path, e))?;
        // Two writers would tear each other's lines. The system gives the lock back with the
        // process; where there are no locks, nobody is kept out.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let message = "another s3d is writing this run; wait for it, or give another --out";
            return Err(Error::malformed(path, message));
        }
        let (entries, kept) = parse(path, &Bounds::WIDEST)?;
        file.set_len(kept as u64).map_err(|e| Error::io("truncate", path, e))?;
        file.seek(SeekFrom::End(0)).map_err(|e| Error::io("seek in", path, e))?;
        Ok((Self { path: path.to_path_buf(), file }, entries))
    }

    /// Notes that the file has been moved to `path`.
    pub fn moved_to(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Cuts off all but the first `entries` entries: what was only half written before a kill.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(&mut self, entries: usize) -> Result<()> {
        let (mut whole, mut kept) = (0, 0);
        rows::each_line(file::open(&self.path, Limit::JOURNAL)?, &self.path, |_, line| {
            whole += usize::from(line.len() > 1);
            kept += if whole <= entries { line.len() } else { 0 };
            Ok(())
        })?;
        self.file.set_len(kept as u64).map_err(|e| Error::io("truncate", &self.path, e))?;
        self.file.seek(SeekFrom::End(0)).map_err(|e| Error::io("seek in", &self.path, e))?;
        Ok(())
    }

    /// Appends observations with one write: they are read back together or up to the torn line.
    ///
    /// # Errors
    /// When the disk refuses; what was written before stays.
    pub fn append(&mut self, entries: &[Observation]) -> Result<()> {
        let mut text = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut text, entry)
                .map_err(|e| Error::malformed(&self.path, e.to_string()))?;
            text.push(b'\n');
        }
        self.file.write_all(&text).map_err(|e| Error::io("append to", &self.path, e))?;
        self.file.flush().map_err(|e| Error::io("append to", &self.path, e))
    }
}

/// Reads all whole lines of the journal at `path`; none where there is no file.
///
/// # Errors
/// When it cannot be read or is malformed before its last line.
pub fn read(path: &Path, bounds: &Bounds) -> Result<Vec<Observation>> {
    match path.exists() {
        true => Ok(parse(path, bounds)?.0),
        false => Ok(Vec::new()),
    }
}

/// The entries of whole lines, and the number of bytes they take.
fn parse(path: &Path, bounds: &Bounds) -> Result<(Vec<Observation>, usize)> {
    let (mut entries, mut kept) = (Vec::new(), 0);
    rows::each_line(file::open(path, Limit::JOURNAL)?, path, |number, line| {
        let Some(text) = line.strip_suffix(b"\n") else { return Ok(()) };
        kept += line.len();
        if text.is_empty() {
            return Ok(());
        }
        let wrong = |message: String| Error::malformed_at(path, number, message);
        let entry: Observation =
            serde_json::from_slice(text).map_err(|e| wrong(format!("not an observation: {e}")))?;
        entry.check(bounds).map_err(|e| wrong(e.to_string()))?;
        entries.push(entry);
        Ok(())
    })?;
    Ok((entries, kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::memory::{MemoryItem, MemoryRecord, Origin};
    use crate::units::Bytes;
    use proptest::prelude::*;

    fn sample(n: usize) -> Vec<Observation> {
        (0..n)
            .map(|i| match i % 2 {
                0 => Observation::Finished { stage: format!("stage {i}") },
                _ => Observation::Memory(MemoryRecord {
                    item: MemoryItem::Peak,
                    context: i,
                    width: 5,
                    bytes: Bytes(1 << 40),
                    origin: Origin::Measured,
                }),
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_prefix_reads_back_and_goes_on(n in 0usize..12, cut in 0.0f64..1.0) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("journal.jsonl");
            let written = sample(n);
            Journal::open(&path).unwrap().0.append(&written).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let keep = (bytes.len() as f64 * cut) as usize;
            std::fs::write(&path, &bytes[..keep]).unwrap();

            let (mut journal, entries) = Journal::open(&path).unwrap();
            prop_assert!(entries.len() <= n && entries == written[..entries.len()]);
            journal.append(&written[entries.len()..]).unwrap();
            prop_assert_eq!(read(&path, &Bounds::WIDEST).unwrap(), written);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_names_the_journal() {
        let path = Path::new("/dev/full");
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let mut journal = Journal { path: path.to_path_buf(), file };
        let message = journal.append(&sample(2)).unwrap_err().to_string();
        assert!(message.starts_with("cannot append to /dev/full"), "{message}");
        assert!(message.contains("free some space"), "{message}");
    }

    #[test]
    fn a_second_writer_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let first = Journal::open(&path).unwrap();
        let message = Journal::open(&path).unwrap_err().to_string();
        assert!(message.contains("another s3d is writing"), "{message}");
        drop(first);
        assert!(Journal::open(&path).is_ok());
    }

    #[test]
    fn a_bad_line_in_the_middle_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, "{\"kind\":\"finished\",\"stage\":\"a\"}\nnonsense\n").unwrap();
        let message = read(&path, &Bounds::WIDEST).unwrap_err().to_string();
        assert!(message.contains("journal.jsonl, line 2"), "{message}");
    }
}
