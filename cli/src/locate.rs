//! Where shipped things lie: `data/` beside the working folder, above the program, or in `S3D_DATA`.

use crate::hub::{self, HubId};
use crate::usage::usage;
use s3d_data::device;
use s3d_model::checkpoint::is_checkpoint;
use std::path::{Path, PathBuf};

/// The folder or file of a model: a path, the name of a shipped one (the flag says which), or of one
/// on the Hub, which is fetched if `download` says so.
///
/// # Errors
/// When it is neither; the places looked at are named.
pub fn model(name: &str, download: bool) -> anyhow::Result<(PathBuf, bool)> {
    let path = Path::new(name);
    let is_name = !name.is_empty() && path.components().count() == 1 && !path.is_absolute();
    if is_name && let Some(folder) = shipped("models").map(|m| m.join(name)).find(|m| m.is_dir()) {
        return Ok((folder, true));
    }
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
                "--model {name}: no such folder; if it is a model of the Hugging Face Hub, add --download"
            ),
        },
        None if !is_name => anyhow::bail!("--model {name}: no such folder"),
        None => {}
    }
    Err(usage(format!(
        "--model {name}: neither a folder, nor a GGUF file, nor a shipped model; shipped: {}",
        names("models")
    )))
}

/// A profile: a run directory, or the name of a shipped one such as `a10g/llama-2-7b-f16`.
///
/// # Errors
/// When it is neither; what is shipped is named.
pub fn profile(name: &str) -> anyhow::Result<PathBuf> {
    let holds_run = |folder: &Path| folder.join("run.json").is_file();
    let path = PathBuf::from(name);
    let named = shipped("profiles").map(|folder| folder.join(name));
    std::iter::once(path)
        .chain(named)
        .find(|folder| holds_run(folder))
        .ok_or_else(|| usage(unknown_profile(name)))
}

/// What is there instead of the profile `name`, and how to make one.
fn unknown_profile(name: &str) -> String {
    let known: Vec<_> = profiles().into_iter().map(|(name, _)| name).collect();
    let card = name.split('/').next().filter(|card| device::device(card).is_ok());
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
        "--profile {name}: neither a run directory nor a shipped profile (shipped: {known}){measured}. \
         Make one on that machine: s3d measure latency memory --model {model} --dtype {dtype} --out DIR; or \
         from a data sheet: s3d derive --card {} --model {model} --dtype {dtype} --out DIR; then --profile \
         DIR",
        card.unwrap_or("CARD")
    )
}

/// The shipped profiles, `card/model-dtype` with the folder.
pub fn profiles() -> Vec<(String, PathBuf)> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let read = std::fs::read_dir(folder).into_iter().flatten();
        let mut paths: Vec<_> = read.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        paths
    };
    let of = |root: PathBuf| -> Vec<(String, PathBuf)> {
        let runs = entries(&root).into_iter().flat_map(|card| entries(&card));
        let runs = runs.filter(|folder| folder.join("run.json").is_file());
        runs.filter_map(|folder| {
            let name = folder.strip_prefix(&root).ok()?.display().to_string();
            Some((name, folder))
        })
        .collect()
    };
    shipped("profiles").map(of).find(|found| !found.is_empty()).unwrap_or_default()
}

/// Folders that may hold shipped things of a kind.
fn shipped(kind: &str) -> impl Iterator<Item = PathBuf> {
    let named = std::env::var_os("S3D_DATA").map(PathBuf::from);
    let here = Some(PathBuf::from("data"));
    let program = std::env::current_exe().ok();
    let above: Vec<PathBuf> = program
        .iter()
        .flat_map(|exe| exe.ancestors().skip(1))
        .map(|folder| folder.join("data"))
        .collect();
    let kind = kind.to_string();
    named.into_iter().chain(here).chain(above).map(move |data| data.join(&kind))
}

/// The names found in the first folder that holds any.
fn names(kind: &str) -> String {
    let found = shipped(kind).find_map(|folder| {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Some(names.join(", "))
    });
    found.unwrap_or_else(|| "none found; set S3D_DATA to the project's data folder".into())
}
