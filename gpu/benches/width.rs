//! What a pass of width 5 costs beside one of width 1: two layers and the head of a 1.1 B geometry
//! (TinyLlama's).
//!
//! `cargo bench -p s3d-gpu --features wgpu --bench width [-- DTYPE]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

use s3d_data::Dtype;
use s3d_gpu::ops::{Cache, Heads, Place};
use s3d_gpu::{Buffer, Gpu, Matrix, Rows};
use std::time::Instant;

const HIDDEN: usize = 2048;
const NEURONS: usize = 5632;
const VOCAB: usize = 32_000;
const LAYERS: usize = 2;
const CONTEXT: usize = 64;
const HEADS: Heads = Heads { heads: 32, kv_heads: 4, head_dim: 64 };
const REPEATS: usize = 5;

struct Layer {
    norm: Buffer,
    /// Queries, keys and values; attention output; gates and ups; down.
    matrices: [Matrix; 4],
    cache: Cache,
}

fn layer(gpu: &Gpu, dtype: Dtype) -> Layer {
    let matrix = |outputs, inputs| Matrix::zeros(gpu, dtype, outputs, inputs).unwrap();
    let matrices = [
        matrix((HEADS.heads + 2 * HEADS.kv_heads) * HEADS.head_dim, HIDDEN),
        matrix(HIDDEN, HEADS.heads * HEADS.head_dim),
        matrix(2 * NEURONS, HIDDEN),
        matrix(HIDDEN, NEURONS),
    ];
    let norm = Buffer::of(gpu, &[1.0; HIDDEN]).unwrap();
    Layer { norm, matrices, cache: Cache::new(gpu, HEADS, 2 * CONTEXT).unwrap() }
}

fn pass(gpu: &Gpu, layers: &[Layer], head: &Matrix, width: usize) -> Vec<u32> {
    let place = |row: usize| Place {
        position: CONTEXT + row,
        seen: CONTEXT + row + 1,
        cached: CONTEXT + row + 1,
        own: 0,
        token: 0,
    };
    let places: Vec<Place> = (0..width).map(place).collect();
    let angles = vec![0.5; width * HEADS.head_dim / 2];
    let places = gpu.places(&places, &angles, &angles).unwrap();
    let mut x = Rows::of(gpu, &vec![0.01; width * HIDDEN], HIDDEN).unwrap();
    let norm = |x: &Rows, layer: &Layer| gpu.rms_norm(x, &layer.norm, 1e-5).unwrap();
    for layer in layers {
        let [qkv, out, gate_up, down] = &layer.matrices;
        let rows = gpu.matmul(qkv, &norm(&x, layer)).unwrap();
        gpu.rotate(HEADS, &rows, &places, &layer.cache, [true, true]).unwrap();
        let attended = gpu.attend(HEADS, &rows, &places, &layer.cache).unwrap();
        x = gpu.matmul_add(out, &attended, &x).unwrap();
        let neurons = gpu.swiglu(&gpu.matmul(gate_up, &norm(&x, layer)).unwrap()).unwrap();
        x = gpu.matmul_add(down, &neurons, &x).unwrap();
    }
    gpu.arg_max(&gpu.matmul(head, &norm(&x, &layers[0])).unwrap()).unwrap()
}

fn main() {
    let wanted = std::env::args().nth(1).and_then(|word| word.parse::<Dtype>().ok());
    let gpu = match Gpu::open(0) {
        Ok(gpu) => gpu,
        Err(error) => return println!("skipped: {error}"),
    };
    println!("{} ({})", gpu.adapter().name, gpu.adapter().driver);
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Q8_0, Dtype::Q4_0] {
        if wanted.is_some_and(|wanted| wanted != dtype) {
            continue;
        }
        let layers: Vec<Layer> = (0..LAYERS).map(|_| layer(&gpu, dtype)).collect();
        let head = Matrix::zeros(&gpu, dtype, VOCAB, HIDDEN).unwrap();
        let mut least = [f64::INFINITY; 2];
        for round in 0..=REPEATS {
            for (width, least) in [1, 5].into_iter().zip(&mut least) {
                let start = Instant::now();
                pass(&gpu, &layers, &head, width);
                let seconds = start.elapsed().as_secs_f64();
                // The first makes the pipelines.
                *least = if round == 0 { f64::INFINITY } else { seconds.min(*least) };
            }
        }
        let [one, five] = least;
        println!("{dtype}: width 1 {one:.3} s, width 5 {five:.3} s, {:.2} times", five / one);
    }
}
