//! Commands of the child processes that a measuring job starts: this program, with the same model.

use crate::args::ModelArgs;
use crate::shared::load::Loaded;
use anyhow::Context;
use s3d_data::Seconds;
use s3d_measure::{FurtherStarts, Request};
use std::ffi::OsString;
use std::path::PathBuf;

/// The command of the child process whose peak memory is measured.
///
/// # Errors
/// When the system does not tell this program's own file.
pub fn memory(
    model: &ModelArgs,
    loaded: &Loaded,
    request: &Request,
) -> anyhow::Result<Vec<OsString>> {
    let mut words = of_model("memory-child", model, loaded)?;
    let width = request.gamma_max.get() + 1;
    for (flag, value) in [("--context", request.context), ("--width", width)] {
        words.extend([flag.into(), value.to_string().into()]);
    }
    Ok(words)
}

/// The processes that decode beside this one, of a model that took `load` to load and is run up to
/// `context` tokens.
///
/// # Errors
/// As [`memory`].
pub fn decoding(
    model: &ModelArgs,
    loaded: &Loaded,
    request: &Request,
    (context, load): (usize, Seconds),
) -> anyhow::Result<FurtherStarts> {
    let mut command = of_model("decode-child", model, loaded)?;
    command.extend(["--context".into(), context.to_string().into()]);
    if let Some(imposed) = &request.impose {
        let rates: Vec<String> = imposed.rates().iter().map(f64::to_string).collect();
        command.extend(["--impose".into(), rates.join(",").into()]);
        command.extend(["--seed".into(), request.seed.to_string().into()]);
    }
    Ok(FurtherStarts { command, load })
}

/// This program's hidden command `name` for the loaded model.
fn of_model(name: &str, model: &ModelArgs, loaded: &Loaded) -> anyhow::Result<Vec<OsString>> {
    let program: PathBuf =
        std::env::current_exe().context("cannot find this program's own file")?;
    let named = match loaded.source.path() {
        Some(path) => path.as_os_str().to_os_string(),
        None => model.name().to_string().into(),
    };
    let mut words: Vec<OsString> =
        vec![program.into_os_string(), name.into(), "--model".into(), named];
    let dtype = loaded.options.dtype.to_string();
    let (widen, threads) = (loaded.options.widen.to_string(), loaded.options.threads.to_string());
    for (flag, value) in [
        ("--device", &model.device),
        ("--dtype", &dtype),
        ("--widen", &widen),
        ("--threads", &threads),
    ] {
        words.extend([flag.into(), value.into()]);
    }
    words.extend(model.oversubscribe.then(|| "--oversubscribe".into()));
    let file = |file: &Option<PathBuf>| file.as_ref().map(|file| file.clone().into_os_string());
    for (flag, value) in [
        ("--tokenizer", file(&model.tokenizer)),
        ("--layers", model.layers.map(|layers| layers.to_string().into())),
        ("--config", file(&model.config)),
        ("--adapters", file(&model.adapters)),
        ("--draft-vocabulary", model.draft_vocabulary.map(|over| over.to_string().into())),
    ] {
        words.extend(value.into_iter().flat_map(|value| [flag.into(), value]));
    }
    Ok(words)
}
