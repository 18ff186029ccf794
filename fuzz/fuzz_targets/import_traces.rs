//! Traces as JSONL: any bytes are read or refused with an error, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3d_data::outside::{Kind, Setting, parse};
use std::path::Path;

const SETTING: Setting = Setting { layers: 12, gamma_max: 8, context: 256 };

fuzz_target!(|bytes: &[u8]| {
    let _ = parse(bytes, Kind::Traces, Path::new("traces.jsonl"), &SETTING);
});
