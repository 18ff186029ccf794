//! Memory of a device, counted.

use crate::gpu::now;
use crate::{Error, Gpu, Result};
use s3d_data::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use wgpu::{BufferDescriptor, BufferUsages, ErrorFilter};

/// Memory of a device. Zero until it is written; given back when the last copy of this is dropped.
#[derive(Debug, Clone)]
pub struct Buffer {
    held: Arc<Held>,
}

/// What all buffers of a device have in common.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Bytes that they hold.
    pub held: AtomicU64,
    /// The most that they held at once since this was last set back.
    pub high: AtomicU64,
    /// Numbers given so far.
    pub ids: AtomicU64,
    /// Buffers that are no more, and may still be remembered among operands.
    pub dead: Mutex<Vec<u64>>,
}

#[derive(Debug)]
struct Held {
    memory: wgpu::Buffer,
    id: u64,
    bytes: u64,
    books: Arc<Books>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.books.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.books.dead.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
    }
}

impl Buffer {
    /// `bytes` bytes, filled up to whole vectors.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn new(gpu: &Gpu, bytes: u64) -> Result<Self> {
        let bytes = bytes.max(1).next_multiple_of(16);
        let books = &gpu.books;
        let held = books.held.fetch_add(bytes, Ordering::Relaxed);
        let refused = || {
            books.held.fetch_sub(bytes, Ordering::Relaxed);
            Error::OutOfMemory { asked: Bytes(bytes), held: Bytes(held), most: gpu.most }
        };
        let most = gpu.most.map_or(u64::MAX, |most| most.0);
        if held.saturating_add(bytes) > most || bytes > gpu.adapter.buffer.0 {
            return Err(refused());
        }
        let scope = gpu.device.push_error_scope(ErrorFilter::OutOfMemory);
        let memory = gpu.device.create_buffer(&BufferDescriptor {
            label: None,
            size: bytes,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        if now(scope.pop()).is_some() {
            return Err(refused());
        }
        books.high.fetch_max(held + bytes, Ordering::Relaxed);
        let id = books.ids.fetch_add(1, Ordering::Relaxed);
        Ok(Self { held: Arc::new(Held { memory, id, bytes, books: Arc::clone(books) }) })
    }

    /// Numbers as they are.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn of(gpu: &Gpu, numbers: &[f32]) -> Result<Self> {
        let buffer = Self::new(gpu, size_of_val(numbers) as u64)?;
        gpu.write(&buffer, 0, bytemuck::cast_slice(numbers));
        Ok(buffer)
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.held.bytes)
    }

    pub(crate) fn memory(&self) -> &wgpu::Buffer {
        &self.held.memory
    }

    /// A number that no other buffer of the device has.
    pub(crate) fn id(&self) -> u64 {
        self.held.id
    }
}
