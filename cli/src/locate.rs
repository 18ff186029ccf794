//! Where shipped things lie: `data/` beside the working folder, above the program, or in `S3D_DATA`.

use crate::hub::{self, HubId};
use crate::usage::usage;
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
