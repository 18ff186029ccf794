//! Numbers typed on the command line, resolved into curves, rates and costs of the simulator.

use crate::args::CurveArgs;
use crate::shared::usage::{or_usage, usage};
use anyhow::Context;
use s3d_data::{Drafting, Limit, Predictors, SkipRatio, file, store};
use s3d_simulator::{AcceptanceCurve, AcceptanceRate, CostRow, CostsFile, Family, TypedCosts};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Plans of a drafting that are looked at where nothing was measured.
const MOST_CELLS: usize = 1 << 16;

/// The skip ratio of `--layers` and `--skip`; `None` when neither is given.
///
/// # Errors
/// One without the other, no layers, or all of them skipped.
pub fn skip_ratio(layers: Option<usize>, skip: Option<usize>) -> anyhow::Result<Option<SkipRatio>> {
    match (layers, skip) {
        (None, None) => Ok(None),
        (Some(layers), Some(skip)) if skip < layers => {
            Ok(Some(SkipRatio::new(skip as f64 / layers as f64)?))
        }
        (Some(layers), Some(skip)) => Err(usage(format!(
            "--skip: expected fewer than the {layers} --layers (a draft pass needs one), found \
             {skip}"
        ))),
        (Some(_), None) => Err(usage("--layers needs --skip beside it")),
        (None, Some(_)) => Err(usage("--skip needs --layers beside it")),
    }
}

/// `--predictors`, checked.
///
/// # Errors
/// Outside 1..=64.
pub fn predictors(value: usize) -> anyhow::Result<Predictors> {
    or_usage("--predictors", Predictors::new(value))
}

/// Refuses a map of more plans than anyone reads.
///
/// # Errors
/// Too many layers for this number of predictors.
pub fn check_size(layers: usize, gamma_max: Predictors) -> anyhow::Result<()> {
    if layers * gamma_max.get() > MOST_CELLS {
        return Err(usage(format!(
            "--layers {layers}: with --gamma-max {gamma_max} that is more than {MOST_CELLS} \
             plans; give less of one"
        )));
    }
    Ok(())
}

/// One acceptance rate per predictor from `--alphas`.
///
/// # Errors
/// A rate outside [0, 1]; a list whose length is not `--predictors`.
pub fn rates(alphas: &[f64], predictors: Option<usize>) -> anyhow::Result<Vec<AcceptanceRate>> {
    let rates = or_usage("--alphas", AcceptanceRate::all(alphas))?;
    match (rates.as_slice(), predictors) {
        (&[one], Some(count)) => Ok(vec![one; self::predictors(count)?.get()]),
        (list, Some(count)) if list.len() != count => Err(usage(format!(
            "--alphas: expected one rate or {count} (--predictors), found {}",
            list.len()
        ))),
        (list, _) => {
            self::predictors(list.len())?;
            Ok(rates)
        }
    }
}

/// One curve per predictor from `--curve`, its parameters and `--ceiling`.
///
/// # Errors
/// An unknown family, a missing or foreign parameter, ceilings that are neither one nor
/// `predictors` many.
pub fn curves(args: &CurveArgs, predictors: usize) -> anyhow::Result<Vec<AcceptanceCurve>> {
    let name = args.curve.as_deref().unwrap_or_default();
    let family: Family = or_usage("--curve", name.parse())?;
    let ceilings = match args.ceiling.as_slice() {
        [] => vec![1.0; predictors],
        &[one] => vec![one; predictors],
        list if list.len() == predictors => list.to_vec(),
        list => {
            return Err(usage(format!(
                "--ceiling: expected one value or {predictors} (one per predictor), found {}",
                list.len()
            )));
        }
    };
    let parameters = parameters(args, family)?;
    ceilings
        .into_iter()
        .map(|ceiling| or_usage("--curve", AcceptanceCurve::new(family, &parameters, ceiling)))
        .collect()
}

/// The shape parameters of `family`, in its order; a flag of another family is refused.
fn parameters(args: &CurveArgs, family: Family) -> anyhow::Result<Vec<f64>> {
    let flags = [("u", args.u), ("centre", args.centre), ("slope", args.slope)];
    for (name, value) in flags {
        if value.is_some() && !family.parameters().contains(&name) {
            return Err(usage(format!("--{name} does not belong to --curve {family}")));
        }
    }
    let given = |name: &str| flags.iter().find(|f| f.0 == name).and_then(|f| f.1);
    family
        .parameters()
        .iter()
        .map(|name| given(name).ok_or_else(|| usage(format!("--curve {family} needs --{name}"))))
        .collect()
}

/// The costs of `--costs` with the tables that it names, read once; or the ideal case.
pub struct Costs {
    file: Option<(PathBuf, CostsFile)>,
    tables: BTreeMap<String, Vec<CostRow>>,
}

impl Costs {
    /// Reads `path`, where it is given.
    ///
    /// # Errors
    /// A file that does not read.
    pub fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self { file: None, tables: BTreeMap::new() }) };
        let file = CostsFile::parse(&file::read(path, Limit::TYPED)?, path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let read = |name: &str| Ok((name.to_string(), store::load_csv(&folder.join(name))?));
        let tables = file.tables().into_iter().map(read).collect::<anyhow::Result<_>>()?;
        Ok(Self { file: Some((path.to_path_buf(), file)), tables })
    }

    /// The costs of a draft that skips `skip_ratio`.
    ///
    /// # Errors
    /// Costs that contradict themselves; no `[draft]` (or no file) without `--layers` and `--skip`.
    pub fn model(
        &self,
        drafting: Drafting,
        skip_ratio: Option<SkipRatio>,
    ) -> anyhow::Result<TypedCosts> {
        let kept = skip_ratio.map(|ratio| 1.0 - ratio.get());
        let Some((path, file)) = &self.file else {
            let kept = kept.ok_or_else(|| {
                usage(
                    "expected --layers and --skip (or --costs with a [draft] section), found \
                    neither",
                )
            })?;
            return Ok(TypedCosts::ideal(kept));
        };
        let rows = |name: &str| Ok(self.tables.get(name).cloned().unwrap_or_default());
        file.model(drafting, kept, rows).with_context(|| path.display().to_string())
    }
}
