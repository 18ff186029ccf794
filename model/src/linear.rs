//! A linear layer: packed for the small-width kernel, or plain for candle's own matmul.

use crate::fused::{LinearKind, PackedLinear};
use crate::kernels::{LANES, pack, panel_count, unpack_row};
use crate::ops::{Ops, for_each_row};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::ops::Range;

/// Rows of a band: whole panels, few beside a vocabulary.
const BAND: usize = 64 * LANES;

/// `y = x W^T`, without bias.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[panels, inputs, LANES]` packed, `[outputs, inputs]` plain.
    weight: Tensor,
    packed: bool,
    inputs: usize,
    outputs: usize,
    kind: LinearKind,
}

impl Linear {
    /// Packs `matrix[outputs, inputs]`.
    ///
    /// # Errors
    /// When the device refuses the memory.
    pub fn new(matrix: &[f32], inputs: usize, device: &Device) -> Result<Self> {
        let outputs = matrix.len() / inputs;
        let packed = pack(outputs, inputs, |o| &matrix[o * inputs..][..inputs]);
        Self::from_packed(packed, inputs, outputs, LinearKind::Plain, device)
    }

    /// Packs a matrix `[outputs, inputs]` that comes in bands: `rows` gives the rows of a range.
    ///
    /// # Errors
    /// When a band cannot be read, or the device refuses the memory.
    pub fn from_bands(
        outputs: usize,
        inputs: usize,
        device: &Device,
        rows: impl Fn(Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let mut packed = Vec::with_capacity(panel_count(outputs) * LANES * inputs);
        for start in (0..outputs).step_by(BAND) {
            let end = outputs.min(start + BAND);
            let band = rows(start..end)?;
            packed.extend(pack(end - start, inputs, |o| &band[o * inputs..][..inputs]));
        }
        Self::from_packed(packed, inputs, outputs, LinearKind::Plain, device)
    }

    /// Gate and up projection, both `[neurons, inputs]`, as one layer that applies SwiGLU. Its
    /// outputs are the neurons, filled up with zeros to whole panels.
    ///
    /// # Errors
    /// When the device refuses the memory.
    pub fn gate_and_up(gate: &[f32], up: &[f32], inputs: usize, device: &Device) -> Result<Self> {
        let neurons = gate.len() / inputs;
        let outputs = 2 * panel_count(neurons) * LANES;
        let zeros = vec![0.0; inputs];
        let packed = pack(outputs, inputs, |o| {
            let neuron = o / (2 * LANES) * LANES + o % LANES;
            let half = if (o / LANES).is_multiple_of(2) { gate } else { up };
            half.get(neuron * inputs..(neuron + 1) * inputs).unwrap_or(&zeros)
        });
        Self::from_packed(packed, inputs, outputs, LinearKind::SwiGlu, device)
    }

    fn from_packed(
        packed: Vec<f32>,
        inputs: usize,
        outputs: usize,
        kind: LinearKind,
        device: &Device,
    ) -> Result<Self> {
        let weight = Tensor::from_vec(packed, (panel_count(outputs), inputs * LANES), device)?;
        Ok(Self { weight, packed: true, inputs, outputs, kind })
    }

    /// The same layer for candle's own matmul.
    ///
    /// # Errors
    /// When the memory is refused.
    pub fn to_plain(&self) -> Result<Self> {
        if !self.packed {
            return Ok(self.clone());
        }
        let mut matrix = vec![0.0; self.outputs * self.inputs];
        let rows: Vec<u32> = (0..self.outputs as u32).collect();
        self.read_rows(&rows, &mut matrix)?;
        let weight = Tensor::from_vec(matrix, (self.outputs, self.inputs), self.weight.device())?;
        Ok(Self { weight, packed: false, ..self.clone() })
    }

    /// Copies rows of the matrix into `into[rows, inputs]`.
    ///
    /// # Errors
    /// When a row does not exist.
    pub fn read_rows(&self, rows: &[u32], into: &mut [f32]) -> Result<()> {
        if let Some(row) = rows.iter().find(|&&row| row as usize >= self.outputs) {
            return Err(Error::invalid(format!("row {row} of {} rows", self.outputs)));
        }
        let host = self.weight.flatten_all()?.unsqueeze(0)?;
        for_each_row(&host, |weights| {
            for (&row, into) in rows.iter().zip(into.chunks_exact_mut(self.inputs)) {
                let row = row as usize;
                if self.packed {
                    unpack_row(weights, row, into);
                } else {
                    into.copy_from_slice(&weights[row * self.inputs..][..self.inputs]);
                }
            }
        })?;
        Ok(())
    }

    /// Weight bytes that one pass reads.
    pub fn bytes(&self) -> u64 {
        (self.weight.elem_count() * self.weight.dtype().size_in_bytes()) as u64
    }

    /// `x W^T` for `x[rows, inputs]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, ops: &Ops, x: &Tensor) -> Result<Tensor> {
        if self.packed {
            let op =
                PackedLinear { kernels: ops.kernels(), outputs: self.outputs, kind: self.kind };
            return Ok(x.apply_op2_no_bwd(&self.weight, &op)?);
        }
        let products = x.matmul(&self.weight.t()?)?;
        Ok(match self.kind {
            LinearKind::Plain => products,
            LinearKind::SwiGlu => ops.swiglu(&products)?,
        })
    }

    /// `residual + x W^T`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward_add(&self, ops: &Ops, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        if self.packed {
            let op =
                PackedLinear { kernels: ops.kernels(), outputs: self.outputs, kind: self.kind };
            return Ok(x.apply_op3_no_bwd(&self.weight, residual, &op)?);
        }
        Ok((self.forward(ops, x)? + residual)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Isa, test_numbers as numbers};

    #[test]
    fn packed_and_plain_layers_agree() {
        // source: candle's own matmul as the second implementation
        let (inputs, outputs, rows) = (24, 40, 3);
        let ops = Ops::fused(1, Isa::detect());
        let (gate, up) = (numbers(1, outputs * inputs), numbers(2, outputs * inputs));
        let x = Tensor::from_vec(numbers(3, rows * inputs), (rows, inputs), &Device::Cpu).unwrap();
        let layers = [
            Linear::new(&gate, inputs, &Device::Cpu).unwrap(),
            Linear::gate_and_up(&gate, &up, inputs, &Device::Cpu).unwrap(),
        ];
        for (layer, width) in layers.iter().zip([40, 48]) {
            let fast = layer.forward(&ops, &x).unwrap();
            let plain = layer.to_plain().unwrap().forward(&ops, &x).unwrap();
            assert_eq!(fast.dims2().unwrap(), (rows, width));
            let gap = (fast - plain).unwrap().abs().unwrap().max_all().unwrap();
            assert!(gap.to_scalar::<f32>().unwrap() < 1e-5);
        }
    }
}
