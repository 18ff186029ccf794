//! All variables of the network in one flat buffer, and where each of them lies.

use super::low_rank::AdapterRanges;
use crate::ModelConfig;
use crate::adapter::{PREFIX, Part};
use crate::config::AttentionParts;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// The name of the mask embeddings.
pub(super) const MASKS: &str = "s3d.mask_embeddings.weight";

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
    /// Matrices decay, gains and biases do not.
    pub fn decays(&self) -> bool {
        self.shape.len() > 1
    }

    fn is_bias(&self) -> bool {
        self.name.ends_with(".bias")
    }

    /// Whether it is part of the model before training adds to it.
    pub fn is_models_own(&self) -> bool {
        self.name != MASKS && !self.name.starts_with(PREFIX)
    }
}

/// Where one layer keeps its variables; neighbours that are used together share a range.
#[derive(Clone, Debug)]
pub(super) struct LayerRanges {
    pub norm_attention: Range<usize>,
    /// Query, key and value rows, one after the other: [(heads + 2 kv_heads) head_dim, hidden].
    pub qkv: Range<usize>,
    /// In the same order: [(heads + 2 kv_heads) head_dim].
    pub qkv_bias: Option<Range<usize>>,
    /// Gains of query heads, then of key heads: [2 head_dim].
    pub head_norms: Option<Range<usize>>,
    pub output: Range<usize>,
    pub out_bias: Option<Range<usize>>,
    pub norm_mlp: Range<usize>,
    /// Gate rows, then up rows: [2 intermediate, hidden].
    pub gate_up: Range<usize>,
    pub down: Range<usize>,
}

impl LayerRanges {
    /// The matrix that the adapter `part` goes with.
    pub fn matrix(&self, part: Part) -> &Range<usize> {
        match part {
            Part::Qkv => &self.qkv,
            Part::AttentionOut => &self.output,
            Part::GateUp => &self.gate_up,
            Part::Down => &self.down,
        }
    }

    /// All that the layer has.
    pub fn all(&self) -> impl Iterator<Item = &Range<usize>> {
        let attention = [&self.norm_attention, &self.qkv, &self.output];
        let mlp = [&self.norm_mlp, &self.gate_up, &self.down];
        let optional = [&self.qkv_bias, &self.head_norms, &self.out_bias];
        attention.into_iter().chain(mlp).chain(optional.into_iter().flatten())
    }
}

/// The map of the flat buffer. What is trained is one stretch of it: all, or, where the model has
/// adapters, the masks and the adapters at its end.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub variables: Vec<Variable>,
    /// Token embeddings: [vocabulary, hidden].
    pub embedding: Range<usize>,
    /// The same place in a model with a tied head.
    pub head: Range<usize>,
    /// Mask embeddings: [masks, hidden]; row i - 1 is mask i.
    pub masks: Range<usize>,
    pub layers: Vec<LayerRanges>,
    pub norm: Range<usize>,
    /// Of every layer, in the order of [`Part::ALL`]; nothing where the model has no adapters.
    pub adapters: Vec<[AdapterRanges; 4]>,
    /// What gets a gradient.
    pub trained: Range<usize>,
}

/// Names and shapes of the tensors that a model of this configuration has in its checkpoint.
///
/// # Errors
/// An architecture that is unknown.
pub(crate) fn own_tensors(config: &ModelConfig) -> crate::Result<Vec<(String, Vec<usize>)>> {
    let parts = config.attention_parts().map_err(crate::Error::invalid)?;
    let own = Layout::new(config, parts).variables.into_iter().filter(Variable::is_models_own);
    Ok(own.map(|variable| (variable.name, variable.shape)).collect())
}

/// Collects variables one after the other.
struct Builder(Vec<Variable>);

impl Builder {
    fn end(&self) -> usize {
        self.0.last().map_or(0, |v| v.range.end)
    }

    fn push(&mut self, name: impl std::fmt::Display, shape: &[usize]) -> Range<usize> {
        self.push_named(format!("{name}.weight"), shape)
    }

    fn push_named(&mut self, name: String, shape: &[usize]) -> Range<usize> {
        let start = self.end();
        let range = start..start + shape.iter().product::<usize>();
        self.0.push(Variable { name, shape: shape.to_vec(), range: range.clone() });
        range
    }

    fn layer(&mut self, config: &ModelConfig, layer: usize, has: AttentionParts) -> LayerRanges {
        let (hidden, mlp, head) = (config.hidden_size, config.intermediate_size, config.head_dim());
        let (queries, keys) = (config.num_attention_heads * head, config.kv_heads() * head);
        let at = format!("model.layers.{layer}");
        let own = |name: &str| format!("{at}.self_attn.{name}");
        let norm_attention = self.push(format!("{at}.input_layernorm"), &[hidden]);
        let qkv_rows = [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)];
        let qkv = self.stack(&own(""), &qkv_rows, "qkv_proj", hidden, has.fused);
        let biases = qkv_rows.map(|(name, rows)| (own(name) + ".bias", rows));
        let norms = ["q_norm", "k_norm"].map(|name| (own(name) + ".weight", head));
        LayerRanges {
            norm_attention,
            qkv,
            qkv_bias: has.qkv_bias.then(|| self.vectors(biases)),
            head_norms: has.head_norms.then(|| self.vectors(norms)),
            output: self.push(own("o_proj"), &[hidden, queries]),
            out_bias: has.out_bias.then(|| self.vectors([(own("o_proj") + ".bias", hidden)])),
            norm_mlp: self.push(format!("{at}.post_attention_layernorm"), &[hidden]),
            gate_up: self.stack(
                &format!("{at}.mlp."),
                &[("gate_proj", mlp), ("up_proj", mlp)],
                "gate_up_proj",
                hidden,
                has.fused,
            ),
            down: self.push(format!("{at}.mlp.down_proj"), &[hidden, mlp]),
        }
    }

    /// Vectors one after the other.
    fn vectors(&mut self, named: impl IntoIterator<Item = (String, usize)>) -> Range<usize> {
        let start = self.end();
        for (name, length) in named {
            self.push_named(name, &[length]);
        }
        start..self.end()
    }

    /// Matrices over the same `inputs`, one below the other: each under its name, or all under one.
    fn stack(
        &mut self,
        at: &str,
        parts: &[(&str, usize)],
        together: &str,
        inputs: usize,
        fused: bool,
    ) -> Range<usize> {
        if fused {
            let rows = parts.iter().map(|(_, rows)| rows).sum();
            return self.push(format!("{at}{together}"), &[rows, inputs]);
        }
        let start = self.end();
        for (name, rows) in parts {
            self.push(format!("{at}{name}"), &[*rows, inputs]);
        }
        start..self.end()
    }

    fn masks(&mut self, config: &ModelConfig) -> Range<usize> {
        match config.masks() {
            0 => 0..0,
            masks => self.push_named(MASKS.into(), &[masks, config.hidden_size]),
        }
    }

    /// The adapters of one layer.
    fn adapters(&mut self, config: &ModelConfig, layer: usize, rank: usize) -> [AdapterRanges; 4] {
        Part::ALL.map(|part| {
            let ([a, b], [inputs, outputs]) = (part.names(layer), part.sizes(config));
            let a = self.push_named(a, &[rank, inputs]);
            AdapterRanges { a, b: self.push_named(b, &[outputs, rank]) }
        })
    }
}

impl Layout {
    /// The layout for a model of this shape, whose attention `has` these parts.
    pub fn new(config: &ModelConfig, has: AttentionParts) -> Self {
        let mut builder = Builder(Vec::new());
        let (hidden, layers) = (config.hidden_size, config.num_hidden_layers);
        let adapters = config.adapters();
        let table = [config.vocab_size, hidden];
        let embedding = builder.push("model.embed_tokens", &table);
        let early = adapters.is_none().then(|| builder.masks(config));
        let ranges = (0..layers).map(|l| builder.layer(config, l, has)).collect();
        let norm = builder.push("model.norm", &[hidden]);
        let head = match config.tie_word_embeddings {
            true => embedding.clone(),
            false => builder.push("lm_head", &table),
        };
        let masks = early.unwrap_or_else(|| builder.masks(config));
        let start = if adapters.is_some() { masks.start } else { 0 };
        let adapters = adapters.map_or(Vec::new(), |adapters| {
            (0..layers).map(|l| builder.adapters(config, l, adapters.rank)).collect()
        });
        let trained = start..builder.end();
        let variables = builder.0;
        Self { variables, embedding, head, masks, layers: ranges, norm, adapters, trained }
    }

    /// Number of parameters, frozen ones included.
    pub fn size(&self) -> usize {
        self.trained.end
    }

    /// Where gradients and moments have the variables in `range`, if they are trained.
    pub fn trained_part(&self, range: &Range<usize>) -> Option<Range<usize>> {
        let start = range.start.checked_sub(self.trained.start)?;
        Some(start..start + range.len())
    }

    /// The gradient of the variables in `range`, if they are trained.
    pub fn gradient<'g>(
        &self,
        gradient: &'g mut [f32],
        range: &Range<usize>,
    ) -> Option<&'g mut [f32]> {
        Some(&mut gradient[self.trained_part(range)?])
    }

    /// Fresh values: gains 1, biases 0, embeddings of standard deviation 0.02, matrices 0.6 / sqrt(inputs),
    /// those that write into the residual stream divided by sqrt(2 layers) besides. Adapters begin as
    /// in LoRA, the second factor at zero: they add nothing yet.
    pub fn init(&self, seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut values = vec![1.0; self.size()];
        for bias in self.variables.iter().filter(|v| v.is_bias()) {
            values[bias.range.clone()].fill(0.0);
        }
        for variable in self.variables.iter().filter(|v| v.decays()) {
            // A uniform distribution on -limit..limit has standard deviation limit / sqrt(3).
            let limit = 3f32.sqrt() * self.deviation(variable);
            if limit == 0.0 {
                values[variable.range.clone()].fill(0.0);
                continue;
            }
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
        } else if variable.name.starts_with(PREFIX) {
            if variable.name.ends_with(".a.weight") { 1.0 / inputs.sqrt() } else { 0.0 }
        } else if variable.name.contains("o_proj") || variable.name.contains("down_proj") {
            0.6 / (inputs * 2.0 * self.layers.len() as f32).sqrt()
        } else {
            0.6 / inputs.sqrt()
        }
    }
}
