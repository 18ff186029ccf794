//! How flat a pass is in its width, and how near plain decoding comes to the memory's bandwidth.
//!
//! `cargo bench -p s3d-model --bench pass -- [widen] [threads] [repeats]`; minima over interleaved repeats.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use s3d_model::{LoadOptions, Model, ModelConfig, Result, Silent};
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
    let time = |seconds: &mut f64, work: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let start = Instant::now();
        work()?;
        *seconds = seconds.min(start.elapsed().as_secs_f64());
        Ok(())
    };
    let mut prompt_best = f64::INFINITY;
    for _ in 0..3 {
        cache.truncate(0);
        time(&mut prompt_best, &mut || {
            model.prompt_pass(&prompt, &mut cache, &mut Silent).map(drop)
        })?;
    }
    let flops = 2.0 * CONTEXT as f64 * bytes / 4.0;
    println!(
        "prompt of {CONTEXT}: {:.1} ms, {:.0} GFLOP/s",
        prompt_best * 1e3,
        flops / prompt_best / 1e9
    );
    let buffer = vec![1.0f32; 64 << 20];
    let (mut best, mut stock, mut read) =
        ([f64::INFINITY; WIDTHS.len()], f64::INFINITY, f64::INFINITY);
    for repeat in 0..repeats {
        for (&width, best) in WIDTHS.iter().zip(&mut best) {
            time(best, &mut || {
                cache.truncate(CONTEXT);
                black_box(model.full_pass(&prompt[..width], &mut cache, &mut Silent).map(drop))
            })?;
        }
        if repeat < 10 {
            time(&mut read, &mut || {
                black_box(sum(&buffer, threads));
                Ok(())
            })?;
            time(&mut stock, &mut || {
                cache.truncate(CONTEXT);
                model.stock()?.full_pass(&prompt[..1], &mut cache, &mut Silent).map(drop)
            })?;
        }
    }
    let read = size_of_val(&buffer[..]) as f64 / read;
    println!("read bandwidth {:.1} GB/s; stock matmul, width 1: {:.2} ms", read / 1e9, stock * 1e3);
    for (&width, &seconds) in WIDTHS.iter().zip(&best) {
        let rate = bytes / seconds;
        println!(
            "width {width:2}: {:7.3} ms  t/t(1) {:5.2}  {:5.1} GB/s, {:3.0} % of the read bandwidth",
            seconds * 1e3,
            seconds / best[0],
            rate / 1e9,
            100.0 * rate / read
        );
    }
    Ok(())
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
