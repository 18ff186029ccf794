//! Models of the Hugging Face Hub: in its cache on this machine, or fetched into it.

use std::path::{Path, PathBuf};

/// A name on the Hub: `ORG/NAME`, or `ORG/NAME/FILE.gguf`.
pub struct HubId<'n> {
    /// `ORG/NAME`.
    pub repository: &'n str,
    /// The one file that is wanted, where it is a GGUF file.
    pub file: Option<&'n str>,
}

impl<'n> HubId<'n> {
    /// Reads a name; nothing where it can only be a path.
    pub fn parse(name: &'n str) -> Option<Self> {
        let parts: Vec<&str> = name.split('/').collect();
        let plain = |part: &&str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(allowed)
        };
        if !parts.iter().all(plain) {
            return None;
        }
        match parts[..] {
            [_, _] => Some(Self { repository: name, file: None }),
            [org, repo, file] if file.ends_with(".gguf") => {
                Some(Self { repository: &name[..org.len() + 1 + repo.len()], file: Some(file) })
            }
            _ => None,
        }
    }

    /// Where the model lies on this machine, if it was fetched before (by this program or another).
    pub fn cached(&self) -> Option<PathBuf> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let home = variable("HOME").map(|home| home.join(".cache/huggingface"));
        let hub =
            variable("HF_HUB_CACHE").or(variable("HF_HOME").or(home).map(|h| h.join("hub")))?;
        let folder = hub.join(format!("models--{}", self.repository.replace('/', "--")));
        let revision = std::fs::read_to_string(folder.join("refs/main")).ok()?;
        let snapshot = folder.join("snapshots").join(revision.trim());
        let model = match self.file {
            Some(file) => snapshot.join(file),
            None => snapshot.clone(),
        };
        let there = if self.file.is_some() { &model } else { &snapshot.join("config.json") };
        there.is_file().then_some(model)
    }
}

/// Whether a file of a repository is part of a checkpoint.
#[cfg(any(feature = "hub", test))]
fn is_wanted(name: &str, file: Option<&str>) -> bool {
    const NAMES: [&str; 6] = [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "model.safetensors.index.json",
    ];
    match file {
        Some(file) => name == file,
        None => NAMES.contains(&name) || !name.contains('/') && name.ends_with(".safetensors"),
    }
}

/// Fetches a model into the cache of the Hub and says where it lies.
///
/// # Errors
/// No network, no such model, no space.
#[cfg(feature = "hub")]
pub fn fetch(id: &HubId<'_>) -> anyhow::Result<PathBuf> {
    use anyhow::Context;
    let name = id.repository;
    let failed = || {
        format!(
            "--download: cannot fetch {name} from the Hugging Face Hub; check name and network, or fetch its \
             files otherwise and give their folder with --model"
        )
    };
    let api = hf_hub::api::sync::ApiBuilder::from_env().build().with_context(failed)?;
    let repository = api.model(name.to_string());
    let files = repository.info().with_context(failed)?.siblings;
    let mut last = None;
    for file in files.iter().map(|file| &file.rfilename).filter(|file| is_wanted(file, id.file)) {
        crate::terminal::note(&format!("fetching {name}/{file}"));
        last = Some(repository.get(file).with_context(failed)?);
    }
    let last = last.with_context(|| format!("--download: {name} holds no such checkpoint"))?;
    Ok(if id.file.is_some() { last } else { last.parent().unwrap_or(Path::new(".")).to_path_buf() })
}

/// Says how to get a program that can fetch, or the model itself.
///
/// # Errors
/// Always.
#[cfg(not(feature = "hub"))]
pub fn fetch(id: &HubId<'_>) -> anyhow::Result<PathBuf> {
    let name = Path::new(id.repository).display();
    anyhow::bail!(
        "--download: this program was built without access to the Hugging Face Hub, so {name} cannot be fetched; \
         build it with its default features, or fetch the files otherwise and give their folder with --model"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hub_are_told_from_paths() {
        let id = HubId::parse("org/model-1.5B").unwrap();
        assert_eq!((id.repository, id.file), ("org/model-1.5B", None));
        let id = HubId::parse("org/model/x.Q4_K.gguf").unwrap();
        assert_eq!((id.repository, id.file), ("org/model", Some("x.Q4_K.gguf")));
        for path in ["model", "/org/model", "./org/model", "../x", "a/b/c", "org/", "o rg/x"] {
            assert!(HubId::parse(path).is_none(), "{path}");
        }
        assert!(is_wanted("model-00001-of-00002.safetensors", None));
        assert!(
            !is_wanted("onnx/model.safetensors", None) && !is_wanted("pytorch_model.bin", None)
        );
    }
}
