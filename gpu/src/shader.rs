//! Which WGSL an operation is: its files, put together with the constants of a pipeline.

use s3d_data::Dtype;

/// Outputs of a group of lanes in a product: they share one reading of the rows.
pub(crate) const OUTPUTS: usize = 4;
/// Rows that a group of lanes computes at once, at most: they share one reading of the weights.
pub(crate) const TILE: usize = 8;
/// Rows that one group comes back to: their weights come from the cache.
pub(crate) const BAND: usize = 64;

const PLACES: &str = include_str!("wgsl/places.wgsl");

/// One pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shader {
    /// Products of a matrix of this type with `rows` rows at once, with `add` added to others.
    MatMul {
        /// Of the matrix.
        dtype: Dtype,
        /// At once, up to [`TILE`].
        rows: usize,
        /// Whether.
        add: bool,
    },
    /// Rows of a matrix.
    Embed {
        /// Of the matrix.
        dtype: Dtype,
    },
    /// Norm of rows.
    Norm,
    /// Norm of heads.
    NormHeads,
    /// Rotation, and append to the cache.
    Rotate,
    /// Attention over the cache.
    Attend {
        /// Channels of a head.
        head_dim: usize,
    },
    /// Gates and ups.
    SwiGlu,
    /// A bias to every row.
    AddBias,
    /// The largest of every row.
    ArgMax,
}

/// How lanes are put to use on an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lanes {
    /// Lanes of a group in a product.
    pub count: usize,
    /// Whether they are one subgroup, whose registers they add through.
    pub subgroup: bool,
}

impl Shader {
    /// Its text.
    pub(crate) fn source(self, lanes: Lanes) -> String {
        match self {
            Self::MatMul { dtype, rows, add } => {
                let finish = match lanes.subgroup {
                    true => include_str!("wgsl/lanes_subgroup.wgsl"),
                    false => include_str!("wgsl/lanes_memory.wgsl"),
                };
                let before = match add {
                    true => include_str!("wgsl/before_sum.wgsl"),
                    false => include_str!("wgsl/before_nothing.wgsl"),
                };
                let x = 1 + usize::from(dtype.is_quantized());
                let sizes = [
                    ("ROWS", rows),
                    ("OUTPUTS", OUTPUTS),
                    ("BAND", BAND),
                    ("LANES", lanes.count),
                    ("X", x),
                    ("Z", x + 1),
                    ("Y", x + 1 + usize::from(add)),
                ];
                let product = include_str!("wgsl/matmul.wgsl");
                [&constants(&sizes), weights(dtype), product, before, finish].concat()
            }
            Self::Embed { dtype } => {
                // Matrices are bound first wherever they are read, so what a pass brings comes
                // after.
                let bound = 1 + usize::from(dtype.is_quantized());
                let sizes = constants(&[("PLACES", bound), ("Y", bound + 1)]);
                [&sizes, weights(dtype), PLACES, include_str!("wgsl/embed.wgsl")].concat()
            }
            Self::Norm => include_str!("wgsl/norm.wgsl").into(),
            Self::NormHeads => include_str!("wgsl/norm_heads.wgsl").into(),
            Self::Rotate => {
                let sizes = constants(&[("PLACES", 0)]);
                [&sizes, PLACES, include_str!("wgsl/rotate.wgsl")].concat()
            }
            Self::Attend { head_dim } => {
                let sizes = constants(&[("PLACES", 0), ("HEAD_DIM", head_dim)]);
                [&sizes, PLACES, include_str!("wgsl/attend.wgsl")].concat()
            }
            Self::SwiGlu => include_str!("wgsl/swiglu.wgsl").into(),
            Self::AddBias => include_str!("wgsl/add_bias.wgsl").into(),
            Self::ArgMax => include_str!("wgsl/arg_max.wgsl").into(),
        }
    }
}

fn constants(sizes: &[(&str, usize)]) -> String {
    sizes.iter().map(|(name, size)| format!("const {name}: u32 = {size}u;\n")).collect()
}

/// How a unit of 16 weights is unpacked.
fn weights(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => include_str!("wgsl/weights_f16.wgsl"),
        Dtype::Bf16 => include_str!("wgsl/weights_bf16.wgsl"),
        Dtype::Q8_0 => include_str!("wgsl/weights_q8_0.wgsl"),
        Dtype::Q4_0 => include_str!("wgsl/weights_q4_0.wgsl"),
        _ => include_str!("wgsl/weights_f32.wgsl"),
    }
}
