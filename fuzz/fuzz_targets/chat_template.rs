//! Chat templates from any text: each ends, in bounded memory, with a text or an error.
#![no_main]
#![allow(dead_code, unused_imports, reason = "the sources serve more than this target")]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

// The renderer's own sources, without the kernels of their crate: they build in seconds.
#[path = "../../model/src/tokenizer/chat/engine.rs"]
mod engine;
#[path = "../../model/src/tokenizer/chat/json.rs"]
mod json;
#[path = "../../model/src/tokenizer/chat/now.rs"]
mod now;
#[path = "../../model/src/tokenizer/chat/source.rs"]
mod source;

use now::Now;
use s3d_data::prompt::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(template) = std::str::from_utf8(bytes) else { return };
    let message = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
    let talk = [message("system", "Be brief."), message("user", "Hi \u{1f980}"), message("assistant", "Yes?")];
    let tokens = BTreeMap::from([("bos_token".to_string(), "<s>".to_string())]);
    if let Ok(text) = engine::render(template, &tokens, &talk, Now::utc(0)) {
        assert!(text.len() <= 4 << 20, "a text within the limit");
    }
});
