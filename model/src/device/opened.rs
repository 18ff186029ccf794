//! An open device, whoever computes on it.

use candle_core::Device as Tensors;
use s3d_data::memory::Engine;

/// The CPU of a tensor.
static HOST: Tensors = Tensors::Cpu;

/// An open device.
#[derive(Debug, Clone)]
pub enum Device {
    /// The CPU.
    Cpu,
    /// A card that candle computes on.
    Card(Tensors),
    /// A Vulkan device.
    #[cfg(feature = "gpu")]
    Gpu(super::Gpu),
}

impl Device {
    /// Whether it is the CPU.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Self::Cpu)
    }

    /// What its passes hold in memory, as [`s3d_data::memory`] counts.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Cpu => Engine::Cpu,
            Self::Card(_) => Engine::Card,
            #[cfg(feature = "gpu")]
            Self::Gpu(_) => Engine::Gpu,
        }
    }

    /// Where tensors are for it: on the card, else on the host.
    pub fn tensors(&self) -> &Tensors {
        match self {
            Self::Card(card) => card,
            _ => &HOST,
        }
    }

    /// Waits until it has done all that it was asked for.
    ///
    /// # Errors
    /// When it failed.
    pub fn wait(&self) -> crate::error::Result<()> {
        #[cfg(feature = "gpu")]
        if let Self::Gpu(gpu) = self {
            return Ok(gpu.wait()?);
        }
        Ok(self.tensors().synchronize()?)
    }
}
