//! New files of a folder: made aside, then moved to their places together.
//!
//! The files are made in a folder inside the one they are for. When they are complete, with a list
//! of them, that folder is renamed to `.s3d-ready`: from this one rename on they count as written.
//! Moving each to its place may then be interrupted anywhere, since whoever comes next goes on with
//! it.

use crate::error::{Error, Result};
use crate::output::folder::Output;
use crate::output::forward::{READY, folder_of, roll_forward};
use crate::output::made::{self, MARKER, Made};
use crate::store::{self, UNFINISHED};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use tempfile::TempDir;

/// Files on their way into an [`Output`]; those of a dropped draft are gone.
#[derive(Debug)]
pub struct NewFiles<'a> {
    output: &'a Output,
    place: TempDir,
}

impl Output {
    /// Begins new files.
    ///
    /// # Errors
    /// When the system refuses to make a folder.
    pub fn draft(&self) -> Result<NewFiles<'_>> {
        NewFiles::new(self)
    }
}

impl<'a> NewFiles<'a> {
    fn new(output: &'a Output) -> Result<Self> {
        let place = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&output.root)
            .map_err(|e| Error::io("create a folder in", &output.root, e))?;
        Ok(Self { output, place })
    }

    /// Where to make the files: their paths from here are those in the output.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Puts the files to their places; what this program made before under other names stays.
    ///
    /// # Errors
    /// A file in the way that this program did not make, or that is one of the inputs; a refusal of
    /// the system. Nothing is changed then.
    pub fn add(self) -> Result<()> {
        self.finish(false)
    }

    /// Puts the files to their places; all else that this program made here goes.
    ///
    /// # Errors
    /// As [`NewFiles::add`].
    pub fn replace(self) -> Result<()> {
        self.finish(true)
    }

    fn finish(self, replacing: bool) -> Result<()> {
        let root = &self.output.root;
        let mut files = BTreeSet::new();
        list(self.path(), "", &mut files)?;
        let before = made::guard(root, self.output.holds)?;
        for name in &files {
            self.check_place(name, &before)?;
        }
        let others = before.files.difference(&files).cloned();
        let (mut made, removed): (BTreeSet<_>, BTreeSet<_>) = match replacing {
            true => (BTreeSet::new(), others.chain(made::own_in(root, &before)).collect()),
            false => (others.collect(), BTreeSet::new()),
        };
        made.extend(files.iter().cloned());
        let removed = removed.difference(&files).cloned().collect();
        let unlisted = before.unlisted && !replacing;
        let made = Made { holds: self.output.holds, files: made, removed, unlisted };
        store::save_json(&self.path().join(MARKER), &made)?;
        let ready = root.join(READY);
        let place = self.place.path().to_path_buf();
        fs::rename(&place, &ready).map_err(|e| Error::io("write", &ready, e))?;
        let _ = self.place.keep(); // it has another name now
        roll_forward(root)
    }

    /// Whether the place of this file is free, or holds what this program made.
    fn check_place(&self, name: &str, before: &Made) -> Result<()> {
        let root = &self.output.root;
        folder_of(root, name)?;
        let path = root.join(name);
        self.output.spare(&path)?;
        let refuse =
            |why: &str| Err(Error::malformed(&path, format!("{why}; give another folder")));
        match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io("read", &path, e)),
            Ok(found) if found.is_dir() => refuse("is a folder where a file must go"),
            Ok(_) if !before.has(name) => refuse("was not made by s3d, and would be replaced"),
            Ok(_) => Ok(()),
        }
    }
}

/// Adds the names of all files below `folder` to `names`, each behind `prefix`.
fn list(folder: &Path, prefix: &str, names: &mut BTreeSet<String>) -> Result<()> {
    let failed = |e| Error::io("read folder", folder, e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type().map_err(failed)?.is_dir() {
            true => list(&entry.path(), &format!("{name}/"), names)?,
            false => drop(names.insert(name)),
        }
    }
    Ok(())
}
