//! The pictures of the README, taken from a real run by `scripts/screenshots`.
//!
//! Skipped with a message where no `chromium` is installed, unless `S3D_BROWSER=required`.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

#[path = "../../reports/tests/chromium/mod.rs"]
mod chromium;

use chromium::skipped;

#[test]
fn the_pictures_of_the_readme_are_taken_from_a_run_of_the_repository() {
    if skipped() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let run = Path::new(env!("CARGO_TARGET_TMPDIR")).join("story-x2-epyc");
    fs::create_dir_all(&run).unwrap();
    for entry in fs::read_dir(root.join("data/runs/story-x2-epyc")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, run.join(path.file_name().unwrap())).unwrap();
    }
    let report = Command::new(env!("CARGO_BIN_EXE_s3d")).arg("report").arg(&run).output().unwrap();
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let pictures = run.join("pictures");
    let taken = Command::new(root.join("scripts/screenshots")).args([&run, &pictures]).output();
    let taken = taken.unwrap();
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    for name in ["report-light.png", "report-dark.png", "phone-light.png"] {
        assert!(fs::read(pictures.join(name)).unwrap().starts_with(b"\x89PNG"), "{name}");
        assert!(readme.contains(&format!("docs/images/{name}")), "the README does not show {name}");
    }
    assert!(fs::read(pictures.join("report.pdf")).unwrap().starts_with(b"%PDF"));
}
