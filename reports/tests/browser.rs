//! The page in a real browser: Debian's Chromium, headless.
//!
//! Skipped with a message where no `chromium` is installed, unless `S3D_BROWSER=required`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod chromium;
mod fixture;

use chromium::skipped;
use s3d_reports::page;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Moves the sliders of context and drafts to their left ends and writes what the page then says
/// into an attribute.
const PROBE: &str = r##"<script>
"use strict";
const before = document.querySelector("#what-if-choice").textContent;
for (const input of document.querySelectorAll(".what-if input:not(#what-if-budget)")) {
  input.value = 0;
  input.dispatchEvent(new Event("input"));
}
const after = document.querySelector("#what-if-choice").textContent;
const marked = [...document.querySelectorAll("svg .spot")].filter(spot => spot.style.stroke).length;
const box = document.querySelector("#verdict").getBoundingClientRect();
const head = document.querySelector("table th:nth-child(4)");
head.click();
const speeds = [...head.closest("table").querySelectorAll("tbody td:nth-child(4)")].map(td =>
  Number(td.dataset.value));
const sorted = speeds.every((speed, i) => i === 0 || speeds[i - 1] >= speed);
const wide = document.documentElement.scrollWidth > innerWidth;
document.body.setAttribute("data-probe", JSON.stringify({
  before, after, marked, visible: box.top < innerHeight && box.height > 40, sorted, wide }));
</script>"##;

fn browser(arguments: &[&str], file: &Path) -> Option<Output> {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("timeout")
        .args(["120", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    // 127: no such program
    (output.status.code() != Some(127)).then_some(output)
}

fn written(name: &str, extra: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    std::fs::create_dir_all(&folder).unwrap();
    let page =
        page::page(&fixture::input()).unwrap().replace("</body>", &format!("{extra}</body>"));
    let file = folder.join(name);
    std::fs::write(&file, page).unwrap();
    file
}

#[test]
fn the_page_works_in_a_browser_and_asks_for_nothing() {
    if skipped() {
        return;
    }
    let file = written("probe.html", PROBE);
    let output = browser(&["--window-size=1280,900", "--dump-dom"], &file).unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    // The policy of the page refuses every request, and the console would name each attempt.
    assert!(!log.contains("CONSOLE"), "{log}");
    let page = String::from_utf8_lossy(&output.stdout);
    let start = page.find("data-probe=\"").expect("the probe did not run") + 12;
    let probe = page[start..].split('"').next().unwrap().replace("&quot;", "\"");
    let probe: serde_json::Value = serde_json::from_str(&probe).unwrap();
    assert_eq!(probe["visible"], true, "the verdict is not on the first screen");
    assert_ne!(probe["before"], probe["after"], "the sliders do not move the choice");
    assert_eq!(probe["marked"], 1, "the choice is not marked on the map");
    assert_eq!(probe["sorted"], true, "a click on a head does not sort");
    assert_eq!(probe["wide"], false, "the page is wider than the window");
}

#[test]
fn the_page_can_be_looked_at() {
    if skipped() {
        return;
    }
    let file = written("page.html", "");
    for (name, flag) in [("light", "preferredColorScheme=1"), ("dark", "preferredColorScheme=0")] {
        let picture = file.with_file_name(format!("{name}.png"));
        let screenshot = format!("--screenshot={}", picture.display());
        let blink = format!("--blink-settings={flag}");
        browser(&["--window-size=1280,1600", &screenshot, &blink], &file).unwrap();
        assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"), "{name}");
    }
}
