//! `s3d import`: measurements of other engines into a run directory.

use crate::args::ImportArgs;
use crate::usage::usage;
use crate::{show, terminal};
use s3d_data::{ModelShape, RunDir};
use s3d_measure::Provenance;
use s3d_measure::import::{Outside, import};

/// Reads the files and writes the run directory; `s3d optimize` and `s3d report` then work on it.
pub fn import_files(args: &ImportArgs) -> anyhow::Result<()> {
    if args.layers == 0 {
        return Err(usage("--layers: expected at least 1, found 0"));
    }
    let shape = ModelShape {
        layers: args.layers,
        hidden: 0,
        intermediate: 0,
        heads: 0,
        kv_heads: 0,
        head_dim: 0,
        vocab: 0,
        tied: false,
        masks: 0,
        adapter_rank: 0,
    };
    let outside = Outside {
        model: args.model.clone(),
        shape,
        machine: args.machine.clone(),
        gamma_max: args.gamma_max,
        context: args.context,
        provenance: Provenance {
            command: std::env::args().collect(),
            program_version: env!("CARGO_PKG_VERSION").to_string(),
            device: "imported".into(),
            dtype: args.dtype.clone(),
            widen: 1,
            ..Provenance::default()
        },
    };
    let run = import(&args.files, &outside, &RunDir::new(&args.out))?;
    terminal::result(&show::counts(&args.out, &run))
}
