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
    remove_empty(&ready)
}

/// Removes a folder and those in it, all of which must be empty: a file in them was not made here.
fn remove_empty(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|e| Error::io("read folder", folder, e))?.flatten() {
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => remove_empty(&entry.path())?,
            false => {
                let message =
                    "was not made by s3d, and stands where it puts new files; move it away";
                return Err(Error::malformed(&entry.path(), message));
            }
        }
    }
    fs::remove_dir(folder).map_err(|e| Error::io("remove", folder, e))
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
