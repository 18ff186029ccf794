//! Where keys and values of each head stand: in the rows of a pass, and in the panels of the cache.

use crate::panels::{LANES, panel_count};

/// Sizes of an attention sub-layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads in turn.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
}

impl HeadShape {
    /// Numbers in one row of queries, keys and values.
    pub fn qkv_width(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Numbers in one row of attention output.
    pub fn out_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Numbers in one row of keys, or of values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Numbers that hold the keys of `capacity` positions, a multiple of [`LANES`].
    pub fn key_len(&self, capacity: usize) -> usize {
        self.kv_heads * capacity * self.head_dim
    }

    /// Numbers that hold the values of `capacity` positions.
    pub fn value_len(&self, capacity: usize) -> usize {
        self.kv_heads * capacity * panel_count(self.head_dim) * LANES
    }

    /// Key and value of head `kv` in a row of `qkv_width` numbers.
    pub(super) fn key_and_value<'a>(&self, row: &'a [f32], kv: usize) -> (&'a [f32], &'a [f32]) {
        let key = (self.heads + kv) * self.head_dim;
        let value = key + self.kv_heads * self.head_dim;
        (&row[key..key + self.head_dim], &row[value..value + self.head_dim])
    }
}

/// Puts the key of one position into `[capacity / LANES][head_dim][LANES]`.
pub(super) fn write_key(keys: &mut [f32], key: &[f32], position: usize) {
    let panel = position / LANES * key.len() * LANES + position % LANES;
    for (channel, &k) in key.iter().enumerate() {
        keys[panel + channel * LANES] = k;
    }
}

/// Puts the value of one position into `[head_dim / LANES][capacity][LANES]`.
pub(super) fn write_value(values: &mut [f32], capacity: usize, value: &[f32], position: usize) {
    for (panel, channels) in value.chunks(LANES).enumerate() {
        values[(panel * capacity + position) * LANES..][..channels.len()].copy_from_slice(channels);
    }
}

/// Writes the keys of `qkv[rows, qkv_width]` to
/// `keys[kv_heads][capacity / LANES][head_dim][LANES]`, from `position` on.
pub fn append_keys(
    shape: HeadShape,
    qkv: &[f32],
    keys: &mut [f32],
    capacity: usize,
    position: usize,
) {
    for (r, row) in qkv.chunks_exact(shape.qkv_width()).enumerate() {
        for (kv, keys) in keys.chunks_exact_mut(shape.head_dim * capacity).enumerate() {
            write_key(keys, shape.key_and_value(row, kv).0, position + r);
        }
    }
}

/// Writes the values of `qkv[rows, qkv_width]` to
/// `values[kv_heads][head_dim / LANES][capacity][LANES]`.
pub fn append_values(
    shape: HeadShape,
    qkv: &[f32],
    values: &mut [f32],
    capacity: usize,
    position: usize,
) {
    for (r, row) in qkv.chunks_exact(shape.qkv_width()).enumerate() {
        let head = panel_count(shape.head_dim) * LANES * capacity;
        for (kv, values) in values.chunks_exact_mut(head).enumerate() {
            write_value(values, capacity, shape.key_and_value(row, kv).1, position + r);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_land_in_their_panels() {
        let shape = HeadShape { heads: 1, kv_heads: 2, head_dim: 3 };
        // One row: 3 query channels, then keys 1 to 6, then values 7 to 12.
        let qkv: Vec<f32> = (-2..=12).map(|i| i as f32).collect();
        let (mut keys, mut values) = (vec![0.0; shape.key_len(32)], vec![0.0; shape.value_len(32)]);
        append_keys(shape, &qkv, &mut keys, 32, 17);
        append_values(shape, &qkv, &mut values, 32, 17);
        // source: position 17 is lane 1 of the second panel; a panel has 3 channels of 16 lanes
        let key = |kv: usize, channel: usize| keys[kv * 96 + 48 + channel * 16 + 1];
        assert_eq!([key(0, 0), key(0, 2), key(1, 0), key(1, 2)], [1.0, 3.0, 4.0, 6.0]);
        let value = |kv: usize, channel: usize| values[kv * 512 + 17 * 16 + channel];
        assert_eq!([value(0, 0), value(0, 2), value(1, 0), value(1, 2)], [7.0, 9.0, 10.0, 12.0]);
        assert_eq!(keys.iter().chain(&values).filter(|&&x| x != 0.0).count(), 12);
    }
}
