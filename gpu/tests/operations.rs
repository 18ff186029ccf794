//! Every operation against its formula in f64, and rows against themselves in passes of other
//! widths.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{assert_near, devices, numbers, weights, wide};
use s3d_gpu::ops::{Cache, Heads, Place};
use s3d_gpu::{Buffer, Gpu, Matrix, Rows};

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn place(position: usize) -> Place {
    Place { position, seen: position + 1, cached: position + 1, own: 0, token: 0 }
}

#[test]
fn products_are_those_of_f64_in_every_number_type() {
    // 70 columns are no whole blocks of a device's row; 320 are 20 units, which no number of lanes
    // shares evenly.
    for gpu in devices() {
        for dtype in Matrix::DTYPES {
            for (outputs, inputs) in [(37, 320), (4, 64), (5, 70_usize)] {
                if !inputs.is_multiple_of(dtype.block_weights()) {
                    continue;
                }
                let (file, w) = weights(dtype, 1, outputs, inputs);
                let matrix = Matrix::of(gpu, dtype, inputs, &file).unwrap();
                let x = numbers(2, 3 * inputs);
                let rows = Rows::of(gpu, &x, inputs).unwrap();
                let y = gpu.matmul(&matrix, &rows).unwrap();
                let x = wide(&x);
                let right: Vec<f64> = x
                    .chunks(inputs)
                    .flat_map(|x| w.chunks(inputs).map(move |w| dot(w, x)))
                    .collect();
                assert_near(&y.read(gpu).unwrap(), &right, 1e-5);
                let sum = gpu.matmul_add(&matrix, &rows, &y).unwrap();
                let twice: Vec<f64> = right.iter().map(|y| 2.0 * y).collect();
                assert_near(&sum.read(gpu).unwrap(), &twice, 1e-5);
                assert_near(&y.read(gpu).unwrap(), &right, 1e-5);
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_a_product_of_any_width() {
    for gpu in devices() {
        for dtype in Matrix::DTYPES {
            let (outputs, inputs) = (21, 352);
            let (file, _) = weights(dtype, 3, outputs, inputs);
            let matrix = Matrix::of(gpu, dtype, inputs, &file).unwrap();
            let x = numbers(4, 70 * inputs);
            let product = |rows: std::ops::Range<usize>| -> Vec<u32> {
                let x = &x[rows.start * inputs..rows.end * inputs];
                let y = gpu.matmul(&matrix, &Rows::of(gpu, x, inputs).unwrap()).unwrap();
                y.read(gpu).unwrap().into_iter().map(f32::to_bits).collect()
            };
            let alone: Vec<u32> = (0..70).flat_map(|row| product(row..row + 1)).collect();
            for width in (2..=17).chain([64, 70]) {
                let start = 70 - width;
                assert!(product(start..70) == alone[start * outputs..], "{dtype}, width {width}");
            }
        }
    }
}

/// source: the same product, computed while nobody else used the device
#[test]
fn threads_that_share_a_device_do_not_disturb_each_other() {
    for gpu in devices() {
        let inputs = 352;
        let (file, _) = weights(s3d_data::Dtype::F32, 3, 21, inputs);
        let matrix = Matrix::of(gpu, s3d_data::Dtype::F32, inputs, &file).unwrap();
        let product = |seed: u64| {
            let x = Rows::of(gpu, &numbers(seed, 3 * inputs), inputs).unwrap();
            let y = gpu.matmul(&matrix, &x).unwrap();
            gpu.matmul_add(&matrix, &x, &y).unwrap().read(gpu).unwrap()
        };
        let alone: Vec<Vec<f32>> = (0..4).map(product).collect();
        std::thread::scope(|scope| {
            for (seed, alone) in (0..4).zip(&alone) {
                scope.spawn(move || (0..1000).for_each(|_| assert!(product(seed) == *alone)));
            }
        });
    }
}

#[test]
fn matrices_beyond_what_an_operation_sees_at_once_are_bound_in_pieces() {
    for gpu in devices() {
        // Of halves, more rows of 64 columns than one binding holds would take 128 MiB; dispatches
        // bind rows too.
        let rows = 4 * 65_535 + 9;
        let matrix = Matrix::zeros(gpu, s3d_data::Dtype::Q4_0, rows, 32).unwrap();
        let (file, w) = weights(s3d_data::Dtype::Q4_0, 5, 12, 32);
        matrix.write(gpu, rows - 12, &file).unwrap();
        let x = numbers(6, 32);
        let y = gpu.matmul(&matrix, &Rows::of(gpu, &x, 32).unwrap()).unwrap();
        let y = y.read(gpu).unwrap();
        let right: Vec<f64> = w.chunks(32).map(|w| dot(w, &wide(&x))).collect();
        assert_near(&y[rows - 12..], &right, 1e-5);
        assert!(y[..rows - 12].iter().all(|&y| y == 0.0));
        let places =
            [rows - 12, rows - 1, 0].map(|token| Place { token: token as u32, ..place(0) });
        let found = gpu.embed(&matrix, &gpu.places(&places, &[], &[]).unwrap()).unwrap();
        let right = [&w[..32], &w[11 * 32..], &[0.0; 32]].concat();
        assert_near(&found.read(gpu).unwrap(), &right, 0.0);
    }
}

#[test]
fn rows_of_a_matrix_are_its_weights_to_the_bit() {
    for gpu in devices() {
        for dtype in Matrix::DTYPES {
            let (file, w) = weights(dtype, 7, 9, 96);
            let matrix = Matrix::of(gpu, dtype, 96, &file).unwrap();
            let places = [8, 0, 8, 3].map(|token| Place { token, ..place(0) });
            let found = gpu.embed(&matrix, &gpu.places(&places, &[], &[]).unwrap()).unwrap();
            let right: Vec<f32> = places
                .iter()
                .flat_map(|p| &w[96 * p.token as usize..][..96])
                .map(|&w| w as f32)
                .collect();
            assert_eq!(found.read(gpu).unwrap(), right, "{dtype}");
        }
    }
}

#[test]
fn norms_biases_and_gates_are_those_of_f64() {
    for gpu in devices() {
        let (rows, width) = (3, 100);
        let (x, weight) = (numbers(8, rows * width), numbers(9, width));
        let on_device = Rows::of(gpu, &x, width).unwrap();
        let buffer = Buffer::of(gpu, &weight).unwrap();
        let normed = gpu.rms_norm(&on_device, &buffer, 1e-5).unwrap();
        let norm = |x: &[f32], weight: &[f32]| -> Vec<f64> {
            let (x, weight) = (wide(x), wide(weight));
            let scale = 1.0 / (dot(&x, &x) / x.len() as f64 + 1e-5).sqrt();
            x.iter().zip(&weight).map(|(x, w)| x * scale * w).collect()
        };
        let right: Vec<f64> = x.chunks(width).flat_map(|x| norm(x, &weight)).collect();
        assert_near(&normed.read(gpu).unwrap(), &right, 1e-6);
        let last = gpu.rms_norm(&on_device.last(), &buffer, 1e-5).unwrap();
        assert_near(&last.read(gpu).unwrap(), &right[2 * width..], 1e-6);
        assert_eq!(on_device.last().read(gpu).unwrap(), x[2 * width..]);
        let spread = gpu.spread(&buffer, 2, width).unwrap();
        assert_eq!(spread.read(gpu).unwrap(), [&weight[..], &weight].concat());

        let gated = gpu.swiglu(&on_device).unwrap();
        let gate = |x: &[f64]| -> Vec<f64> {
            let (gates, ups) = x.split_at(width / 2);
            gates.iter().zip(ups).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
        };
        let right: Vec<f64> = wide(&x).chunks(width).flat_map(gate).collect();
        assert_near(&gated.read(gpu).unwrap(), &right, 1e-6);

        gpu.add_bias(&on_device, &buffer).unwrap();
        let right: Vec<f64> =
            x.iter().zip(weight.iter().cycle()).map(|(x, b)| f64::from(x + b)).collect();
        assert_near(&on_device.read(gpu).unwrap(), &right, 0.0);

        let heads = Heads { heads: 2, kv_heads: 1, head_dim: 20 };
        let (qkv, weights) = (numbers(10, 80), numbers(11, 40));
        let on_device = Rows::of(gpu, &qkv, 80).unwrap();
        let buffer = Buffer::of(gpu, &weights).unwrap();
        gpu.norm_heads(heads, &on_device, &buffer, 1e-5).unwrap();
        let mut right: Vec<f64> =
            qkv.chunks(20).take(2).flat_map(|x| norm(x, &weights[..20])).collect();
        right.extend(norm(&qkv[40..60], &weights[20..]));
        right.extend(wide(&qkv[60..]));
        assert_near(&on_device.read(gpu).unwrap(), &right, 1e-6);
    }
}

#[test]
fn the_first_of_the_largest_is_chosen() {
    for gpu in devices() {
        let width = 1000;
        let mut x = vec![-3.0; 4 * width];
        x[700] = 1.0;
        x[701] = 1.0;
        x[width + 999] = -2.5;
        x[3 * width + 3] = 2.0;
        x[3 * width + 259] = 2.0;
        assert_eq!(gpu.arg_max(&Rows::of(gpu, &x, width).unwrap()).unwrap(), [700, 999, 0, 3]);
        let few = Rows::of(gpu, &[0.5, 0.25, 0.5], 3).unwrap();
        assert_eq!(gpu.arg_max(&few).unwrap(), [0]);
    }
}

/// A layer's attention over a text, its rows appended in passes of the given widths:
/// `[rows, heads * head_dim]`.
fn attended(
    gpu: &Gpu,
    heads: Heads,
    qkv: &[f32],
    angles: [&[f32]; 2],
    widths: &[usize],
) -> Vec<f32> {
    let width = (heads.heads + 2 * heads.kv_heads) * heads.head_dim;
    let pairs = angles[0].len() / (qkv.len() / width);
    let cache = Cache::new(gpu, heads, 200).unwrap();
    let (mut out, mut start) = (Vec::new(), 0);
    for &rows in widths {
        let places: Vec<Place> = (start..start + rows).map(place).collect();
        let [cosines, sines] = angles.map(|table| &table[start * pairs..(start + rows) * pairs]);
        let places = gpu.places(&places, cosines, sines).unwrap();
        let rows_of = Rows::of(gpu, &qkv[start * width..(start + rows) * width], width).unwrap();
        gpu.rotate(heads, &rows_of, &places, &cache, [true, true]).unwrap();
        let rows_out = gpu.attend(heads, &rows_of, &places, &cache).unwrap();
        out.extend(rows_out.read(gpu).unwrap());
        start += rows;
    }
    out
}

/// Rotates and attends in f64, key by key.
fn formula(heads: Heads, qkv: &[f32], [cosines, sines]: [&[f32]; 2]) -> Vec<f64> {
    let (dim, width) = (heads.head_dim, (heads.heads + 2 * heads.kv_heads) * heads.head_dim);
    let rows = qkv.len() / width;
    let pairs = cosines.len() / rows;
    let head = |row: usize, head: usize| wide(&qkv[row * width + head * dim..][..dim]);
    let turned = |row: usize, number: usize| {
        let x = head(row, number);
        let mut y = x.clone();
        for i in 0..pairs {
            let (cosine, sine) =
                (f64::from(cosines[row * pairs + i]), f64::from(sines[row * pairs + i]));
            y[i] = x[i] * cosine - x[i + pairs] * sine;
            y[i + pairs] = x[i + pairs] * cosine + x[i] * sine;
        }
        y
    };
    let mut out = Vec::new();
    for row in 0..rows {
        for h in 0..heads.heads {
            let kv = heads.heads + h / (heads.heads / heads.kv_heads);
            let query = turned(row, h);
            let weight = |key: usize| (dot(&query, &turned(key, kv)) / (dim as f64).sqrt()).exp();
            let weights: Vec<f64> = (0..=row).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            for channel in 0..dim {
                let mixed: f64 = (0..=row)
                    .map(|key| weights[key] * head(key, kv + heads.kv_heads)[channel])
                    .sum();
                out.push(mixed / sum);
            }
        }
    }
    out
}

#[test]
fn attention_is_that_of_f64_and_a_row_has_the_same_bits_in_a_pass_of_any_width() {
    // 150 keys are two blocks and a part of one; 72 channels are more than a group has lanes.
    let rows = 150;
    for (heads, pairs) in [
        (Heads { heads: 4, kv_heads: 2, head_dim: 16 }, 8),
        (Heads { heads: 2, kv_heads: 1, head_dim: 72 }, 9),
        (Heads { heads: 1, kv_heads: 1, head_dim: 4 }, 0),
    ] {
        let width = (heads.heads + 2 * heads.kv_heads) * heads.head_dim;
        let qkv: Vec<f32> = numbers(12, rows * width).into_iter().map(|x| 2.0 * x).collect();
        let angles: Vec<f32> = numbers(13, rows * pairs);
        let [cosines, sines] =
            [f32::cos, f32::sin].map(|f| -> Vec<f32> { angles.iter().map(|&a| f(a)).collect() });
        let right = formula(heads, &qkv, [&cosines, &sines]);
        for gpu in devices() {
            let found = |widths: &[usize]| attended(gpu, heads, &qkv, [&cosines, &sines], widths);
            let whole = found(&[rows]);
            assert_near(&whole, &right, 1e-5);
            let bits = |out: &[f32]| -> Vec<u32> { out.iter().map(|x| x.to_bits()).collect() };
            let widths: Vec<usize> = (1..=16).chain([14]).collect();
            assert!(bits(&found(&widths)) == bits(&whole), "{heads:?}");
        }
    }
}

#[test]
fn keys_of_the_pass_count_as_those_of_the_cache_to_the_bit() {
    // The last four rows once appended, once not, as the passes over a text for traces have them.
    let heads = Heads { heads: 2, kv_heads: 1, head_dim: 16 };
    let (width, rows, own) = (64, 70, 4);
    let qkv = numbers(14, rows * width);
    for gpu in devices() {
        let none: [&[f32]; 2] = [&[], &[]];
        let appended = attended(gpu, heads, &qkv, none, &[rows - own, own]);
        let cache = Cache::new(gpu, heads, 200).unwrap();
        let run = |range: std::ops::Range<usize>, places: &[Place], append| {
            let places = gpu.places(places, &[], &[]).unwrap();
            let x = Rows::of(gpu, &qkv[range.start * width..range.end * width], width).unwrap();
            gpu.rotate(heads, &x, &places, &cache, [true, append]).unwrap();
            gpu.attend(heads, &x, &places, &cache).unwrap().read(gpu).unwrap()
        };
        let before: Vec<Place> = (0..rows - own).map(place).collect();
        run(0..rows - own, &before, true);
        let cached = rows - own;
        let places: Vec<Place> =
            (cached..rows).map(|at| Place { cached, own: 0, ..place(at) }).collect();
        let found = run(cached..rows, &places, false);
        let bits = |out: &[f32]| -> Vec<u32> { out.iter().map(|x| x.to_bits()).collect() };
        assert!(bits(&found) == bits(&appended[cached * 32..]));
    }
}

#[test]
fn tiles_are_even_shares_of_at_most_eight_rows() {
    let tiles: Vec<usize> = [1, 5, 8, 9, 17, 64, 1000].map(s3d_gpu::ops::tile).to_vec();
    assert_eq!(tiles, [1, 5, 8, 5, 6, 8, 8]);
}

/// source: products of the whole matrix, to the bit
#[test]
fn some_rows_of_a_matrix_multiply_as_they_do_among_all() {
    let chosen = [7u32, 0, 8, 8, 3];
    for gpu in devices() {
        let x = Rows::of(gpu, &numbers(2, 3 * 96), 96).unwrap();
        for dtype in Matrix::DTYPES {
            let (file, _) = weights(dtype, 1, 9, 96);
            let whole = Matrix::of(gpu, dtype, 96, &file).unwrap();
            let some = whole.some_rows(gpu, &chosen).unwrap();
            let all = gpu.matmul(&whole, &x).unwrap().read(gpu).unwrap();
            let found = gpu.matmul(&some, &x).unwrap().read(gpu).unwrap();
            let expected: Vec<f32> = all
                .chunks_exact(9)
                .flat_map(|row| chosen.map(|column| row[column as usize]))
                .collect();
            assert_eq!(found, expected, "{dtype}");
            assert!(whole.some_rows(gpu, &[9]).unwrap_err().to_string().contains("of 9 rows"));
        }
    }
}
