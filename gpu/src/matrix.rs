//! A weight matrix on a device: in its number type, in pieces that an operation can see at once.

use crate::layout::Layout;
use crate::{Buffer, Error, Gpu, Result};
use s3d_data::{Bytes, Dtype};
use std::ops::Range;

/// `W[outputs, inputs]`.
#[derive(Debug, Clone)]
pub struct Matrix {
    layout: Layout,
    outputs: usize,
    pieces: Vec<Piece>,
}

/// Some of its rows.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Which.
    pub rows: Range<usize>,
    /// Numbers or codes, and the scales of codes.
    pub buffers: Vec<Buffer>,
}

impl Matrix {
    /// The number types that a matrix can have.
    pub const DTYPES: [Dtype; 5] = Layout::DTYPES;

    /// A matrix of zeros, to be [written](Self::write).
    ///
    /// # Errors
    /// For a number type that there is no WGSL for, or when there is no room.
    pub fn zeros(gpu: &Gpu, dtype: Dtype, outputs: usize, inputs: usize) -> Result<Self> {
        if !Self::DTYPES.contains(&dtype) {
            let names = Self::DTYPES.map(Dtype::name).join(", ");
            return Err(Error::Shape(format!(
                "no {dtype} on this device; expected --dtype {names}"
            )));
        }
        let layout = Layout { dtype, inputs };
        let row = layout.row_bytes().max(1) as u64;
        let groups = gpu.group_rows();
        let most = (gpu.piece_bytes() / row).min(groups).max(1) as usize;
        let pieces = (0..outputs).step_by(most).map(|start| {
            let rows = start..outputs.min(start + most);
            let bytes = |of_a_row: usize| (rows.len() * of_a_row) as u64;
            let mut buffers = vec![Buffer::new(gpu, bytes(layout.row_bytes()))?];
            if layout.is_coded() {
                buffers.push(Buffer::new(gpu, bytes(layout.scale_bytes()))?);
            }
            Ok(Piece { rows, buffers })
        });
        Ok(Self { layout, outputs, pieces: pieces.collect::<Result<_>>()? })
    }

    /// Writes rows from `first` on, given as a file of this type holds them, one after the other.
    ///
    /// # Errors
    /// When they are no whole rows, or more than there are.
    pub fn write(&self, gpu: &Gpu, first: usize, file: &[u8]) -> Result<()> {
        let size = self.layout.file_bytes().max(1);
        let end = first + file.len() / size;
        if !file.len().is_multiple_of(size) || end > self.outputs {
            return Err(Error::Shape(format!(
                "{} bytes from row {first} on are no rows of a matrix of {} rows of {size} bytes",
                file.len(),
                self.outputs
            )));
        }
        for piece in &self.pieces {
            let rows = first.max(piece.rows.start)..end.min(piece.rows.end);
            if rows.is_empty() {
                continue;
            }
            let here = &file[(rows.start - first) * size..(rows.end - first) * size];
            let (codes, scales) = self.layout.arrange(here);
            let sizes = [self.layout.row_bytes(), self.layout.scale_bytes()];
            for ((buffer, bytes), row) in piece.buffers.iter().zip([codes, scales]).zip(sizes) {
                gpu.write(buffer, ((rows.start - piece.rows.start) * row) as u64, &bytes);
            }
        }
        Ok(())
    }

    /// A matrix of rows as a file of this type holds them.
    ///
    /// # Errors
    /// As [`Self::zeros`] and [`Self::write`].
    pub fn of(gpu: &Gpu, dtype: Dtype, inputs: usize, file: &[u8]) -> Result<Self> {
        let outputs = file.len() / Layout { dtype, inputs }.file_bytes().max(1);
        let matrix = Self::zeros(gpu, dtype, outputs, inputs)?;
        matrix.write(gpu, 0, file)?;
        Ok(matrix)
    }

    /// The matrix of these rows, in this order, copied on the device.
    ///
    /// # Errors
    /// When there is no such row, or no room.
    pub fn some_rows(&self, gpu: &Gpu, rows: &[u32]) -> Result<Self> {
        if let Some(row) = rows.iter().find(|&&row| row as usize >= self.outputs) {
            return Err(Error::Shape(format!("row {row} of a matrix of {} rows", self.outputs)));
        }
        let Layout { dtype, inputs } = self.layout;
        let some = Self::zeros(gpu, dtype, rows.len(), inputs)?;
        let sizes = [self.layout.row_bytes(), self.layout.scale_bytes()];
        for into in &some.pieces {
            for from in &self.pieces {
                let here = into.rows.clone().zip(&rows[into.rows.clone()]);
                let here = here.filter(|(_, row)| from.rows.contains(&(**row as usize)));
                let places: Vec<[usize; 2]> = here
                    .map(|(to, &row)| [row as usize - from.rows.start, to - into.rows.start])
                    .collect();
                for ((from, into), size) in from.buffers.iter().zip(&into.buffers).zip(sizes) {
                    gpu.copy_blocks(from, into, size, &places);
                }
            }
        }
        Ok(some)
    }

    /// The number type.
    pub fn dtype(&self) -> Dtype {
        self.layout.dtype
    }

    /// Rows.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns.
    pub fn inputs(&self) -> usize {
        self.layout.inputs
    }

    /// Bytes held, and read by one product.
    pub fn bytes(&self) -> Bytes {
        let buffers = self.pieces.iter().flat_map(|piece| &piece.buffers);
        Bytes(buffers.map(|buffer| buffer.bytes().0).sum())
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Units of 16 inputs in a row.
    pub(crate) fn units(&self) -> usize {
        self.layout.units()
    }
}
