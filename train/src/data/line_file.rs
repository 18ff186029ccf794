//! A file of one JSON object a line, the first of which says what was asked for. One that was cut
//! off goes on behind its last whole line; one that was asked for otherwise is refused.

use s3d_data::{Limit, file};
use s3d_model::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// The file at the end of its last whole line.
pub(crate) struct LineFile<'p> {
    file: File,
    path: &'p Path,
}

impl<'p> LineFile<'p> {
    /// The file, and the lines that it holds; a fresh one gets its first line. `holds` says what it
    /// holds where it was asked for otherwise.
    ///
    /// # Errors
    /// A file that cannot be read or written, is of something else, or was asked for otherwise.
    pub(crate) fn open<H, L>(path: &'p Path, asked: &H, holds: &str) -> Result<(Self, Vec<L>)>
    where
        H: Serialize + DeserializeOwned + PartialEq,
        L: DeserializeOwned,
    {
        file::own(path)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| Error::io("open", path, e))?;
        let bytes = file::read(path, Limit::JOURNAL)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).map_err(|e| Error::io("write", path, e))?;
        file.seek(SeekFrom::End(0)).map_err(|e| Error::io("read", path, e))?;
        let bad = |e: serde_json::Error| Error::malformed(path, format!("not such lines: {e}"));
        let lines = bytes[..whole].split(|byte| *byte == b'\n');
        let mut lines = lines.filter(|line| !line.is_empty());
        let mut opened = Self { file, path };
        let Some(first) = lines.next() else {
            opened.add(asked)?;
            return Ok((opened, Vec::new()));
        };
        let found: H = serde_json::from_slice(first).map_err(bad)?;
        if found != *asked {
            let message = format!(
                "holds {holds}; give another folder, or remove the file to write them anew"
            );
            return Err(Error::malformed(path, message));
        }
        let lines = lines.map(|line| serde_json::from_slice(line).map_err(bad));
        Ok((opened, lines.collect::<Result<_>>()?))
    }

    /// Writes one more line.
    ///
    /// # Errors
    /// A disk that refuses.
    pub(crate) fn add<T: Serialize>(&mut self, value: &T) -> Result<()> {
        let bad = |e: serde_json::Error| Error::malformed(self.path, e.to_string());
        let mut line = serde_json::to_vec(value).map_err(bad)?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|e| Error::io("write", self.path, e))
    }
}
