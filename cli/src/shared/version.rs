//! The version of this program and the commit it was built from: stamped by `build.rs`, read here
//! only.

/// Such as `0.1.0 (abc1234, dirty)`; dirty where sources differed from the commit.
pub const VERSION: &str = env!("S3D_VERSION");

/// The version alone.
pub fn number() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// The commit, such as `abc1234` or `abc1234, dirty`; `None` for a packaged source.
pub fn commit() -> Option<String> {
    option_env!("S3D_COMMIT").map(str::to_string)
}
