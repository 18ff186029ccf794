//! Acceptance by draft position, as CSV or (after a first byte of 1) as JSONL: any bytes are read
//! or refused with an error, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3d_data::Drafting;
use s3d_data::import::{Kind, Setting, parse};
use std::path::Path;

fn setting() -> Setting {
    Setting { drafting: Some(Drafting::Sequential), ..Setting::new(12, s3d_data::Predictors::of::<8>(), 256) }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let (kind, name) = match first {
        1 => (Kind::CountLines, "counts.jsonl"),
        _ => (Kind::Counts, "counts.csv"),
    };
    let _ = parse(rest, kind, Path::new(name), &setting());
});
