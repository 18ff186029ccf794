//! An open device, whoever computes on it.

use candle_core::Device as Tensors;

/// The CPU of a tensor.
static HOST: Tensors = Tensors::Cpu;

/// An open device.
#[derive(Debug, Clone)]
pub enum Device {
    /// The CPU.
    Cpu,
    /// A card that candle computes on.
    Card(Tensors),
}

impl Device {
    /// Whether it is the CPU.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Self::Cpu)
    }

    /// Where tensors are for it: on the card, else on the host.
    pub fn tensors(&self) -> &Tensors {
        match self {
            Self::Cpu => &HOST,
            Self::Card(card) => card,
        }
    }

    /// Waits until it has done all that it was asked for.
    ///
    /// # Errors
    /// When it failed.
    pub fn wait(&self) -> crate::Result<()> {
        Ok(self.tensors().synchronize()?)
    }
}
