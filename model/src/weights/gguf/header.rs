//! The header of a GGUF file: metadata and the table of tensors, read with every number distrusted.
//!
//! The format is described in github.com/ggml-org/ggml, `docs/gguf.md`. Nothing is allocated before
//! the bytes it is read from are known to exist, and what is kept is bounded.

use s3d_kernels::codes::number_type::NumberType;
use std::collections::BTreeMap;
use std::io::Read;

/// Most elements of all arrays together; vocabularies have some hundred thousand.
const ARRAY_ELEMENTS_MAX: u64 = 1 << 23;
/// Longest text; chat templates have some thousand bytes.
const TEXT_BYTES_MAX: u64 = 1 << 24;
/// Most bytes of header.
const HEADER_BYTES_MAX: u64 = 1 << 30;

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Any whole number.
    Integer(i128),
    /// Either floating-point type.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text; what is no UTF-8 is replaced.
    Text(String),
    /// An array of whole numbers or of true and false.
    Integers(Vec<i64>),
    /// An array of floating-point numbers.
    Floats(Vec<f64>),
    /// An array of texts.
    Texts(Vec<String>),
}

/// Where a tensor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorInfo {
    /// Rows first, as everywhere in this crate (the file has them last).
    pub shape: Vec<usize>,
    /// How its numbers are stored.
    pub kind: NumberType,
    /// First byte, from the beginning of the file.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
}

/// All that a GGUF file says before its numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    /// Keys and values.
    pub metadata: BTreeMap<String, Value>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, TensorInfo>,
}

/// What was expected and what was found.
type Outcome<T> = Result<T, String>;

/// Reads bytes and knows how many are left.
struct Source<R> {
    from: R,
    read: u64,
    length: u64,
    /// Elements of arrays so far.
    elements: u64,
}

impl Header {
    /// Reads the header of a file of `length` bytes.
    ///
    /// # Errors
    /// Says what is not as the format wants it.
    pub(crate) fn read(from: impl Read, length: u64) -> Outcome<Self> {
        let mut source = Source { from, read: 0, length, elements: 0 };
        if source.bytes::<4>()? != *b"GGUF" {
            return Err("not a GGUF file: it does not begin with the letters GGUF".into());
        }
        match source.u32()? {
            2 | 3 => {}
            0x0200_0000 | 0x0300_0000 => {
                return Err("a big-endian GGUF file is not supported".into());
            }
            version => {
                return Err(format!("GGUF version {version} is not supported; expected 2 or 3"));
            }
        }
        let (tensors, pairs) = (source.u64()?, source.u64()?);
        // A pair has at least a length, a kind and a byte; a tensor a length, a rank, a kind and an
        // offset.
        source.can_hold(pairs, 13, "metadata entries")?;
        let mut metadata = BTreeMap::new();
        for _ in 0..pairs {
            let (key, kind) = (source.text()?, source.u32()?);
            let value = source.value(kind).map_err(|e| format!("metadata '{key}': {e}"))?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(format!("metadata '{key}' appears twice"));
            }
        }
        source.can_hold(tensors, 24, "tensors")?;
        let mut table = Vec::new();
        for _ in 0..tensors {
            table.push(source.tensor()?);
        }
        let tensors = place(table, alignment(&metadata)?, source.read, length)?;
        Ok(Self { metadata, tensors })
    }
}

/// Refuses what is no number: whatever it stood for would silently become another one.
fn number(value: f64) -> Outcome<f64> {
    if value.is_finite() { Ok(value) } else { Err(format!("{value} is not a finite number")) }
}

/// `general.alignment`, in bytes.
fn alignment(metadata: &BTreeMap<String, Value>) -> Outcome<u64> {
    match metadata.get("general.alignment") {
        None => Ok(32),
        Some(Value::Integer(bytes @ 1..=65_536)) if (*bytes as u64).is_power_of_two() => {
            Ok(*bytes as u64)
        }
        Some(other) => {
            Err(format!("general.alignment must be a power of two up to 65536; found {other:?}"))
        }
    }
}

/// Turns offsets into places in the file and checks that they lie inside, apart from each other.
fn place(
    table: Vec<(String, TensorInfo)>,
    alignment: u64,
    header: u64,
    length: u64,
) -> Outcome<BTreeMap<String, TensorInfo>> {
    let data = header.next_multiple_of(alignment);
    let mut tensors = BTreeMap::new();
    for (name, mut info) in table {
        let start = data.saturating_add(info.start);
        let end = start.saturating_add(info.bytes);
        if !info.start.is_multiple_of(alignment) || end > length {
            return Err(format!(
                "tensor '{name}' should have {} bytes at offset {}, the file has {length} bytes; \
                 it is incomplete or damaged",
                info.bytes, info.start
            ));
        }
        info.start = start;
        if tensors.insert(name.clone(), info).is_some() {
            return Err(format!("tensor '{name}' appears twice"));
        }
    }
    let mut places: Vec<(u64, u64, &String)> =
        tensors.iter().map(|(name, info)| (info.start, info.start + info.bytes, name)).collect();
    places.sort_unstable();
    match places.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        None => Ok(tensors),
        Some(pair) => Err(format!(
            "tensors '{}' and '{}' overlap, at byte {} of the file; it is damaged",
            pair[0].2, pair[1].2, pair[1].0
        )),
    }
}

impl<R: Read> Source<R> {
    fn left(&self) -> u64 {
        self.length.min(HEADER_BYTES_MAX).saturating_sub(self.read)
    }

    /// Refuses `count` things of at least `bytes` bytes each where the file is shorter.
    fn can_hold(&self, count: u64, bytes: u64, what: &str) -> Outcome<()> {
        match count.checked_mul(bytes) {
            Some(needed) if needed <= self.left() => Ok(()),
            _ => Err(format!(
                "{count} {what} are promised, which do not fit into the {} bytes that follow; \
                 the file is incomplete or damaged",
                self.left()
            )),
        }
    }

    fn bytes<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let mut bytes = [0; N];
        self.can_hold(N as u64, 1, "bytes")?;
        self.from.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        self.read += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Outcome<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Outcome<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Outcome<String> {
        let count = self.u64()?;
        if count > TEXT_BYTES_MAX {
            return Err(format!("a text of {count} bytes; expected at most {TEXT_BYTES_MAX}"));
        }
        self.can_hold(count, 1, "bytes of text")?;
        let mut bytes = vec![0; count as usize];
        self.from.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        self.read += count;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn value(&mut self, kind: u32) -> Outcome<Value> {
        match kind {
            6 | 12 => self.float(kind).and_then(number).map(Value::Float),
            7 => match self.bytes()? {
                [0] => Ok(Value::Bool(false)),
                [1] => Ok(Value::Bool(true)),
                [other] => Err(format!("{other} is neither true nor false")),
            },
            8 => self.text().map(Value::Text),
            9 => self.array(),
            _ => self.integer(kind).map(Value::Integer),
        }
    }

    fn float(&mut self, kind: u32) -> Outcome<f64> {
        match kind {
            6 => Ok(f64::from(f32::from_le_bytes(self.bytes()?))),
            _ => Ok(f64::from_le_bytes(self.bytes()?)),
        }
    }

    fn integer(&mut self, kind: u32) -> Outcome<i128> {
        Ok(match kind {
            0 => i128::from(self.bytes::<1>()?[0]),
            1 => i128::from(self.bytes::<1>()?[0] as i8),
            2 => i128::from(u16::from_le_bytes(self.bytes()?)),
            3 => i128::from(i16::from_le_bytes(self.bytes()?)),
            4 => i128::from(self.u32()?),
            5 => i128::from(self.u32()? as i32),
            10 => i128::from(self.u64()?),
            11 => i128::from(self.u64()? as i64),
            _ => return Err(format!("values of kind {kind} are not known")),
        })
    }

    fn array(&mut self) -> Outcome<Value> {
        let (kind, count) = (self.u32()?, self.u64()?);
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            _ => return Err(format!("arrays of kind {kind} are not supported")),
        };
        self.can_hold(count, size, "array elements")?;
        self.elements = self.elements.saturating_add(count);
        if self.elements > ARRAY_ELEMENTS_MAX {
            return Err(format!("arrays of more than {ARRAY_ELEMENTS_MAX} elements in all"));
        }
        match kind {
            6 | 12 => {
                let floats = (0..count).map(|_| self.float(kind).and_then(number));
                floats.collect::<Outcome<_>>().map(Value::Floats)
            }
            8 => (0..count).map(|_| self.text()).collect::<Outcome<_>>().map(Value::Texts),
            _ => {
                let kind = if kind == 7 { 0 } else { kind };
                let wrapped = (0..count).map(|_| self.integer(kind).map(|i| i as i64));
                wrapped.collect::<Outcome<_>>().map(Value::Integers)
            }
        }
    }

    /// One line of the table; its `start` is still the offset into the data.
    fn tensor(&mut self) -> Outcome<(String, TensorInfo)> {
        let (name, rank) = (self.text()?, self.u32()?);
        if !(1..=4).contains(&rank) {
            return Err(format!("tensor '{name}' has {rank} dimensions; expected 1 to 4"));
        }
        let mut shape = Vec::new();
        for _ in 0..rank {
            shape.push(usize::try_from(self.u64()?).map_err(|e| e.to_string())?);
        }
        if shape.contains(&0) {
            return Err(format!("tensor '{name}' has dimensions {shape:?}; expected none of 0"));
        }
        let (code, start) = (self.u32()?, self.u64()?);
        let kind = NumberType::of_code(code).map_err(|e| format!("tensor '{name}': {e}"))?;
        let row = shape[0] as u64;
        let rows = shape[1..].iter().try_fold(1u64, |all, n| all.checked_mul(*n as u64));
        let row_bytes = kind.row_bytes(row);
        let bytes = row_bytes.zip(rows).and_then(|(row, rows)| row.checked_mul(rows));
        let bytes = bytes.ok_or_else(|| {
            format!("tensor '{name}' of dimensions {shape:?} cannot be stored as {kind}")
        })?;
        shape.reverse();
        Ok((name, TensorInfo { shape, kind, start, bytes }))
    }
}
