//! An affine law of pass times as JSON: any bytes are read or refused with an error, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3d_data::Drafting;
use s3d_data::import::{Kind, Setting, parse};
use std::path::Path;

fn setting() -> Setting {
    Setting { drafting: Some(Drafting::Sequential), ..Setting::new(12, s3d_data::Predictors::of::<8>(), 256) }
}

fuzz_target!(|bytes: &[u8]| {
    let _ = parse(bytes, Kind::Law, Path::new("law.json"), &setting());
});
