//! `config.json` from any text: what is accepted can be asked for everything.
#![no_main]
#![allow(dead_code, unused_imports, reason = "the sources serve more than this target")]

use libfuzzer_sys::fuzz_target;

// The reader's own sources, without the kernels of their crate: they build in seconds.
#[path = "../../model/src/config/mod.rs"]
mod config;

#[path = "../../model/src/files.rs"]
mod files;

/// Stands for the errors of the crate that the sources belong to.
mod error {
    use std::path::Path;

    /// What went wrong.
    #[derive(Debug)]
    pub struct Error(String);

    /// Its results.
    pub type Result<T> = std::result::Result<T, Error>;

    impl Error {
        pub fn io(_: &str, path: &Path, source: std::io::Error) -> Self {
            Self(format!("{}: {source}", path.display()))
        }

        pub fn malformed(path: &Path, message: impl Into<String>) -> Self {
            Self(format!("{}: {}", path.display(), message.into()))
        }

        pub fn invalid(message: impl Into<String>) -> Self {
            Self(message.into())
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = config::ModelConfig::from_json(text) else { return };
    assert!(config.positions() > 0, "some text fits");
    assert!(config.kv_heads() > 0 && config.head_dim() > 0);
    let rope = config.rope().expect("a configuration that was accepted has frequencies");
    assert_eq!(2 * rope.frequencies.len(), config.rotary_dim().expect("it was accepted"));
    config.attention_parts().expect("a configuration that was accepted has an architecture");
    let _ = (config.shape(), config.is_end(1), config.masks(), config.class());
});
