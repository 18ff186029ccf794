//! An NVIDIA card: opened, described, and its memory pool. Type-checked; not run on a card yet.

use super::pool::Pool;
use super::{CardFacts, Room};
use crate::Result;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::result::{device as driver_device, mem_pool};
use candle_core::cuda_backend::cudarc::driver::sys::{
    CUdevice_attribute, CUmemPool_attribute, CUmemoryPool,
};
use candle_core::{CudaDevice, Device};
use s3d_data::Bytes;

/// Opens card `number` with a stream of its own.
pub fn open(number: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(number)?;
    let card = device.as_cuda_device()?;
    // SAFETY: all work of this program on a card goes to the one stream of its device, in order.
    unsafe { card.disable_event_tracking() };
    pool(card)?.keep_all()?;
    Ok(device)
}

/// What the driver says of a card.
pub fn facts(card: &CudaDevice) -> Result<CardFacts> {
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
pub fn pool(card: &CudaDevice) -> Result<Box<dyn Pool>> {
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
}

impl Pool for CudaPool {
    fn finish(&self) -> Result<()> {
        self.card.cuda_stream().synchronize().w()?;
        Ok(())
    }

    fn used(&self) -> Result<u64> {
        self.read(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)
    }

    fn high(&self) -> Result<u64> {
        self.read(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)
    }

    fn reset_high(&self) -> Result<()> {
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
