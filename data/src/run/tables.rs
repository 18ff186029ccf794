//! Tables belong to a header: `run.json` lists the hash of each table that was written with it.

use crate::error::{Error, Result};
use crate::store;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
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
        // An empty table is none: traces may be put beside derived times, say.
        if let Some(hash) = hash(path)? {
            hashes.insert(name_of(path), hash);
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
        let found = hash(path)?.unwrap_or_default();
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

/// The hash of a table that holds something.
fn hash(path: &Path) -> Result<Option<String>> {
    let mut table = store::open(path)?;
    let (mut hash, mut some, mut buffer) = (Sha256::new(), false, vec![0; 1 << 16]);
    loop {
        match table.read(&mut buffer).map_err(|e| Error::io("read", path, e))? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
        some = true;
    }
    Ok(some.then(|| hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}
