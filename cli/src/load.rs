//! Loads the model that the flags name.

use crate::args::ModelArgs;
use crate::usage::{or_usage, usage};
use crate::{locate, resolve};
use s3d_model::{LoadOptions, Model};
use std::path::PathBuf;

/// A loaded model, and what else the commands want to know of it.
pub struct Loaded {
    /// The model as it runs.
    pub model: Model,
    /// How it was loaded.
    pub options: LoadOptions,
    /// Its folder.
    pub folder: PathBuf,
}

/// Loads the model of `args`.
///
/// # Errors
/// Wrong flags, a device that this program was not built for, or files that do not fit.
pub fn model(args: &ModelArgs) -> anyhow::Result<Loaded> {
    let (folder, shipped) = locate::model(&args.model)?;
    let options = options(args, shipped)?;
    let model = Model::load(&folder, &options)?;
    Ok(Loaded { model, options, folder })
}

/// The same model as `loaded`, before widening; `None` where nothing was widened.
///
/// # Errors
/// When the files have changed meanwhile.
pub fn before_widening(loaded: &Loaded) -> anyhow::Result<Option<Model>> {
    if loaded.options.widen == 1 {
        return Ok(None);
    }
    let options = LoadOptions { widen: 1, ..loaded.options.clone() };
    Ok(Some(Model::load(&loaded.folder, &options)?))
}

/// Loads a model as it is: f32, on the CPU, not widened.
///
/// # Errors
/// As [`model`].
pub fn plain(name: &str) -> anyhow::Result<Model> {
    let (folder, _) = locate::model(name)?;
    Ok(Model::load(&folder, &LoadOptions::default())?)
}

/// How the model of `args` is to run.
///
/// # Errors
/// A flag whose value is unknown.
pub fn options(args: &ModelArgs, shipped: bool) -> anyhow::Result<LoadOptions> {
    match args.device.split(':').next() {
        Some("cpu") if args.device == "cpu" => {}
        Some("cuda") => anyhow::bail!(
            "--device {}: this program was built without CUDA; use --device cpu",
            args.device
        ),
        _ => {
            return Err(usage(format!(
                "--device: expected cpu or cuda[:N], found '{}'",
                args.device
            )));
        }
    }
    Ok(LoadOptions {
        dtype: or_usage("--dtype", s3d_data::Dtype::of_engine(&args.dtype))?,
        widen: resolve::widen(args, shipped)?,
        threads: resolve::threads(args.threads)?,
        ..LoadOptions::default()
    })
}
