//! Keys and values of the text so far, in buffers of fixed size. Rejection is a shorter length.

use crate::backend::placed::LayerCache;
use crate::backend::recordings::Passes;
use crate::error::{Error, Result};
use candle_core::{DType, Device, Shape, Tensor};
use s3d_kernels::heads::HeadShape;
use s3d_kernels::panels::LANES;

/// The keys and values of every layer, for the first `len` positions.
#[derive(Debug, Default)]
pub struct KvCache {
    buffers: Buffers,
    len: usize,
    capacity: usize,
    /// Passes of fixed shape over these buffers.
    pub(crate) passes: Passes,
}

/// The buffers of every layer.
#[derive(Debug)]
enum Buffers {
    /// For the kernels and candle.
    Tensors {
        /// In panels `[kv_heads][capacity / LANES][head_dim][LANES]`.
        keys: Vec<Tensor>,
        /// In panels `[kv_heads][head_dim / LANES][capacity][LANES]`.
        values: Vec<Tensor>,
    },
    /// On a Vulkan device.
    #[cfg(feature = "gpu")]
    Gpu(Vec<s3d_gpu::ops::Cache>),
}

impl Default for Buffers {
    fn default() -> Self {
        Self::Tensors { keys: Vec::new(), values: Vec::new() }
    }
}

impl KvCache {
    /// Room for at least `capacity` positions of `layers` layers; in panels of `f32`, or as
    /// `[kv_heads, capacity, head_dim]` of `number`.
    pub(crate) fn new(
        layers: usize,
        shape: HeadShape,
        capacity: usize,
        panels: bool,
        number: DType,
        device: &Device,
    ) -> Result<Self> {
        let capacity = Self::whole(capacity);
        let rows = Shape::from((shape.kv_heads, capacity, shape.head_dim));
        let (key, value) = match panels {
            true => (shape.key_len(capacity).into(), shape.value_len(capacity).into()),
            false => (rows.clone(), rows),
        };
        let buffers = |shape: Shape| -> Result<Vec<Tensor>> {
            (0..layers).map(|_| Ok(Tensor::zeros(&shape, number, device)?)).collect()
        };
        let buffers = Buffers::Tensors { keys: buffers(key)?, values: buffers(value)? };
        Ok(Self { buffers, capacity, ..Self::default() })
    }

    /// The same on a Vulkan device.
    #[cfg(feature = "gpu")]
    pub(crate) fn on_gpu(
        gpu: &s3d_gpu::Gpu,
        layers: usize,
        shape: HeadShape,
        capacity: usize,
    ) -> Result<Self> {
        let (capacity, heads) = (Self::whole(capacity), super::gpu::heads(shape));
        let cache = |_| Ok(s3d_gpu::ops::Cache::new(gpu, heads, capacity)?);
        let buffers = Buffers::Gpu((0..layers).map(cache).collect::<Result<_>>()?);
        Ok(Self { buffers, capacity, ..Self::default() })
    }

    fn whole(capacity: usize) -> usize {
        capacity.max(1).next_multiple_of(LANES)
    }

    /// What one layer's attention reads and writes.
    pub(crate) fn layer(&self, number: usize) -> LayerCache<'_> {
        match &self.buffers {
            Buffers::Tensors { keys, values } => {
                let (keys, values) = (&keys[number], &values[number]);
                LayerCache::Tensors { keys, values, capacity: self.capacity }
            }
            #[cfg(feature = "gpu")]
            Buffers::Gpu(layers) => LayerCache::Gpu(&layers[number]),
        }
    }

    /// Positions that hold keys and values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Positions there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Size of the buffers, in bytes.
    pub fn bytes(&self) -> u64 {
        match &self.buffers {
            Buffers::Tensors { keys, values } => {
                let bytes = |buffer: &Tensor| buffer.elem_count() * buffer.dtype().size_in_bytes();
                keys.iter().chain(values).map(bytes).sum::<usize>() as u64
            }
            #[cfg(feature = "gpu")]
            Buffers::Gpu(layers) => layers.iter().map(|layer| layer.bytes().0).sum(),
        }
    }

    /// Forgets all positions from `len` on. A longer `len` than the present one changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Checks that `rows` more positions fit.
    pub(crate) fn reserve(&self, rows: usize) -> Result<()> {
        if self.len + rows <= self.capacity {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the cache has room for {} positions, {} are needed; ask for a larger one",
            self.capacity,
            self.len + rows
        )))
    }

    /// Counts `rows` positions that a pass has written.
    pub(crate) fn advance(&mut self, rows: usize) {
        self.len += rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_moves_and_the_buffers_stay() {
        let shape = HeadShape { heads: 2, kv_heads: 1, head_dim: 8 };
        let mut cache = KvCache::new(3, shape, 20, true, DType::F32, &Device::Cpu).unwrap();
        // source: 3 layers x (1 x 32 x 8 keys + 1 x 32 x 16 values) x 4 bytes, 20 rounded up to 32
        assert_eq!((cache.capacity(), cache.bytes()), (32, 3 * (32 * 8 + 32 * 16) * 4));
        cache.advance(7);
        cache.truncate(9);
        assert_eq!(cache.len(), 7);
        cache.truncate(3);
        assert_eq!(cache.len(), 3);
        assert!(cache.reserve(29).is_ok());
        assert!(cache.reserve(30).unwrap_err().to_string().contains("room for 32"));
        let rows = KvCache::new(3, shape, 20, false, DType::F16, &Device::Cpu).unwrap();
        // source: 3 layers x 2 x 32 positions x 8 numbers x 2 bytes
        assert_eq!(rows.bytes(), 3 * 2 * 32 * 8 * 2);
    }
}
