//! Rows of weights in the layout of the device.

#![allow(clippy::unwrap_used, reason = "tests")]

use s3d_data::Dtype;
use s3d_gpu::layout::Layout;

#[test]
fn codes_of_four_bits_follow_each_other() {
    // source: ggml's q4_0: byte i holds weight i in its lower half and weight i + 16 in its upper
    // half
    let code = |i: usize| (i * 7 % 16) as u8;
    let mut file = vec![0x34, 0x12];
    file.extend((0..16).map(|i| code(i) | code(i + 16) << 4));
    let layout = Layout { dtype: Dtype::Q4_0, inputs: 32 };
    let (codes, scales) = layout.arrange(&file);
    let word = |i: usize| u32::from_le_bytes(codes[4 * i..][..4].try_into().unwrap());
    for i in 0..32 {
        let (byte, half) = (i % 4, i % 8 / 4);
        let found = word(i / 8) >> (8 * byte + 4 * half) & 15;
        assert_eq!(found, u32::from(code(i)), "weight {i}");
    }
    assert_eq!(scales, [0x34, 0x12, 0, 0]);
    assert_eq!((codes.len(), layout.units(), layout.file_bytes()), (16, 2, 18));
}

#[test]
fn rows_are_filled_up_to_whole_blocks() {
    let layout = Layout { dtype: Dtype::F16, inputs: 40 };
    let (codes, scales) = layout.arrange(&[7; 160]);
    assert_eq!((codes.len(), scales.len()), (2 * 128, 0));
    assert!(codes[..80] == [7; 80] && codes[80..128] == [0; 48] && codes[128..208] == [7; 80]);
}
