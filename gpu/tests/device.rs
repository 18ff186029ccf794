//! Devices: what they say of themselves, and what happens when they are not there, full, or lost.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{devices, numbers};
use s3d_data::{Bytes, Dtype};
use s3d_gpu::ops::{Cache, Heads};
use s3d_gpu::{Buffer, Error, Gpu, Matrix, Options, Rows, adapters};

#[test]
fn an_adapter_that_does_not_exist_is_a_line_that_says_how_many_there_are() {
    let found = adapters().len();
    let error = Gpu::open(99).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    match found {
        0 => assert_eq!(error, Error::NoAdapter),
        _ => assert!(
            text.contains(&format!("no adapter 99: adapters are numbered from 0, and {found}"))
        ),
    }
}

#[test]
fn adapters_say_what_they_are() {
    for (number, adapter) in adapters().into_iter().enumerate() {
        assert_eq!(adapter.number, number);
        assert_eq!(adapter.backend, "vulkan");
        assert!(!adapter.name.is_empty() && !adapter.driver.is_empty(), "{adapter:?}");
        // source: Vulkan's required limits: 2^27 bytes of storage at once, 128 lanes of a group
        assert!(adapter.binding.0 >= 1 << 27 && adapter.group >= 128, "{adapter:?}");
        assert_eq!(adapter.software, adapter.name.contains("llvmpipe"), "{adapter:?}");
        assert!(adapter.memory.is_some(), "{adapter:?}");
    }
}

#[test]
fn too_little_memory_is_a_line_that_says_what_was_asked_for_and_held() {
    if devices().is_empty() {
        return;
    }
    let options = Options { most: Some(Bytes(1 << 20)), ..Options::default() };
    let gpu = Gpu::open_with(0, options).unwrap();
    let before = gpu.held();
    let half = Buffer::new(&gpu, 1 << 19).unwrap();
    assert_eq!(gpu.held().0, before.0 + (1 << 19));
    let error = Matrix::zeros(&gpu, Dtype::F32, 512, 512).unwrap_err();
    let held = Bytes(before.0 + (1 << 19));
    let expected = Error::OutOfMemory { asked: Bytes(1 << 20), held, most: Some(Bytes(1 << 20)) };
    assert_eq!(error, expected);
    let text = error.to_string();
    assert!(
        text.starts_with("1.00 MiB more do not fit: ") && text.contains("of 1.00 MiB; take"),
        "{text}"
    );
    assert_eq!(gpu.held(), held, "what was refused is not counted");
    drop(half);
    assert_eq!((gpu.held(), gpu.high()), (before, held));
    gpu.reset_high();
    assert_eq!(gpu.high(), before);
    Buffer::new(&gpu, 1 << 19).unwrap();
}

#[test]
fn memory_of_activations_is_kept_until_it_is_given_back() {
    if devices().is_empty() {
        return;
    }
    let gpu = Gpu::open(0).unwrap();
    gpu.trim();
    let before = gpu.held();
    drop(Rows::new(&gpu, 3, 100).unwrap());
    // source: by hand: 4 rows of 128 numbers of 4 bytes
    assert_eq!(gpu.held().0, before.0 + 4 * 128 * 4);
    gpu.trim();
    assert_eq!(gpu.held(), before);
}

#[test]
fn a_lost_device_is_an_error_and_no_panic() {
    if devices().is_empty() {
        return;
    }
    let gpu = Gpu::open(0).unwrap();
    let x = Rows::of(&gpu, &numbers(1, 64), 64).unwrap();
    gpu.give_back();
    let error = gpu.arg_max(&x).unwrap_err();
    assert!(matches!(error, Error::Lost(_)), "{error:?}");
    assert!(error.to_string().starts_with("the device was lost ("), "{error}");
    assert!(x.read(&gpu).is_err());
}

#[test]
fn operands_that_do_not_fit_are_refused_before_they_reach_the_device() {
    for gpu in devices() {
        let matrix = Matrix::zeros(gpu, Dtype::F32, 4, 64).unwrap();
        let x = Rows::of(gpu, &numbers(1, 32), 32).unwrap();
        let error = gpu.matmul(&matrix, &x).unwrap_err().to_string();
        assert_eq!(error, "32 inputs for a matrix of 64");
        assert!(matrix.write(gpu, 3, &[0; 512]).is_err());
        let error = Matrix::zeros(gpu, Dtype::Nf4, 4, 64).unwrap_err().to_string();
        assert!(error.starts_with("no nf4 on this device; expected --dtype f32, "), "{error}");
        let error = Rows::new(gpu, 1 << 20, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("pass fewer rows"), "{error}");
        let heads = Heads { heads: 1, kv_heads: 1, head_dim: 64 };
        let (most, capacity) = (gpu.adapter().binding.0 as usize, 1 << 33);
        let error = Cache::new(gpu, heads, capacity).unwrap_err().to_string();
        // source: by hand: a position takes 64 numbers of 4 bytes
        let longest = format!("which are {} positions", most / 256);
        assert!(error.contains(&longest) && error.contains("a shorter context"), "{error}");
    }
}

#[test]
fn marks_are_timed_in_their_order_and_read_once() {
    for gpu in devices() {
        let x = Rows::of(gpu, &numbers(1, 4096), 64).unwrap();
        gpu.mark().unwrap();
        gpu.swiglu(&x).unwrap();
        gpu.mark().unwrap();
        gpu.swiglu(&x).unwrap();
        gpu.mark().unwrap();
        let times = gpu.times().unwrap();
        assert_eq!(times.len(), if gpu.adapter().timestamps { 3 } else { 0 });
        assert!(times.is_sorted() && times.iter().all(|&t| (0.0..60.0).contains(&t)), "{times:?}");
        assert!(gpu.times().unwrap().is_empty());
    }
}
