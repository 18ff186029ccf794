//! All variables of the network in one flat buffer, and where each of them lies.

use crate::ModelConfig;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// A named variable inside the flat buffer.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    /// Name in the checkpoint.
    pub name: String,
    /// [rows, columns], or [length].
    pub shape: Vec<usize>,
    /// Elements in the buffer.
    pub range: Range<usize>,
}

impl Variable {
    /// Matrices decay, gains do not.
    pub fn decays(&self) -> bool {
        self.shape.len() > 1
    }
}

/// Where one layer keeps its variables; neighbours that are multiplied together share a range.
#[derive(Clone, Debug)]
pub(super) struct LayerRanges {
    pub norm_attention: Range<usize>,
    /// Query, key and value rows, one after the other: [(heads + 2 kv_heads) head_dim, hidden].
    pub qkv: Range<usize>,
    pub output: Range<usize>,
    pub norm_mlp: Range<usize>,
    /// Gate rows, then up rows: [2 intermediate, hidden].
    pub gate_up: Range<usize>,
    pub down: Range<usize>,
}

/// The map of the flat buffer.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub variables: Vec<Variable>,
    /// Token embeddings, which are the head too: [vocabulary, hidden].
    pub embedding: Range<usize>,
    /// Mask embeddings: [masks, hidden]; row i - 1 is mask i.
    pub masks: Range<usize>,
    pub layers: Vec<LayerRanges>,
    pub norm: Range<usize>,
}

/// Collects variables one after the other.
struct Builder(Vec<Variable>);

impl Builder {
    fn push(&mut self, name: impl std::fmt::Display, shape: &[usize]) -> Range<usize> {
        let start = self.0.last().map_or(0, |v| v.range.end);
        let range = start..start + shape.iter().product::<usize>();
        let (name, shape) = (format!("{name}.weight"), shape.to_vec());
        self.0.push(Variable { name, shape, range: range.clone() });
        range
    }

    fn layer(&mut self, config: &ModelConfig, layer: usize) -> LayerRanges {
        let (hidden, mlp, head) = (config.hidden_size, config.intermediate_size, config.head_dim());
        let (queries, keys) = (config.num_attention_heads * head, config.kv_heads() * head);
        let at = format!("model.layers.{layer}");
        let norm_attention = self.push(format!("{at}.input_layernorm"), &[hidden]);
        let q = self.push(format!("{at}.self_attn.q_proj"), &[queries, hidden]);
        self.push(format!("{at}.self_attn.k_proj"), &[keys, hidden]);
        let v = self.push(format!("{at}.self_attn.v_proj"), &[keys, hidden]);
        let output = self.push(format!("{at}.self_attn.o_proj"), &[hidden, queries]);
        let norm_mlp = self.push(format!("{at}.post_attention_layernorm"), &[hidden]);
        let gate = self.push(format!("{at}.mlp.gate_proj"), &[mlp, hidden]);
        let up = self.push(format!("{at}.mlp.up_proj"), &[mlp, hidden]);
        let down = self.push(format!("{at}.mlp.down_proj"), &[hidden, mlp]);
        LayerRanges {
            norm_attention,
            qkv: q.start..v.end,
            output,
            norm_mlp,
            gate_up: gate.start..up.end,
            down,
        }
    }
}

impl Layout {
    /// The layout for a tied-head model of this shape.
    pub fn new(config: &ModelConfig) -> Self {
        let mut builder = Builder(Vec::new());
        let hidden = config.hidden_size;
        let embedding = builder.push("model.embed_tokens", &[config.vocab_size, hidden]);
        let masks = builder.push("s3d.mask_embeddings", &[config.masks(), hidden]);
        let layers = (0..config.num_hidden_layers).map(|l| builder.layer(config, l)).collect();
        let norm = builder.push("model.norm", &[hidden]);
        Self { variables: builder.0, embedding, masks, layers, norm }
    }

    /// Number of parameters.
    pub fn size(&self) -> usize {
        self.norm.end
    }

    /// Fresh values: gains 1, embeddings of standard deviation 0.02, matrices 0.6 / sqrt(inputs),
    /// those that write into the residual stream divided by sqrt(2 layers) besides.
    pub fn init(&self, seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut values = vec![1.0; self.size()];
        for variable in self.variables.iter().filter(|v| v.decays()) {
            // A uniform distribution on -limit..limit has standard deviation limit / sqrt(3).
            let limit = 3f32.sqrt() * self.deviation(variable);
            for value in &mut values[variable.range.clone()] {
                *value = random.random_range(-limit..limit);
            }
        }
        values
    }

    fn deviation(&self, variable: &Variable) -> f32 {
        let inputs = variable.shape[1] as f32;
        if variable.name.contains("embed") {
            0.02
        } else if variable.name.contains("o_proj") || variable.name.contains("down_proj") {
            0.6 / (inputs * 2.0 * self.layers.len() as f32).sqrt()
        } else {
            0.6 / inputs.sqrt()
        }
    }
}
