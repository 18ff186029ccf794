//! One writer a folder: a lock on the folder itself, which the system gives back with the process.

use crate::error::{Error, Result};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How often and how long to wait for one who only writes a report.
const TRIES: usize = 20;
const WAIT: Duration = Duration::from_millis(50);

/// Takes the lock of `folder`; nothing where the system has none (some network disks).
///
/// # Errors
/// When another process has it and keeps it.
pub(super) fn take(folder: &Path) -> Result<Option<File>> {
    let Ok(file) = File::open(folder) else { return Ok(None) };
    for attempt in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if attempt + 1 < TRIES => thread::sleep(WAIT),
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(_)) => return Ok(None),
        }
    }
    let message = "another s3d is writing here; wait for it, or give another folder";
    Err(Error::malformed(folder, message))
}
