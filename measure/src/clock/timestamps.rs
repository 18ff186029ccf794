//! Times between the components of a pass from timestamps that a Vulkan device writes between the
//! operations of a pass, read after it. An adapter without timestamps has whole passes alone.

use crate::clock::DeviceTimer;
use crate::error::Result;
use s3d_data::Seconds;
use s3d_model::Error;
use s3d_model::device::Gpu;

/// Marks by timestamps.
pub(super) struct Timestamps(pub Gpu);

impl DeviceTimer for Timestamps {
    /// Forgets the marks of a pass that failed.
    fn begin(&mut self, _: usize) -> Result<()> {
        self.read().map(drop)
    }

    fn mark(&mut self, _: usize) -> Result<()> {
        Ok(self.0.mark().map_err(Error::from)?)
    }

    fn read(&mut self) -> Result<Vec<Seconds>> {
        let times = self.0.times().map_err(Error::from)?;
        Ok(times.into_iter().map(Seconds).collect())
    }
}
