//! A complete draft on its way: its files are moved to their places, from wherever that was
//! interrupted.

use crate::error::{Error, Result};
use crate::output::made::{MARKER, Made};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The name of a complete draft.
pub(super) const READY: &str = ".s3d-ready";

/// Whether a complete draft waits in `root`.
pub(super) fn is_ready(root: &Path) -> bool {
    fs::symlink_metadata(root.join(READY)).is_ok_and(|found| found.is_dir())
}

/// Moves the files of a complete draft to their places, if one waits in `root`. It may have been
/// begun before.
pub(super) fn roll_forward(root: &Path) -> Result<()> {
    if !is_ready(root) {
        return Ok(());
    }
    let ready = root.join(READY);
    if let Some(made) = Made::load(&ready)? {
        for name in &made.removed {
            remove(root, name)?;
        }
        for name in made.files.iter().filter(|name| ready.join(name).is_file()) {
            let folder = folder_of(root, name)?;
            fs::create_dir_all(&folder).map_err(|e| Error::io("create folder", &folder, e))?;
            put(&ready.join(name), &root.join(name))?;
        }
        put(&ready.join(MARKER), &root.join(MARKER))?;
    }
    fs::remove_dir_all(&ready).map_err(|e| Error::io("remove", &ready, e))
}

/// The folder of the file `name` below `root`; what is there of it must be folders, not links to
/// some.
pub(super) fn folder_of(root: &Path, name: &str) -> Result<PathBuf> {
    let mut folder = root.to_path_buf();
    for part in Path::new(name).parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        if fs::symlink_metadata(&folder).is_ok_and(|found| !found.is_dir()) {
            let message =
                "expected a folder to write into, found a link or a file; give another folder";
            return Err(Error::malformed(&folder, message));
        }
    }
    Ok(folder)
}

fn put(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::io("write", to, e))
}

/// Removes a file, and its folder where that is empty then.
fn remove(root: &Path, name: &str) -> Result<()> {
    let folder = folder_of(root, name)?;
    let path = root.join(name);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("remove", &path, e)),
        _ => {}
    }
    if folder != root {
        let _ = fs::remove_dir(&folder); // refused by the system where somebody's files are in it
    }
    Ok(())
}
