//! Weights from safetensors files: one, or several with an index.

use super::source::WeightSource;
use super::stored::{Stored, hash_files};
use crate::error::{Error, Result};
use crate::files::{open, read_text};
use crate::weights::draft_vocabulary::{DRAFT_VOCABULARY, DraftVocabulary};
use crate::weights::encoded::Matrix;
use s3d_data::Dtype;
use s3d_kernels::codes::number_type::NumberType;
use safetensors::tensor::{Dtype as Kind, Metadata, TensorInfo};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What training added to a checkpoint whose own files it left as they are.
pub const ADDED_FILE: &str = "s3d.safetensors";

/// A checkpoint in one file.
const SINGLE: &str = "model.safetensors";
/// The names of the files of a checkpoint in several.
const INDEX: &str = "model.safetensors.index.json";

/// Longest header that is read, in bytes: some 100,000 tensors; and longest index.
const HEADER_BYTES_MAX: u64 = 1 << 24;

/// The safetensors files of one folder.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    shards: Vec<Shard>,
    notes: Vec<String>,
}

/// One safetensors file.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    metadata: Metadata,
    /// Where the tensors begin in the file, in bytes.
    data_start: u64,
}

impl Checkpoint {
    /// Opens `model.safetensors`, or else the files that `model.safetensors.index.json` names (in
    /// this order, as transformers); and [`ADDED_FILE`] where there is one.
    ///
    /// # Errors
    /// When neither is there, or a file is not complete safetensors.
    pub fn open(folder: &Path) -> Result<Self> {
        let index = folder.join(INDEX);
        let (single, indexed) = (folder.join(SINGLE).exists(), index.exists());
        if !single && !indexed {
            let found = what_is_there(folder);
            let message =
                format!("cannot open weights: expected {SINGLE} or {INDEX}, found {found}");
            return Err(Error::malformed(folder, message));
        }
        let mut names = match indexed && !single {
            true => shard_names(&index)?,
            false => BTreeSet::from([SINGLE.to_string()]),
        };
        if folder.join(ADDED_FILE).is_file() {
            names.insert(ADDED_FILE.to_string());
        }
        let mut notes = Vec::new();
        if single && indexed {
            notes.push(format!("{INDEX} is not followed: {SINGLE} stands beside it and was read"));
        }
        if folder.join("adapter_config.json").exists() {
            notes.push(
                "adapter_config.json is not followed: the adapter is not applied; merge it into \
                 the model first"
                    .into(),
            );
        }
        let shards = names.iter().map(|name| Shard::open(folder.join(name)));
        let shards: Vec<Shard> = shards.collect::<Result<_>>()?;
        let mut seen = BTreeSet::new();
        let mut all = shards.iter().flat_map(|shard| shard.metadata.offset_keys());
        if let Some(twice) = all.find(|name| !seen.insert(name.clone())) {
            let message = format!("tensor '{}' stands in more than one file", shown(&twice));
            return Err(Error::malformed(folder, message));
        }
        Ok(Self { folder: folder.to_path_buf(), shards, notes })
    }

    /// Opens [`ADDED_FILE`] of `folder` alone.
    ///
    /// # Errors
    /// When it is not there or not complete safetensors.
    pub(crate) fn open_added(folder: &Path) -> Result<Self> {
        let shards = vec![Shard::open(folder.join(ADDED_FILE))?];
        Ok(Self { folder: folder.to_path_buf(), shards, notes: Vec::new() })
    }

    /// The tensor `name` and the file that holds it.
    fn find(&self, name: &str, shape: &[usize]) -> Result<(&Shard, &TensorInfo)> {
        let found = self.shards.iter().find_map(|s| s.metadata.info(name).map(|i| (s, i)));
        let Some((shard, info)) = found else {
            let message = format!("no tensor '{name}', which config.json requires");
            return Err(Error::malformed(&self.folder, message));
        };
        if info.shape != shape {
            let message = format!(
                "tensor '{name}' has shape {:?}; config.json calls for {shape:?}",
                info.shape
            );
            return Err(Error::malformed(&shard.path, message));
        }
        Ok((shard, info))
    }
}

/// A name of a file, as messages show it.
fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

/// What a folder without safetensors holds instead, and what to do.
pub(crate) fn what_is_there(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(10_000);
    let names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let ends = |end: &str| names.iter().find(|name| name.ends_with(end)).map(|name| shown(name));
    let begins = |start: &str| names.iter().any(|name| name.starts_with(start));
    if begins("adapter_config.json") {
        "an adapter alone (adapter_config.json): merge it into its base model first \
         (merge_and_unload of peft) and save that"
            .to_string()
    } else if begins("consolidated.") {
        "weights in their maker's own form (consolidated): take the model's folder in the form \
         of transformers, or convert it with transformers' script for this architecture"
            .to_string()
    } else if begins("pytorch_model") || ends(".bin").is_some() || ends(".pth").is_some() {
        "weights as PyTorch pickles (pytorch_model.bin), which are programs and are not read: \
         load the folder with transformers and save it again (save_pretrained writes \
         safetensors)"
            .to_string()
    } else if let Some(file) = ends(".gguf") {
        format!("a GGUF file: give {file} itself")
    } else if begins("model-") && ends(".safetensors").is_some() {
        format!("parts of a checkpoint without {INDEX}: fetch it too")
    } else {
        "no such file".to_string()
    }
}

/// The files named by an index, each once.
fn shard_names(index: &Path) -> Result<BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let text = read_text(index, HEADER_BYTES_MAX)?;
    let parsed: Index =
        serde_json::from_str(&text).map_err(|e| Error::malformed(index, e.to_string()))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    match names.iter().find(|name| Path::new(name).components().count() != 1) {
        Some(name) => {
            Err(Error::malformed(index, format!("'{}' is not a plain file name", shown(name))))
        }
        None => Ok(names),
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self> {
        let (mut file, length) = open(&path)?;
        let header = read_header(&mut file, &path, length)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|e| Error::malformed(&path, format!("not a safetensors header: {e}")))?;
        let data_start = header.len() as u64 + 8;
        let expected = data_start.saturating_add(metadata.data_len() as u64);
        if length != expected {
            let message = format!(
                "the header promises {expected} bytes, the file has {length}; it is incomplete \
                 or damaged, fetch or train it again"
            );
            return Err(Error::malformed(&path, message));
        }
        Ok(Self { path, metadata, data_start })
    }

    /// Where the numbers of a tensor of this file stand.
    fn stored<'s>(&'s self, name: &'s str, info: &TensorInfo) -> Result<Stored<'s>> {
        let kind = match info.dtype {
            Kind::F32 => NumberType::F32,
            Kind::F16 => NumberType::F16,
            Kind::BF16 => NumberType::Bf16,
            other => {
                let message =
                    format!("tensor '{name}' has number type {other:?}; expected F32, F16 or BF16");
                return Err(Error::malformed(&self.path, message));
            }
        };
        Ok(self.place(name, kind, info))
    }

    /// The same, taken for numbers of `kind`.
    fn place<'s>(&'s self, name: &'s str, kind: NumberType, info: &TensorInfo) -> Stored<'s> {
        let (start, end) = info.data_offsets;
        let (start, bytes) = (self.data_start + start as u64, (end - start) as u64);
        Stored { path: &self.path, name, kind, start, bytes }
    }
}

/// The JSON header of a safetensors file, which eight bytes with its length precede.
fn read_header(file: &mut File, path: &Path, length: u64) -> Result<Vec<u8>> {
    let mut prefix = [0; 8];
    if length < 8 {
        let message = format!("a safetensors file has at least 8 bytes, this one has {length}");
        return Err(Error::malformed(path, message));
    }
    file.read_exact(&mut prefix).map_err(|e| Error::io("read", path, e))?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > (length - 8).min(HEADER_BYTES_MAX) {
        let message = format!(
            "the header should have {header_len} bytes, {} follow; the file is incomplete or not \
             safetensors",
            length - 8
        );
        return Err(Error::malformed(path, message));
    }
    let mut bytes = Vec::new();
    file.take(header_len).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    Ok(bytes)
}

impl WeightSource for Checkpoint {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (shard, info) = self.find(name, shape)?;
        shard.stored(name, info)?.values()
    }

    fn matrix(&self, name: &str, shape: [usize; 2], wanted: Dtype) -> Result<Matrix> {
        let (shard, info) = self.find(name, &shape)?;
        shard.stored(name, info)?.matrix(shape[1], wanted)
    }

    fn rows(
        &self,
        name: &str,
        shape: [usize; 2],
        rows: Range<usize>,
        wanted: Dtype,
    ) -> Result<Option<Matrix>> {
        let (shard, info) = self.find(name, &shape)?;
        shard.stored(name, info)?.rows(rows, shape[1]).matrix(shape[1], wanted).map(Some)
    }

    fn draft_vocabulary(&self, count: usize, vocab: usize) -> Result<DraftVocabulary> {
        let name = DRAFT_VOCABULARY;
        let (shard, info) = self.find(name, &[count])?;
        let number: fn([u8; 4]) -> i64 = match info.dtype {
            Kind::U32 => |bytes| i64::from(u32::from_le_bytes(bytes)),
            Kind::I32 => |bytes| i64::from(i32::from_le_bytes(bytes)),
            other => {
                let message =
                    format!("tensor '{name}' has number type {other:?}; expected U32 or I32");
                return Err(Error::malformed(&shard.path, message));
            }
        };
        let bytes = shard.place(name, NumberType::F32, info).bytes()?;
        let ids: Vec<i64> =
            bytes.chunks_exact(4).map(|b| number([b[0], b[1], b[2], b[3]])).collect();
        DraftVocabulary::new(&ids, vocab).map_err(|message| Error::malformed(&shard.path, message))
    }

    fn names(&self) -> Vec<String> {
        self.shards.iter().flat_map(|shard| shard.metadata.tensors().into_keys()).collect()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn content_hash(&self) -> Result<String> {
        hash_files(self.shards.iter().map(|shard| &shard.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    fn write(path: &Path, name: &str, dtype: Kind, bytes: &[u8], shape: &[usize]) {
        let view = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
        safetensors::serialize_to_file([(name, view)], None, path).unwrap();
    }

    #[test]
    fn the_three_number_types_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        // source: IEEE 754 bit patterns of 1, -2, 0.5 in little-endian order
        let cases: [(Kind, &[u8]); 3] = [
            (Kind::F32, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f]),
            (Kind::F16, &[0, 0x3c, 0, 0xc0, 0, 0x38]),
            (Kind::BF16, &[0x80, 0x3f, 0, 0xc0, 0, 0x3f]),
        ];
        for (dtype, bytes) in cases {
            write(&path, "x", dtype, bytes, &[3]);
            let checkpoint = Checkpoint::open(dir.path()).unwrap();
            assert_eq!(checkpoint.tensor("x", &[3]).unwrap(), [1.0, -2.0, 0.5]);
            assert_eq!(checkpoint.content_hash().unwrap().len(), 64);
        }
        write(&path, "x", Kind::I8, &[1], &[1]);
        let error = Checkpoint::open(dir.path()).unwrap().tensor("x", &[1]).unwrap_err();
        assert!(error.to_string().contains("F16"), "{error}");
    }

    #[test]
    fn shards_are_found_through_the_index() {
        let dir = tempfile::tempdir().unwrap();
        let one = 1.0f32.to_le_bytes();
        write(&dir.path().join("a.safetensors"), "x", Kind::F32, &one, &[1]);
        write(&dir.path().join("b.safetensors"), "y", Kind::F32, &one, &[1]);
        let index = dir.path().join("model.safetensors.index.json");
        let map = r#"{"weight_map":{"x":"a.safetensors","y":"b.safetensors"}}"#;
        std::fs::write(&index, map).unwrap();
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.tensor("y", &[1]).unwrap(), [1.0]);
        assert_eq!(checkpoint.names().len(), 2);
        std::fs::write(&index, r#"{"weight_map":{"x":"../a.safetensors"}}"#).unwrap();
        let error = Checkpoint::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("plain file name"), "{error}");
    }

    #[test]
    fn damaged_and_unfitting_files_are_named_with_what_was_expected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let open = || Checkpoint::open(dir.path());
        assert!(open().unwrap_err().to_string().contains("cannot open weights"));
        write(&path, "x", Kind::F32, &[0; 16], &[2, 2]);
        let error = open().unwrap().tensor("x", &[4, 1]).unwrap_err().to_string();
        assert!(error.contains("[2, 2]") && error.contains("[4, 1]"), "{error}");
        assert!(open().unwrap().tensor("y", &[1]).unwrap_err().to_string().contains("'y'"));
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = open().unwrap_err().to_string();
            assert!(error.contains("model.safetensors"), "{length}: {error}");
        }
    }
}
