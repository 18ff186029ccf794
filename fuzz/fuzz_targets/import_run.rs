//! The tables of a run directory, told apart by their columns: any bytes are read or refused with
//! an error, never a panic. A plan that names a file (`set=FILE`) is refused: it opens none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3d_data::Drafting;
use s3d_data::import::{Setting, kind_of, parse};
use std::path::Path;

fn setting() -> Setting {
    Setting { drafting: Some(Drafting::Sequential), ..Setting::new(12, s3d_data::Predictors::of::<8>(), 256) }
}

fuzz_target!(|bytes: &[u8]| {
    let file = Path::new("latency.csv");
    if let Ok(kind) = kind_of(bytes, file) {
        let _ = parse(bytes, kind, file, &setting());
    }
});
