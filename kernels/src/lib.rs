//! The arithmetic of a pass on plain slices: fast, and the same to the bit whatever shares the
//! pass.
//!
//! Speculative decoding pays only if a pass over five tokens costs hardly more than a pass over
//! one. On a CPU that holds when the weights come from memory once per pass, whatever its width. It
//! is lossless only if a token's logits do not depend on the pass it sits in. Both follow from one
//! rule: each output is a single accumulator that takes its products in a fixed order (`tile`,
//! and [`codes`] for quantized weights); rows and panels around it, threads and vector width are
//! free.

#![warn(unreachable_pub)]

mod activations;
pub mod attention;
pub mod codes;
pub mod elementwise;
pub mod heads;
pub mod isa;
pub mod kernels;
pub mod matmul;
mod number;
pub mod packed;
pub mod pages;
pub mod panels;
mod pool;
pub mod rotary;
#[cfg(test)]
mod test_numbers;
mod tile;

pub use isa::Isa;
pub use kernels::Kernels;
pub use packed::{Packed, row_bytes};
pub use panels::{LANES, panel_count};
