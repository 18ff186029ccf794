//! The header of a GGUF file, and the numbers of its tensors, from any bytes.
#![no_main]
#![allow(dead_code, reason = "the source serves more than this target")]

use libfuzzer_sys::fuzz_target;
use s3d_kernels::codes::decode::decode;

// The reader's own source, without its crate: it builds in seconds.
#[path = "../../model/src/weights/gguf/header.rs"]
mod header;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = header::Header::read(bytes, bytes.len() as u64) else { return };
    for info in header.tensors.values() {
        let end = info.start + info.bytes;
        assert!(end <= bytes.len() as u64, "a tensor ends beyond the file");
        let stored = &bytes[info.start as usize..end as usize];
        let mut values = vec![0.0; info.shape.iter().product::<usize>()];
        let blocks = values.len() / info.kind.block_weights();
        assert_eq!(blocks * info.kind.block_bytes(), stored.len());
        decode(info.kind, stored, &mut values);
    }
});
