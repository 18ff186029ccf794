//! The `s3d` command.
fn main() {}
