//! Any bytes under any name: what they are is recognised by content, and they are read as that or
//! refused with an error, never a panic. The first byte takes the ending of the name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3d_data::import::{Setting, kind_of, parse};
use s3d_data::{Drafting, SkipWindow};
use std::path::Path;

const NAMES: [&str; 5] = ["bench.json", "bench.jsonl", "bench.csv", "bench.md", "server.log"];

fn setting() -> Setting {
    Setting {
        drafting: Some(Drafting::Sequential),
        skip: SkipWindow::new(3, 9).ok(),
        ..Setting::new(12, s3d_data::Predictors::of::<8>(), 256)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let file = Path::new(NAMES[usize::from(*first) % NAMES.len()]);
    if let Ok(kind) = kind_of(rest, file) {
        let _ = parse(rest, kind, file, &setting());
    }
});
