//! Chat templates from any text: each ends, in bounded memory, with a text or an error.
#![no_main]
#![allow(dead_code, unused_imports, reason = "the sources serve more than this target")]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

/// The renderer's own sources, without the kernels of their crate: they build in seconds.
mod chat {
    #[path = "../../../model/src/chat/engine.rs"]
    pub mod engine;
    #[path = "../../../model/src/chat/json.rs"]
    mod json;
    #[path = "../../../model/src/chat/now.rs"]
    mod now;
    #[path = "../../../model/src/chat/source.rs"]
    mod source;

    pub use now::Now;
    pub use s3d_data::prompt::Message;
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(template) = std::str::from_utf8(bytes) else { return };
    let message = |role: &str, content: &str| chat::Message { role: role.into(), content: content.into() };
    let talk = [message("system", "Be brief."), message("user", "Hi \u{1f980}"), message("assistant", "Yes?")];
    let tokens = BTreeMap::from([("bos_token".to_string(), "<s>".to_string())]);
    if let Ok(text) = chat::engine::render(template, &tokens, &talk, chat::Now::utc(0)) {
        assert!(text.len() <= 4 << 20, "a text within the limit");
    }
});
