//! `tokenizer.json` from any bytes: what is accepted encodes and decodes a text, or says that it
//! cannot.
#![no_main]
#![allow(dead_code, reason = "the source serves more than this target")]

use libfuzzer_sys::fuzz_target;

// The guard's own source, without the kernels of its crate: it builds in seconds.
#[path = "../../model/src/tokenizer/guard.rs"]
mod guard;

const TEXT: &str = "Once upon a time, 3 mice\nlived in a d\u{e9}j\u{e0}-vu house.";

fuzz_target!(|bytes: &[u8]| {
    let Ok(tokenizer) = guard::read(bytes) else { return };
    let Ok(ids) = guard::encode(&tokenizer, TEXT, true) else { return };
    assert!(ids.len() < 1 << 20, "a short text has {} tokens", ids.len());
    let _ = guard::decode(&tokenizer, &ids);
});
