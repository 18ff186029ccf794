//! The operations of a pass, in the order of use. Each is recorded; its formula stands in the WGSL
//! of its name.

use crate::shader::{BAND, OUTPUTS, Shader, TILE};
use crate::stream::Call;
use crate::{Buffer, Error, Gpu, Matrix, Result, Rows};
use s3d_data::Bytes;
use std::sync::atomic::Ordering;

/// Sizes of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads in turn.
    pub kv_heads: usize,
    /// Channels of a head, a multiple of 4.
    pub head_dim: usize,
}

/// Where a row of a pass stands and what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its position in the text.
    pub position: usize,
    /// Keys that it sees: those of positions `0..seen`.
    pub seen: usize,
    /// How many of them are read from the cache; the others are rows of this pass, one after the
    /// other.
    pub cached: usize,
    /// The row that holds the first key that is not cached.
    pub own: usize,
    /// Its token: a row of the embedding.
    pub token: u32,
}

/// What a pass brings from the host, on the device.
#[derive(Debug)]
pub struct Places {
    words: Rows,
    rows: usize,
    pairs: usize,
}

/// The keys and values of one layer.
#[derive(Debug, Clone)]
pub struct Cache {
    /// `[kv_heads, capacity, head_dim]`.
    pub keys: Buffer,
    /// Likewise.
    pub values: Buffer,
    /// Positions there is room for.
    pub capacity: usize,
}

impl Cache {
    /// Room for `capacity` positions.
    ///
    /// # Errors
    /// When there is none, or more than an operation sees at once.
    pub fn new(gpu: &Gpu, heads: Heads, capacity: usize) -> Result<Self> {
        let position = (heads.kv_heads * heads.head_dim * 4) as u64;
        let (bytes, most) = (position * capacity as u64, gpu.adapter().binding);
        fits(bytes <= most.0, || {
            let longest = most.0 / position.max(1);
            format!(
                "a cache of {capacity} positions: an operation sees {most} at once here, which are {longest} positions; \
                 take a shorter context"
            )
        })?;
        Ok(Self { keys: Buffer::new(gpu, bytes)?, values: Buffer::new(gpu, bytes)?, capacity })
    }

    /// Bytes held.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.keys.bytes().0 + self.values.bytes().0)
    }
}

impl Heads {
    fn width(self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    fn check(self, qkv: &Rows) -> Result<()> {
        fits(self.head_dim.is_multiple_of(4), || {
            format!("heads of {} channels: expected a multiple of 4", self.head_dim)
        })?;
        fits(qkv.width() == self.width(), || {
            format!("{} queries, keys and values for {self:?}", qkv.width())
        })
    }
}

fn fits(whether: bool, what: impl FnOnce() -> String) -> Result<()> {
    if whether { Ok(()) } else { Err(Error::Shape(what())) }
}

impl Gpu {
    /// Uploads what a pass brings, in one write: places, and `[rows, pairs]` cosines and sines.
    ///
    /// # Errors
    /// When there is no room.
    pub fn places(&self, places: &[Place], cosines: &[f32], sines: &[f32]) -> Result<Places> {
        let (rows, angles) = (places.len(), cosines.len());
        fits(rows > 0 && angles.is_multiple_of(rows) && sines.len() == angles, || {
            format!("{angles} cosines and {} sines for {rows} rows", sines.len())
        })?;
        let words = |place: &Place| {
            [place.cached, place.seen, place.own, place.position, place.token as usize]
                .map(|word| f32::from_bits(word as u32))
        };
        let mut all: Vec<f32> = places.iter().flat_map(words).collect();
        all.extend(cosines.iter().chain(sines));
        // Few widths, however many lengths prompts have.
        all.resize(all.len().next_power_of_two(), 0.0);
        let width = all.len();
        Ok(Places { words: Rows::of(self, &all, width)?, rows, pairs: angles / rows })
    }

    /// Row `token` of `matrix` for each place: `[rows, inputs]`.
    ///
    /// # Errors
    /// When there is no room.
    pub fn embed(&self, matrix: &Matrix, places: &Places) -> Result<Rows> {
        let y = Rows::new(self, places.rows, matrix.inputs())?;
        for piece in matrix.pieces() {
            let mut read: Vec<&Buffer> = piece.buffers.iter().collect();
            read.push(places.words.buffer());
            let sizes =
                [matrix.units(), matrix.inputs(), y.stride(), piece.rows.start, piece.rows.end];
            self.call(&Call {
                shader: Shader::Embed { dtype: matrix.dtype() },
                read: &read,
                written: &[y.buffer()],
                sizes: &sizes.map(|size| size as u32),
                groups: [matrix.units().div_ceil(64), places.rows, 1],
            })?;
        }
        Ok(y)
    }

    /// RMSNorm of every row.
    ///
    /// # Errors
    /// When there is no room.
    pub fn rms_norm(&self, x: &Rows, weight: &Buffer, epsilon: f32) -> Result<Rows> {
        let y = Rows::new(self, x.rows(), x.width())?;
        let [width, from, to, first] =
            [x.width(), x.stride(), y.stride(), x.first()].map(|size| size as u32);
        self.call(&Call {
            shader: Shader::Norm,
            read: &[x.buffer(), weight],
            written: &[y.buffer()],
            sizes: &[width, from, to, first, epsilon.to_bits()],
            groups: [x.rows(), 1, 1],
        })?;
        Ok(y)
    }

    /// `x W^T` for `x[rows, inputs]`: `[rows, outputs]`.
    ///
    /// # Errors
    /// When the shapes do not fit, or there is no room.
    pub fn matmul(&self, w: &Matrix, x: &Rows) -> Result<Rows> {
        self.product(w, x, None)
    }

    /// `z + x W^T`.
    ///
    /// # Errors
    /// As [`Self::matmul`].
    pub fn matmul_add(&self, w: &Matrix, x: &Rows, z: &Rows) -> Result<Rows> {
        fits(z.rows() == x.rows() && z.width() == w.outputs() && z.first() == 0, || {
            format!("{} x {} products added to {} x {}", x.rows(), w.outputs(), z.rows(), z.width())
        })?;
        self.product(w, x, Some(z))
    }

    fn product(&self, w: &Matrix, x: &Rows, z: Option<&Rows>) -> Result<Rows> {
        fits(x.width() == w.inputs() && x.first() == 0, || {
            format!("{} inputs for a matrix of {}", x.width(), w.inputs())
        })?;
        let y = Rows::new(self, x.rows(), w.outputs())?;
        let rows = match self.whole_tiles.load(Ordering::Relaxed) {
            true => TILE,
            false => tile(x.rows()),
        };
        for piece in w.pieces() {
            let mut read: Vec<&Buffer> = piece.buffers.iter().collect();
            read.push(x.buffer());
            read.extend(z.map(Rows::buffer));
            let (outputs, first) = (piece.rows.len(), piece.rows.start);
            let sizes = [x.rows(), outputs, w.units(), x.stride() / 4, y.stride(), first];
            self.call(&Call {
                shader: Shader::MatMul { dtype: w.dtype(), rows, add: z.is_some() },
                read: &read,
                written: &[y.buffer()],
                sizes: &sizes.map(|size| size as u32),
                groups: [outputs.div_ceil(OUTPUTS), x.rows().div_ceil(BAND), 1],
            })?;
        }
        Ok(y)
    }

    /// Adds `bias[width]` to every row, in place.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn add_bias(&self, x: &Rows, bias: &Buffer) -> Result<()> {
        self.bias(x, bias, false)
    }

    /// `bias[width]` as every one of `rows` rows.
    ///
    /// # Errors
    /// When there is no room.
    pub fn spread(&self, bias: &Buffer, rows: usize, width: usize) -> Result<Rows> {
        let x = Rows::new(self, rows, width)?;
        self.bias(&x, bias, true)?;
        Ok(x)
    }

    fn bias(&self, x: &Rows, bias: &Buffer, alone: bool) -> Result<()> {
        self.call(&Call {
            shader: Shader::AddBias,
            read: &[bias],
            written: &[x.buffer()],
            sizes: &[x.width() as u32, x.stride() as u32, u32::from(alone)],
            groups: [x.width().div_ceil(64), x.rows(), 1],
        })
    }

    /// RMSNorm of every query head and every key head, in place; `weights` is `[2, head_dim]`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn norm_heads(
        &self,
        heads: Heads,
        qkv: &Rows,
        weights: &Buffer,
        epsilon: f32,
    ) -> Result<()> {
        heads.check(qkv)?;
        let sizes = [qkv.rows(), heads.heads, heads.kv_heads, heads.head_dim, qkv.stride()];
        let sizes = sizes.map(|size| size as u32);
        let lanes = qkv.rows() * (heads.heads + heads.kv_heads);
        self.call(&Call {
            shader: Shader::NormHeads,
            read: &[weights],
            written: &[qkv.buffer()],
            sizes: &[&sizes[..], &[epsilon.to_bits()]].concat(),
            groups: [lanes.div_ceil(64), 1, 1],
        })
    }

    /// Rotates queries and keys (unless the layer does not `turn`), scales queries, and with
    /// `append` writes keys and values into the cache at the rows' positions.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn rotate(
        &self,
        heads: Heads,
        qkv: &Rows,
        places: &Places,
        cache: &Cache,
        [turn, append]: [bool; 2],
    ) -> Result<()> {
        heads.check(qkv)?;
        fits(qkv.rows() == places.rows, || "rows without places".into())?;
        let pairs = if turn { places.pairs } else { 0 };
        let sizes = [
            qkv.rows(),
            heads.heads,
            heads.kv_heads,
            heads.head_dim,
            qkv.stride(),
            pairs,
            places.pairs,
            cache.capacity,
            usize::from(append),
        ];
        let sizes = sizes.map(|size| size as u32);
        let scale = 1.0 / (heads.head_dim as f32).sqrt();
        self.call(&Call {
            shader: Shader::Rotate,
            read: &[places.words.buffer()],
            written: &[qkv.buffer(), &cache.keys, &cache.values],
            sizes: &[&sizes[..], &[scale.to_bits()]].concat(),
            groups: [(heads.width() / 2).div_ceil(64), qkv.rows(), 1],
        })
    }

    /// Attention of rotated rows: `[rows, heads * head_dim]`.
    ///
    /// # Errors
    /// When the shapes do not fit, or there is no room.
    pub fn attend(&self, heads: Heads, qkv: &Rows, places: &Places, cache: &Cache) -> Result<Rows> {
        heads.check(qkv)?;
        let out = Rows::new(self, qkv.rows(), heads.heads * heads.head_dim)?;
        let sizes = [heads.heads, heads.kv_heads, cache.capacity, qkv.stride() / 4, out.stride()];
        self.call(&Call {
            shader: Shader::Attend { head_dim: heads.head_dim },
            read: &[places.words.buffer(), qkv.buffer(), &cache.keys, &cache.values],
            written: &[out.buffer()],
            sizes: &sizes.map(|size| size as u32),
            groups: [heads.heads, qkv.rows(), 1],
        })?;
        Ok(out)
    }

    /// SwiGLU of `x[rows, 2 n]`, all gates before all ups: `[rows, n]`.
    ///
    /// # Errors
    /// When there is no room.
    pub fn swiglu(&self, x: &Rows) -> Result<Rows> {
        let y = Rows::new(self, x.rows(), x.width() / 2)?;
        let sizes = [y.width(), x.stride(), y.stride()];
        self.call(&Call {
            shader: Shader::SwiGlu,
            read: &[x.buffer()],
            written: &[y.buffer()],
            sizes: &sizes.map(|size| size as u32),
            groups: [y.width().div_ceil(64), x.rows(), 1],
        })?;
        Ok(y)
    }

    /// The column of the largest number of each row, the first of equals. Has all done that was
    /// recorded, and waits.
    ///
    /// # Errors
    /// When the device is lost or has refused a call.
    pub fn arg_max(&self, x: &Rows) -> Result<Vec<u32>> {
        let found = Rows::new(self, 1, x.rows())?;
        self.call(&Call {
            shader: Shader::ArgMax,
            read: &[x.buffer()],
            written: &[found.buffer()],
            sizes: &[x.width() as u32, x.stride() as u32],
            groups: [x.rows(), 1, 1],
        })?;
        let bytes = self.read(found.buffer(), 4 * x.rows() as u64)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}

/// Rows that are computed at once in a pass of `rows` rows: even shares of what a group comes back
/// to.
pub fn tile(rows: usize) -> usize {
    let band = rows.clamp(1, BAND);
    band.div_ceil(band.div_ceil(TILE))
}
