//! A folder that one process alone writes into, for one purpose.

use crate::error::{Error, Result};
use crate::output::made::{self, Holds, names_in};
use crate::output::{forward, lock};
use crate::store::UNFINISHED;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A folder that this process alone writes into.
#[derive(Debug)]
pub struct Output {
    pub(super) root: PathBuf,
    pub(super) holds: Holds,
    /// Files that were read, which no output may replace.
    inputs: Vec<FileId>,
    /// Held while it lives; none where the system has no locks on folders.
    _lock: Option<File>,
    /// Folders made for it, the deepest first; those that stay empty go again.
    _fresh: Fresh,
}

impl Output {
    /// Takes the folder at `root` for files of one purpose. It is made where it is missing; what a
    /// killed process had completed but not moved to its place is moved now.
    ///
    /// # Errors
    /// A folder that another s3d writes into; one that is not empty and was not made for this
    /// purpose; a refusal of the system. Nothing is changed then.
    pub fn open(root: &Path, holds: Holds) -> Result<Self> {
        let fresh = Fresh::make(root)?;
        let lock = lock::take(root)?;
        forward::roll_forward(root)?;
        made::guard(root, holds)?;
        remove_unfinished(root);
        Ok(Self { root: root.to_path_buf(), holds, inputs: Vec::new(), _lock: lock, _fresh: fresh })
    }

    /// The same, and refuses ever to replace one of `inputs`, also under another name (a hard link,
    /// say).
    #[must_use]
    pub fn sparing<P: AsRef<Path>>(mut self, inputs: impl IntoIterator<Item = P>) -> Self {
        self.inputs.extend(inputs.into_iter().filter_map(|path| FileId::of(path.as_ref())));
        self
    }

    /// Whether what was made here may be made anew: to be asked before the work, which
    /// [`crate::output::new_files::NewFiles::add`] would refuse after it.
    ///
    /// # Errors
    /// One of the inputs among these files; a link to elsewhere in the place of a folder.
    pub fn check(&self) -> Result<()> {
        for name in &made::guard(&self.root, self.holds)?.files {
            forward::folder_of(&self.root, name)?;
            self.spare(&self.root.join(name))?;
        }
        Ok(())
    }

    /// Refuses the path of an input.
    pub(super) fn spare(&self, path: &Path) -> Result<()> {
        match FileId::of(path).is_some_and(|id| self.inputs.contains(&id)) {
            true => Err(Error::malformed(
                path,
                "is one of the inputs, and would be replaced; give another folder",
            )),
            false => Ok(()),
        }
    }

    /// The folder, as it was named.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Something at the top of the folder that this program did not make, if there is any. In the
    /// folders of a report, whatever is not on the list stays anyway.
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
    /// The file that `path` names, through links; nothing where there is none or the system cannot
    /// tell.
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

/// Completes what a killed process had ready in a folder that is read: a reader must not see half
/// of it.
///
/// # Errors
/// When it cannot be completed, with what to do.
pub fn settle(root: &Path) -> Result<()> {
    if !forward::is_ready(root) {
        return Ok(());
    }
    let Ok(Some(_lock)) = lock::take(root) else { return Ok(()) }; // its writer is at it
    forward::roll_forward(root)
}
