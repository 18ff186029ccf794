//! `s3d import`: measurements of other engines into a run directory.

use crate::args::ImportArgs;
use crate::shared::usage::{or_usage, usage};
use crate::shared::{resolve, show, terminal};
use s3d_data::import::Setting;
use s3d_data::{ModelShape, Predictors, RunDir, TimesFrom, published};
use s3d_measure::Provenance;
use s3d_measure::import::{Outside, import};
use s3d_reports::words::verdict::quoted;

/// Context of a law where none is asked for.
const CONTEXT: usize = 256;
/// Layers beyond which no model goes.
const MOST_LAYERS: usize = 4096;

/// Reads the files and writes the run directory; `s3d optimize` and `s3d report` then work on it.
pub fn import_files(args: &ImportArgs) -> anyhow::Result<()> {
    let shape = shape(args)?;
    let outside = Outside {
        model: args.model.clone(),
        shape: shape.clone(),
        machine: args.machine.clone(),
        dtype: args.dtype.clone(),
        context: args.context,
        draft_times: args.draft_times.clone(),
        plain_tokens_per_s: args.plain_tokens_per_s,
        setting: setting(args, shape.layers)?,
        provenance: Provenance {
            command: resolve::command_line(),
            program_version: env!("CARGO_PKG_VERSION").to_string(),
            device: TimesFrom::IMPORTED.into(),
            widen: 1,
            ..Provenance::default()
        },
    };
    let run = import(&args.files, &outside, &RunDir::new(&args.out))?;
    for note in &run.header.warnings {
        terminal::note(&format!("note: {note}"));
    }
    terminal::result(&show::counts(&args.out, &run))?;
    terminal::note(&format!("next: s3d optimize {}", quoted(&args.out.display().to_string())));
    Ok(())
}

/// What the flags say in place of the files.
fn setting(args: &ImportArgs, layers: usize) -> anyhow::Result<Setting> {
    let positive = |flag: &str, value: Option<f64>, most: f64| match value {
        Some(value) if !(1e-9..=most).contains(&value) => {
            Err(usage(format!("{flag}: expected a number above 0, at most {most}, found {value}")))
        }
        _ => Ok(()),
    };
    positive("--draft-share", args.draft_share, 1.0)?;
    positive("--plain-tokens-per-s", args.plain_tokens_per_s, 1e9)?;
    let gamma_max = or_usage("--gamma-max", Predictors::new(args.gamma_max))?;
    if args.context == Some(0) {
        return Err(usage("--context: expected at least 1, found 0"));
    }
    if let Some(window) = args.skip {
        or_usage("--skip", window.skip_ratio(layers))?;
    }
    if let Some(length) = args.draft_length {
        or_usage("--draft-length", Predictors::new(length))?;
    }
    let pair = |text: &String| {
        let pair = text.split_once('=').map(|(name, value)| (name.into(), value.into()));
        pair.ok_or_else(|| usage(format!("--only {text}: expected FIELD=VALUE")))
    };
    Ok(Setting {
        drafting: args.drafting,
        skip: args.skip,
        draft_share: args.draft_share,
        draft_length: args.draft_length,
        only: args.only.iter().map(pair).collect::<anyhow::Result<_>>()?,
        ..Setting::new(layers, gamma_max, args.context.unwrap_or(CONTEXT))
    })
}

/// The shape of a known geometry, else one of which only the layers are known.
fn shape(args: &ImportArgs) -> anyhow::Result<ModelShape> {
    let known = args.model.as_deref().and_then(|name| published::preset(name).ok());
    match (known.map(|known| known.shape()), args.layers) {
        (_, Some(layers)) if layers == 0 || layers > MOST_LAYERS => {
            Err(usage(format!("--layers: expected 1 to {MOST_LAYERS}, found {layers}")))
        }
        (Some(shape), Some(layers)) if shape.layers != layers => Err(usage(format!(
            "--layers {layers}: {} has {} layers; leave --layers out, or give another --model",
            args.model.as_deref().unwrap_or_default(),
            shape.layers
        ))),
        (Some(shape), _) => Ok(shape),
        (None, Some(layers)) => Ok(ModelShape::of_layers(layers)),
        (None, None) => Err(usage(
            "--layers is missing: no file of another engine says how many layers the model has; \
             give \
             --layers N, or --model NAME of a known geometry such as llama-2-7b",
        )),
    }
}
