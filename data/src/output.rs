//! Folders that commands write into: one guard for all of them.
//!
//! A folder is written into only while it is empty, or while it holds what this program made for
//! the same purpose: then a list of these files lies in it (`.s3d-files.json`). New files are made
//! in a folder of their own inside it ([`NewFiles`]) and moved to their places when all of them are
//! complete: whole or not at all, also where the disk is full or the process is killed on the way.
//! What is not on the list is somebody else's: it is neither overwritten nor removed.
//!
//! ```
//! use s3d_data::output::{Holds, Output};
//! let dir = tempfile::tempdir().unwrap();
//! // Nobody else writes here until it is dropped.
//! let out = Output::open(&dir.path().join("paper"), Holds::Paper)?;
//! let draft = out.draft()?;
//! s3d_data::store::save_atomically(&draft.path().join("paper.html"), b"...")?;
//! draft.add()?;
//! assert!(dir.path().join("paper/paper.html").is_file());
//! # Ok::<(), s3d_data::Error>(())
//! ```

mod folder;
mod forward;
mod lock;
mod made;
mod new_files;

pub use folder::{Output, settle};
pub use made::Holds;
pub use new_files::NewFiles;

#[cfg(test)]
mod tests;
