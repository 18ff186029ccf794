//! All variables of the network in one flat buffer, and where each of them lies.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_model::ModelConfig;
use s3d_model::config::AttentionParts;
use s3d_model::config::tensors;
use s3d_model::config::tensors::{LayerTensors, Named};
use s3d_model::config::{PREFIX, Part};
use std::ops::Range;

/// The name of the mask embeddings.
pub(crate) const MASKS: &str = "s3d.mask_embeddings.weight";

/// A named variable inside the flat buffer.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    /// Name in the checkpoint.
    pub name: String,
    /// [rows, columns], or [length].
    pub shape: Vec<usize>,
    /// Elements in the buffer.
    pub range: Range<usize>,
}

impl Variable {
    /// Matrices decay, gains and biases do not.
    pub(crate) fn decays(&self) -> bool {
        self.shape.len() > 1
    }

    fn is_bias(&self) -> bool {
        self.name.ends_with(".bias")
    }

    /// Whether it is part of the model before training adds to it.
    pub(crate) fn is_models_own(&self) -> bool {
        self.name != MASKS && !self.name.starts_with(PREFIX)
    }
}

/// Where an adapter lies in the flat buffer.
#[derive(Clone, Debug)]
pub(crate) struct AdapterRanges {
    /// [rank, inputs].
    pub a: Range<usize>,
    /// [outputs, rank].
    pub b: Range<usize>,
}

impl AdapterRanges {
    /// First and second factor.
    pub(crate) fn both(&self) -> [&Range<usize>; 2] {
        [&self.a, &self.b]
    }
}

/// Where one layer keeps its variables; neighbours that are used together share a range.
#[derive(Clone, Debug)]
pub(crate) struct LayerRanges {
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
    pub(crate) fn matrix(&self, part: Part) -> &Range<usize> {
        match part {
            Part::Qkv => &self.qkv,
            Part::AttentionOut => &self.output,
            Part::GateUp => &self.gate_up,
            Part::Down => &self.down,
        }
    }

    /// All that the layer has.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Range<usize>> {
        let attention = [&self.norm_attention, &self.qkv, &self.output];
        let mlp = [&self.norm_mlp, &self.gate_up, &self.down];
        let optional = [&self.qkv_bias, &self.head_norms, &self.out_bias];
        attention.into_iter().chain(mlp).chain(optional.into_iter().flatten())
    }
}

/// The map of the flat buffer. What is trained is one stretch of it: all, or, where the model has
/// adapters, the masks and the adapters at its end.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
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

/// Collects variables one after the other.
struct Builder(Vec<Variable>);

impl Builder {
    fn end(&self) -> usize {
        self.0.last().map_or(0, |v| v.range.end)
    }

    fn push(&mut self, (name, shape): Named) -> Range<usize> {
        let start = self.end();
        let range = start..start + shape.iter().product::<usize>();
        self.0.push(Variable { name, shape, range: range.clone() });
        range
    }

    /// Tensors one after the other.
    fn push_all(&mut self, tensors: Vec<Named>) -> Range<usize> {
        let start = self.end();
        for tensor in tensors {
            self.push(tensor);
        }
        start..self.end()
    }

    /// [`Self::push_all`], where there are any.
    fn push_some(&mut self, tensors: Vec<Named>) -> Option<Range<usize>> {
        (!tensors.is_empty()).then(|| self.push_all(tensors))
    }

    fn layer(&mut self, tensors: LayerTensors) -> LayerRanges {
        LayerRanges {
            norm_attention: self.push_all(tensors.norm_attention),
            qkv: self.push_all(tensors.qkv),
            qkv_bias: self.push_some(tensors.qkv_bias),
            head_norms: self.push_some(tensors.head_norms),
            output: self.push_all(tensors.output),
            out_bias: self.push_some(tensors.out_bias),
            norm_mlp: self.push_all(tensors.norm_mlp),
            gate_up: self.push_all(tensors.gate_up),
            down: self.push_all(tensors.down),
        }
    }

    fn masks(&mut self, config: &ModelConfig) -> Range<usize> {
        match config.masks() {
            0 => 0..0,
            masks => self.push((MASKS.into(), vec![masks, config.hidden_size])),
        }
    }

    /// The adapters of one layer.
    fn adapters(&mut self, config: &ModelConfig, layer: usize, rank: usize) -> [AdapterRanges; 4] {
        Part::ALL.map(|part| {
            let ([a, b], [inputs, outputs]) = (part.names(layer), part.sizes(config));
            let a = self.push((a, vec![rank, inputs]));
            AdapterRanges { a, b: self.push((b, vec![outputs, rank])) }
        })
    }
}

impl Layout {
    /// The layout for a model of this shape, whose attention `has` these parts.
    pub(crate) fn new(config: &ModelConfig, has: AttentionParts) -> Self {
        let mut builder = Builder(Vec::new());
        let (layers, adapters) = (config.num_hidden_layers, config.adapters());
        let embedding = builder.push(tensors::embedding(config));
        let early = adapters.is_none().then(|| builder.masks(config));
        let ranges = (0..layers).map(|l| builder.layer(LayerTensors::new(config, l, has)));
        let ranges = ranges.collect();
        let norm = builder.push(tensors::final_norm(config));
        let head = tensors::head(config);
        let head = head.map_or_else(|| embedding.clone(), |head| builder.push(head));
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
    pub(crate) fn size(&self) -> usize {
        self.trained.end
    }

    /// Where gradients and moments have the variables in `range`, if they are trained.
    pub(crate) fn trained_part(&self, range: &Range<usize>) -> Option<Range<usize>> {
        let start = range.start.checked_sub(self.trained.start)?;
        Some(start..start + range.len())
    }

    /// The gradient of the variables in `range`, if they are trained.
    pub(crate) fn gradient<'g>(
        &self,
        gradient: &'g mut [f32],
        range: &Range<usize>,
    ) -> Option<&'g mut [f32]> {
        Some(&mut gradient[self.trained_part(range)?])
    }

    /// Fresh values: gains 1, biases 0, embeddings of standard deviation 0.02, matrices 0.6 /
    /// sqrt(inputs), those that write into the residual stream divided by sqrt(2 layers) besides.
    /// Adapters begin as in LoRA, the second factor at zero: they add nothing yet.
    pub(crate) fn init(&self, seed: u64) -> Vec<f32> {
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
