//! The shape of a checkpoint: `config.json` in the Hugging Face layout, read and written.
//!
//! One type for every use, for every architecture. Keys that only some have stay in
//! [`ModelConfig::other`]; `forms`, `rope` and `architecture` below say what they mean, `keys`
//! which of them there may be. What this engine adds stands under the key `"s3d"`.

pub(crate) mod adapter;
pub(crate) mod architecture;
mod check;
pub(crate) mod draft_over;
mod forms;
mod keys;
pub mod presets;
mod rope;
pub mod tensors;

pub use adapter::{PREFIX, Part};
pub use architecture::AttentionParts;
pub use draft_over::DraftOver;
pub use rope::Rope;

use crate::error::{Error, Result};
use crate::files::{TEXT_BYTES_MAX, read_text};
use s3d_data::{ModelShape, SkipWindow};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// A Llama-style decoder, as its `config.json` describes it. Unknown keys are kept and written
/// back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Width of the residual stream, in channels.
    pub hidden_size: usize,
    /// Neurons of the MLP.
    pub intermediate_size: usize,
    /// Decoder layers (`L` in the paper).
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; as many as query heads where the file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_key_value_heads: Option<usize>,
    /// Channels of one head; `hidden_size / num_attention_heads` where the file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Tokens of the vocabulary, special tokens included.
    pub vocab_size: usize,
    /// Added to the mean square in RMSNorm.
    #[serde(default = "default_epsilon")]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[serde(default = "default_theta")]
    pub rope_theta: f64,
    /// Whether the head is the embedding matrix.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Longest text, in tokens.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    /// Begin-of-text token.
    #[serde(default)]
    pub bos_token_id: Option<u32>,
    /// End-of-text token or tokens.
    #[serde(default)]
    pub eos_token_id: Option<EndTokens>,
    /// Number type of the weights in the file, `float16` for instance; informative.
    #[serde(default, alias = "torch_dtype", skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// What self-speculative decoding adds to the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3d: Option<S3dConfig>,
    /// Every other key of the file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
    /// What was read in the file and is not followed, a line each.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// One end-of-text token, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EndTokens {
    /// The usual case.
    One(u32),
    /// Several tokens end a text.
    Many(Vec<u32>),
}

/// Low-rank adapters that act on draft rows alone (see [`crate::config::Part`]).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    /// Rank of every adapter.
    pub rank: usize,
    /// What an adapter computes is multiplied by `alpha / rank`.
    pub alpha: f64,
}

impl AdapterConfig {
    /// The usual: `alpha` is twice the rank.
    pub fn of_rank(rank: usize) -> Self {
        Self { rank, alpha: 2.0 * rank as f64 }
    }

    /// `alpha / rank`.
    pub fn scale(self) -> f32 {
        (self.alpha / self.rank as f64) as f32
    }
}

/// The key `"s3d"` of `config.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct S3dConfig {
    /// Trained mask embeddings: simultaneous drafting reaches `masks + 1` tokens.
    pub masks: usize,
    /// Adapters of draft rows, where drafting was trained beside the model's own weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapters: Option<AdapterConfig>,
    /// Tokens that drafts are chosen from, where they are listed
    /// ([`crate::weights::DRAFT_VOCABULARY`]); none: all of the vocabulary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft_vocabulary: Option<usize>,
    /// The plan that suits this checkpoint, as plans are written in text (`3..9:4`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Optimizer steps that the checkpoint was trained for, so that checkpoints of one training can
    /// be set in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_steps: Option<u64>,
    /// Anything else that training wants to record.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_theta() -> f64 {
    10_000.0
}

fn default_positions() -> usize {
    2048
}

impl ModelConfig {
    /// The windows that drafting was trained for, where training named them one by one
    /// (`trained_windows`); those that reach beyond the layers are left out.
    pub fn trained_windows(&self) -> Vec<SkipWindow> {
        let found = self.s3d.as_ref().and_then(|s3d| s3d.other.get("trained_windows"));
        let pairs: Vec<[usize; 2]> =
            found.and_then(|pairs| serde_json::from_value(pairs.clone()).ok()).unwrap_or_default();
        let within = |&[_, end]: &[usize; 2]| end <= self.num_hidden_layers;
        let window = |[start, end]: [usize; 2]| SkipWindow::new(start, end).ok();
        pairs.into_iter().filter(within).filter_map(window).collect()
    }

    /// The shipped preset: 12 layers of 256 channels, 8 heads sharing 4 key-value heads, 7 masks.
    pub fn story() -> Self {
        let mut other = Map::new();
        other.insert("architectures".into(), vec!["LlamaForCausalLM"].into());
        other.insert("hidden_act".into(), "silu".into());
        other.insert("model_type".into(), "llama".into());
        Self {
            hidden_size: 256,
            intermediate_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            num_key_value_heads: Some(4),
            head_dim: Some(32),
            vocab_size: 512,
            rms_norm_eps: 1e-5,
            rope_theta: default_theta(),
            tie_word_embeddings: true,
            max_position_embeddings: 1024,
            bos_token_id: None,
            eos_token_id: None,
            dtype: Some("float16".into()),
            s3d: Some(S3dConfig { masks: 7, ..S3dConfig::default() }),
            other,
            notes: Vec::new(),
        }
    }

    /// Reads `config.json` of the folder `dir`.
    ///
    /// # Errors
    /// When the file cannot be read, is not such JSON, or describes no model this engine can run.
    pub fn load(dir: &Path) -> Result<Self> {
        let mut config = Self::load_file(&dir.join("config.json"))?;
        config.take_end_tokens(&dir.join("generation_config.json"))?;
        Ok(config)
    }

    /// Reads such a file under any name.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_file(path: &Path) -> Result<Self> {
        let text = read_text(path, TEXT_BYTES_MAX)?;
        Self::from_json(&text).map_err(|message| Error::malformed(path, message))
    }

    /// End-of-text tokens of a `generation_config.json`, which may name more of them.
    fn take_end_tokens(&mut self, path: &Path) -> Result<()> {
        #[derive(Deserialize)]
        struct Ends {
            #[serde(default)]
            eos_token_id: Option<EndTokens>,
        }
        if !path.exists() {
            return Ok(());
        }
        let text = read_text(path, TEXT_BYTES_MAX)?;
        let ends: Ends =
            serde_json::from_str(&text).map_err(|e| Error::malformed(path, e.to_string()))?;
        self.eos_token_id = ends.eos_token_id.or(self.eos_token_id.take());
        Ok(())
    }

    /// Writes `config.json` into the folder `dir`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join("config.json");
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::malformed(&path, e.to_string()))?;
        std::fs::write(&path, text + "\n").map_err(|e| Error::io("write", &path, e))
    }

    /// Key and value heads.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Channels of one head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Trained mask embeddings.
    pub fn masks(&self) -> usize {
        self.s3d.as_ref().map_or(0, |s3d| s3d.masks)
    }

    /// Adapters of draft rows.
    pub fn adapters(&self) -> Option<AdapterConfig> {
        self.s3d.as_ref().and_then(|s3d| s3d.adapters)
    }

    /// Tokens that drafts are chosen from; none: all of the vocabulary.
    pub fn draft_vocabulary(&self) -> Option<usize> {
        self.s3d.as_ref().and_then(|s3d| s3d.draft_vocabulary)
    }

    /// The same model, which uses so much of its draft vocabulary.
    ///
    /// # Errors
    /// More tokens than it lists.
    pub fn drafting_over(&self, over: DraftOver) -> Result<Self> {
        let tokens = over.of(self.draft_vocabulary())?;
        let mut config = self.clone();
        if let Some(s3d) = &mut config.s3d {
            s3d.draft_vocabulary = tokens;
        }
        Ok(config)
    }

    /// The tokens that end a text.
    pub fn end_tokens(&self) -> &[u32] {
        match &self.eos_token_id {
            None => &[],
            Some(EndTokens::One(end)) => std::slice::from_ref(end),
            Some(EndTokens::Many(ends)) => ends,
        }
    }

    /// Whether `token` ends a text.
    pub fn is_end(&self, token: u32) -> bool {
        self.end_tokens().contains(&token)
    }

    /// Numbers of the checkpoint: those of [`Self::shape`], biases and norms of heads.
    pub fn parameters(&self) -> u64 {
        let Ok(parts) = self.attention_parts() else { return self.shape().parameters() };
        let heads = self.num_attention_heads + 2 * self.kv_heads();
        let extra = [
            (parts.qkv_bias, heads * self.head_dim()),
            (parts.out_bias, self.hidden_size),
            (parts.head_norms, 2 * self.head_dim()),
            (parts.mlp_bias, 2 * self.intermediate_size + self.hidden_size),
        ];
        let extra: usize = extra.iter().filter(|(has, _)| *has).map(|(_, numbers)| numbers).sum();
        self.shape().parameters() + (self.num_hidden_layers * extra) as u64
    }

    /// The sizes alone, for records and memory sums.
    pub fn shape(&self) -> ModelShape {
        ModelShape {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.num_attention_heads,
            kv_heads: self.kv_heads(),
            head_dim: self.head_dim(),
            vocab: self.vocab_size,
            tied: self.tie_word_embeddings,
            masks: self.masks(),
            adapter_rank: self.adapters().map_or(0, |adapters| adapters.rank),
            draft_vocab: self.draft_vocabulary().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_reads_back_with_its_unknown_keys() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = ModelConfig::story();
        config.other.insert("pretraining_tp".into(), 1.into());
        config.save(dir.path()).unwrap();
        assert_eq!(ModelConfig::load(dir.path()).unwrap(), config);
    }

    #[test]
    fn a_hugging_face_file_is_understood() {
        // source: the keys of a published Llama checkpoint (torch_dtype, list of end tokens, no
        // head_dim).
        let text = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":64,"intermediate_size":128,
            "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100,
            "rms_norm_eps":1e-5,"torch_dtype":"bfloat16","eos_token_id":[3,7],"rope_scaling":null,"hidden_act":"silu"}"#;
        let config: ModelConfig = serde_json::from_str(text).unwrap();
        config.validate().unwrap();
        assert_eq!((config.head_dim(), config.kv_heads(), config.masks()), (16, 2, 0));
        assert_eq!(config.dtype.as_deref(), Some("bfloat16"));
        assert!(config.is_end(7) && !config.is_end(4));
    }

    #[test]
    fn the_story_model_has_about_9_6_million_parameters() {
        // source: 12 * (3 * 256 * 768 + 256 * (2 * 256 + 2 * 128) + 2 * 256) + 512 * 256 + 7 * 256
        // + 256
        let shape = ModelConfig::story().shape();
        assert_eq!(shape.parameters() / 10_000, 957);
    }

    #[test]
    fn windows_that_drafting_was_trained_for_are_those_that_training_named() {
        let trained = |windows: &str| {
            let text = format!(r#"{{"masks":3,"trained_windows":{windows}}}"#);
            let s3d = Some(serde_json::from_str(&text).unwrap());
            ModelConfig { s3d, ..ModelConfig::story() }.trained_windows()
        };
        let window = |start, end| SkipWindow::new(start, end).unwrap();
        assert_eq!(trained("[[3,9],[1,10]]"), [window(3, 9), window(1, 10)]);
        // Beyond 12 layers, backwards, or by length alone: none.
        assert_eq!(trained("[[3,13],[9,3]]"), []);
        assert_eq!(trained(r#"{"symmetric":[3,9]}"#), []);
        assert_eq!(ModelConfig::story().trained_windows(), []);
    }

    #[test]
    fn what_cannot_run_is_named() {
        let broken = |change: fn(&mut ModelConfig)| {
            let mut config = ModelConfig::story();
            change(&mut config);
            config.validate().unwrap_err()
        };
        assert!(broken(|c| c.num_key_value_heads = Some(3)).contains("multiple"));
        assert!(broken(|c| c.hidden_size = 0).contains("hidden_size"));
        assert!(broken(|c| c.head_dim = Some(31)).contains("even"));
        let adapted = |masks, rank, alpha| S3dConfig {
            masks,
            adapters: Some(AdapterConfig { rank, alpha }),
            ..S3dConfig::default()
        };
        let refuse = |s3d: S3dConfig| {
            let config = ModelConfig { s3d: Some(s3d), ..ModelConfig::story() };
            config.validate().map_or_else(|error| error, |()| "fits".into())
        };
        assert_eq!(refuse(adapted(7, 16, 32.0)), "fits");
        assert!(refuse(adapted(7, 0, 32.0)).contains("rank"));
        assert!(refuse(adapted(7, 16, f64::NAN)).contains("alpha"));
        assert!(refuse(adapted(0, 16, 32.0)).contains("masks"));
        let scaled = |c: &mut ModelConfig| {
            c.other.insert("rope_scaling".into(), serde_json::json!({"type": "linear"}));
        };
        assert!(broken(scaled).contains("rope_scaling"));
    }
}
