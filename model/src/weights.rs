//! Where weights come from: safetensors files (one or sharded), or a seed.
//!
//! Tensors are read one by one, each converted to `f32` as it comes. Files are read and not mapped: a
//! mapped file that someone shortens ends the program, a read one gives an error.

use crate::kernels::row_bytes;
use crate::raw::{Matrix, RawTensor};
use crate::{Error, Result};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_data::Dtype;
use safetensors::tensor::{Dtype as Stored, Metadata, TensorInfo};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Gives the weights of a model by their names in a Hugging Face checkpoint.
pub trait WeightSource {
    /// The tensor `name` of `shape`, row by row.
    ///
    /// # Errors
    /// When there is no such tensor, it has another shape, or it cannot be read.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;

    /// The matrix `name` of `shape`, as the source holds it where it has its own form: one of `wanted`
    /// is taken over bit by bit, any other is converted. By default, numbers.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    fn matrix(&self, name: &str, shape: [usize; 2], wanted: Dtype) -> Result<Matrix> {
        let _ = wanted;
        Ok(Matrix::F32(self.tensor(name, &shape)?))
    }

    /// A text that tells these weights from others, as hexadecimal digits.
    ///
    /// # Errors
    /// When the files cannot be read.
    fn content_hash(&self) -> Result<String>;
}

/// The safetensors files of one folder.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    shards: Vec<Shard>,
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
    /// Opens `model.safetensors`, or the files that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// When neither is there, or a file is not complete safetensors.
    pub fn open(folder: &Path) -> Result<Self> {
        let index = folder.join("model.safetensors.index.json");
        let names = if index.exists() {
            shard_names(&index)?
        } else {
            BTreeSet::from(["model.safetensors".to_string()])
        };
        let shards = names.iter().map(|name| Shard::open(folder.join(name)));
        Ok(Self { folder: folder.to_path_buf(), shards: shards.collect::<Result<_>>()? })
    }

    /// Whether some file holds a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.shards.iter().any(|shard| shard.metadata.info(name).is_some())
    }
}

/// The files named by an index, each once.
fn shard_names(index: &Path) -> Result<BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(index).map_err(|e| Error::io("read", index, e))?;
    let parsed: Index =
        serde_json::from_str(&text).map_err(|e| Error::malformed(index, e.to_string()))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    match names.iter().find(|name| Path::new(name).components().count() != 1) {
        Some(name) => Err(Error::malformed(index, format!("'{name}' is not a plain file name"))),
        None => Ok(names),
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self> {
        let mut file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let length = file.metadata().map_err(|e| Error::io("read", &path, e))?.len();
        let header = read_header(&mut file, &path, length)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|e| Error::malformed(&path, format!("not a safetensors header: {e}")))?;
        let data_start = header.len() as u64 + 8;
        let expected = data_start + metadata.data_len() as u64;
        if length != expected {
            let message = format!(
                "the header promises {expected} bytes, the file has {length}; it is incomplete or damaged, fetch or train it again"
            );
            return Err(Error::malformed(&path, message));
        }
        Ok(Self { path, metadata, data_start })
    }

    fn read(&self, info: &TensorInfo) -> Result<Vec<u8>> {
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        let mut file = File::open(&self.path).map_err(|e| Error::io("open", &self.path, e))?;
        file.seek(SeekFrom::Start(self.data_start + start as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| Error::io("read", &self.path, e))?;
        Ok(bytes)
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
    if header_len > length - 8 {
        let message = format!(
            "the header should have {header_len} bytes, only {} follow; the file is incomplete or not safetensors",
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
        let found = self.shards.iter().find_map(|s| s.metadata.info(name).map(|i| (s, i)));
        let Some((shard, info)) = found else {
            let message = format!("no tensor '{name}', which config.json calls for");
            return Err(Error::malformed(&self.folder, message));
        };
        if info.shape != shape {
            let message = format!(
                "tensor '{name}' has shape {:?}; config.json calls for {shape:?}",
                info.shape
            );
            return Err(Error::malformed(&shard.path, message));
        }
        let bytes = shard.read(info)?;
        to_f32(&bytes, info.dtype).ok_or_else(|| {
            let message = format!(
                "tensor '{name}' has number type {:?}; expected F32, F16 or BF16",
                info.dtype
            );
            Error::malformed(&shard.path, message)
        })
    }

    fn content_hash(&self) -> Result<String> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        for Shard { path, .. } in &self.shards {
            let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
            loop {
                match file.read(&mut buffer).map_err(|e| Error::io("read", path, e))? {
                    0 => break,
                    count => hash.update(&buffer[..count]),
                }
            }
        }
        Ok(hexadecimal(&hash.finalize()))
    }
}

/// Numbers of the three types that checkpoints come in.
fn to_f32(bytes: &[u8], dtype: Stored) -> Option<Vec<f32>> {
    let pairs = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    match dtype {
        Stored::F32 => {
            let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            Some(bytes.chunks_exact(4).map(number).collect())
        }
        Stored::F16 => Some(pairs().map(f16::from_bits).collect::<Vec<_>>().to_f32_vec()),
        Stored::BF16 => Some(pairs().map(bf16::from_bits).collect::<Vec<_>>().to_f32_vec()),
        _ => None,
    }
}

/// Bytes as hexadecimal digits.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Weights drawn from a seed: a model for tests and for timing, never for text.
#[derive(Debug)]
pub struct Seeded {
    seed: u64,
}

impl Seeded {
    /// The weights of `seed`; the same name and shape always give the same numbers.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl Seeded {
    /// The generator of one tensor.
    fn generator(&self, name: &str) -> ChaCha8Rng {
        let mut seed = [0; 32];
        seed.copy_from_slice(&Sha256::digest(format!("{} {name}", self.seed)));
        ChaCha8Rng::from_seed(seed)
    }

    /// The largest weight of a tensor. Uniform numbers of variance 1 / inputs keep every layer's output
    /// at the scale of its input.
    fn bound(name: &str, inputs: usize) -> f32 {
        if name.contains("embed") { 1.7 } else { (3.0 / inputs as f32).sqrt() }
    }
}

/// Random blocks: codes of equal probability, one scale for all, so that weights lie within `bound`.
fn draw_blocks(rng: &mut ChaCha8Rng, dtype: Dtype, bound: f32, bytes: &mut [u8]) {
    rng.fill_bytes(bytes);
    let half = |x: f32| f16::from_f32(x).to_le_bytes();
    match dtype {
        Dtype::Bf16 | Dtype::F16 => {
            for pair in bytes.chunks_exact_mut(2) {
                let x = f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0 * bound;
                let number = match dtype {
                    Dtype::F16 => half(x),
                    _ => bf16::from_f32(x).to_le_bytes(),
                };
                pair.copy_from_slice(&number);
            }
        }
        Dtype::Q8_0 => {
            let scale = half(bound / 127.0);
            bytes.chunks_exact_mut(34).for_each(|block| block[..2].copy_from_slice(&scale));
        }
        Dtype::Q4_0 => {
            let scale = half(bound / 8.0);
            bytes.chunks_exact_mut(18).for_each(|block| block[..2].copy_from_slice(&scale));
        }
        _ => {
            // Scale 32 and minimum 60 in all eight sub-blocks: 32 x 7.5 codes are 4 x 60, the middle.
            let (scale, minimum) = (half(bound / 256.0), half(bound / 64.0));
            const PACKED: [u8; 12] = [160, 160, 160, 160, 252, 252, 252, 252, 192, 192, 192, 192];
            for block in bytes.chunks_exact_mut(144) {
                block[..2].copy_from_slice(&scale);
                block[2..4].copy_from_slice(&minimum);
                block[4..16].copy_from_slice(&PACKED);
            }
        }
    }
}

impl WeightSource for Seeded {
    /// Drawn in the wanted type, without a copy in numbers.
    fn matrix(&self, name: &str, shape: [usize; 2], wanted: Dtype) -> Result<Matrix> {
        let [rows, inputs] = shape;
        if wanted == Dtype::F32 || !inputs.is_multiple_of(wanted.block_weights()) {
            return Ok(Matrix::F32(self.tensor(name, &shape)?));
        }
        let mut bytes = vec![0; rows * row_bytes(wanted, inputs)];
        draw_blocks(&mut self.generator(name), wanted, Self::bound(name, inputs), &mut bytes);
        Ok(Matrix::Raw(RawTensor::new(wanted, shape, bytes)?))
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let count = shape.iter().product();
        if name.ends_with("norm.weight") {
            return Ok(vec![1.0; count]);
        }
        let mut rng = self.generator(name);
        let bound = Self::bound(name, shape.last().copied().unwrap_or(1));
        Ok((0..count).map(|_| rng.random_range(-bound..bound)).collect())
    }

    fn content_hash(&self) -> Result<String> {
        Ok(hexadecimal(&Sha256::digest(format!("seeded weights {}", self.seed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    fn write(path: &Path, name: &str, dtype: Stored, bytes: &[u8], shape: &[usize]) {
        let view = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
        safetensors::serialize_to_file([(name, view)], None, path).unwrap();
    }

    #[test]
    fn the_three_number_types_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        // source: IEEE 754 bit patterns of 1, -2, 0.5 in little-endian order
        let cases: [(Stored, &[u8]); 3] = [
            (Stored::F32, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f]),
            (Stored::F16, &[0, 0x3c, 0, 0xc0, 0, 0x38]),
            (Stored::BF16, &[0x80, 0x3f, 0, 0xc0, 0, 0x3f]),
        ];
        for (dtype, bytes) in cases {
            write(&path, "x", dtype, bytes, &[3]);
            let checkpoint = Checkpoint::open(dir.path()).unwrap();
            assert_eq!(checkpoint.tensor("x", &[3]).unwrap(), [1.0, -2.0, 0.5]);
            assert_eq!(checkpoint.content_hash().unwrap().len(), 64);
        }
        write(&path, "x", Stored::I8, &[1], &[1]);
        let error = Checkpoint::open(dir.path()).unwrap().tensor("x", &[1]).unwrap_err();
        assert!(error.to_string().contains("F16"), "{error}");
    }

    #[test]
    fn shards_are_found_through_the_index() {
        let dir = tempfile::tempdir().unwrap();
        let one = 1.0f32.to_le_bytes();
        write(&dir.path().join("a.safetensors"), "x", Stored::F32, &one, &[1]);
        write(&dir.path().join("b.safetensors"), "y", Stored::F32, &one, &[1]);
        let index = dir.path().join("model.safetensors.index.json");
        let map = r#"{"weight_map":{"x":"a.safetensors","y":"b.safetensors"}}"#;
        std::fs::write(&index, map).unwrap();
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.tensor("y", &[1]).unwrap(), [1.0]);
        assert!(checkpoint.contains("x") && !checkpoint.contains("z"));
        std::fs::write(&index, r#"{"weight_map":{"x":"../a.safetensors"}}"#).unwrap();
        let error = Checkpoint::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("plain file name"), "{error}");
    }

    #[test]
    fn damaged_and_unfitting_files_are_named_with_what_was_expected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let open = || Checkpoint::open(dir.path());
        assert!(open().unwrap_err().to_string().contains("cannot open"));
        write(&path, "x", Stored::F32, &[0; 16], &[2, 2]);
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

    #[test]
    fn weights_drawn_in_a_number_type_keep_the_scale_of_their_layer() {
        for wanted in Dtype::ENGINE {
            let matrix = Seeded::new(1).matrix("a", [64, 512], wanted).unwrap();
            assert_eq!(matches!(matrix, Matrix::Raw(_)), wanted != Dtype::F32);
            let weights = matrix.into_f32();
            // source: uniform numbers of variance 1 / 512; 4-bit codes add their spacing
            let mean = weights.iter().sum::<f32>() / weights.len() as f32;
            let square = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
            assert!((square * 512.0 - 1.0).abs() < 0.05, "{wanted}: {}", square * 512.0);
            assert!(mean.abs() < 0.006, "{wanted}: {mean}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_weights_again() {
        let draw = |seed, name| Seeded::new(seed).tensor(name, &[3, 4]).unwrap();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }
}
