//! Acceptance by draft position, as CSV or (after a first byte of 1) as JSONL: any bytes are read or
//! refused with an error, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3d_data::outside::{Kind, Setting, parse};
use std::path::Path;

const SETTING: Setting = Setting { layers: 12, gamma_max: 8, context: 256 };

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let (kind, name) = match first {
        1 => (Kind::CountLines, "counts.jsonl"),
        _ => (Kind::Counts, "counts.csv"),
    };
    let _ = parse(rest, kind, Path::new(name), &SETTING);
});
