//! Number types side by side: share of the read bandwidth at width 1, flatness, candle's own
//! matmul.
//!
//! `cargo bench --workspace --bench dtypes -- [geometry] [layers] [repeats] [dtype ...]`; 2
//! threads, context 64, minima over interleaved repeats.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use s3d_data::Dtype;
use s3d_kernels::pages::Pages;
use s3d_model::{Error, KvCache, LoadOptions, Model, Result, Silent, presets};
use std::hint::black_box;
use std::time::Instant;

const WIDTHS: [usize; 7] = [1, 2, 3, 4, 5, 6, 9];
const CONTEXT: usize = 64;
const THREADS: usize = 2;

fn main() -> Result<()> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number =
        |i: usize, default| arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let name = arguments.first().map_or("tinyllama-1.1b", String::as_str);
    let (layers, repeats) = (number(1, 8), number(2, 20));
    let geometry = presets::preset(name).ok_or_else(|| Error::invalid(format!("no {name}")))?;
    let config = presets::cut(geometry, layers)?;
    println!("{name}, {layers} layers, {THREADS} threads, context {CONTEXT}");
    println!(
        "dtype | MB | tokens/s | GB/s | share of reading | t(w)/t(1) at {WIDTHS:?} | stock t(1), t(5)"
    );
    for dtype in Dtype::ENGINE {
        let wanted = arguments.get(3..).unwrap_or_default();
        if !wanted.is_empty() && !wanted.iter().any(|name| name == dtype.name()) {
            continue;
        }
        let options = LoadOptions { dtype, threads: THREADS, ..LoadOptions::default() };
        let model = Model::geometry(name, &config, 1, &options)?;
        row(&model, dtype, repeats)?;
    }
    Ok(())
}

fn row(model: &Model, dtype: Dtype, repeats: usize) -> Result<()> {
    let mut cache = model.new_cache(CONTEXT + 16)?;
    let prompt: Vec<u32> = (0..CONTEXT as u32).collect();
    model.prompt_pass(&prompt, &mut cache, &mut Silent)?;
    let buffer = Pages::filled(64 << 20, 1.0f32);
    let mut best = [f64::INFINITY; WIDTHS.len()];
    let mut read = f64::INFINITY;
    for _ in 0..repeats {
        for (&width, best) in WIDTHS.iter().zip(&mut best) {
            pass(model, width, &mut cache, best)?;
        }
        let start = Instant::now();
        black_box(sum(&buffer));
        read = read.min(start.elapsed().as_secs_f64());
    }
    let mut stock = [f64::INFINITY; 2];
    for _ in 0..repeats.min(5) {
        for (width, best) in [1, 5].into_iter().zip(&mut stock) {
            pass(model.stock()?, width, &mut cache, best)?;
        }
    }
    let bytes = model.streamed_bytes() as f64;
    let read = size_of_val(&buffer[..]) as f64 / read;
    let rate = bytes / best[0];
    let ratios: Vec<String> = best.iter().map(|t| format!("{:.2}", t / best[0])).collect();
    println!(
        "{dtype} | {:.0} | {:.1} | {:.1} | {:.0} % of {:.1} | {} | {:.2}, {:.2}",
        bytes / 1e6,
        1.0 / best[0],
        rate / 1e9,
        100.0 * rate / read,
        read / 1e9,
        ratios.join(" "),
        stock[0] / best[0],
        stock[1] / best[4],
    );
    Ok(())
}

/// One pass of `width` tokens; keeps the least seconds.
fn pass(model: &Model, width: usize, cache: &mut KvCache, best: &mut f64) -> Result<()> {
    let tokens: Vec<u32> = (0..width as u32).collect();
    cache.truncate(CONTEXT);
    let start = Instant::now();
    black_box(model.full_pass(&tokens, cache, &mut Silent)?);
    *best = best.min(start.elapsed().as_secs_f64());
    Ok(())
}

/// Reads a buffer with all threads.
fn sum(buffer: &[f32]) -> f32 {
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
        let parts = buffer.chunks(buffer.len().div_ceil(THREADS));
        let handles: Vec<_> = parts.map(|p| scope.spawn(move || part(p))).collect();
        handles.into_iter().filter_map(|h| h.join().ok()).sum()
    })
}
