//! Tables belong to a header: `run.json` lists the hash of each table that was written with it.

use crate::run::{Observations, RunDir, RunHeader};
use crate::{Error, Result, store};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Names of tables, and the SHA-256 of their bytes in hexadecimal.
pub type TableHashes = BTreeMap<String, String>;

impl RunDir {
    /// Writes tables and then the header that lists them; returns the header as written.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, header: &RunHeader, observations: &Observations) -> Result<RunHeader> {
        self.save_tables(observations)?;
        let mut hashes = TableHashes::new();
        for path in self.tables() {
            let bytes = store::read(&path)?;
            // An empty table is none: traces may be put beside derived times, say.
            if !bytes.is_empty() {
                hashes.insert(name_of(&path), hash(&bytes));
            }
        }
        let header = RunHeader { tables: Some(hashes), ..header.clone() };
        self.save_header(&header)?;
        Ok(header)
    }

    fn tables(&self) -> [PathBuf; 5] {
        [self.latency(), self.acceptance(), self.throughput(), self.memory(), self.near_ties()]
    }

    /// Whether the tables of `header` are written; those of a run that was interrupted are only in its journal.
    pub(super) fn has_tables(&self, header: &RunHeader) -> bool {
        header.tables.is_some() || header.ended.is_some() || !self.journal().exists()
    }

    /// Refuses tables that were not written with `header`. A header of an older program lists none.
    pub(super) fn check_tables(&self, header: &RunHeader) -> Result<()> {
        let Some(hashes) = &header.tables else { return Ok(()) };
        for path in self.tables() {
            let Some(expected) = hashes.get(&name_of(&path)) else { continue };
            let found = hash(&store::read(&path)?);
            if found != *expected {
                return Err(Error::malformed(
                    &path,
                    format!(
                        "is not the table that run.json lists: expected SHA-256 {expected:.12}, found {found:.12}; \
                         it was changed, or is of another run: put it back, or measure again"
                    ),
                ));
            }
        }
        Ok(())
    }
}

fn name_of(path: &std::path::Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
