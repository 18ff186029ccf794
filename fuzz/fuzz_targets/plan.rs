//! Plans in text, as flags, tables and records hold them: any text is read or refused, without
//! opening a file, and what was read is written so that it reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3d_data::{Plan, Shard};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for word in text.split([',', '\n']) {
        if let Ok(plan) = word.trim().parse::<Plan>() {
            assert_eq!(plan.to_string().parse::<Plan>().expect("what was written reads"), plan);
            if let Some(draft) = plan.draft() {
                let _ = draft.skip.check(12);
            }
        }
        let _ = word.parse::<Shard>();
    }
});
