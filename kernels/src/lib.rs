//! The arithmetic of a pass on plain slices: fast, and the same to the bit whatever shares the pass.
//!
//! Speculative decoding pays only if a pass over five tokens costs hardly more than a pass over one.
//! On a CPU that holds when the weights come from memory once per pass, whatever its width. It is
//! lossless only if a token's logits do not depend on the pass it sits in. Both follow from one
//! rule: each output is a single accumulator that takes its products in a fixed order ([`tile`], and
//! [`codes`] for quantized weights); rows and panels around it, threads and vector width are free.

pub mod activations;
pub mod attention;
pub mod codes;
pub mod elementwise;
pub mod heads;
pub mod matmul;
pub mod number;
pub mod packed;
pub mod pages;
pub mod panels;
pub mod pool;
pub mod rotary;
#[cfg(test)]
mod test_numbers;
pub mod tile;

pub use packed::{Packed, row_bytes};
pub use panels::{LANES, panel_count};
pub use tile::Isa;

use pool::Pool;

/// Multiply-adds below which one thread is done before a second has joined: 1 to 2 microseconds.
const WORTH_SHARING: usize = 1 << 16;

/// The threads and the instruction set that kernels run on.
#[derive(Debug)]
pub struct Kernels {
    pool: Pool,
    isa: Isa,
}

impl Kernels {
    /// Kernels on `threads` threads with the instructions `isa`, or the best below that exist here.
    pub fn new(threads: usize, isa: Isa) -> Self {
        Self { pool: Pool::new(threads), isa: isa.min(Isa::detect()) }
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads of a region.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Executes the tasks `0..tasks`, which together take about `work` multiply-adds: on all threads
    /// if that is worth the meeting of threads, else on this one.
    pub fn run(&self, tasks: usize, work: usize, run: &(dyn Fn(usize) + Sync)) {
        if work < WORTH_SHARING {
            (0..tasks).for_each(run);
        } else {
            self.pool.run(tasks, run);
        }
    }
}
