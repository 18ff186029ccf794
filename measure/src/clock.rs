//! What reads time: the one clock of the project, and timers of what lies between two readings.

pub mod date;
#[cfg(test)]
pub(crate) mod fake;
mod system;
pub mod timer;
#[cfg(feature = "gpu")]
mod timestamps;

pub use date::{unix_seconds, utc_now};
pub use system::{SystemClock, resolution, timer};

use crate::error::Result;
use s3d_data::Seconds;

/// Reads time. Everything that is timed gets its clock as an argument, so that tests bring their
/// own.
pub trait Clock: Sync {
    /// Wall time since the clock was made, read after the device has finished what it was given.
    fn now(&self) -> Seconds;

    /// CPU time that this process has used, over all its threads.
    fn cpu(&self) -> Seconds;

    /// The timer of a device that records events, where there is one.
    fn events(&self) -> Option<Box<dyn DeviceTimer + '_>> {
        None
    }
}

/// Takes the times of marks.
pub trait DeviceTimer {
    /// Begins a pass of at most `marks` marks and forgets those before. Whatever marks need is made
    /// here.
    ///
    /// # Errors
    /// When the device refuses.
    fn begin(&mut self, marks: usize) -> Result<()>;

    /// Takes mark `number`: 0, 1, 2 and so on.
    ///
    /// # Errors
    /// A mark out of its turn or beyond those prepared, or a device that fails.
    fn mark(&mut self, number: usize) -> Result<()>;

    /// The times of all marks since the first. Waits for the device.
    ///
    /// # Errors
    /// When the device fails.
    fn read(&mut self) -> Result<Vec<Seconds>>;
}
