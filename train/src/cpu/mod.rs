//! Forward, backward and update over plain slices, for the CPU.

pub(crate) mod adam;
pub(crate) mod attention;
pub(crate) mod halves;
pub(crate) mod heads;
pub(crate) mod low_rank;
pub(crate) mod matmul;
pub(crate) mod network;
pub(crate) mod ops;
pub(crate) mod products;
mod reference_decoder;
pub(crate) mod tape;
