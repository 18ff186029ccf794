//! Tables belong to a header: `run.json` lists the hash of each table that was written with it.

use crate::error::{Error, Result};
use crate::store;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names of tables, and the SHA-256 of their bytes in hexadecimal.
pub type TableHashes = BTreeMap<String, String>;

/// The hashes of the tables at `paths`.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn hashes(paths: &[PathBuf]) -> Result<TableHashes> {
    let mut hashes = TableHashes::new();
    for path in paths {
        let bytes = store::read(path)?;
        // An empty table is none: traces may be put beside derived times, say.
        if !bytes.is_empty() {
            hashes.insert(name_of(path), hash(&bytes));
        }
    }
    Ok(hashes)
}

/// Refuses tables at `paths` that are not those a header lists. A header of an older program lists
/// none.
///
/// # Errors
/// Names the table.
pub(crate) fn check(paths: &[PathBuf], listed: &Option<TableHashes>) -> Result<()> {
    let Some(listed) = listed else { return Ok(()) };
    for path in paths {
        let Some(expected) = listed.get(&name_of(path)) else { continue };
        let found = hash(&store::read(path)?);
        if found != *expected {
            return Err(Error::malformed(
                path,
                format!(
                    "is not the table that run.json lists: expected SHA-256 {expected:.12}, found \
                     {found:.12}; it was changed, or is of another run: put it back, or measure \
                     again"
                ),
            ));
        }
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
