//! `--download` against a server of this test that answers like the Hugging Face Hub; nothing
//! leaves the machine.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the server serves: the shipped model under another name.
const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn story() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models/story")
}

/// What the server says beside the files.
#[derive(Clone)]
struct Says {
    /// Names in the list of files.
    files: Vec<&'static str>,
    /// The commit in the list of files.
    listed: &'static str,
    /// The commit in the headers of a file.
    commit: &'static str,
    /// The tag of a file; its name where none is given.
    etag: Option<&'static str>,
}

/// Starts a server; its address.
fn serve(says: Says) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = answer(stream.unwrap(), &says); // who hangs up is its own test's failure
        }
    });
    endpoint
}

/// One request: the list of files, or (part of) a file with the headers that name its version.
fn answer(mut stream: TcpStream, says: &Says) -> std::io::Result<()> {
    let Says { files, listed, commit, etag } = says;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_string();
    let mut range = None;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            let (start, end) = bytes.trim().split_once('-').unwrap();
            range = Some((start.parse::<usize>().unwrap(), end.parse::<usize>().ok()));
        }
    }
    if path == "/api/models/org/story/revision/main" {
        let names: Vec<String> =
            files.iter().map(|name| format!("{{\"rfilename\":\"{name}\"}}")).collect();
        let body = format!("{{\"sha\":\"{listed}\",\"siblings\":[{}]}}", names.join(","));
        let length = body.len();
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: \
             {length}\r\nconnection: close\r\n\r\n{body}"
        );
    }
    let Some(name) = path.strip_prefix("/org/story/resolve/main/").filter(|n| FILES.contains(n))
    else {
        return write!(
            stream,
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
    };
    let bytes = std::fs::read(story().join(name))?;
    let (start, end) = range.unwrap_or((0, None));
    let end = end.unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
    let etag = etag.unwrap_or(name);
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nx-repo-commit: {commit}\r\netag: \"{etag}\"\r\n\
         content-range: bytes {start}-{end}/{}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        bytes.len(),
        end + 1 - start
    )?;
    stream.write_all(&bytes[start..=end])
}

fn generate(model: &str, endpoint: &str, home: &Path, download: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_s3d"));
    command.args(["generate", "--model", model, "--prompt", "Once upon a time", "--tokens", "12"]);
    command.args(["--plan", "plain", "--widen", "1", "--json"]);
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", home).env_remove("HF_HUB_CACHE");
    // A proxy of the machine's must not be asked for the test's own server.
    for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(proxy).env_remove(proxy.to_uppercase());
    }
    if download {
        command.arg("--download");
    }
    command.output().unwrap()
}

#[test]
fn a_model_is_fetched_once_and_then_found() {
    let endpoint =
        serve(Says { files: FILES.to_vec(), listed: COMMIT, commit: COMMIT, etag: None });
    let home = tempfile::tempdir().unwrap();
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

    let missing = generate("org/other", &endpoint, home.path(), true);
    assert_eq!(missing.status.code(), Some(1), "{}", said(&missing));
    assert!(said(&missing).contains("org/other"), "{}", said(&missing));

    let fetched = generate("org/story", &endpoint, home.path(), true);
    assert!(fetched.status.success(), "{}", said(&fetched));
    let text = |output: &Output| -> serde_json::Value {
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["token_ids"].clone()
    };
    let shipped = generate("story", &endpoint, home.path(), false);
    assert!(text(&shipped).is_array(), "{}", said(&shipped));
    assert_eq!(text(&fetched), text(&shipped), "the same model by another way");

    let nowhere = "http://127.0.0.1:9";
    let cached = generate("org/story", nowhere, home.path(), false);
    assert_eq!(text(&cached), text(&shipped), "{}", said(&cached));
}

#[test]
fn without_network_one_line_says_what_could_not_be_fetched() {
    let home = tempfile::tempdir().unwrap();
    let output = generate("org/story", "http://127.0.0.1:9", home.path(), true);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot fetch org/story") && said.contains("--model"), "{said}");
    assert!(!said.contains("panicked") && output.stdout.is_empty(), "{said}");
}

/// All files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// A server that gives what it should, but names files and versions so that they would lie outside
/// the cache.
#[test]
fn no_answer_of_a_server_becomes_a_path() {
    const OUTSIDE: &str = "../../../escaped";
    for (listed, code) in [(COMMIT, 0), (OUTSIDE, 1)] {
        let files = [&FILES[..], &["../../../escaped.safetensors"]].concat();
        let endpoint = serve(Says { files, listed, commit: OUTSIDE, etag: Some(OUTSIDE) });
        let outside = tempfile::tempdir().unwrap();
        let home = outside.path().join("a/b/home");
        let output = generate("org/story", &endpoint, &home, true);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        let snapshot = home.join("hub/models--org--story");
        for file in files_below(outside.path()) {
            let inside = file.starts_with(&snapshot) && !file.to_string_lossy().contains("escaped");
            assert!(inside, "{}", file.display());
        }
    }
}
