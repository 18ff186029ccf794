//! Tables of plans that an engine looks up while it serves: by context.

use crate::args::{ExportArgs, ExportTable, TableFormat};
use crate::shared::usage::usage;
use crate::shared::{load_run, resolve};
use s3d_data::{ContextResult, RunDir, store};
use s3d_simulator::choose::by_context::by_context;
use s3d_simulator::{Request, choose};
use serde::Serialize;
use std::ffi::OsStr;

/// The table that was asked for, as text.
pub fn text(args: &ExportArgs, table: ExportTable) -> anyhow::Result<String> {
    match table {
        ExportTable::Context => {
            let rows: Vec<_> =
                contexts(args)?.iter().map(|context| context.row(args.anyway)).collect();
            written(&rows, format(args))
        }
    }
}

/// The choice by context: what the run recommends, or what it says of the contexts of the flag.
fn contexts(args: &ExportArgs) -> anyhow::Result<Vec<ContextResult>> {
    let (dir, folder) = (RunDir::new(&args.dir), args.dir.display());
    let Some(asked) = &args.context else {
        let found = dir.load_recommendation()?.by_context;
        anyhow::ensure!(
            !found.is_empty(),
            "{folder}: the run was asked about one context; add --context 256..4096 to predict \
             others from it, or measure at them: s3d run --context 256..4096"
        );
        return Ok(found);
    };
    let several = asked.several();
    if several.is_empty() {
        return Err(usage(format!("--context: expected several, found {}", asked.own())));
    }
    let run = load_run::one_machine(&dir, args.machine)?;
    resolve::positions(&run.header, asked.longest())?;
    let request = Request { with_errors: false, ..Request::of(&run.header) };
    let choice = choose(&run, &request)?.recommendation.choice;
    Ok(by_context(&run, &request, &several, choice.as_ref())?.contexts)
}

/// The form that was asked for, else that of the file's name, else CSV.
fn format(args: &ExportArgs) -> TableFormat {
    let extension = args.out.as_ref().and_then(|file| file.extension());
    let named = extension.is_some_and(|extension| extension == OsStr::new("json"));
    args.format.unwrap_or(if named { TableFormat::Json } else { TableFormat::Csv })
}

/// Rows in a form, without the last line break.
fn written<T: Serialize>(rows: &[T], format: TableFormat) -> anyhow::Result<String> {
    Ok(match format {
        TableFormat::Json => serde_json::to_string_pretty(rows)?,
        TableFormat::Csv => store::csv_text(rows)?.trim_end().to_string(),
    })
}
