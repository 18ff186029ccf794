//! A Vulkan device: opened, and its memory.

use super::DeviceName;
use super::memory_pool::{Pool, Room};
use crate::error::{Error, Result};
use s3d_data::Bytes;
use std::sync::Arc;

/// An open Vulkan device.
pub type Gpu = Arc<s3d_gpu::Gpu>;

/// Opens the adapter of this number.
pub(super) fn open(number: usize) -> Result<Gpu> {
    let name = DeviceName::Gpu { number };
    let gpu = s3d_gpu::Gpu::open(number);
    gpu.map(Gpu::new).map_err(|e| Error::invalid(format!("{name}: {e}")))
}

/// The memory of a Vulkan device, as far as this program takes it: no driver tells what others
/// take.
pub(super) struct GpuPool(pub Gpu);

impl Pool for GpuPool {
    fn finish(&self) -> Result<()> {
        Ok(self.0.wait()?)
    }

    fn used(&self) -> Result<u64> {
        Ok(self.0.held().0)
    }

    fn high(&self) -> Result<u64> {
        Ok(self.0.high().0)
    }

    /// Gives back what waits for the next pass: how much that is, is a matter of earlier passes.
    fn reset_high(&self) -> Result<()> {
        self.0.trim();
        self.0.reset_high();
        Ok(())
    }

    fn keep_all(&self) -> Result<()> {
        // Activations are given back to a store that keeps them.
        Ok(())
    }

    fn room(&self) -> Result<Room> {
        let held = self.0.held().0;
        // Where the driver tells no size, a refusal of memory is the first that is heard of it.
        let total = self.0.most().unwrap_or(Bytes(u64::MAX));
        Ok(Room { free: Bytes(total.0.saturating_sub(held)), total })
    }
}
