//! What a card says of itself.

use s3d_data::Bytes;

/// What a card says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardFacts {
    /// Its name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Architecture, such as `sm_90`.
    pub architecture: String,
    /// Its memory.
    pub memory: Bytes,
    /// Its last-level cache.
    pub cache: Bytes,
    /// Multiprocessors.
    pub multiprocessors: usize,
}
