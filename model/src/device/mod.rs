//! Devices by name: opening one, what is free on it, and whether a model has room there.

mod card;
pub mod check;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "gpu")]
mod gpu;
pub(crate) mod graph;
pub(crate) mod graphed_passes;
pub mod memory_pool;
mod name;
mod opened;
pub(crate) mod repeating;

use crate::error::{Error, Result};
pub use card::CardFacts;
#[cfg(feature = "gpu")]
pub use gpu::Gpu;
use graph::Recorder;
use memory_pool::Pool;
pub use memory_pool::Room;
pub use name::DeviceName;
pub use opened::Device;
use s3d_data::memory::{Engine, Held, Load, Memory, Method};
use s3d_data::{Bytes, Dtype, ModelShape};
#[cfg(feature = "gpu")]
pub use s3d_gpu::{Adapter, Error as GpuError, Probe, adapters};
pub use s3d_kernels::isa::Isa;
pub use s3d_kernels::pages::Pages;

/// Opens a device. A card keeps the memory it was given once (its pool gives none back before the
/// end), and all work goes to one stream of its own.
///
/// # Errors
/// One line: a program without CUDA or Vulkan, no driver, no such card, missing libraries.
pub fn open(name: DeviceName) -> Result<Device> {
    match name {
        DeviceName::Cpu => Ok(Device::Cpu),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda { number, .. } => {
            let card = cuda::open(number);
            card.map(Device::Card)
                .map_err(|e| Error::invalid(explain(name, &e, driver().as_deref())))
        }
        #[cfg(not(feature = "cuda"))]
        DeviceName::Cuda { .. } => Err(Error::invalid(format!(
            "{name}: this program was built without CUDA (scripts/build-cuda.sh builds one with \
             it); use cpu"
        ))),
        #[cfg(feature = "gpu")]
        DeviceName::Gpu { number } => gpu::open(number).map(Device::Gpu),
        #[cfg(not(feature = "gpu"))]
        DeviceName::Gpu { .. } => Err(Error::invalid(format!(
            "{name}: this program was built without Vulkan (cargo build --release -p s3d-cli \
             --features gpu builds one with it; docs/GPU.md); use cpu"
        ))),
    }
}

/// The memory pool of a device; the CPU has none.
pub fn pool_of(device: &Device) -> Option<Box<dyn Pool>> {
    #[cfg(feature = "gpu")]
    if let Device::Gpu(gpu) = device {
        return Some(Box::new(gpu::GpuPool(gpu.clone())));
    }
    #[cfg(feature = "cuda")]
    if let Ok(card) = device.tensors().as_cuda_device() {
        return cuda::pool(card).ok();
    }
    let _ = device;
    None
}

/// What records the work of a device; the CPU records nothing.
pub(crate) fn recorder_of(device: &Device) -> Option<Box<dyn Recorder>> {
    #[cfg(feature = "cuda")]
    if let Ok(card) = device.tensors().as_cuda_device() {
        return Some(cuda::recorder(card));
    }
    let _ = device;
    None
}

/// What a card says of itself; the CPU says nothing.
pub fn facts(device: &Device) -> Option<CardFacts> {
    #[cfg(feature = "cuda")]
    if let Ok(card) = device.tensors().as_cuda_device() {
        return cuda::facts(card).ok();
    }
    let _ = device;
    None
}

/// The Vulkan adapter that computes, as a record describes it; none of another device.
pub fn adapter_of(device: &Device) -> Option<s3d_data::Adapter> {
    #[cfg(feature = "gpu")]
    if let Device::Gpu(gpu) = device {
        let adapter = gpu.adapter();
        return Some(s3d_data::Adapter {
            name: adapter.name.clone(),
            backend: adapter.backend.clone(),
            driver: adapter.driver.clone(),
            software: adapter.software,
        });
    }
    let _ = device;
    None
}

/// The driver of a device; the CPU has none.
pub fn driver_of(device: &Device) -> Option<String> {
    match device {
        Device::Cpu => None,
        Device::Card(_) => driver(),
        #[cfg(feature = "gpu")]
        Device::Gpu(gpu) => Some(gpu.adapter().driver.clone()),
    }
}

/// The number of an NVIDIA driver that is loaded here.
pub fn driver() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    version(&text)
}

/// The number in the driver's own line: the first word of digits and points.
fn version(text: &str) -> Option<String> {
    let number =
        |word: &&str| word.contains('.') && word.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    text.lines().next()?.split_whitespace().find(number).map(str::to_string)
}

/// One line on why a card could not be opened, from the library's words.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "needed with CUDA, tested without"))]
fn explain(name: DeviceName, error: &Error, driver: Option<&str>) -> String {
    let text = error.to_string();
    let told = text.lines().next().unwrap_or_default();
    let holds = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let found = driver.unwrap_or("none");
    let why = if holds(&["NO_DEVICE", "STUB_LIBRARY"]) {
        match driver {
            None => "no NVIDIA driver is loaded on this machine; use cpu".to_string(),
            Some(driver) => format!(
                "driver {driver} is loaded but shows no card to this process (see nvidia-smi -L \
                 and \
                 CUDA_VISIBLE_DEVICES); use cpu"
            ),
        }
    } else if holds(&["INVALID_DEVICE"]) {
        "there is no card of this number; nvidia-smi -L lists them from 0".to_string()
    } else if holds(&["INSUFFICIENT_DRIVER", "DRIVER_MISMATCH", "UNSUPPORTED_PTX", "NOT_FOUND"]) {
        format!("the driver is too old: expected 580 or later, found {found}")
    } else if holds(&["CUBLAS", "CURAND"]) {
        "cuBLAS and cuRAND of CUDA 13 were not found or do not work; name their folder in \
         LD_LIBRARY_PATH (docs/CUDA.md)"
            .to_string()
    } else if holds(&["OUT_OF_MEMORY"]) {
        "the card's memory is full; see nvidia-smi for who holds it".to_string()
    } else {
        format!("the card cannot be used: {told}")
    };
    format!("{name}: {why}")
}

/// Bytes that a model of `shape` needs on a device for a prompt pass and plain decoding up to
/// `context` tokens.
fn device_bytes(engine: Engine, shape: &ModelShape, dtype: Dtype, context: usize) -> Bytes {
    let held = Held::computed(shape, dtype, engine);
    let load = Load { context, width: 1, batch: 1 };
    Memory::of(shape, &held, load, &Method::Plain).peak_bytes
}

/// Refuses a model that has no room on a device, saying which number type would have.
///
/// # Errors
/// One line: asked for, free, what would fit.
pub fn check_room(
    name: DeviceName,
    room: Room,
    shape: &ModelShape,
    dtype: Dtype,
    context: usize,
) -> Result<()> {
    let engine = Engine::of_device(&name.to_string());
    let needed = |dtype| device_bytes(engine, shape, dtype, context);
    // There is no code for the others there.
    let runs = |dtype: &Dtype| engine != Engine::Gpu || *dtype != Dtype::Q4K;
    let known = || Dtype::ENGINE.into_iter().filter(runs);
    if needed(dtype).0 <= room.free.0 {
        return Ok(());
    }
    let fitting = known().find(|&other| needed(other).0 <= room.free.0);
    let advice = match fitting {
        Some(other) => format!("--dtype {other} would fit ({})", needed(other)),
        None => format!(
            "no number type would fit ({} at the smallest); take a smaller model, or fewer \
             --layers of a \
             geometry",
            known().map(needed).min().unwrap_or(Bytes(0))
        ),
    };
    Err(Error::invalid(format!(
        "{name}: {dtype} with a context of {context} needs about {}, {} of {} are free; {advice}",
        needed(dtype),
        room.free,
        room.total
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::presets;

    fn card(number: usize, graphs: bool) -> DeviceName {
        DeviceName::Cuda { number, graphs }
    }

    #[test]
    fn why_a_card_cannot_be_opened_is_one_line() {
        let explain = |text: &str, driver| {
            let line = explain(card(1, false), &Error::invalid(text), driver);
            assert!(line.starts_with("cuda:1: ") && !line.contains('\n'), "{line}");
            line
        };
        let none = "DriverError(CUDA_ERROR_NO_DEVICE, \"...\")\n   0: backtrace";
        assert!(explain(none, None).contains("no NVIDIA driver"));
        assert!(explain(none, Some("580.65.06")).contains("driver 580.65.06 is loaded but"));
        assert!(explain("CUDA_ERROR_INVALID_DEVICE", Some("580")).contains("nvidia-smi -L"));
        assert!(
            explain("CUDA_ERROR_UNSUPPORTED_PTX_VERSION", Some("550.1")).contains("found 550.1")
        );
        assert!(explain("CUBLAS_STATUS_NOT_INITIALIZED", None).contains("LD_LIBRARY_PATH"));
        assert!(explain("something else\nmore", None).ends_with("something else"));
    }

    #[test]
    fn the_driver_says_its_number() {
        // source: /proc/driver/nvidia/version of a driver of 2025
        let text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:11:04 UTC 2025\n\
                    GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)";
        assert_eq!(version(text).as_deref(), Some("580.65.06"));
        assert_eq!(version("something else"), None);
    }

    #[test]
    fn a_model_without_room_is_told_what_would_fit() {
        let shape = presets::preset("llama-2-7b").unwrap().shape();
        let room = |gib: u64| Room { free: Bytes(gib << 30), total: Bytes(24 << 30) };
        let check = |gib, dtype| {
            check_room(card(0, false), room(gib), &shape, dtype, 1024)
                .map_err(|error| error.to_string())
        };
        // source: 6.61e9 weights in matrices but the embedding (6,738,415,616 - 32,000 x 4096) x 2
        // bytes, 1024 tokens of 512 KiB: 12.3 + 0.5 GiB
        let needed =
            device_bytes(Engine::Card, &shape, Dtype::F16, 1024).0 as f64 / f64::from(1 << 30);
        assert!((12.8..13.0).contains(&needed), "{needed}");
        assert_eq!(check(14, Dtype::F16), Ok(()));
        let error = check(9, Dtype::F16).unwrap_err();
        assert!(error.contains("12.9 GiB, 9.00 GiB of 24.0 GiB are free"), "{error}");
        assert!(error.contains("--dtype q8_0 would fit"), "{error}");
        assert!(check(2, Dtype::Q4_0).unwrap_err().contains("no number type would fit"));
    }
}
