//! What a run leaves on disk: the state to go on from, and the model to use.

use super::params::Variable;
use super::{TrainConfig, Trainer};
use crate::corpus::prompts;
use crate::{Error, Result, Tokenizer};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;

const STATE_FILE: &str = "training.safetensors";
const TOKENIZER_FILE: &str = "tokenizer.json";

/// Writes through a temporary neighbour, so that the file is either the old or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("partial");
    std::fs::write(&temporary, bytes).map_err(|e| Error::io("write", &temporary, e))?;
    std::fs::rename(&temporary, path).map_err(|e| Error::io("create", path, e))
}

/// A view of `bytes` under the error type of this crate.
fn view<'a>(dtype: Dtype, shape: &[usize], bytes: &'a [u8]) -> Result<TensorView<'a>> {
    TensorView::new(dtype, shape.to_vec(), bytes)
        .map_err(|e| Error::invalid(format!("cannot describe a tensor of shape {shape:?}: {e}")))
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn values_of(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

impl Trainer {
    /// Writes the model into `dir`, which is created: `config.json`, `tokenizer.json` and
    /// `model.safetensors` in half precision, named as Hugging Face names Llama's tensors.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        let mut config = self.config.model.clone();
        if let Some(s3d) = &mut config.s3d {
            s3d.training_steps = Some(self.step);
        }
        config.save(dir)?;
        self.data.tokenizer.save(&dir.join(TOKENIZER_FILE))?;
        let path = dir.join("model.safetensors");
        let halves: Vec<(&Variable, Vec<u8>)> =
            self.network.layout.variables.iter().map(|v| (v, self.halves(v))).collect();
        let views = halves
            .iter()
            .map(|(v, bytes)| Ok((v.name.as_str(), view(Dtype::F16, &v.shape, bytes)?)))
            .collect::<Result<Vec<_>>>()?;
        let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let file = safetensors::serialize(views, Some(about))
            .map_err(|e| Error::malformed(&path, e.to_string()))?;
        write_whole(&path, &file)
    }

    /// Writes `count` held-out prompts into `prompts.jsonl` of `dir`, one JSON object per line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_prompts(&self, dir: &Path, count: usize) -> Result<()> {
        let path = dir.join("prompts.jsonl");
        let lines = prompts(self.config.seed, count)
            .iter()
            .map(|prompt| Ok(serde_json::to_string(prompt)? + "\n"))
            .collect::<serde_json::Result<String>>()
            .map_err(|e| Error::malformed(&path, e.to_string()))?;
        write_whole(&path, lines.as_bytes())
    }

    fn halves(&self, variable: &Variable) -> Vec<u8> {
        let values = &self.weights[variable.range.clone()];
        values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()
    }

    /// Writes everything that [`Trainer::resume`] needs into `dir`, which is created.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn checkpoint(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        self.data.tokenizer.save(&dir.join(TOKENIZER_FILE))?;
        let path = dir.join(STATE_FILE);
        let config = serde_json::to_string(&self.config)
            .map_err(|e| Error::malformed(&path, e.to_string()))?;
        let about = HashMap::from([
            ("config".to_owned(), config),
            ("step".to_owned(), self.step.to_string()),
        ]);
        let parts = [
            ("weights", bytes_of(&self.weights)),
            ("first", bytes_of(&self.adam.first)),
            ("second", bytes_of(&self.adam.second)),
        ];
        let views = parts
            .iter()
            .map(|(name, bytes)| Ok((*name, view(Dtype::F32, &[self.weights.len()], bytes)?)))
            .collect::<Result<Vec<_>>>()?;
        let file = safetensors::serialize(views, Some(about))
            .map_err(|e| Error::malformed(&path, e.to_string()))?;
        write_whole(&path, &file)
    }

    /// Goes on from [`Trainer::checkpoint`]: the same steps, to the bit, as if never interrupted.
    ///
    /// # Errors
    /// When a file is missing or is no checkpoint of this program.
    pub fn resume(dir: &Path, threads: usize) -> Result<Self> {
        Self::resume_changed(dir, threads, |_| ())
    }

    /// Goes on from [`Trainer::checkpoint`] under a changed recipe: more steps, say. Shape and seed stay.
    ///
    /// # Errors
    /// As [`Trainer::resume`]; and when the change does not fit the checkpoint.
    pub fn resume_changed(
        dir: &Path,
        threads: usize,
        change: impl FnOnce(&mut TrainConfig),
    ) -> Result<Self> {
        let path = dir.join(STATE_FILE);
        let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        let bad = |message: String| Error::malformed(&path, message);
        let (mut config, step) = read_about(&bytes).map_err(&bad)?;
        change(&mut config);
        let tokenizer = Tokenizer::load(&dir.join(TOKENIZER_FILE))?;
        let mut trainer = Self::with_tokenizer(config, tokenizer, threads)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| bad(e.to_string()))?;
        let read = |name: &str| {
            let tensor = tensors.tensor(name).map_err(|e| bad(e.to_string()))?;
            let values = values_of(tensor.data());
            if values.len() == trainer.weights.len() {
                Ok(values)
            } else {
                let (found, wanted) = (values.len(), trainer.weights.len());
                Err(bad(format!("{name} has {found} values, the shape in the file needs {wanted}")))
            }
        };
        let (weights, first, second) = (read("weights")?, read("first")?, read("second")?);
        trainer.weights = weights;
        (trainer.adam.first, trainer.adam.second) = (first, second);
        trainer.step = step;
        Ok(trainer)
    }
}

/// Configuration and step from the header of a checkpoint.
fn read_about(bytes: &[u8]) -> std::result::Result<(TrainConfig, u64), String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let about = metadata.metadata().as_ref().ok_or("not a training checkpoint")?;
    let entry = |key: &str| about.get(key).ok_or_else(|| format!("its header has no \"{key}\""));
    let config = serde_json::from_str(entry("config")?).map_err(|e| format!("config: {e}"))?;
    let step = entry("step")?.parse().map_err(|e| format!("step: {e}"))?;
    Ok((config, step))
}
