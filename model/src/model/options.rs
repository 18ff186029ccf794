//! How a model is to run.

use crate::config::DraftOver;
use crate::device::Device;
use crate::tokenizer::TokenizerFrom;
use s3d_data::Dtype;
use std::path::PathBuf;

/// How a model is to run.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: Device,
    /// The number type that the weights of matrices are held in: one of [`Dtype::ENGINE`].
    /// Embedding and head take [`Dtype::of_tables`]; norms and mask embeddings are always `f32` on
    /// the CPU, as are activations and cache; on a card all these are of the weights' type, halves
    /// where that is coded.
    pub dtype: Dtype,
    /// How often each channel, head and neuron is repeated: 1, 2 or 4.
    pub widen: usize,
    /// Threads of the kernels; 0 takes all cores.
    pub threads: usize,
    /// Where its tokenizer comes from.
    pub tokenizer: TokenizerFrom,
    /// Adapters and masks to lay over the checkpoint: a folder of
    /// `s3d.json`, as `s3d train` writes it.
    pub adapters: Option<PathBuf>,
    /// How much of its draft vocabulary it uses.
    pub draft_over: DraftOver,
    /// Candle's own operations even where there are kernels: what a card runs, tried on the CPU.
    pub composed: bool,
    /// Passes over few rows have fixed shapes, and a card records them once and repeats them with
    /// one launch each (CUDA graphs). Not with the kernels of the CPU, which have no launches to
    /// spare.
    pub repeated: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            dtype: Dtype::F32,
            widen: 1,
            threads: 0,
            tokenizer: TokenizerFrom::Checkpoint,
            adapters: None,
            draft_over: DraftOver::List,
            composed: false,
            repeated: false,
        }
    }
}
