//! An NVIDIA card: opened, described, and its memory pool. Type-checked; not run on a card yet.

use super::card::CardFacts;
use super::graph::{Recorder, Recording};
use super::memory_pool::Pool;
use super::memory_pool::Room;
use crate::error::{Error, Result};
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::CudaGraph;
use candle_core::cuda_backend::cudarc::driver::result::{device as driver_device, mem_pool};
use candle_core::cuda_backend::cudarc::driver::sys::{
    self, CUdevice_attribute, CUgraphInstantiate_flags, CUgraphMem_attribute, CUmemPool_attribute,
    CUmemoryPool, CUstreamCaptureMode,
};
use candle_core::{CudaDevice, Device};
use s3d_data::Bytes;
use std::any::Any;
use std::fmt;

/// Opens card `number` with a stream of its own.
pub(super) fn open(number: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(number)?;
    let card = device.as_cuda_device()?;
    // SAFETY: all work of this program on a card goes to the one stream of its device, in order.
    unsafe { card.disable_event_tracking() };
    pool(card)?.keep_all()?;
    Ok(device)
}

/// What the driver says of a card.
pub(super) fn facts(card: &CudaDevice) -> Result<CardFacts> {
    let stream = card.cuda_stream();
    let context = stream.context();
    let number = |attribute| -> Result<usize> {
        Ok(usize::try_from(context.attribute(attribute).w()?).unwrap_or(0))
    };
    let (major, minor) = context.compute_capability().w()?;
    Ok(CardFacts {
        name: context.name().w()?,
        architecture: format!("sm_{major}{minor}"),
        memory: Bytes(context.total_mem().w()? as u64),
        cache: Bytes(number(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)? as u64),
        multiprocessors: number(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
    })
}

/// The pool that tensors of a card come from: the driver's default one.
pub(super) fn pool(card: &CudaDevice) -> Result<Box<dyn Pool>> {
    let device = card.cuda_stream().context().cu_device();
    // SAFETY: the device is that of a context that is held by `card`.
    let pool = unsafe { driver_device::get_default_mem_pool(device) }.w()?;
    Ok(Box::new(CudaPool { card: card.clone(), pool }))
}

struct CudaPool {
    card: CudaDevice,
    pool: CUmemoryPool,
}

impl CudaPool {
    fn read(&self, attribute: CUmemPool_attribute) -> Result<u64> {
        let mut value = 0u64;
        // SAFETY: the default pool lives as long as the device; these attributes are 64 bits wide.
        unsafe { mem_pool::get_attribute(self.pool, attribute, (&raw mut value).cast()) }.w()?;
        Ok(value)
    }

    fn write(&self, attribute: CUmemPool_attribute, mut value: u64) -> Result<()> {
        // SAFETY: as above.
        unsafe { mem_pool::set_attribute(self.pool, attribute, (&raw mut value).cast()) }.w()?;
        Ok(())
    }

    /// Memory of recorded work, which the driver keeps apart from the pool.
    fn read_recorded(&self, attribute: CUgraphMem_attribute) -> Result<u64> {
        let device = self.card.cuda_stream().context().cu_device();
        let mut value = 0u64;
        // SAFETY: the device is that of a context that is held; these attributes are 64 bits wide.
        unsafe { sys::cuDeviceGetGraphMemAttribute(device, attribute, (&raw mut value).cast()) }
            .result()
            .w()?;
        Ok(value)
    }
}

impl Pool for CudaPool {
    fn finish(&self) -> Result<()> {
        self.card.cuda_stream().synchronize().w()?;
        Ok(())
    }

    fn used(&self) -> Result<u64> {
        let recorded =
            self.read_recorded(CUgraphMem_attribute::CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT)?;
        Ok(self.read(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)? + recorded)
    }

    fn high(&self) -> Result<u64> {
        let recorded = self.read_recorded(CUgraphMem_attribute::CU_GRAPH_MEM_ATTR_USED_MEM_HIGH)?;
        Ok(self.read(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)? + recorded)
    }

    fn reset_high(&self) -> Result<()> {
        let device = self.card.cuda_stream().context().cu_device();
        let mut zero = 0u64;
        let recorded = CUgraphMem_attribute::CU_GRAPH_MEM_ATTR_USED_MEM_HIGH;
        // SAFETY: as in `read_recorded`; zero, and no other number, may be written.
        unsafe { sys::cuDeviceSetGraphMemAttribute(device, recorded, (&raw mut zero).cast()) }
            .result()
            .w()?;
        self.write(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, 0)
    }

    fn keep_all(&self) -> Result<()> {
        self.write(CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, u64::MAX)
    }

    fn room(&self) -> Result<Room> {
        let (free, total) = self.card.cuda_stream().context().mem_get_info().w()?;
        Ok(Room { free: Bytes(free as u64), total: Bytes(total as u64) })
    }
}

/// What records the work of a card: its stream, as CUDA graphs.
pub(super) fn recorder(card: &CudaDevice) -> Box<dyn Recorder> {
    Box::new(StreamRecorder(card.clone()))
}

#[derive(Debug)]
struct StreamRecorder(CudaDevice);

impl Recorder for StreamRecorder {
    fn keep_parameters(&self) -> Box<dyn Any> {
        Box::new(self.0.enable_cuda_graph_htod_cache())
    }

    fn finish(&self) -> Result<()> {
        self.0.cuda_stream().synchronize().w()?;
        Ok(())
    }

    fn begin(&self) -> Result<()> {
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.0.cuda_stream().begin_capture(mode).w()?;
        Ok(())
    }

    fn end(&self) -> Result<Box<dyn Recording>> {
        // All that recorded work allocates it also frees. Should some of it not, repeating it frees
        // it first.
        let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let graph = self.0.cuda_stream().end_capture(flags).w()?;
        let graph = graph.ok_or_else(|| Error::invalid("the card recorded nothing"))?;
        graph.upload().w()?;
        Ok(Box::new(RecordedStream(graph)))
    }
}

struct RecordedStream(CudaGraph);

// SAFETY: a graph may move between threads as long as one at a time uses it. It is used through
// `&mut` alone, and every call binds its context to the thread first.
unsafe impl Send for RecordedStream {}

impl fmt::Debug for RecordedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordedStream")
    }
}

impl Recording for RecordedStream {
    fn launch(&mut self) -> Result<()> {
        self.0.launch().w()?;
        Ok(())
    }
}
