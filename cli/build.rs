//! What is built into the program besides its code: the shipped files, and the commit it was built
//! from.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Files and folders of `data/` that travel inside the program. Tables and data sheets are compiled
/// into `s3d-data`; runs stay in the repository, they are large and only read by tests.
const SHIPPED: [&str; 4] = ["models/story", "models/smollm2-135m-s3d", "prompts", "profiles"];

/// What all of them may take: the program is copied to every node of a cluster.
const MOST_BYTES: u64 = 48 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    embed(&root.join("data"))?;
    stamp(&root)
}

/// Writes `embedded.rs`: every shipped file with its path below `data/`, and a hash of them all.
fn embed(data: &Path) -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    for name in SHIPPED {
        let path = data.join(name);
        if path.exists() {
            collect(&path, &mut files)?;
        }
    }
    if !data.join("models/story/model.safetensors").is_file() {
        return Err(format!("{}: expected the shipped model below it", data.display()).into());
    }
    files.sort();
    let (mut total, mut hash, mut entries) = (0, Fnv::new(), String::new());
    for path in &files {
        let name = path.strip_prefix(data)?.to_str().ok_or("a file name that is not UTF-8")?;
        let bytes = fs::read(path)?;
        total += bytes.len() as u64;
        hash.add(name.as_bytes());
        hash.add(&(bytes.len() as u64).to_le_bytes());
        hash.add(&bytes);
        writeln!(entries, "    ({name:?}, include_bytes!({path:?})),")?;
    }
    if total > MOST_BYTES {
        return Err(format!("shipped files take {total} bytes, at most {MOST_BYTES} may").into());
    }
    let code = format!(
        "/// Shipped files by their path below the data folder.\n\
         pub static FILES: &[(&str, &[u8])] = &[\n{entries}];\n\
         /// Hash of their names and contents.\n\
         pub const HASH: &str = \"{:016x}\";\n",
        hash.0
    );
    Ok(fs::write(Path::new(&env::var("OUT_DIR")?).join("embedded.rs"), code)?)
}

/// All files at or below `path`, hidden ones left out.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if path.is_file() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

/// FNV-1a with 64 bits. It names a version; contents are compared byte by byte where they matter.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Sets `S3D_COMMIT` (where it is known) and `S3D_VERSION` for the code.
fn stamp(root: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=S3D_COMMIT");
    watch_sources(root);
    // Packagers who build without .git may say the commit.
    let commit = env::var("S3D_COMMIT").ok().filter(|said| !said.trim().is_empty());
    let commit = commit.or_else(|| commit_of(root));
    if let Some(commit) = &commit {
        println!("cargo::rustc-env=S3D_COMMIT={commit}");
    }
    let commit = commit.unwrap_or_else(|| "unknown commit".into());
    println!("cargo::rustc-env=S3D_VERSION={} ({commit})", env::var("CARGO_PKG_VERSION")?);
    Ok(())
}

/// The stamp is made again when a source changes (which rebuilds the program anyway) and after a
/// commit.
fn watch_sources(root: &Path) {
    // One that is not there would make cargo ask every time.
    for part in sources(root).iter().map(|part| root.join(part)).filter(|part| part.exists()) {
        println!("cargo::rerun-if-changed={}", part.display());
    }
    let log = git(root, &["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]);
    if let Some(log) = log.filter(|log| Path::new(log).is_file()) {
        println!("cargo::rerun-if-changed={log}");
    }
}

/// What the program is made of, relative to the root: manifests, shipped files, the sources of
/// every crate.
fn sources(root: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        ["Cargo.toml", "Cargo.lock", "cli/build.rs", "data/devices", "data/published"]
            .map(String::from)
            .into();
    parts.extend(SHIPPED.map(|name| format!("data/{name}")));
    for folder in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        if folder.path().join("Cargo.toml").is_file() && folder.path().join("src").is_dir() {
            parts.extend([format!("{name}/Cargo.toml"), format!("{name}/src")]);
        }
    }
    parts
}

/// The commit of the sources, with `, dirty` where they differ from it; `None` where `root` is not
/// the root of a git work tree.
fn commit_of(root: &Path) -> Option<String> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root {
        return None; // a packaged source below somebody else's repository
    }
    let commit = git(root, &["rev-parse", "--short=7", "HEAD"])?;
    let mut question = vec!["status", "--porcelain", "--"];
    let parts = sources(root);
    question.extend(parts.iter().map(String::as_str));
    let dirty = !git(root, &question)?.is_empty();
    Some(if dirty { format!("{commit}, dirty") } else { commit })
}

/// What git prints, without the end of line; `None` where it is missing or refuses.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // Asking must not change the index, which would be written while others use it.
    command.arg("--no-optional-locks").arg("-C").arg(root).args(arguments);
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}
