//! Files appear whole or not at all.

use crate::error::{Error, Result};
use std::fs;
use std::io::Write;
use std::path::Path;

/// What names of unfinished files and folders begin with: of a killed process they are removed by
/// the next.
pub(crate) const UNFINISHED: &str = ".s3d-tmp-";

/// Writes `bytes` to `path` so that a reader sees the old file or the new one, never a part:
/// a temporary file beside it, synchronised, then renamed. Missing folders are made.
///
/// # Errors
/// When the disk refuses; nothing is left behind.
pub fn save_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(|e| Error::io("create folder", folder, e))?;
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(folder)
        .map_err(|e| Error::io("create a file in", folder, e))?;
    let write = |file: &mut fs::File| {
        file.write_all(bytes)?;
        file.sync_all()
    };
    write(file.as_file_mut()).map_err(|e| Error::io("write", path, e))?;
    readable(file.as_file()).map_err(|e| Error::io("write", path, e))?;
    file.persist(path).map_err(|e| Error::io("write", path, e.error))?;
    Ok(())
}

/// Temporary files are private; a record is for everyone (mode 644 where modes exist).
fn readable(file: &fs::File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}
