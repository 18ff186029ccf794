//! Builds the adapters of draft rows, widened with the layer that they belong to.

use super::builder::{Builder, fill_up};
use crate::backend::adapter::{Adapter, Adapters};
use crate::backend::linear::Linear;
use crate::config::AdapterConfig;
use crate::config::adapter::Part;
use crate::error::Result;
use crate::weights::encoded::Matrix;
use s3d_data::Dtype;
use s3d_kernels::panels::LANES;

impl Builder<'_> {
    /// The adapters of layer `number`, if the checkpoint has any.
    pub(super) fn adapters(&self, number: usize) -> Result<Option<Adapters>> {
        let Some(config) = self.config.adapters() else { return Ok(None) };
        let build = |part| self.adapter(number, part, config);
        Ok(Some(Adapters {
            qkv: build(Part::Qkv)?,
            attention_out: build(Part::AttentionOut)?,
            gate_up: build(Part::GateUp)?,
            down: build(Part::Down)?,
        }))
    }

    fn adapter(&self, number: usize, part: Part, config: AdapterConfig) -> Result<Adapter> {
        let [inputs, outputs] = part.sizes(self.config);
        let ([a, b], rank) = (part.names(number), config.rank);
        let dtype = self.dtype.of_adapters();
        let mut a = self.reader.tensor(&a, &[rank, inputs])?;
        let mut b = self.reader.tensor(&b, &[outputs, rank])?;
        b.iter_mut().for_each(|weight| *weight *= config.scale());
        // Copies of an input are all alike: each brings its share.
        a.iter_mut().for_each(|weight| *weight /= self.widening.factor() as f32);
        let (a, wide) = (Matrix::F32(self.widening.columns(a, inputs)), self.wide(inputs));
        // What the MLP hands on is filled up to whole panels.
        let filled = if part == Part::Down { wide.next_multiple_of(LANES) } else { wide };
        let a = Linear::new(&[&fill_up(a, wide, filled)], filled, dtype, self.backend.home())?;
        Ok(Adapter { a, b: self.outward(part, b, rank, dtype)? })
    }

    /// `B[outputs, rank]`, its rows as the layer's own matrix has them.
    fn outward(&self, part: Part, b: Vec<f32>, rank: usize, dtype: Dtype) -> Result<Linear> {
        let neurons = self.config.intermediate_size;
        let rows = match part {
            Part::Qkv => self.qkv_rows().to_vec(),
            Part::GateUp => vec![neurons; 2],
            Part::AttentionOut | Part::Down => vec![self.config.hidden_size],
        };
        let parts = Matrix::F32(b).split_rows(rank, &rows).into_iter();
        let wide: Vec<Matrix> =
            parts.map(|part| Matrix::F32(self.widening.outputs(part.into_f32()))).collect();
        match (part, &wide[..]) {
            (Part::GateUp, [gate, up]) => {
                let (sizes, both) = ([self.wide(neurons), rank], [gate.clone(), up.clone()]);
                let whole = |_| Ok(both.clone());
                Ok(Linear::gate_and_up(sizes, dtype, self.backend.home(), sizes[0], whole)?
                    .without_swiglu())
            }
            _ => Linear::new(&wide.iter().collect::<Vec<_>>(), rank, dtype, self.backend.home()),
        }
    }
}
