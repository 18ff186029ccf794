//! Models of the Hugging Face Hub: in its cache on this machine, or fetched into it.

use s3d_data::{Limit, file};
use std::path::{Path, PathBuf};
#[cfg(feature = "hub")]
use {crate::shared::terminal, s3d_data::shown, s3d_data::store};

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
        if !parts.iter().all(|part| is_plain(part)) {
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

    /// Its folder in the cache of the Hub.
    fn folder(&self) -> Option<PathBuf> {
        let hub = variable("HF_HUB_CACHE").or_else(|| Some(hub_home()?.join("hub")))?;
        Some(hub.join(format!("models--{}", self.repository.replace('/', "--"))))
    }

    /// Where the model lies on this machine, if it was fetched before (by this program or another).
    pub fn cached(&self) -> Option<PathBuf> {
        let folder = self.folder()?;
        let revision = file::read(&folder.join("refs/main"), Limit::TYPED).ok()?;
        let revision = String::from_utf8(revision).ok()?;
        let snapshot = folder.join("snapshots").join(revision.trim());
        let model = match self.file {
            Some(file) => snapshot.join(file),
            None => snapshot.clone(),
        };
        let there = if self.file.is_some() { &model } else { &snapshot.join("config.json") };
        there.is_file().then_some(model)
    }
}

/// Whether a name holds nothing that means something to a path or a shell.
fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed)
}

/// A path in the environment.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where programs for the Hub keep things.
fn hub_home() -> Option<PathBuf> {
    variable("HF_HOME").or_else(|| Some(variable("HOME")?.join(".cache/huggingface")))
}

/// Whether a file of a repository is part of a checkpoint: by its name, which is then the one it
/// gets here.
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
        None => NAMES.contains(&name) || name.ends_with(".safetensors") && is_plain(name),
    }
}

/// Fetches a model into the cache of the Hub and says where it lies.
///
/// # Errors
/// No network, no such model, no space, an answer that does not fit.
#[cfg(feature = "hub")]
pub fn fetch(id: &HubId<'_>) -> anyhow::Result<PathBuf> {
    use anyhow::Context;
    let name = id.repository;
    let failed = || {
        format!(
            "--download: cannot fetch {name} from the Hugging Face Hub; check name and network, \
             or fetch its \
             files otherwise and give their folder with --model"
        )
    };
    let folder = id.folder().context("--download: expected HF_HOME or HOME in the environment")?;
    let hub = Hub::of(name).with_context(failed)?;
    let known = hub.revision().with_context(failed)?;
    let snapshot = folder.join("snapshots").join(&known.sha);
    std::fs::create_dir_all(&snapshot).with_context(failed)?;
    let names = known.siblings.iter().map(|file| file.rfilename.as_str());
    let wanted: Vec<&str> = names.filter(|file| is_wanted(file, id.file)).collect();
    anyhow::ensure!(!wanted.is_empty(), "--download: {name} holds no such checkpoint");
    for file in wanted {
        if snapshot.join(file).exists() {
            continue;
        }
        terminal::note(&format!("fetching {name}/{file}"));
        hub.file(file, &snapshot).with_context(failed)?;
    }
    // Only now: a model that is fetched in part is not found without --download.
    store::save_atomically(&folder.join("refs/main"), known.sha.as_bytes())?;
    Ok(id.file.map_or(snapshot.clone(), |file| snapshot.join(file)))
}

/// The Hub, as far as it is asked. Nothing that it answers becomes a path: files get the names of
/// [`is_wanted`], folders that of a commit. (`hf-hub` itself takes names of files from the headers
/// of answers; here it only asks.)
#[cfg(feature = "hub")]
struct Hub {
    repository: hf_hub::api::sync::ApiRepo,
    agent: ureq::Agent,
    token: Option<String>,
}

/// What the Hub says of a revision.
#[cfg(feature = "hub")]
#[derive(serde::Deserialize)]
struct Revision {
    sha: String,
    siblings: Vec<Sibling>,
}

/// A file of a repository.
#[cfg(feature = "hub")]
#[derive(serde::Deserialize)]
struct Sibling {
    rfilename: String,
}

#[cfg(feature = "hub")]
impl Hub {
    /// Bytes of a list of files; far above any.
    const LIST: u64 = 16 << 20;

    fn of(name: &str) -> anyhow::Result<Self> {
        let agent = ureq::AgentBuilder::new()
            .try_proxy_from_env(true)
            .redirect_auth_headers(ureq::RedirectAuthHeaders::SameHost)
            .timeout_connect(std::time::Duration::from_secs(30))
            .timeout_read(std::time::Duration::from_secs(60))
            .build();
        let api = hf_hub::api::sync::ApiBuilder::from_env().build()?;
        let token = hf_hub::Cache::from_env().token();
        Ok(Self { repository: api.model(name.to_string()), agent, token })
    }

    /// Commit and files of the main branch.
    fn revision(&self) -> anyhow::Result<Revision> {
        use std::io::Read;
        let answer = self.repository.info_request().call()?;
        let mut text = Vec::new();
        answer.into_reader().take(Self::LIST).read_to_end(&mut text)?;
        let known: Revision = serde_json::from_slice(&text)?;
        anyhow::ensure!(
            known.sha.len() == 40 && known.sha.bytes().all(|b| b.is_ascii_hexdigit()),
            "expected a commit of 40 hexadecimal digits, found '{}'",
            shown(&known.sha)
        );
        Ok(known)
    }

    /// Fetches one file into `folder`; what a broken connection left behind is gone on with.
    fn file(&self, file: &str, folder: &Path) -> anyhow::Result<()> {
        let part = folder.join(format!("{file}.part"));
        let have = std::fs::metadata(&part).map_or(0, |known| known.len());
        let mut request = self.agent.get(&self.repository.url(file));
        if let Some(token) = &self.token {
            request = request.set("Authorization", &format!("Bearer {token}"));
        }
        if have > 0 {
            request = request.set("Range", &format!("bytes={have}-"));
        }
        let answer = request.call()?;
        let from = format!("bytes {have}-");
        let range = answer.header("content-range");
        let goes_on = answer.status() == 206 && range.is_some_and(|r| r.starts_with(&from));
        let length: Option<u64> = answer.header("content-length").and_then(|n| n.parse().ok());
        let mut out = match goes_on {
            true => std::fs::OpenOptions::new().append(true).create(true).open(&part)?,
            false => std::fs::File::create(&part)?,
        };
        let read = std::io::copy(&mut answer.into_reader(), &mut out)?;
        anyhow::ensure!(
            length.is_none_or(|length| length == read),
            "{file}: the connection ended after {read} bytes; run the command again to go on"
        );
        out.sync_all()?;
        Ok(std::fs::rename(&part, folder.join(file))?)
    }
}

/// Says how to get a program that can fetch, or the model itself.
///
/// # Errors
/// Always.
#[cfg(not(feature = "hub"))]
pub fn fetch(id: &HubId<'_>) -> anyhow::Result<PathBuf> {
    let name = Path::new(id.repository).display();
    anyhow::bail!(
        "--download: this program was built without access to the Hugging Face Hub, so {name} \
         cannot be fetched; \
         build it with its default features, or fetch the files otherwise and give their folder \
         with --model"
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
        for name in ["../x.safetensors", "..\\x.safetensors", "/x.safetensors", "a:b.safetensors"] {
            assert!(!is_wanted(name, None), "{name}");
        }
    }
}
