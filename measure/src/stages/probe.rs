//! What the machine can do at best: streaming read bandwidth and multiply-add rate, on the threads
//! that decoding uses. Every latency can be shown beside these limits.
//!
//! Bandwidth: a STREAM-like benchmark (McCalpin, "Memory bandwidth and machine balance in current
//! high performance computers", IEEE TCCA Newsletter, 1995) that only reads, since decoding streams
//! weights and writes next to nothing: arrays of at least four times the last-level cache, several
//! access patterns, prefetch distances and lengths. Of each the median over many rounds counts, as
//! it does of decoding: a lucky moment of a shared machine is no limit. The best of these is kept.
//! Multiply-adds: independent chains in registers, as in the peak microkernels of roofline work
//! (Williams, Waterman, Patterson, CACM 52(4), 2009).

pub mod device;
#[cfg(feature = "gpu")]
pub mod gpu;
mod kernels;

use crate::bench::Bench;
use crate::clock::Clock;
use crate::error::Result;
use crate::robust::median;
use kernels::{Chains, Pattern};
use s3d_data::{BytesPerSecond, FlopsPerSecond, Machine, Seconds};
use s3d_model::device::{Device, Pages};
use std::hint::black_box;
use std::sync::Barrier;

/// How hard to look for the best.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Time for reading, and as much again for multiplying.
    pub budget: Seconds,
    /// Bytes of the largest array.
    pub buffer_bytes: usize,
}

impl Effort {
    /// Arrays of four times the last-level cache and eight times, within a quarter of the memory.
    pub(crate) fn for_machine(machine: &Machine, budget: Seconds) -> Self {
        const AT_LEAST: u64 = 128 << 20;
        let beyond_cache = (8 * machine.last_level_cache().0).max(AT_LEAST);
        let room = (machine.memory_bytes.0 / 4).max(16 << 20);
        Self { budget, buffer_bytes: beyond_cache.min(room) as usize }
    }
}

/// Measures both rates with `threads` threads and writes them into `machine`.
pub fn measure_rates(machine: &mut Machine, threads: usize, clock: &dyn Clock, budget: Seconds) {
    let effort = Effort::for_machine(machine, budget / 2.0);
    machine.read_bytes_per_s = Some(read_bandwidth(threads, clock, effort));
    machine.flops_per_s = Some(multiply_add_rate(threads, clock, effort.budget));
}

/// Best streaming read bandwidth of `threads` threads together.
pub(crate) fn read_bandwidth(threads: usize, clock: &dyn Clock, effort: Effort) -> BytesPerSecond {
    const WORD: usize = size_of::<f32>();
    let threads = threads.max(1);
    let words = (effort.buffer_bytes / WORD / threads).max(4096);
    // Ones, not zeros: untouched zero pages would all be the same page, and come from the cache.
    let buffers: Vec<Pages<f32>> = (0..threads).map(|_| Pages::filled(words, 1.0)).collect();
    let deadline = clock.now() + effort.budget;
    // Half the array is tried as well: a shorter walk strains the address translation less.
    let ways: Vec<(Pattern, usize)> = Pattern::ALL
        .into_iter()
        .flat_map(|pattern| [(pattern, words), (pattern, words / 2)])
        .collect();
    let mut rates = vec![Vec::new(); ways.len()];
    for round in 0.. {
        for (&(pattern, used), rates) in ways.iter().zip(&mut rates) {
            let seconds = together(threads, clock, &|thread| {
                black_box(kernels::read(&buffers[thread][..used], pattern));
            });
            rates.push((used * WORD * threads) as f64 / seconds);
        }
        if round >= 2 && clock.now() >= deadline {
            break;
        }
    }
    BytesPerSecond(rates.iter().map(|rates| median(rates)).fold(0.0, f64::max))
}

/// Best multiply-add rate of `threads` threads together; a multiply-add counts as two operations.
pub(crate) fn multiply_add_rate(
    threads: usize,
    clock: &dyn Clock,
    budget: Seconds,
) -> FlopsPerSecond {
    const STEPS: usize = 400_000;
    let threads = threads.max(1);
    let deadline = clock.now() + budget;
    let mut best = 0.0f64;
    for round in 0.. {
        let seconds = together(threads, clock, &|_| {
            black_box(Chains::new().run(black_box(STEPS)));
        });
        best = best.max((2 * Chains::LANES * STEPS * threads) as f64 / seconds);
        if round >= 2 && clock.now() >= deadline {
            break;
        }
    }
    FlopsPerSecond(best)
}

/// Seconds that `work(thread)` takes on `threads` threads at once; starting them is not counted.
fn together(threads: usize, clock: &dyn Clock, work: &(dyn Fn(usize) + Sync)) -> f64 {
    let (start, end) = (Barrier::new(threads), Barrier::new(threads));
    let pass = |thread| {
        start.wait();
        work(thread);
        end.wait();
    };
    std::thread::scope(|scope| {
        for thread in 1..threads {
            scope.spawn(move || pass(thread));
        }
        start.wait();
        let begin = clock.now().0;
        work(0);
        end.wait();
        (clock.now().0 - begin).max(f64::MIN_POSITIVE)
    })
}

/// Time for the second look at the bandwidth.
const AGAIN: Seconds = Seconds(0.7);

/// Stage: the limits of the machine.
pub(crate) fn limits(bench: &mut Bench<'_>) -> Result<()> {
    bench.tell("memory bandwidth and multiply-add rate")?;
    let budget = (bench.deadline - bench.clock.now()).max(Seconds(0.2));
    let threads = bench.request.threads;
    let on = bench.subject.model.device();
    let on_card = match on.is_cpu() {
        true => None,
        false => Some(rates_of(on, bench.clock, budget)?),
    };
    let machine = bench.recorder.run.header.machines.first_mut();
    if let (Some(machine), Some((read, rate))) = (machine, on_card) {
        machine.read_bytes_per_s = Some(read);
        machine.flops_per_s = Some(rate);
    } else if let Some(machine) = bench.recorder.run.header.machines.first_mut() {
        measure_rates(machine, threads, bench.clock, budget);
    }
    bench.recorder.save_header()
}

/// What a device reads and multiplies.
fn rates_of(
    on: &Device,
    clock: &dyn Clock,
    budget: Seconds,
) -> Result<(BytesPerSecond, FlopsPerSecond)> {
    #[cfg(feature = "gpu")]
    if let Device::Gpu(gpu) = on {
        return gpu::rates(gpu, gpu::Sizes::of(gpu), clock, budget);
    }
    device::rates(on, device::Sizes::CARD, clock, budget)
}

/// Bandwidth once more at the end: a limit is the best that was ever seen, and the machine may
/// have been busier at the beginning.
pub(crate) fn limits_again(bench: &mut Bench<'_>) -> Result<()> {
    let Some(known) = bench.recorder.run.header.machines.first().cloned() else {
        return Ok(());
    };
    let Some(before) = known.read_bytes_per_s else { return Ok(()) };
    bench.tell("memory bandwidth once more")?;
    let on = bench.subject.model.device();
    let now = if on.is_cpu() {
        let effort = Effort::for_machine(&known, AGAIN);
        read_bandwidth(bench.request.threads, bench.clock, effort)
    } else {
        rates_of(on, bench.clock, AGAIN)?.0
    };
    if let Some(machine) = bench.recorder.run.header.machines.first_mut() {
        machine.read_bytes_per_s = Some(before.max(now));
    }
    bench.recorder.save_header()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use s3d_data::Bytes;

    #[test]
    fn rates_are_positive_and_finite() {
        let clock = SystemClock::default();
        let effort = Effort { budget: Seconds(0.05), buffer_bytes: 16 << 20 };
        for threads in [1, 2] {
            let read = read_bandwidth(threads, &clock, effort).0;
            let rate = multiply_add_rate(threads, &clock, effort.budget).0;
            // No processor of the last ten years is outside of these.
            assert!((1e8..1e13).contains(&read) && (1e8..1e14).contains(&rate), "{read} {rate}");
        }
    }

    #[test]
    fn the_arrays_exceed_the_cache_and_fit_the_memory() {
        let mut machine = crate::machine::describe();
        machine.memory_bytes = Bytes(8 << 30);
        machine.caches =
            vec![s3d_data::Cache { level: 3, kind: "Unified".into(), bytes: Bytes(32 << 20) }];
        assert_eq!(Effort::for_machine(&machine, Seconds(1.0)).buffer_bytes, 256 << 20);
        machine.memory_bytes = Bytes(256 << 20);
        assert_eq!(Effort::for_machine(&machine, Seconds(1.0)).buffer_bytes, 64 << 20);
    }
}
