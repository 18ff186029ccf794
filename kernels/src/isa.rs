//! The vector instructions of this machine, and how large a tile they hold in registers.

/// Vector instructions a kernel may use, chosen once at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// No special instructions; `f32::mul_add`, which is exact and may be slow.
    Portable,
    /// 256-bit vectors with fused multiply-add, and conversion of halves.
    Avx2,
    /// 512-bit vectors, 32 registers.
    Avx512,
}

impl Isa {
    /// The best this machine has.
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// All this machine has, from the plainest on.
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = avx2 && is_x86_feature_detected!("avx512f");
            let has = [(Self::Portable, true), (Self::Avx2, avx2), (Self::Avx512, avx512)];
            has.into_iter().filter_map(|(isa, has)| has.then_some(isa)).collect()
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self::Portable]
    }

    /// Its name in records; with `vnni` where weights in codes have instructions of their own.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2+fma",
            Self::Avx512 if has_vnni() => "avx512f+vnni",
            Self::Avx512 => "avx512f",
        }
    }

    /// Most rows that one tile holds in registers.
    pub(crate) const fn max_rows(self) -> usize {
        match self {
            Self::Portable => 4,
            Self::Avx2 => 6,
            Self::Avx512 => 12,
        }
    }

    /// Panels that a tile of `rows` rows takes at once: enough independent accumulators to hide the
    /// latency of the multiply-add, as few memory streams as that allows.
    pub(crate) const fn panels(self, rows: usize) -> usize {
        match (self, rows) {
            (Self::Portable, _) | (Self::Avx2, 3..) => 1,
            (Self::Avx2, 2) | (Self::Avx512, 7..) => 2,
            (Self::Avx2 | Self::Avx512, _) => 4,
        }
    }
}

/// Whether this machine multiplies vectors of 64 codes.
pub(crate) fn has_vnni() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw");
    #[cfg(not(target_arch = "x86_64"))]
    false
}
