//! Files of skipped sub-layers, and sets written out: any bytes are read or refused, and what was
//! read reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3d_data::LayerSet;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    for name in [None, Some("a")] {
        if let Ok(set) = LayerSet::parse(bytes, Path::new("set.json"), name) {
            set.check().expect("a set that was read rises");
            assert_eq!(set.to_string().parse::<LayerSet>().expect("what was written reads"), set);
        }
    }
    if let Ok(set) = String::from_utf8_lossy(bytes).parse::<LayerSet>() {
        assert_eq!(set.to_string().parse::<LayerSet>().expect("what was written reads"), set);
    }
});
