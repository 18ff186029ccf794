//! Where shipped things lie: in the data folder that `S3D_DATA` names, in that of the clone worked
//! in or built from, else inside the program (`shipped.rs`).

use crate::shared::hub::{self, HubId};
use crate::shared::shipped;
use crate::shared::usage::usage;
use s3d_data::datasheets;
use s3d_model::checkpoint::is_checkpoint;
use std::path::{Path, PathBuf};

/// The folder or file of a model: a path, the name of a shipped one (the flag says which), or of
/// one on the Hub, which is fetched if `download` says so.
///
/// # Errors
/// When it is neither; the places looked at are named.
pub fn model(name: &str, download: bool) -> anyhow::Result<(PathBuf, bool)> {
    let path = Path::new(name);
    // A dot is the folder one is in, and a slash makes a path of a word.
    let is_name = path.file_name().is_some_and(|last| last == name);
    if is_name && let Some(folder) = find("models", name, Path::is_dir)? {
        return Ok((folder, true));
    }
    s3d_data::output::settle(path)?; // of a training that was killed as it wrote its last files
    if is_checkpoint(path) {
        return Ok((path.to_path_buf(), false));
    }
    if path.exists() {
        anyhow::bail!(
            "--model {name}: expected a checkpoint folder (config.json, model.safetensors, \
             tokenizer.json) or a GGUF file, found another file"
        );
    }
    match HubId::parse(name) {
        Some(id) => match id.cached() {
            Some(found) => return Ok((found, false)),
            None if download => return Ok((hub::fetch(&id)?, false)),
            None => anyhow::bail!(
                "--model {name}: no such folder; if it is a model of the Hugging Face Hub, add \
                 --download"
            ),
        },
        None if !is_name => anyhow::bail!("--model {name}: no such folder"),
        None => {}
    }
    Err(usage(format!(
        "--model {name}: neither a folder, nor a GGUF file, nor a shipped model; shipped: {}",
        names("models")?
    )))
}

/// A profile: a run directory, or the name of a shipped one such as `a10g/llama-2-7b-f16`.
///
/// # Errors
/// When it is neither; what is shipped is named.
pub fn profile(name: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(name);
    if holds_run(&path) {
        return Ok(path);
    }
    match find("profiles", name, holds_run)? {
        Some(folder) => Ok(folder),
        None => Err(usage(unknown_profile(name, &profiles()?))),
    }
}

fn holds_run(folder: &Path) -> bool {
    folder.join("run.json").is_file()
}

/// What is there instead of the profile `name`, and how to make one.
fn unknown_profile(name: &str, known: &[(String, PathBuf)]) -> String {
    let known: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
    let card = name.split('/').next().filter(|card| datasheets::device(card).is_ok());
    let measured = match card {
        Some(card) if known.iter().any(|known| known.starts_with(&format!("{card}/"))) => {
            format!("; no such model was measured on {card} yet")
        }
        Some(card) => format!("; nothing was measured on {card} yet"),
        None => String::new(),
    };
    let known = if known.is_empty() { "none".into() } else { known.join(", ") };
    // CARD/MODEL-DTYPE, where it reads so; the dtype is what stands behind the last hyphen.
    let sizes = name.split_once('/').and_then(|(_, sizes)| sizes.rsplit_once('-'));
    let (model, dtype) = sizes
        .filter(|(model, _)| s3d_data::published::preset(model).is_ok())
        .unwrap_or(("MODEL", "DTYPE"));
    format!(
        "--profile {name}: neither a run directory nor a shipped profile (shipped: \
         {known}){measured}. \
         Make one on that machine: s3d measure latency memory --model {model} --dtype {dtype} \
         --out DIR; or \
         from a data sheet: s3d derive --card {} --model {model} --dtype {dtype} --out DIR; then \
         --profile \
         DIR",
        card.unwrap_or("CARD")
    )
}

/// The shipped profiles, `card/model-dtype` with the folder.
///
/// # Errors
/// An `S3D_DATA` that is no data folder.
pub fn profiles() -> anyhow::Result<Vec<(String, PathBuf)>> {
    let of = |root: PathBuf| -> Vec<(String, PathBuf)> {
        let runs = entries(&root).into_iter().flat_map(|card| entries(&card));
        let runs = runs.filter(|folder| holds_run(folder));
        runs.filter_map(|folder| {
            let name = folder.strip_prefix(&root).ok()?.display().to_string();
            Some((name, folder))
        })
        .collect()
    };
    let on_disk = data_folders()?.into_iter().map(|data| data.join("profiles"));
    let found = on_disk.map(of).find(|found| !found.is_empty());
    let inside = || Ok(shipped::unpacked("profiles")?.map(of).unwrap_or_default());
    found.map_or_else(inside, Ok)
}

/// What a folder holds, sorted; nothing where it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = read.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// The shipped thing `name` of a kind (`models`, `profiles`, ...), where there is one that `fits`.
///
/// # Errors
/// An `S3D_DATA` that is no data folder; no place to unpack to.
pub fn find(
    kind: &str,
    name: &str,
    fits: impl Fn(&Path) -> bool,
) -> anyhow::Result<Option<PathBuf>> {
    let on_disk = data_folders()?.into_iter().map(|data| data.join(kind).join(name));
    match on_disk.into_iter().find(|path| fits(path)) {
        Some(path) => Ok(Some(path)),
        None => Ok(shipped::unpacked(&format!("{kind}/{name}"))?.filter(|path| fits(path))),
    }
}

/// The names of a kind, for messages.
fn names(kind: &str) -> anyhow::Result<String> {
    let file_name = |path: PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
    let mut names = shipped::names(kind);
    for data in data_folders()? {
        names.extend(entries(&data.join(kind)).into_iter().filter_map(file_name));
    }
    names.sort();
    names.dedup();
    Ok(names.join(", "))
}

/// Data folders on disk, the first to be looked at first: `S3D_DATA`, then the clone's.
fn data_folders() -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    if let Some(named) = std::env::var_os("S3D_DATA").filter(|named| !named.is_empty()) {
        folders.push(checked(PathBuf::from(named))?);
    }
    let program = std::env::current_exe().unwrap_or_default();
    let above = program.ancestors().skip(1).map(Path::to_path_buf);
    let clones = std::iter::once(PathBuf::new()).chain(above).filter(|folder| is_clone(folder));
    folders.extend(clones.map(|clone| clone.join("data")));
    Ok(folders)
}

/// Whether a folder is a clone of this project: others may have a folder `data` too.
fn is_clone(folder: &Path) -> bool {
    ["cli/Cargo.toml", "data/Cargo.toml", "data/models"]
        .iter()
        .all(|part| folder.join(part).exists())
}

/// What a data folder may hold; each is optional.
const KINDS: [&str; 3] = ["models", "prompts", "profiles"];

/// The folder of `S3D_DATA`, when it is one.
fn checked(data: PathBuf) -> anyhow::Result<PathBuf> {
    let found = match () {
        () if KINDS.iter().any(|kind| data.join(kind).is_dir()) => return Ok(data),
        () if data.is_dir() => "a folder with none of these",
        () if data.exists() => "a file",
        () => "no such folder",
    };
    Err(usage(format!(
        "S3D_DATA={}: expected a data folder, which holds models/NAME/ (config.json, \
         model.safetensors, \
         tokenizer.json, prompts.jsonl), profiles/CARD/MODEL-DTYPE/ (run directories) or \
         prompts/; found \
         {found}. Unset it to use what is inside this program",
        data.display()
    )))
}
