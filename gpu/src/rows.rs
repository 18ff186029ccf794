//! Activations: rows of numbers on a device, lent by a store that takes them back.

use crate::{Buffer, Error, Gpu, Result};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Columns to which a row is filled up with zeros, so that it is read in whole blocks of any number
/// type.
const BLOCK: usize = 32;

/// `[rows, width]` numbers of 4 bytes. A copy stands for the same memory.
#[derive(Debug, Clone)]
pub struct Rows {
    lent: Arc<Lent>,
    first: usize,
    rows: usize,
    width: usize,
}

/// Memory by width and by the rows that there is room for: rows of one width alone ever lie in it,
/// so what fills them up stays zero.
pub(crate) type Store = Mutex<HashMap<(usize, usize), Vec<Buffer>>>;

#[derive(Debug)]
struct Lent {
    buffer: Buffer,
    place: (usize, usize),
    store: Arc<Store>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.entry(self.place).or_default().push(self.buffer.clone());
    }
}

impl Rows {
    /// Room for `[rows, width]`; what it holds is whatever was there.
    ///
    /// # Errors
    /// When there is no room.
    pub fn new(gpu: &Gpu, rows: usize, width: usize) -> Result<Self> {
        let place = (width, rows.next_power_of_two());
        let bytes = place.1 as u64 * width.next_multiple_of(BLOCK) as u64 * 4;
        if bytes > gpu.adapter.binding.0 {
            let most = gpu.adapter.binding;
            return Err(Error::Shape(format!(
                "{rows} rows of {width} numbers do not fit into the {most} that an operation sees at once; pass fewer rows"
            )));
        }
        let free = gpu
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(&place)
            .and_then(Vec::pop);
        let buffer = match free {
            Some(buffer) => buffer,
            None => Buffer::new(gpu, bytes)?,
        };
        let lent = Lent { buffer, place, store: Arc::clone(&gpu.store) };
        Ok(Self { lent: Arc::new(lent), first: 0, rows, width })
    }

    /// Uploads rows of `width` numbers.
    ///
    /// # Errors
    /// When there is no room.
    pub fn of(gpu: &Gpu, numbers: &[f32], width: usize) -> Result<Self> {
        let rows = Self::new(gpu, numbers.len() / width.max(1), width)?;
        let stride = rows.stride();
        let mut filled = vec![0.0; rows.rows * stride];
        for (row, numbers) in
            filled.chunks_exact_mut(stride.max(1)).zip(numbers.chunks_exact(width.max(1)))
        {
            row[..width].copy_from_slice(numbers);
        }
        gpu.write(rows.buffer(), 0, bytemuck::cast_slice(&filled));
        Ok(rows)
    }

    /// Reads them back: submits what was recorded and waits for it.
    ///
    /// # Errors
    /// When the device is lost or has refused a call.
    pub fn read(&self, gpu: &Gpu) -> Result<Vec<f32>> {
        let stride = self.stride();
        let bytes = gpu.read(self.buffer(), ((self.first + self.rows) * stride * 4) as u64)?;
        let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        Ok(numbers
            .chunks_exact(stride.max(1))
            .skip(self.first)
            .flat_map(|row| &row[..self.width])
            .copied()
            .collect())
    }

    /// Copies of some rows of each of `parts`, one part after the other.
    ///
    /// # Errors
    /// Parts of different widths, rows that are not there, no room.
    pub fn joined(gpu: &Gpu, parts: &[(&Self, Range<usize>)]) -> Result<Self> {
        let width = parts.first().map_or(0, |(part, _)| part.width);
        let count = parts.iter().map(|(_, rows)| rows.len()).sum();
        if parts.iter().any(|(part, rows)| part.width != width || rows.end > part.rows) {
            return Err(Error::Shape(format!("parts of {count} rows of {width} numbers")));
        }
        let all = Self::new(gpu, count, width)?;
        let (row, mut next) = (all.stride() as u64 * 4, 0);
        for (part, rows) in parts {
            let (from, bytes) = ((part.first + rows.start) as u64 * row, rows.len() as u64 * row);
            gpu.copy((part.buffer(), from), (all.buffer(), next), bytes);
            next += bytes;
        }
        Ok(all)
    }

    /// The last row. Only a norm, [`Self::joined`] and [`Self::read`] take rows that do not begin
    /// with the first.
    pub fn last(&self) -> Self {
        let last = self.rows.saturating_sub(1);
        Self { first: self.first + last, rows: self.rows.min(1), ..self.clone() }
    }

    /// Which row of its memory is the first.
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// From one row to the next, in numbers.
    pub(crate) fn stride(&self) -> usize {
        self.width.next_multiple_of(BLOCK)
    }

    pub(crate) fn buffer(&self) -> &Buffer {
        &self.lent.buffer
    }
}
