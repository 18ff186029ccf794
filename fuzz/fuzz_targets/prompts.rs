//! Files of prompts from any bytes, as `.jsonl` and as `.txt`: what is accepted has names, texts
//! and no doubles.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3d_data::prompt::parse_prompts;
use std::collections::HashSet;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    for name in ["prompts.jsonl", "prompts.txt"] {
        match parse_prompts(bytes, Path::new(name)) {
            Err(error) => assert!(error.to_string().len() < 2000, "a short error"),
            Ok(file) => {
                let names: HashSet<_> = file.prompts.iter().map(|prompt| &prompt.id).collect();
                assert_eq!(names.len(), file.prompts.len());
                assert!(!names.is_empty() && names.iter().all(|name| !name.is_empty()));
            }
        }
    }
});
