//! The adapters of this machine: what they are called, what they can do, whether they are real.

use crate::gpu::now;
use crate::{Error, Result};
use s3d_data::Bytes;
use wgpu::hal::api::Vulkan;
use wgpu::{Backends, DeviceType, Features, Instance, InstanceDescriptor, InstanceFlags};

/// What an adapter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Its number here, as in `gpu:N`.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// What reaches it: `vulkan`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Whether the CPU plays the device: its times say nothing about a GPU.
    pub software: bool,
    /// Its own memory, where the driver says so; of a device that shares the machine's, that.
    pub memory: Option<Bytes>,
    /// The largest piece of memory that an operation can see at once.
    pub binding: Bytes,
    /// The largest piece of memory that can be had at once.
    pub buffer: Bytes,
    /// Lanes of a subgroup, from and to; none where there are no subgroup operations.
    pub subgroup: Option<(u32, u32)>,
    /// Lanes that a group can have.
    pub group: u32,
    /// Whether it tells the time at points within a pass.
    pub timestamps: bool,
}

impl Adapter {
    fn of(number: usize, adapter: &wgpu::Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let subgroup = (info.subgroup_min_size, info.subgroup_max_size);
        Self {
            number,
            name: info.name,
            backend: info.backend.to_str().to_owned(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            software: info.device_type == DeviceType::Cpu,
            memory: memory(adapter).map(Bytes),
            binding: Bytes(limits.max_storage_buffer_binding_size),
            buffer: Bytes(limits.max_buffer_size),
            subgroup: features.contains(Features::SUBGROUP).then_some(subgroup),
            group: limits.max_compute_invocations_per_workgroup,
            timestamps: features.contains(TIMES),
        }
    }
}

/// What timestamps at points within a pass take.
pub(crate) const TIMES: Features =
    Features::TIMESTAMP_QUERY.union(Features::TIMESTAMP_QUERY_INSIDE_PASSES);

/// All adapters of this machine, cards before software.
pub fn adapters() -> Vec<Adapter> {
    found().iter().enumerate().map(|(number, adapter)| Adapter::of(number, adapter)).collect()
}

/// The adapter of this number, and what it says of itself.
pub(crate) fn adapter(number: usize) -> Result<(wgpu::Adapter, Adapter)> {
    let mut all = found();
    match all.len() {
        0 => Err(Error::NoAdapter),
        found if number >= found => Err(Error::NoSuchAdapter { number, found }),
        _ => {
            let adapter = all.swap_remove(number);
            let about = Adapter::of(number, &adapter);
            Ok((adapter, about))
        }
    }
}

fn found() -> Vec<wgpu::Adapter> {
    let mut wanted = InstanceDescriptor::new_without_display_handle();
    wanted.backends = Backends::VULKAN;
    wanted.flags = InstanceFlags::empty();
    let mut adapters = now(Instance::new(wanted).enumerate_adapters(Backends::VULKAN));
    adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
    adapters
}

fn rank(kind: DeviceType) -> usize {
    match kind {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// The largest heap that is the device's own.
fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: the handles are only asked for properties, while the guard holds the adapter.
    let memory = unsafe {
        let adapter = adapter.as_hal::<Vulkan>()?;
        let instance = adapter.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(adapter.raw_physical_device())
    };
    let heaps = memory.memory_heaps_as_slice().iter();
    // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    heaps.filter(|heap| heap.flags.as_raw() & 1 != 0).map(|heap| heap.size).max()
}
