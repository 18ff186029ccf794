//! What a graphics card can do at best: its memory read and copied, and half-precision products.

use crate::clock::Clock;
use crate::error::{Error, Result};
use candle_core::{DType, Tensor};
use s3d_data::{BytesPerSecond, Dtype, FlopsPerSecond, Seconds};
use s3d_model::argmax_rows;
use s3d_model::device::Device;
use s3d_model::device::memory_pool::{Pool, watch};
use s3d_model::{LoadOptions, Model, ModelConfig, Silent};

/// How large the probes are.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Rows and columns of the matrix that is read: far more bytes than the card's cache holds.
    pub read: (usize, usize),
    /// Sides of the matrices that are multiplied.
    pub square: usize,
    /// The number type of both.
    pub number: DType,
}

impl Sizes {
    /// Half a gibibyte to read, 137 GFLOP to multiply.
    pub const CARD: Self = Self { read: (32_768, 8192), square: 4096, number: DType::F16 };
}

/// The best rates seen on `device` within `budget`: bytes of weights that products of one row read,
/// or bytes that a copy reads and writes, whichever is more; and operations of square products (a
/// multiply-add counts as two).
///
/// # Errors
/// When the device refuses.
pub fn rates(
    device: &Device,
    sizes: Sizes,
    clock: &dyn Clock,
    budget: Seconds,
) -> Result<(BytesPerSecond, FlopsPerSecond)> {
    let (rows, columns) = sizes.read;
    let ones = |shape: (usize, usize)| Tensor::ones(shape, sizes.number, device.tensors());
    let (matrix, row) =
        (ones((rows, columns)).map_err(refused)?, ones((1, columns)).map_err(refused)?);
    let square = ones((sizes.square, sizes.square)).map_err(refused)?;
    let bytes = (rows * columns * sizes.number.size_in_bytes()) as f64;
    let deadline = clock.now() + budget;
    let (mut read, mut operations) = (0.0f64, 0.0f64);
    for round in 0.. {
        let product = seconds(clock, || row.matmul(&matrix.t()?))?;
        let copy = seconds(clock, || matrix.copy())?;
        let multiply = seconds(clock, || square.matmul(&square))?;
        // The first round loads code.
        if round > 0 {
            read = read.max(bytes / product).max(2.0 * bytes / copy);
            operations = operations.max(2.0 * (sizes.square as f64).powi(3) / multiply);
        }
        if round >= 3 && clock.now() >= deadline {
            break;
        }
    }
    Ok((BytesPerSecond(read), FlopsPerSecond(operations)))
}

/// What an operation costs whatever its size: the time of many tiny ones in a row, each.
///
/// # Errors
/// When the device refuses.
pub fn launch(device: &Device, clock: &dyn Clock) -> Result<Seconds> {
    const CALLS: usize = 2000;
    let tiny = Tensor::ones(16, DType::F32, device.tensors()).map_err(refused)?;
    let mut each = f64::INFINITY;
    for _ in 0..5 {
        let begin = clock.now().0;
        for _ in 0..CALLS {
            tiny.affine(1.0, 1.0).map_err(refused)?;
        }
        each = each.min((clock.now().0 - begin) / CALLS as f64);
    }
    Ok(Seconds(each))
}

/// The best time of a plain pass of a small model (the shipped one's shape, random halves) over a
/// text of 64 tokens: launch by launch, or recorded and repeated. Between the two stand the
/// launches.
///
/// # Errors
/// When the device refuses.
pub fn plain_pass(device: &Device, repeated: bool, clock: &dyn Clock) -> Result<Seconds> {
    const CALLS: usize = 50;
    const TEXT: [u32; 64] = [7; 64];
    let (device, dtype) = (device.clone(), Dtype::F16);
    let options = LoadOptions { device, dtype, composed: true, repeated, ..LoadOptions::default() };
    let model = Model::random(&ModelConfig::story(), 1, &options)?;
    let mut cache = model.new_cache(TEXT.len() + 1)?;
    model.prompt_pass(&TEXT, &mut cache, &mut Silent)?;
    let mut pass = || -> Result<()> {
        argmax_rows(&model.full_pass(&TEXT[..1], &mut cache, &mut Silent)?)?;
        cache.truncate(TEXT.len());
        Ok(())
    };
    // The first loads code, or records.
    pass()?;
    let mut best = f64::INFINITY;
    for _ in 0..CALLS {
        let begin = clock.now().0;
        pass()?;
        best = best.min(clock.now().0 - begin);
    }
    Ok(Seconds(best))
}

/// The time of some products by the device's events over that by the clock: near 1 where both are
/// right. None where the device has no events.
///
/// # Errors
/// When the device refuses.
pub fn events_over_clock(device: &Device, sizes: Sizes, clock: &dyn Clock) -> Result<Option<f64>> {
    const CALLS: usize = 20;
    let Some(mut timer) = clock.events() else { return Ok(None) };
    let square = Tensor::ones((sizes.square, sizes.square), sizes.number, device.tensors())
        .map_err(refused)?;
    let mut ratio = None;
    // The first round loads code.
    for _ in 0..2 {
        timer.begin(2)?;
        let begin = clock.now().0;
        timer.mark(0)?;
        for _ in 0..CALLS {
            square.matmul(&square).map_err(refused)?;
        }
        timer.mark(1)?;
        let whole = clock.now().0 - begin;
        ratio = timer.read()?.last().map(|time| time.0 / whole.max(f64::MIN_POSITIVE));
    }
    Ok(ratio)
}

/// What the pool says that a tensor of 64 MiB took, over its size: 1 where the pool counts to the
/// byte.
///
/// # Errors
/// When the device refuses.
pub fn counted(device: &Device, pool: &dyn Pool) -> Result<f64> {
    const SHAPE: (usize, usize) = (4096, 4096);
    let work = || Ok(Tensor::zeros(SHAPE, DType::F32, device.tensors()).map(drop)?);
    let rise = watch(pool, work)?;
    Ok(rise.added().0 as f64 / (SHAPE.0 * SHAPE.1 * size_of::<f32>()) as f64)
}

/// Seconds that a few calls of `work` take each, the device waited for before and after.
fn seconds(clock: &dyn Clock, work: impl Fn() -> candle_core::Result<Tensor>) -> Result<f64> {
    const CALLS: usize = 4;
    let begin = clock.now().0;
    for _ in 0..CALLS {
        work().map_err(refused)?;
    }
    Ok(((clock.now().0 - begin) / CALLS as f64).max(f64::MIN_POSITIVE))
}

fn refused(error: candle_core::Error) -> Error {
    Error::invalid(format!("the device cannot be probed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn rates_of_any_device_are_positive() {
        let sizes = Sizes { read: (64, 256), square: 32, number: DType::F32 };
        let clock = SystemClock::default();
        let (read, rate) = rates(&Device::Cpu, sizes, &clock, Seconds(0.01)).unwrap();
        assert!(read.0 > 0.0 && read.0.is_finite() && rate.0 > 0.0 && rate.0.is_finite());
        let launch = launch(&Device::Cpu, &clock).unwrap().0;
        assert!(launch > 0.0 && launch.is_finite());
        for repeated in [false, true] {
            let pass = plain_pass(&Device::Cpu, repeated, &clock).unwrap().0;
            assert!(pass > 0.0 && pass.is_finite());
        }
        assert_eq!(events_over_clock(&Device::Cpu, sizes, &clock).unwrap(), None);
    }
}
