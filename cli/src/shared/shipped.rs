//! Files inside the program (the shipped model, prompts), unpacked into the user's data folder when
//! first needed, so that an installed program works without a clone.
//!
//! They lie in `DATA/s3d/HASH/`, where DATA is `$XDG_DATA_HOME` or `~/.local/share` on Linux and
//! HASH that of the contents, so that several versions of the program live beside each other. A
//! file is compared with the one inside the program before use and put in place by a rename where
//! it is missing or differs: first starts at the same time cannot disturb each other, and a damaged
//! file is repaired.

use anyhow::Context;
use directories::ProjectDirs;
use s3d_data::{Limit, file, store};
use std::path::{Path, PathBuf};

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The folder or file `name` (such as `models/story`) on disk, with everything below it checked.
/// `None` where this program holds nothing of that name.
///
/// # Errors
/// When it cannot be written; the message says how to choose another folder.
pub fn unpacked(name: &str) -> anyhow::Result<Option<PathBuf>> {
    let wanted: Vec<_> =
        FILES.iter().filter(|(path, _)| Path::new(path).starts_with(name)).collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let root = root()?;
    for (path, bytes) in wanted {
        let path = root.join(path);
        if !is_intact(&path, bytes) {
            store::save_atomically(&path, bytes).with_context(|| cannot_unpack(&root))?;
        }
    }
    Ok(Some(root.join(name)))
}

/// The names inside the folder `kind`, sorted, each once.
pub fn names(kind: &str) -> Vec<String> {
    let below = FILES.iter().filter_map(|(path, _)| Path::new(path).strip_prefix(kind).ok());
    let mut names: Vec<String> = below
        .filter_map(|path| {
            Some(path.components().next()?.as_os_str().to_string_lossy().into_owned())
        })
        .collect();
    names.dedup();
    names
}

/// Where this version's files lie.
fn root() -> anyhow::Result<PathBuf> {
    let user = ProjectDirs::from("", "", "s3d").context(
        "this user has no home folder to unpack the shipped model into; set HOME or XDG_DATA_HOME \
         to a \
         folder that can be written, or S3D_DATA to the data folder of a clone",
    )?;
    Ok(user.data_dir().join(HASH))
}

/// Whether the file holds exactly these bytes. The length is asked first: reading is for files that
/// may match.
fn is_intact(path: &Path, bytes: &[u8]) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == bytes.len() as u64)
        && file::read(path, Limit::TABLE).is_ok_and(|found| found == bytes)
}

fn cannot_unpack(root: &Path) -> String {
    format!(
        "cannot unpack the shipped model into {}; set XDG_DATA_HOME to a folder that can be \
         written, or \
         S3D_DATA to the data folder of a clone",
        root.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_folder_and_not_by_the_beginning_of_a_name() {
        assert!(names("models").contains(&"story".to_string()));
        assert!(names("model").is_empty() && names("models/stor").is_empty());
        assert!(unpacked("models/stor").unwrap().is_none());
    }

    #[test]
    fn a_file_is_intact_only_when_every_byte_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(!is_intact(&path, b"abc") && !is_intact(folder.path(), b"abc"));
        for (found, intact) in [(&b"abc"[..], true), (b"abd", false), (b"ab", false)] {
            std::fs::write(&path, found).unwrap();
            assert_eq!(is_intact(&path, b"abc"), intact, "{found:?}");
        }
    }
}
