//! How fast a Vulkan device reads, and how fast it multiplies: products with one row and with many.

use crate::clock::Clock;
use crate::error::Result;
use s3d_data::{BytesPerSecond, Dtype, FlopsPerSecond, Seconds};
use s3d_model::device::{Gpu, Probe};

/// How large the probes are.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Outputs and inputs of the matrix.
    pub matrix: [usize; 2],
    /// Rows that one reading of the weights serves.
    pub rows: usize,
}

impl Sizes {
    /// 256 MiB of halves, more than the caches of cards hold; a quarter of that where the CPU
    /// computes.
    pub fn of(gpu: &Gpu) -> Self {
        let outputs = if gpu.adapter().software { 8192 } else { 32_768 };
        Self { matrix: [outputs, 4096], rows: 8 }
    }
}

/// Bandwidth and rate of multiply-adds (each counts as two): those of the best products within
/// `budget`.
///
/// # Errors
/// When the device refuses.
pub fn rates(
    gpu: &Gpu,
    sizes: Sizes,
    clock: &dyn Clock,
    budget: Seconds,
) -> Result<(BytesPerSecond, FlopsPerSecond)> {
    let [outputs, inputs] = sizes.matrix;
    let probe = told(Probe::new(gpu, Dtype::F16, sizes.matrix, sizes.rows))?;
    let (one, many) =
        (best(gpu, &probe, 1, clock, budget)?, best(gpu, &probe, sizes.rows, clock, budget)?);
    let operations = 2.0 * (sizes.rows * outputs * inputs) as f64;
    Ok((BytesPerSecond(probe.bytes() as f64 / one), FlopsPerSecond(operations / many)))
}

/// The best time of a product of `rows` rows within half of `budget`.
fn best(gpu: &Gpu, probe: &Probe, rows: usize, clock: &dyn Clock, budget: Seconds) -> Result<f64> {
    /// Products between two looks at the clock.
    const CALLS: usize = 4;
    // The first makes the pipeline.
    told(probe.multiply(gpu, rows, 1))?;
    let (mut best, end) = (f64::INFINITY, clock.now() + budget * 0.5);
    loop {
        let begin = clock.now().0;
        told(probe.multiply(gpu, rows, CALLS))?;
        let now = clock.now();
        best = best.min(((now.0 - begin) / CALLS as f64).max(f64::MIN_POSITIVE));
        if now >= end {
            return Ok(best);
        }
    }
}

fn told<T>(outcome: std::result::Result<T, s3d_model::device::GpuError>) -> Result<T> {
    Ok(outcome.map_err(s3d_model::Error::from)?)
}
