//! The folder of a training: nobody else's, and one training's at a time.

use anyhow::Context;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Says that a folder is a training's.
const MARKER: &str = "training.json";
const LOCK: &str = ".training.lock";

/// The folder `--out`.
pub struct Place {
    folder: PathBuf,
    /// Held as long as the training lives.
    lock: Option<File>,
}

impl Place {
    /// Looks at a folder; nothing is written yet.
    ///
    /// # Errors
    /// When it holds anything but a training.
    pub fn look(folder: &Path) -> anyhow::Result<Self> {
        let place = Self { folder: folder.to_path_buf(), lock: None };
        if folder.join(MARKER).is_file() || place.has_state() {
            return Ok(place);
        }
        let found = match fs::read_dir(folder) {
            Ok(entries) => entries.flatten().find(|entry| entry.file_name() != LOCK),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", folder.display()));
            }
        };
        match found {
            None => Ok(place),
            Some(entry) => anyhow::bail!(
                "--out {}: expected a folder that is new, empty, or a training's; found {:?} in it, which no \
                 training wrote. Give another folder; nothing was changed",
                folder.display(),
                entry.file_name()
            ),
        }
    }

    /// Makes the folder this training's, as long as it runs.
    ///
    /// # Errors
    /// When another training is at work in it, or the disk refuses.
    pub fn take(&mut self) -> anyhow::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        let shown = self.folder.display();
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot create {shown}"))?;
        let path = self.folder.join(LOCK);
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.custom_flags(NO_FOLLOW);
        }
        let lock =
            options.open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "--out {shown}: another training is at work in this folder; wait for it, or give another folder"
            ),
            // A file system without locks.
            Err(TryLockError::Error(_)) => {}
        }
        let marker = serde_json::json!({"schema_version": 1, "holds": "a training of s3d"});
        s3d_data::store::save_json(&self.folder.join(MARKER), &marker)?;
        self.lock = Some(lock);
        Ok(())
    }

    /// Where the state to go on from lies.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Whether there is such a state.
    pub fn has_state(&self) -> bool {
        self.state().join("training.safetensors").is_file()
    }

    /// Where texts of the model's own lie.
    pub fn texts(&self) -> PathBuf {
        self.folder.join("texts.jsonl")
    }
}

/// `O_NOFOLLOW` of Linux; elsewhere nothing is added.
#[cfg(unix)]
const NO_FOLLOW: i32 = if cfg!(target_os = "linux") { 0o400_000 } else { 0 };
