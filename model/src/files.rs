//! Opening files that somebody else made: regular ones, of a size that such a file may have.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of a configuration, at most.
pub(crate) const TEXT_BYTES_MAX: u64 = 1 << 22;

/// How a pointer of git-lfs begins, which stands where a large file was not fetched.
const LFS: &[u8] = b"version https://git-lfs";

/// Opens a file for reading, and says how many bytes it has.
///
/// # Errors
/// When it is not there, is a pipe, a device or a folder (opening which may never end), or only
/// points to the file.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let found = std::fs::metadata(path).map_err(|e| Error::io("open", path, e))?;
    if !found.is_file() {
        return Err(Error::malformed(
            path,
            "expected a regular file, found a folder, pipe or device",
        ));
    }
    let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let mut start = [0; LFS.len()];
    let is_pointer = found.len() < 1024 && file.read_exact(&mut start).is_ok() && start == LFS;
    if is_pointer {
        return Err(Error::malformed(
            path,
            "is a pointer of git-lfs, not the file itself; fetch it with: git lfs pull",
        ));
    }
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    Ok((file, found.len()))
}

/// The text of a small file.
///
/// # Errors
/// As [`open`], and when it has more than `most` bytes or is no UTF-8.
pub(crate) fn read_text(path: &Path, most: u64) -> Result<String> {
    let (file, length) = open(path)?;
    if length > most {
        let message = format!("has {length} bytes; expected at most {most} in such a file");
        return Err(Error::malformed(path, message));
    }
    let mut text = String::new();
    file.take(most).read_to_string(&mut text).map_err(|e| Error::io("read", path, e))?;
    Ok(text)
}
