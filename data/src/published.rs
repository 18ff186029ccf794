//! Published figures, for tables that set our results beside others'. Every row carries its
//! citation.
//!
//! What was not to be had stays empty: a user's own CSV with the columns of `systems.csv` fills it
//! ([`load_systems`]).

use crate::error::{Error, Result};
use crate::shape::ModelShape;
use crate::store;
use crate::units::Seconds;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where a figure was published.
pub trait Cited {
    /// The publication and the place in it.
    fn citation(&self) -> &str;
    /// Its address.
    fn url(&self) -> &str;
}

macro_rules! cited {
    ($($row:ty),*) => {
        $(impl Cited for $row {
            fn citation(&self) -> &str {
                &self.citation
            }
            fn url(&self) -> &str {
                &self.url
            }
        })*
    };
}

cited!(System, SpecBench, LayerSkipping, EarlyExit, Claim, Shape);

/// A decoding system on one GPU, target model and task: a row of `systems.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct System {
    /// Graphics card.
    pub gpu: String,
    /// Target model.
    pub target: String,
    /// Decoding method; `autoregressive` = plain.
    pub method: String,
    /// Task or data set.
    pub task: String,
    /// Tokens per second.
    pub tokens_per_s: Option<f64>,
    /// Speedup over autoregressive decoding.
    pub speedup: Option<f64>,
    /// Tokens per iteration.
    pub tokens_per_iteration: Option<f64>,
    /// Peak memory in GiB.
    pub peak_memory_gib: Option<f64>,
    /// Precision, batch, framework.
    #[serde(default)]
    pub conditions: String,
    /// The publication and the place in it.
    #[serde(default)]
    pub citation: String,
    /// Its address.
    #[serde(default)]
    pub url: String,
}

/// Speedups by task: a row of `spec_bench.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecBench {
    /// Graphics card.
    pub gpu: String,
    /// Target model.
    pub target: String,
    /// Decoding method.
    pub method: String,
    /// Speedup on multi-turn conversation.
    pub conversation: f64,
    /// Speedup on translation.
    pub translation: f64,
    /// Speedup on summarisation.
    pub summarisation: f64,
    /// Speedup on question answering.
    pub qa: f64,
    /// Speedup on mathematical reasoning.
    pub math: f64,
    /// Speedup on retrieval-augmented generation.
    pub rag: f64,
    /// Mean tokens per iteration.
    pub tokens_per_iteration: f64,
    /// Speedup over all tasks.
    pub speedup_overall: f64,
    /// Precision, batch.
    pub conditions: String,
    /// The publication and the place in it.
    pub citation: String,
    /// Its address.
    pub url: String,
}

/// A result of a layer-skipping method, the failures included: a row of `layer_skipping.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSkipping {
    /// Target model.
    pub model: String,
    /// Graphics card.
    pub gpu: String,
    /// Task or data set.
    pub task: String,
    /// What was skipped and how drafting stopped.
    pub setting: String,
    /// Speedup; lower end where a range was given.
    pub speedup_low: f64,
    /// Speedup; upper end where a range was given.
    pub speedup_high: f64,
    /// Accepted over drafted tokens.
    pub accepted_over_drafted: Option<f64>,
    /// Drafted tokens per iteration.
    pub drafted_per_iteration: Option<f64>,
    /// Accepted tokens per iteration.
    pub accepted_per_iteration: Option<f64>,
    /// Seconds per token of plain decoding.
    pub plain_seconds_per_token: Option<f64>,
    /// Seconds per token of speculative decoding.
    pub speculative_seconds_per_token: Option<f64>,
    /// What else to know.
    pub note: String,
    /// The publication and the place in it.
    pub citation: String,
    /// Its address.
    pub url: String,
}

/// Generation time against exit layer: a row of `early_exit.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyExit {
    /// The layer after which drafting exits; null for plain decoding.
    pub exit_layer: Option<usize>,
    /// Time of one generation.
    pub generation_seconds: Seconds,
    /// Speedup over plain decoding.
    pub speedup: f64,
    /// The publication and the place in it.
    pub citation: String,
    /// Its address.
    pub url: String,
}

/// What is known of the S3D paper's own results: a row of `s3d_claims.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// What is claimed.
    pub claim: String,
    /// Lower end, where one is given.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// The unit of both.
    pub unit: String,
    /// Whether it was read in another publication than the paper.
    pub second_hand: bool,
    /// The publication and the place in it.
    pub citation: String,
    /// Its address.
    pub url: String,
}

/// The published shape of a model: a row of `shapes.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// The model.
    pub name: String,
    /// Its short name on command lines and in the folders of profiles.
    pub preset: String,
    /// Decoder layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the gated MLP.
    pub intermediate: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Vocabulary.
    pub vocab: usize,
    /// Whether the head shares the embedding's weights.
    pub tied: bool,
    /// The publication and the place in it.
    pub citation: String,
    /// Its address.
    pub url: String,
}

impl Shape {
    /// The shape as the project computes with it: without mask embeddings.
    pub fn shape(&self) -> ModelShape {
        ModelShape {
            layers: self.layers,
            hidden: self.hidden,
            intermediate: self.intermediate,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            vocab: self.vocab,
            tied: self.tied,
            masks: 0,
            adapter_rank: 0,
            draft_vocab: 0,
        }
    }
}

/// Published systems: the main table of the Beagle paper, by the first author of S3D.
///
/// # Errors
/// Never in a build that passes its tests.
pub fn systems() -> Result<Vec<System>> {
    embedded("systems.csv", include_str!("../published/systems.csv"))
}

/// The Spec-Bench leaderboard for a 7B model.
///
/// # Errors
/// As [`systems`].
pub fn spec_bench() -> Result<Vec<SpecBench>> {
    embedded("spec_bench.csv", include_str!("../published/spec_bench.csv"))
}

/// Results of layer-skipping methods from papers, logs and reproductions.
///
/// # Errors
/// As [`systems`].
pub fn layer_skipping() -> Result<Vec<LayerSkipping>> {
    embedded("layer_skipping.csv", include_str!("../published/layer_skipping.csv"))
}

/// Generation time of an early-exit model against its exit layer.
///
/// # Errors
/// As [`systems`].
pub fn early_exit() -> Result<Vec<EarlyExit>> {
    embedded("early_exit.csv", include_str!("../published/early_exit.csv"))
}

/// What is known of the S3D paper's own results.
///
/// # Errors
/// As [`systems`].
pub fn s3d_claims() -> Result<Vec<Claim>> {
    embedded("s3d_claims.csv", include_str!("../published/s3d_claims.csv"))
}

/// Published model shapes.
///
/// # Errors
/// As [`systems`].
pub fn shapes() -> Result<Vec<Shape>> {
    embedded("shapes.csv", include_str!("../published/shapes.csv"))
}

/// The published shape with a short name, such as `llama-2-7b`.
///
/// # Errors
/// A name that no shape has; the known ones are listed.
pub fn preset(name: &str) -> Result<Shape> {
    let shapes = shapes()?;
    let known: Vec<_> = shapes.iter().map(|shape| shape.preset.clone()).collect();
    shapes.into_iter().find(|shape| shape.preset == name).ok_or_else(|| {
        Error::invalid(format!("model '{name}': expected one of {}", known.join(", ")))
    })
}

/// A user's own table with the columns of `systems.csv`; rows without citation are cited by the
/// file.
///
/// # Errors
/// When the file cannot be read or a row has another form; the line is named.
pub fn load_systems(path: &Path) -> Result<Vec<System>> {
    let mut rows: Vec<System> = store::load_csv(path)?;
    for row in rows.iter_mut().filter(|row| row.citation.trim().is_empty()) {
        row.citation = format!("user's file {}", path.display());
    }
    Ok(rows)
}

fn embedded<T: DeserializeOwned>(name: &str, text: &str) -> Result<Vec<T>> {
    let path = Path::new("data/published").join(name);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader
        .deserialize()
        .map(|row| row.map_err(|e| Error::malformed(&path, e.to_string())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_cited<T: Cited + std::fmt::Debug>(rows: Result<Vec<T>>, count: usize) {
        let rows = rows.unwrap();
        assert_eq!(rows.len(), count);
        for row in rows {
            assert!(row.citation().len() > 10, "no citation: {row:?}");
            assert!(row.url().starts_with("https://"), "no address: {row:?}");
        }
    }

    #[test]
    fn every_row_has_its_citation() {
        assert_cited(systems(), 42 + 14);
        assert_cited(spec_bench(), 20);
        assert_cited(layer_skipping(), 23);
        assert_cited(early_exit(), 16);
        assert_cited(s3d_claims(), 6);
        assert_cited(shapes(), 6);
    }

    #[test]
    fn published_speedups_agree_with_published_speeds() {
        // source: the table itself: speedup is printed to one decimal, speeds to 0.1 tokens/s
        let rows = systems().unwrap();
        for row in rows.iter().filter(|row| row.gpu == "A10G" && row.task == "MT-Bench") {
            let plain = rows.iter().find(|other| {
                (&other.gpu, &other.target, &other.task) == (&row.gpu, &row.target, &row.task)
                    && other.method == "autoregressive"
            });
            let ratio = row.tokens_per_s.unwrap() / plain.unwrap().tokens_per_s.unwrap();
            assert!((ratio - row.speedup.unwrap()).abs() < 0.15, "{row:?}");
        }
    }

    #[test]
    fn published_shapes_have_their_published_parameter_counts() {
        // source: 6.74e9 (arXiv 2307.09288), 8.03e9 (arXiv 2407.21783), 3.8e9 (arXiv 2404.14219)
        // and 1.1e9 (arXiv 2401.02385)
        let published = [
            ("LLaMA-2-7B", 6.74e9),
            ("LLaMA-3", 8.03e9),
            ("Phi-3-mini", 3.82e9),
            ("TinyLlama", 1.1e9),
        ];
        for (name, parameters) in published {
            let row = shapes().unwrap().into_iter().find(|row| row.name == name).unwrap();
            let ratio = row.shape().parameters() as f64 / parameters;
            assert!((ratio - 1.0).abs() < 0.002, "{name}: {ratio}");
        }
    }

    #[test]
    fn a_users_table_needs_only_the_columns_of_the_paper() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.csv");
        std::fs::write(
            &path,
            "gpu,target,method,task,tokens_per_s,speedup,tokens_per_iteration,peak_memory_gib\n\
             A10G,Phi-3,S3D,MT-Bench,50.5,,,8.06\n",
        )
        .unwrap();
        let rows = load_systems(&path).unwrap();
        assert_eq!((rows[0].tokens_per_s, rows[0].speedup), (Some(50.5), None));
        assert!(rows[0].citation.starts_with("user's file "));
        std::fs::write(&path, "gpu\nA10G\n").unwrap();
        let message = load_systems(&path).unwrap_err().to_string();
        assert!(message.contains("mine.csv, line 2"), "{message}");
    }
}
