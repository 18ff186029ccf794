//! The tensors of a checkpoint by name and shape, in the order in which a pass uses them.

use super::ModelConfig;
use super::architecture::AttentionParts;

/// The name of a tensor and its shape: `[rows, columns]`, or `[length]`.
pub type Named = (String, Vec<usize>);

/// The tensors of one layer. Those that are used together share a list, which is empty where the
/// architecture has none.
#[derive(Debug, Clone)]
pub struct LayerTensors {
    /// `[hidden]`.
    pub norm_attention: Vec<Named>,
    /// Query, key and value rows over `[hidden]`: three matrices, or one.
    pub qkv: Vec<Named>,
    /// In the same order.
    pub qkv_bias: Vec<Named>,
    /// Of query heads, then of key heads: `[head_dim]` each.
    pub head_norms: Vec<Named>,
    /// `[hidden, heads * head_dim]`.
    pub output: Vec<Named>,
    /// `[hidden]`.
    pub out_bias: Vec<Named>,
    /// `[hidden]`.
    pub norm_mlp: Vec<Named>,
    /// Gate rows, then up rows over `[hidden]`: two matrices, or one.
    pub gate_up: Vec<Named>,
    /// `[hidden, intermediate]`.
    pub down: Vec<Named>,
}

impl LayerTensors {
    /// Those of layer `layer`, whose attention `has` these parts.
    pub fn new(config: &ModelConfig, layer: usize, has: AttentionParts) -> Self {
        let (hidden, mlp, head) = (config.hidden_size, config.intermediate_size, config.head_dim());
        let (queries, keys) = (config.num_attention_heads * head, config.kv_heads() * head);
        let at = format!("model.layers.{layer}");
        let own = |name: &str| format!("{at}.self_attn.{name}");
        let mlp_at = format!("{at}.mlp.");
        let qkv_rows = [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)];
        let gate_up_rows = [("gate_proj", mlp), ("up_proj", mlp)];
        let biases = qkv_rows.map(|(name, rows)| (own(name) + ".bias", vec![rows]));
        let norms = ["q_norm", "k_norm"].map(|name| (own(name) + ".weight", vec![head]));
        let some = |has: bool, tensors: &[Named]| if has { tensors.to_vec() } else { Vec::new() };
        Self {
            norm_attention: vec![weight(format!("{at}.input_layernorm"), &[hidden])],
            qkv: stack(&own(""), &qkv_rows, "qkv_proj", hidden, has.fused),
            qkv_bias: some(has.qkv_bias, &biases),
            head_norms: some(has.head_norms, &norms),
            output: vec![weight(own("o_proj"), &[hidden, queries])],
            out_bias: some(has.out_bias, &[(own("o_proj") + ".bias", vec![hidden])]),
            norm_mlp: vec![weight(format!("{at}.post_attention_layernorm"), &[hidden])],
            gate_up: stack(&mlp_at, &gate_up_rows, "gate_up_proj", hidden, has.fused),
            down: vec![weight(format!("{at}.mlp.down_proj"), &[hidden, mlp])],
        }
    }

    /// All of them, in the order of use.
    pub fn all(self) -> impl Iterator<Item = Named> {
        let attention = [self.norm_attention, self.qkv, self.qkv_bias, self.head_norms];
        let rest = [self.output, self.out_bias, self.norm_mlp, self.gate_up, self.down];
        attention.into_iter().chain(rest).flatten()
    }
}

/// The embedding of tokens.
pub fn embedding(config: &ModelConfig) -> Named {
    weight("model.embed_tokens", &[config.vocab_size, config.hidden_size])
}

/// The last norm.
pub fn final_norm(config: &ModelConfig) -> Named {
    weight("model.norm", &[config.hidden_size])
}

/// The head, where it is not the embedding.
pub fn head(config: &ModelConfig) -> Option<Named> {
    let shape = [config.vocab_size, config.hidden_size];
    (!config.tie_word_embeddings).then(|| weight("lm_head", &shape))
}

/// The tensors that a model of this configuration has in its checkpoint, without masks and
/// adapters.
///
/// # Errors
/// An architecture that is unknown.
pub(crate) fn own_tensors(config: &ModelConfig) -> Result<Vec<Named>, String> {
    let parts = config.attention_parts()?;
    let layers = (0..config.num_hidden_layers).map(|layer| LayerTensors::new(config, layer, parts));
    let mut all = vec![embedding(config)];
    all.extend(layers.flat_map(LayerTensors::all));
    all.push(final_norm(config));
    all.extend(head(config));
    Ok(all)
}

fn weight(name: impl std::fmt::Display, shape: &[usize]) -> Named {
    (format!("{name}.weight"), shape.to_vec())
}

/// Matrices over the same `inputs`, one below the other: each under its name, or all under one.
fn stack(
    at: &str,
    parts: &[(&str, usize)],
    together: &str,
    inputs: usize,
    fused: bool,
) -> Vec<Named> {
    if fused {
        let rows = parts.iter().map(|(_, rows)| rows).sum();
        return vec![weight(format!("{at}{together}"), &[rows, inputs])];
    }
    parts.iter().map(|(name, rows)| weight(format!("{at}{name}"), &[*rows, inputs])).collect()
}
