//! Whether tests can use a browser; shared with the tests of the command line.

use std::process::Command;

/// Whether there is no `chromium`, which is said; fails where `S3D_BROWSER=required`.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub fn skipped() -> bool {
    let present =
        Command::new("chromium").arg("--version").output().is_ok_and(|o| o.status.success());
    let required = std::env::var("S3D_BROWSER").is_ok_and(|value| value == "required");
    assert!(
        present || !required,
        "S3D_BROWSER=required, but there is no chromium: apt-get install chromium"
    );
    if !present {
        eprintln!("skipped: no chromium; install it (apt-get install chromium) to run this test");
    }
    !present
}
