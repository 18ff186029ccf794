//! The decoder as its definition reads: f64, plain loops, no panels, no threads.

use s3d_data::Skip;
use s3d_model::ModelConfig;
use s3d_model::config::Part;
use s3d_model::weights::{Seeded, WeightSource};

type Vector = Vec<f64>;

/// Keys and values per layer and position, `[kv_heads * head_dim]` each.
pub type Cache = Vec<Vec<(Vector, Vector)>>;

pub struct Naive {
    config: ModelConfig,
    source: Seeded,
}

fn rms_norm(x: &[f64], weight: &[f64], epsilon: f64) -> Vector {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(x, w)| x / (mean + epsilon).sqrt() * w).collect()
}

fn multiply(matrix: &[f64], x: &[f64]) -> Vector {
    matrix.chunks(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

fn add(a: &[f64], b: &[f64]) -> Vector {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

impl Naive {
    pub fn new(config: &ModelConfig, seed: u64) -> Self {
        Self { config: config.clone(), source: Seeded::new(seed) }
    }

    pub fn empty_cache(&self) -> Cache {
        vec![Vec::new(); self.config.num_hidden_layers]
    }

    fn weight(&self, name: &str, shape: &[usize]) -> Vector {
        let weights = self.source.tensor(name, shape).unwrap();
        weights.into_iter().map(f64::from).collect()
    }

    fn layer_weight(&self, layer: usize, name: &str, shape: &[usize]) -> Vector {
        self.weight(&format!("model.layers.{layer}.{name}.weight"), shape)
    }

    /// The embedding of a token, or of a mask (from 0).
    pub fn embed(&self, row: Result<u32, usize>) -> Vector {
        let (c, hidden) = (&self.config, self.config.hidden_size);
        match row {
            Ok(token) => {
                let all = self.weight("model.embed_tokens.weight", &[c.vocab_size, hidden]);
                all[token as usize * hidden..][..hidden].to_vec()
            }
            Err(mask) => {
                let all = self.weight("s3d.mask_embeddings.weight", &[c.masks(), hidden]);
                all[mask * hidden..][..hidden].to_vec()
            }
        }
    }

    /// Half-split rotation of every head.
    fn rotate(&self, heads: &[f64], position: usize) -> Vector {
        let dim = self.config.head_dim();
        let mut out = heads.to_vec();
        for (head, turned) in heads.chunks(dim).zip(out.chunks_mut(dim)) {
            for i in 0..dim / 2 {
                let exponent = 2.0 * i as f64 / dim as f64;
                let angle = position as f64 / self.config.rope_theta.powf(exponent);
                let (a, b) = (head[i], head[i + dim / 2]);
                turned[i] = a * angle.cos() - b * angle.sin();
                turned[i + dim / 2] = b * angle.cos() + a * angle.sin();
            }
        }
        out
    }

    /// The products of `part` with an input, and what the adapter adds to them on draft rows.
    fn adapted(
        &self,
        layer: usize,
        part: Part,
        products: Vector,
        x: &[f64],
        draft: bool,
    ) -> Vector {
        let Some(adapters) = self.config.adapters().filter(|_| draft) else { return products };
        let ([inputs, outputs], [a, b]) = (part.sizes(&self.config), part.names(layer));
        let inner = multiply(&self.weight(&a, &[adapters.rank, inputs]), x);
        let delta = multiply(&self.weight(&b, &[outputs, adapters.rank]), &inner);
        let scale = adapters.alpha / adapters.rank as f64;
        products.iter().zip(&delta).map(|(y, d)| y + scale * d).collect()
    }

    fn attention(
        &self,
        layer: usize,
        x: &[f64],
        kv: &mut Vec<(Vector, Vector)>,
        draft: bool,
    ) -> Vector {
        let c = &self.config;
        let (hidden, dim, heads, kv_heads) =
            (c.hidden_size, c.head_dim(), c.num_attention_heads, c.kv_heads());
        let norm = self.layer_weight(layer, "input_layernorm", &[hidden]);
        let h = rms_norm(x, &norm, c.rms_norm_eps);
        let project = |name: &str, heads: usize| {
            multiply(&self.layer_weight(layer, name, &[heads * dim, hidden]), &h)
        };
        let qkv = [("q", heads), ("k", kv_heads), ("v", kv_heads)]
            .map(|(name, heads)| project(&format!("self_attn.{name}_proj"), heads))
            .concat();
        let qkv = self.adapted(layer, Part::Qkv, qkv, &h, draft);
        let (q, kv_rows) = qkv.split_at(heads * dim);
        let (k, v) = kv_rows.split_at(kv_heads * dim);
        let q = self.rotate(q, kv.len());
        kv.push((self.rotate(k, kv.len()), v.to_vec()));
        let mut attended = vec![0.0; heads * dim];
        for head in 0..heads {
            let at = head / (heads / kv_heads) * dim;
            let q = &q[head * dim..][..dim];
            let score = |k: &Vector| q.iter().zip(&k[at..]).map(|(q, k)| q * k).sum::<f64>();
            let weights: Vector =
                kv.iter().map(|(k, _)| (score(k) / (dim as f64).sqrt()).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (weight, (_, v)) in weights.iter().zip(kv.iter()) {
                for i in 0..dim {
                    attended[head * dim + i] += weight / total * v[at + i];
                }
            }
        }
        let out = self.layer_weight(layer, "self_attn.o_proj", &[hidden, heads * dim]);
        let out = multiply(&out, &attended);
        add(x, &self.adapted(layer, Part::AttentionOut, out, &attended, draft))
    }

    fn mlp(&self, layer: usize, x: &[f64], draft: bool) -> Vector {
        let (hidden, neurons) = (self.config.hidden_size, self.config.intermediate_size);
        let norm = self.layer_weight(layer, "post_attention_layernorm", &[hidden]);
        let h = rms_norm(x, &norm, self.config.rms_norm_eps);
        let gate = multiply(&self.layer_weight(layer, "mlp.gate_proj", &[neurons, hidden]), &h);
        let up = multiply(&self.layer_weight(layer, "mlp.up_proj", &[neurons, hidden]), &h);
        let both = self.adapted(layer, Part::GateUp, [gate, up].concat(), &h, draft);
        let (gate, up) = both.split_at(neurons);
        let inner: Vector = gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
        let down = self.layer_weight(layer, "mlp.down_proj", &[hidden, neurons]);
        add(x, &self.adapted(layer, Part::Down, multiply(&down, &inner), &inner, draft))
    }

    /// The logits of one row that continues the text in `cache`. With a skip it is a row of a draft
    /// pass in simultaneous drafting, on which adapters act.
    pub fn step(&self, row: Result<u32, usize>, skip: Option<&Skip>, cache: &mut Cache) -> Vector {
        let mut x = self.embed(row);
        for (layer, kv) in cache.iter_mut().enumerate() {
            if skip.is_none_or(|skip| !skip.skips_attention(layer)) {
                x = self.attention(layer, &x, kv, skip.is_some());
            }
            if skip.is_none_or(|skip| !skip.skips_mlp(layer)) {
                x = self.mlp(layer, &x, skip.is_some());
            }
        }
        let c = &self.config;
        let norm = self.weight("model.norm.weight", &[c.hidden_size]);
        let head =
            if c.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" };
        let head = self.weight(head, &[c.vocab_size, c.hidden_size]);
        multiply(&head, &rms_norm(&x, &norm, c.rms_norm_eps))
    }

    /// The full-depth logits after every token.
    pub fn text(&self, tokens: &[u32], cache: &mut Cache) -> Vec<Vector> {
        tokens.iter().map(|&token| self.step(Ok(token), None, cache)).collect()
    }
}
