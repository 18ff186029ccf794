//! The threads and the instruction set that kernels run on.

use crate::isa::Isa;
use crate::pool::Pool;

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

    /// Executes the tasks `0..tasks`, which together take about `work` multiply-adds: on all
    /// threads if that is worth the meeting of threads, else on this one.
    pub fn run(&self, tasks: usize, work: usize, run: &(dyn Fn(usize) + Sync)) {
        if work < WORTH_SHARING {
            (0..tasks).for_each(run);
        } else {
            self.pool.run(tasks, run);
        }
    }
}
