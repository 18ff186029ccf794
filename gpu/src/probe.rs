//! Products of a size that shows a device's speed.

use crate::{Gpu, Matrix, Result, Rows};
use s3d_data::Dtype;

/// A matrix of zeros and rows of zeros to multiply by it: the time of a product does not depend on
/// values.
#[derive(Debug)]
pub struct Probe {
    matrix: Matrix,
    numbers: Vec<f32>,
}

impl Probe {
    /// `outputs x inputs` weights, and up to `rows` rows.
    ///
    /// # Errors
    /// When there is no room.
    pub fn new(
        gpu: &Gpu,
        dtype: Dtype,
        [outputs, inputs]: [usize; 2],
        rows: usize,
    ) -> Result<Self> {
        let matrix = Matrix::zeros(gpu, dtype, outputs, inputs)?;
        Ok(Self { matrix, numbers: vec![0.0; rows * inputs] })
    }

    /// Bytes of weights that a product reads.
    pub fn bytes(&self) -> u64 {
        self.matrix.bytes().0
    }

    /// `count` products of `rows` rows each; waits for the last.
    ///
    /// # Errors
    /// When the device is lost or has refused a call.
    pub fn multiply(&self, gpu: &Gpu, rows: usize, count: usize) -> Result<()> {
        let inputs = self.matrix.inputs();
        let x = Rows::of(gpu, &self.numbers[..rows * inputs], inputs)?;
        for _ in 0..count {
            gpu.matmul(&self.matrix, &x)?;
        }
        gpu.wait()
    }
}
