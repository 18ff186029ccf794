//! Folders that commands write into: one guard for all of them.
//!
//! A folder is written into only while it is empty, or while it holds what this program made for the same
//! purpose: then a list of these files lies in it (`.s3d-files.json`). New files are made in a folder of their own inside
//! it ([`Draft`]) and moved to their places when all of them are complete: whole or not at all, also where the
//! disk is full or the process is killed on the way. What is not on the list is somebody else's: it is neither
//! overwritten nor removed.
//!
//! ```
//! use s3d_data::output::{Holds, Output};
//! let dir = tempfile::tempdir().unwrap();
//! let out = Output::open(&dir.path().join("paper"), Holds::Paper)?; // nobody else writes here until it is dropped
//! let draft = out.draft()?;
//! s3d_data::store::save_atomically(&draft.path().join("paper.html"), b"...")?;
//! draft.add()?;
//! assert!(dir.path().join("paper/paper.html").is_file());
//! # Ok::<(), s3d_data::Error>(())
//! ```

mod draft;
mod lock;
mod made;

pub use draft::Draft;
pub use made::Holds;

use crate::{Error, Result};
use made::MARKER;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// What names of unfinished files and folders begin with: of a killed process they are removed by the next.
pub(crate) const UNFINISHED: &str = ".s3d-tmp-";

/// What a file system itself keeps at the top of a disk, which may be mounted as an output.
const OF_THE_DISK: &str = "lost+found";

/// A folder that this process alone writes into.
#[derive(Debug)]
pub struct Output {
    root: PathBuf,
    holds: Holds,
    /// Files that were read, which no output may replace.
    inputs: Vec<FileId>,
    /// Held while it lives; none where the system has no locks on folders.
    _lock: Option<File>,
    /// Folders made for it, the deepest first; those that stay empty go again.
    _fresh: Fresh,
}

impl Output {
    /// Takes the folder at `root` for files of one purpose. It is made where it is missing; what a killed
    /// process had completed but not moved to its place is moved now.
    ///
    /// # Errors
    /// A folder that another s3d writes into; one that is not empty and was not made for this purpose; a refusal
    /// of the system. Nothing is changed then.
    pub fn open(root: &Path, holds: Holds) -> Result<Self> {
        let fresh = Fresh::make(root)?;
        let lock = lock::take(root)?;
        draft::roll_forward(root)?;
        made::guard(root, holds)?;
        remove_unfinished(root);
        Ok(Self { root: root.to_path_buf(), holds, inputs: Vec::new(), _lock: lock, _fresh: fresh })
    }

    /// The same, and refuses ever to replace one of `inputs`, also under another name (a hard link, say).
    #[must_use]
    pub fn sparing<P: AsRef<Path>>(mut self, inputs: impl IntoIterator<Item = P>) -> Self {
        self.inputs.extend(inputs.into_iter().filter_map(|path| FileId::of(path.as_ref())));
        self
    }

    /// The folder, as it was named.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Begins new files.
    ///
    /// # Errors
    /// When the system refuses to make a folder.
    pub fn draft(&self) -> Result<Draft<'_>> {
        Draft::new(self)
    }

    /// Something at the top of the folder that this program did not make, if there is any. In the folders of a
    /// report, whatever is not on the list stays anyway.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn stranger(&self) -> Result<Option<String>> {
        let made = made::guard(&self.root, self.holds)?;
        let known = |name: &String| {
            let above = |file: &String| file.split('/').next() == Some(name);
            made.has(name)
                || ["figures", "tables"].contains(&name.as_str())
                || made.files.iter().any(above)
        };
        Ok(names_in(&self.root)?.into_iter().find(|name| !known(name)))
    }
}

/// The names in a folder that count: not those of unfinished files, the list of what was made, the disk's own.
fn names_in(root: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(root).map_err(|e| Error::io("read folder", root, e))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != MARKER && name != OF_THE_DISK && !name.starts_with(UNFINISHED));
    names.sort();
    Ok(names)
}

/// Removes what killed processes left half made. What does not go does no harm.
fn remove_unfinished(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
                _ => fs::remove_file(entry.path()),
            };
        }
    }
}

/// A folder as it was before: those that were made and stayed empty are removed in the end.
#[derive(Debug)]
struct Fresh(Vec<PathBuf>);

impl Fresh {
    /// Makes the folder `root` and those above it.
    fn make(root: &Path) -> Result<Self> {
        let missing = root.ancestors().take_while(|folder| !folder.as_os_str().is_empty());
        let missing = missing.take_while(|folder| fs::symlink_metadata(folder).is_err());
        let fresh = Self(missing.map(Path::to_path_buf).collect());
        fs::create_dir_all(root).map_err(|e| Error::io("create folder", root, e))?;
        Ok(fresh)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        for folder in &self.0 {
            if fs::remove_dir(folder).is_err() {
                return; // it holds something by now
            }
        }
    }
}

/// Which file it is, whatever its name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    /// The file that `path` names, through links; nothing where there is none or the system cannot tell.
    fn of(path: &Path) -> Option<Self> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let found = fs::metadata(path).ok()?;
            Some(Self(found.dev(), found.ino()))
        }
        #[cfg(not(unix))]
        {
            let _ = path;
            None
        }
    }
}

/// Completes what a killed process had ready in the folder of a run that is read: a reader must not see half of it.
///
/// # Errors
/// When it cannot be completed, with what to do.
pub(crate) fn settle(root: &Path) -> Result<()> {
    if !draft::is_ready(root) {
        return Ok(());
    }
    let Ok(Some(_lock)) = lock::take(root) else { return Ok(()) }; // its writer is at it
    draft::roll_forward(root)
}

#[cfg(test)]
mod tests;
