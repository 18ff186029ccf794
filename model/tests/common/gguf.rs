//! Writes GGUF files, right ones and wrong ones.

use s3d_kernels::codes::number_type::NumberType;

/// A file in the making: encoded metadata and tensors.
#[derive(Clone, Default)]
pub struct Writer {
    pub metadata: Vec<Vec<u8>>,
    pub tensors: Vec<Tensor>,
}

#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    /// Rows first.
    pub shape: Vec<usize>,
    pub code: u32,
    pub bytes: Vec<u8>,
}

pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// The code of a number type in GGUF files (ggml.h, `enum ggml_type`).
pub fn code(kind: NumberType) -> u32 {
    (0..64).find(|code| NumberType::of_code(*code) == Ok(kind)).unwrap_or(u32::MAX)
}

impl Writer {
    /// An entry of any kind, its value encoded.
    pub fn entry(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.metadata.push([&text(key)[..], &kind.to_le_bytes(), value].concat());
    }

    pub fn number(&mut self, key: &str, value: u32) {
        self.entry(key, 4, &value.to_le_bytes());
    }

    pub fn float(&mut self, key: &str, value: f32) {
        self.entry(key, 6, &value.to_le_bytes());
    }

    pub fn text(&mut self, key: &str, value: &str) {
        self.entry(key, 8, &text(value));
    }

    pub fn tensor(&mut self, name: &str, shape: &[usize], kind: NumberType, bytes: Vec<u8>) {
        let (name, shape) = (name.to_string(), shape.to_vec());
        self.tensors.push(Tensor { name, shape, code: code(kind), bytes });
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3u32.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.metadata.len() as u64).to_le_bytes());
        self.metadata.iter().for_each(|entry| file.extend(entry));
        let mut data = Vec::new();
        for tensor in &self.tensors {
            file.extend(text(&tensor.name));
            file.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().rev().for_each(|n| file.extend((*n as u64).to_le_bytes()));
            file.extend(tensor.code.to_le_bytes());
            file.extend((data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(data);
        file
    }
}
