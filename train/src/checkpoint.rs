//! What a run leaves on disk: the state to go on from, and the model to use.

use crate::corpus::{Prompt, prompts};
use crate::data::samples::Pieces;
use crate::layout::Variable;
use crate::recipe::TrainConfig;
use crate::trainer::{Trainer, not_finite};
use s3d_data::{Dtype as Number, store};
use s3d_kernels::packed::row_bytes;
use s3d_model::config::S3dConfig;
use s3d_model::weights::{ADDED_FILE, AddedConfig, DRAFT_VOCABULARY, DraftVocabulary, encode_row};
use s3d_model::{Error, ModelConfig, Result, Tokenizer};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const STATE_FILE: &str = "training.safetensors";
const TOKENIZER_FILE: &str = "tokenizer.json";
const PROMPTS_FILE: &str = "prompts.jsonl";

/// Writes so that the file is either the old or the new one, never a part of it, and never through
/// a link.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(store::save_atomically(path, bytes)?)
}

/// A view of `bytes` under the error type of this crate.
fn view<'a>(dtype: Dtype, shape: &[usize], bytes: &'a [u8]) -> Result<TensorView<'a>> {
    TensorView::new(dtype, shape.to_vec(), bytes)
        .map_err(|e| Error::invalid(format!("cannot describe a tensor of shape {shape:?}: {e}")))
}

/// A draft vocabulary as a tensor, by its name.
pub(crate) fn list_view(bytes: &[u8]) -> Result<(&'static str, TensorView<'_>)> {
    Ok((DRAFT_VOCABULARY, view(Dtype::U32, &[bytes.len() / size_of::<u32>()], bytes)?))
}

/// The bytes of a safetensors file with these tensors, which is to be written to `path`.
pub(crate) fn serialize(views: Vec<(&str, TensorView<'_>)>, path: &Path) -> Result<Vec<u8>> {
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(about)).map_err(|e| Error::malformed(path, e.to_string()))
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn values_of(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

impl Trainer {
    /// Writes the model into `dir`, which is created: `config.json`, `tokenizer.json` and
    /// `model.safetensors`, named as Hugging Face names Llama's tensors. Where the run began with a
    /// folder, its other files are copied; with adapters its weights are too, as they are, and what
    /// was added stands in files of its own, `s3d.safetensors` and `s3d.json`. Where the run began
    /// with a single file, what was added is all that is written.
    ///
    /// # Errors
    /// When a file cannot be written, the folder is that of the checkpoint itself, or a weight is
    /// not finite.
    pub fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        let mut s3d = self.config.model.s3d.clone();
        if let Some(s3d) = &mut s3d {
            s3d.training_steps = Some(self.step);
            s3d.draft_vocabulary = self.draft_vocabulary.as_ref().map(|list| list.ids().len());
            if let Some(windows) = &self.config.practice.windows {
                s3d.other.insert("trained_windows".into(), serde_json::json!(windows));
            }
        }
        let variables = self.network.layout.variables.iter();
        match &self.folder {
            None => {
                let config = ModelConfig { s3d, ..self.config.model.clone() };
                let path = dir.join("config.json");
                let text = serde_json::to_string_pretty(&config)
                    .map_err(|e| Error::malformed(&path, e.to_string()))?;
                write_whole(&path, (text + "\n").as_bytes())?;
                write_whole(&dir.join(TOKENIZER_FILE), self.data.tokenizer.to_json()?.as_bytes())?;
            }
            Some(_) if self.keeps_text() => return self.save_added(dir, s3d.unwrap_or_default()),
            Some(from) => {
                copy_files(from, dir, false)?;
                save_config(from, dir, s3d)?;
            }
        }
        let number = match self.config.model.dtype.as_deref() {
            Some("float32") => Number::F32,
            Some("bfloat16") => Number::Bf16,
            _ => Number::F16,
        };
        self.save_tensors(variables, number, &dir.join("model.safetensors"))
    }

    /// What was added to a checkpoint, and, where that is a folder, its files.
    fn save_added(&self, dir: &Path, s3d: S3dConfig) -> Result<()> {
        if let Some(from) = self.folder.as_ref().filter(|from| from.is_dir()) {
            copy_files(from, dir, true)?;
            save_config(from, dir, Some(s3d.clone()))?;
        }
        // After the copy, which may bring a file of this name.
        let added = self.network.layout.variables.iter().filter(|v| !v.is_models_own());
        self.save_tensors(added, Number::F16, &dir.join(ADDED_FILE))?;
        match &self.base {
            Some(base) => AddedConfig::new(s3d, base.clone()).save(dir),
            None => Ok(()),
        }
    }

    fn save_tensors<'v>(
        &self,
        variables: impl Iterator<Item = &'v Variable>,
        number: Number,
        path: &Path,
    ) -> Result<()> {
        let kind = match number {
            Number::F32 => Dtype::F32,
            Number::Bf16 => Dtype::BF16,
            _ => Dtype::F16,
        };
        let weights = self.host_weights()?;
        let bytes = |variable: &'v Variable| {
            let values = &weights[variable.range.clone()];
            let most = if number == Number::F16 { f32::from(half::f16::MAX) } else { f32::MAX };
            if let Some(value) = values.iter().find(|value| value.is_nan() || value.abs() > most) {
                return Err(Error::malformed(
                    path,
                    format!(
                        "training made {value} of a weight of '{}', which {number} cannot hold; \
                         nothing is \
                         written. Train anew with a lower --learning-rate",
                        variable.name
                    ),
                ));
            }
            let mut bytes = vec![0; row_bytes(number, values.len())];
            encode_row(number, values, &mut bytes);
            Ok((variable, bytes))
        };
        let tensors: Vec<(&Variable, Vec<u8>)> = variables.map(bytes).collect::<Result<_>>()?;
        let mut views = tensors
            .iter()
            .map(|(v, bytes)| Ok((v.name.as_str(), view(kind, &v.shape, bytes)?)))
            .collect::<Result<Vec<_>>>()?;
        let list = self.draft_vocabulary.as_ref().map(DraftVocabulary::to_bytes);
        views.extend(list.as_deref().map(list_view).transpose()?);
        write_whole(path, &serialize(views, path)?)
    }

    /// Writes `count` held-out prompts into `prompts.jsonl` of `dir`, one JSON object per line;
    /// where the run began with a checkpoint that has prompts, they stay; where it was trained on
    /// the model's own texts, their prompts are the caller's, and nothing is written.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_prompts(&self, dir: &Path, count: usize) -> Result<()> {
        let path = dir.join(PROMPTS_FILE);
        let has_prompts =
            self.folder.as_ref().is_some_and(|from| from.join(PROMPTS_FILE).is_file());
        if has_prompts || matches!(self.data.pieces, Pieces::Written { .. }) {
            return Ok(());
        }
        let lines = self
            .prompts(count)?
            .iter()
            .map(|prompt| Ok(serde_json::to_string(prompt)? + "\n"))
            .collect::<serde_json::Result<String>>()
            .map_err(|e| Error::malformed(&path, e.to_string()))?;
        write_whole(&path, lines.as_bytes())
    }

    /// Beginnings of held-out texts.
    fn prompts(&self, count: usize) -> Result<Vec<Prompt>> {
        if self.folder.is_none() {
            return Ok(prompts(self.config.seed, count));
        }
        let mut found = Vec::new();
        for (number, start) in self.data.starts(count)?.into_iter().enumerate() {
            let text = self.data.tokenizer.decode(&start.tokens)?;
            let id = format!("{}-{}", start.task, number + 1);
            found.push(Prompt { id, task: start.task, text });
        }
        found.retain(|prompt| !prompt.text.is_empty());
        Ok(found)
    }

    /// Writes everything that [`Trainer::resume`] needs into `dir`, which is created.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn checkpoint(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        write_whole(&dir.join(TOKENIZER_FILE), self.data.tokenizer.to_json()?.as_bytes())?;
        let path = dir.join(STATE_FILE);
        let config = serde_json::to_string(&self.config)
            .map_err(|e| Error::malformed(&path, e.to_string()))?;
        let about = HashMap::from([
            ("config".to_owned(), config),
            ("step".to_owned(), self.step.to_string()),
        ]);
        let weights = &self.host_weights()?[self.network.layout.trained.clone()];
        if !weights.iter().all(|weight| weight.is_finite()) {
            return Err(not_finite(self.step));
        }
        let parts = [
            ("weights", bytes_of(weights)),
            ("first", bytes_of(&self.adam.first)),
            ("second", bytes_of(&self.adam.second)),
        ];
        let views = parts
            .iter()
            .map(|(name, bytes)| Ok((*name, view(Dtype::F32, &[weights.len()], bytes)?)))
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

    /// Goes on from [`Trainer::checkpoint`] under a changed recipe: more steps, say. Shape and seed
    /// stay.
    ///
    /// # Errors
    /// As [`Trainer::resume`]; and when the change does not fit the checkpoint.
    pub(crate) fn resume_changed(
        dir: &Path,
        threads: usize,
        change: impl FnOnce(&mut TrainConfig),
    ) -> Result<Self> {
        let (path, bytes) = read_state(dir)?;
        let (mut config, _) = read_about(&bytes).map_err(|m| Error::malformed(&path, m))?;
        change(&mut config);
        let tokenizer = Tokenizer::load(&dir.join(TOKENIZER_FILE))?;
        let mut trainer = Self::with_tokenizer(config, tokenizer, threads)?;
        trainer.take_state(&bytes, &path)?;
        Ok(trainer)
    }

    /// Goes on from [`Trainer::checkpoint`] in a fresh run with the same recipe, checkpoint and
    /// texts; with `any_length` the run is as long as the state says.
    ///
    /// # Errors
    /// As [`Trainer::resume`]; and when the state is of another run.
    pub fn go_on(&mut self, dir: &Path, any_length: bool) -> Result<()> {
        let (path, bytes) = read_state(dir)?;
        let (config, _) = read_about(&bytes).map_err(|m| Error::malformed(&path, m))?;
        if any_length {
            (self.config.steps, self.config.warmup) = (config.steps, config.warmup);
        }
        if config != self.config {
            let message = format!(
                "holds a training {}; give another folder, or remove this one to start over",
                difference(&config, &self.config)
            );
            return Err(Error::malformed(&path, message));
        }
        self.take_state(&bytes, &path)
    }

    /// Weights, moments and step of a state.
    fn take_state(&mut self, bytes: &[u8], path: &Path) -> Result<()> {
        let bad = |message: String| Error::malformed(path, message);
        let (_, step) = read_about(bytes).map_err(bad)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| bad(e.to_string()))?;
        let wanted = self.network.layout.trained.len();
        let read = |name: &str| {
            let tensor = tensors.tensor(name).map_err(|e| bad(e.to_string()))?;
            let values = values_of(tensor.data());
            match values.len() {
                found if found == wanted => Ok(values),
                found => Err(bad(format!(
                    "{name} has {found} values, the shape in the file needs {wanted}"
                ))),
            }
        };
        let (weights, first, second) = (read("weights")?, read("first")?, read("second")?);
        self.weights[self.network.layout.trained.clone()].copy_from_slice(&weights);
        (self.adam.first, self.adam.second, self.step) = (first, second, step);
        match self.card.take() {
            Some(card) => self.move_to(card.place.device()),
            None => Ok(()),
        }
    }
}

/// The state in `dir`: its path and its bytes.
fn read_state(dir: &Path) -> Result<(PathBuf, Vec<u8>)> {
    let path = dir.join(STATE_FILE);
    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    Ok((path, bytes))
}

/// In what a training that was found differs from the one that was asked for.
fn difference(found: &TrainConfig, wanted: &TrainConfig) -> String {
    let keys = |config: &TrainConfig| match serde_json::to_value(config) {
        Ok(Value::Object(keys)) => keys,
        _ => Map::new(),
    };
    let (found, wanted) = (keys(found), keys(wanted));
    match found.iter().find(|(key, value)| wanted.get(*key) != Some(*value)) {
        Some((key, _)) if key == "began_with" => "of another checkpoint or other texts".into(),
        Some((key, _)) if key == "model" => "with other masks or adapters".into(),
        Some((key, value)) => {
            let wanted = wanted.get(key).unwrap_or(&Value::Null);
            format!("with {key} {value}, but {wanted} was asked for")
        }
        None => "with other settings".into(),
    }
}

/// Copies the files of a checkpoint but its configuration; its weights if they are wanted.
fn copy_files(from: &Path, to: &Path, weights: bool) -> Result<()> {
    let same = |path: &Path| path.canonicalize().ok();
    if same(from) == same(to) {
        let message = "the trained checkpoint needs another folder than the one it began with";
        return Err(Error::malformed(to, message));
    }
    let entries = std::fs::read_dir(from).map_err(|e| Error::io("read", from, e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::io("read", from, e))?.path();
        let (Some(name), true) = (path.file_name(), path.is_file()) else { continue };
        let name = name.to_string_lossy();
        let is_weights =
            name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
        let other_form = [".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx"];
        // Hidden files say whose the folder is; texts of the model's own are no part of a
        // checkpoint.
        let of_the_folder = name.starts_with('.') || name == "texts.jsonl";
        let skip = of_the_folder
            || name == "config.json"
            || is_weights && !weights
            || other_form.iter().any(|end| name.ends_with(end));
        if !skip {
            copy_whole(&path, &to.join(&*name))?;
        }
    }
    Ok(())
}

/// Copies a file beside its target and renames it: never through a link, never half.
fn copy_whole(from: &Path, target: &Path) -> Result<()> {
    let partial = target.with_file_name(format!(
        ".s3d-copy-{}",
        target.file_name().unwrap_or_default().to_string_lossy()
    ));
    let _ = std::fs::remove_file(&partial);
    let copied = std::fs::copy(from, &partial).and_then(|_| std::fs::rename(&partial, target));
    copied.map_err(|e| {
        let _ = std::fs::remove_file(&partial);
        Error::io("write", target, e)
    })
}

/// The `config.json` of a checkpoint as it was, with what was added.
fn save_config(from: &Path, to: &Path, s3d: Option<S3dConfig>) -> Result<()> {
    let (path, target) = (from.join("config.json"), to.join("config.json"));
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let mut keys: Map<String, Value> =
        serde_json::from_str(&text).map_err(|e| Error::malformed(&path, e.to_string()))?;
    let bad = |e: serde_json::Error| Error::malformed(&target, e.to_string());
    keys.insert("s3d".into(), serde_json::to_value(s3d).map_err(bad)?);
    let text = serde_json::to_string_pretty(&keys).map_err(bad)?;
    write_whole(&target, (text + "\n").as_bytes())
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
