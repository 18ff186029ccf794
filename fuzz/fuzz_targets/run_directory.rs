//! A run directory: parts that begin with a line `== NAME` are its files. It is read and concluded
//! from as `s3d fit` and `s3d optimize` do it; whatever comes of it is an error or finite.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3d_data::{RunDir, finite};
use s3d_simulator::choose::machines::on_machine;
use s3d_simulator::{FitOptions, Request, choose, fit};
use std::fs;
use std::path::PathBuf;

const FILES: [&str; 7] = [
    "run.json",
    "latency.csv",
    "acceptance.jsonl",
    "throughput.csv",
    "memory.csv",
    "near_ties.csv",
    "recommendation.json",
];

/// The folder of this process, made anew.
fn folder() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    let parent = if shared.is_dir() { shared } else { std::env::temp_dir() };
    let folder = parent.join(format!("s3d-fuzz-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for the run");
    folder
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let folder = folder();
    for part in text.split("== ").skip(1) {
        let (name, body) = part.split_once('\n').unwrap_or((part, ""));
        if FILES.contains(&name) {
            fs::write(folder.join(name), body).expect("a file of the run");
        }
    }
    let dir = RunDir::new(&folder);
    let _ = (dir.load_recommendation(), dir.load_journal());
    let Ok(run) = dir.load() else { return };
    let Ok(run) = on_machine(run, None) else { return };
    let request = Request { draws: 40, ..Request::of(&run.header) };
    if let Ok(found) = fit(&run, &FitOptions { draws: 20, seed: 1, ..FitOptions::default() }) {
        finite::check(&found).expect("a fit is finite");
    }
    if let Ok(found) = choose(&run, &request) {
        finite::check(&found).expect("a choice is finite");
    }
});
