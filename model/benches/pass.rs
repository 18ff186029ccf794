//! How flat a pass is in its width, and how near plain decoding comes to the memory's bandwidth.
//!
//! `cargo bench -p s3d-model --bench pass -- [widen] [threads] [repeats]`; minima over interleaved
//! repeats.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use s3d_kernels::pages::Pages;
use s3d_model::{KvCache, LoadOptions, Model, ModelConfig, Result, Silent};
use std::hint::black_box;
use std::time::Instant;

const WIDTHS: [usize; 9] = [1, 2, 3, 4, 5, 6, 8, 9, 16];
const CONTEXT: usize = 256;

fn main() -> Result<()> {
    let arguments: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let argument = |i: usize, default| arguments.get(i).copied().unwrap_or(default);
    let (widen, threads, repeats) = (argument(0, 2), argument(1, 2), argument(2, 30));
    let options = LoadOptions { widen, threads, ..LoadOptions::default() };
    let model = Model::random(&ModelConfig::story(), 1, &options)?;
    let bytes = model.streamed_bytes() as f64;
    println!("widen {widen}, {threads} threads, {:.1} MB per pass", bytes / 1e6);
    let mut cache = model.new_cache(CONTEXT + 64)?;
    let prompt: Vec<u32> = (0..CONTEXT as u32).collect();
    let mut seconds = f64::INFINITY;
    for _ in 0..3 {
        cache.truncate(0);
        time(&mut seconds, || model.prompt_pass(&prompt, &mut cache, &mut Silent))?;
    }
    let rate = 2.0 * CONTEXT as f64 * bytes / 4.0 / seconds;
    println!("prompt of {CONTEXT}: {:.1} ms, {:.0} GFLOP/s", seconds * 1e3, rate / 1e9);
    let (best, stock, read) = passes(&model, &prompt, &mut cache, repeats)?;
    println!("read bandwidth {:.1} GB/s; stock, width 1: {:.2} ms", read / 1e9, stock * 1e3);
    for (&width, &seconds) in WIDTHS.iter().zip(&best) {
        let (ratio, rate) = (seconds / best[0], bytes / seconds);
        let (ms, share) = (seconds * 1e3, 100.0 * rate / read);
        println!(
            "width {width:2}: {ms:7.3} ms  t/t(1) {ratio:4.2}  {:5.1} GB/s, {share:3.0} %",
            rate / 1e9
        );
    }
    Ok(())
}

/// Keeps the least seconds that `work` has taken.
fn time<T>(best: &mut f64, work: impl FnOnce() -> Result<T>) -> Result<()> {
    let start = Instant::now();
    black_box(work()?);
    *best = best.min(start.elapsed().as_secs_f64());
    Ok(())
}

/// Least seconds of a pass at each width and of a stock pass; bytes per second of reading.
fn passes(
    model: &Model,
    prompt: &[u32],
    cache: &mut KvCache,
    repeats: usize,
) -> Result<([f64; WIDTHS.len()], f64, f64)> {
    let buffer = Pages::filled(32 << 20, 1.0f32);
    let mut best = [f64::INFINITY; WIDTHS.len()];
    let (mut stock, mut read) = (f64::INFINITY, f64::INFINITY);
    for repeat in 0..repeats {
        for (&width, best) in WIDTHS.iter().zip(&mut best) {
            cache.truncate(CONTEXT);
            time(best, || model.full_pass(&prompt[..width], cache, &mut Silent))?;
        }
        time(&mut read, || Ok(sum(&buffer, model.threads())))?;
        if repeat < 10 {
            let stock_model = model.stock()?;
            cache.truncate(CONTEXT);
            time(&mut stock, || stock_model.full_pass(&prompt[..1], cache, &mut Silent))?;
        }
    }
    Ok((best, stock, size_of_val(&buffer[..]) as f64 / read))
}

/// Reads a buffer with `threads` threads.
fn sum(buffer: &[f32], threads: usize) -> f32 {
    let part = |part: &[f32]| {
        let mut lanes = [0.0f32; 64];
        for chunk in part.chunks_exact(64) {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane += x;
            }
        }
        lanes.iter().sum::<f32>()
    };
    std::thread::scope(|scope| {
        let parts = buffer.chunks(buffer.len().div_ceil(threads));
        let handles: Vec<_> = parts.map(|p| scope.spawn(move || part(p))).collect();
        handles.into_iter().filter_map(|h| h.join().ok()).sum()
    })
}
