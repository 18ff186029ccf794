//! Devices and numbers for tests.

#![allow(clippy::unwrap_used, clippy::print_stderr, dead_code, reason = "tests")]

use half::f16;
use s3d_data::Dtype;
use s3d_gpu::{Gpu, Options, adapters};
use std::sync::OnceLock;

/// The first adapter, twice: adding lanes through the registers of a subgroup, and through memory.
/// None without one.
pub fn devices() -> &'static [Gpu] {
    static DEVICES: OnceLock<Vec<Gpu>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        if adapters().is_empty() {
            eprintln!("skipped: no Vulkan adapter here (Debian: mesa-vulkan-drivers)");
            return Vec::new();
        }
        let open = |without_subgroups| {
            Gpu::open_with(0, Options { without_subgroups, ..Options::default() }).unwrap()
        };
        vec![open(false), open(true)]
    })
}

/// Seeded numbers in -1..1 (xorshift).
pub fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Rows of weights as a file holds them, and what they mean.
pub fn weights(dtype: Dtype, seed: u64, rows: usize, inputs: usize) -> (Vec<u8>, Vec<f64>) {
    let mut file = Vec::new();
    let mut meant = Vec::new();
    for x in numbers(seed, rows * inputs).chunks(dtype.block_weights()) {
        let scale = f16::from_f32(0.01 + x[0].abs() / 16.0);
        let d = f64::from(scale.to_f32());
        match dtype {
            Dtype::F16 => {
                file.extend(f16::from_f32(x[0]).to_le_bytes());
                meant.push(f64::from(f16::from_f32(x[0]).to_f32()));
            }
            Dtype::Bf16 => {
                file.extend(half::bf16::from_f32(x[0]).to_le_bytes());
                meant.push(f64::from(half::bf16::from_f32(x[0]).to_f32()));
            }
            Dtype::Q8_0 => {
                let codes = x.iter().map(|x| (x * 127.0) as i8);
                file.extend(scale.to_le_bytes());
                file.extend(codes.clone().map(i8::cast_unsigned));
                meant.extend(codes.map(|code| d * f64::from(code)));
            }
            Dtype::Q4_0 => {
                let code = |i: usize| ((x[i] + 1.0) * 7.99) as u8;
                file.extend(scale.to_le_bytes());
                file.extend((0..16).map(|i| code(i) | code(i + 16) << 4));
                meant.extend((0..32).map(|i| d * (f64::from(code(i)) - 8.0)));
            }
            _ => {
                file.extend(x[0].to_le_bytes());
                meant.push(f64::from(x[0]));
            }
        }
    }
    (file, meant)
}

/// Asserts that numbers are near those of a computation in f64, relative to the largest of these.
pub fn assert_near(found: &[f32], right: &[f64], bound: f64) {
    assert_eq!(found.len(), right.len());
    let most = right.iter().fold(1e-30, |most: f64, x| most.max(x.abs()));
    for (i, (&found, &right)) in found.iter().zip(right).enumerate() {
        let gap = (f64::from(found) - right).abs() / most;
        assert!(gap <= bound, "number {i}: {found} for {right}, of at most {most}");
    }
}

/// Numbers in f64.
pub fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&x| f64::from(x)).collect()
}
