//! Measurements of other engines, into a run directory: `fit` and `optimize` then work without any
//! model. The forms of the files are those of [`s3d_data::outside`].

use crate::request::Provenance;
use crate::{Result, clock};
use s3d_data::outside::{self, Kind, Setting};
use s3d_data::whole::{fill, vacant};
use s3d_data::{
    Machine, ModelIdentity, ModelShape, Observations, Run, RunDir, RunHeader, SCHEMA_VERSION, store,
};
use std::path::PathBuf;

/// What the files do not say.
#[derive(Debug, Clone, PartialEq)]
pub struct Outside {
    /// The model's name.
    pub model: String,
    /// Its shape; the number of layers must be known, the rest may be 0.
    pub shape: ModelShape,
    /// Name of the machine or card.
    pub machine: String,
    /// Largest number of predictors looked at.
    pub gamma_max: usize,
    /// The context that choices are made for, in tokens.
    pub context: usize,
    /// How the import was made.
    pub provenance: Provenance,
}

/// Reads `files` and writes a run directory at `out`. Nothing is written when one of them is wrong.
///
/// # Errors
/// A file of no known form; a missing column, a number that is not finite or below 0, two units, a
/// cell twice: with path and line. A directory that holds a run already.
pub fn import(files: &[PathBuf], outside: &Outside, out: &RunDir) -> Result<Run> {
    let output = vacant(out.root())?.sparing(files);
    let setting = Setting {
        layers: outside.shape.layers,
        gamma_max: outside.gamma_max,
        context: outside.context,
    };
    let mut header = None;
    let mut all = Vec::new();
    for file in files {
        let bytes = store::read(file)?;
        match outside::kind_of(&bytes, file)? {
            Kind::Header => header = Some(store::load_versioned(file, SCHEMA_VERSION)?),
            kind => all.extend(outside::parse(&bytes, kind, file, &setting)?),
        }
    }
    let header = header.unwrap_or_else(|| header_of(outside));
    let run = Run { header, observations: Observations::from_journal(all.iter().cloned()) };
    let draft = output.draft()?;
    let header = fill(&draft, &run, Some(&all))?;
    draft.add()?;
    Ok(Run { header, ..run })
}

fn header_of(outside: &Outside) -> RunHeader {
    let how = outside.provenance.clone();
    let now = clock::utc_now();
    let machine = Machine {
        model: outside.machine.clone(),
        cores: 0,
        memory_bytes: 0,
        caches: Vec::new(),
        features: String::new(),
        system: "imported".into(),
        governor: None,
        read_bytes_per_s: None,
        flops_per_s: None,
        load: None,
        card: None,
    };
    let model = ModelIdentity {
        name: outside.model.clone(),
        shape: outside.shape.clone(),
        content_hash: String::new(),
        random_weights: false,
        training_steps: None,
    };
    RunHeader {
        schema_version: SCHEMA_VERSION,
        command: how.command,
        program_version: how.program_version,
        program_commit: how.program_commit,
        machines: vec![machine],
        device: how.device,
        driver: how.driver,
        threads: 0,
        dtype: how.dtype,
        widen: 1,
        model,
        gamma_max: outside.gamma_max,
        context: outside.context,
        memory_budget_bytes: how.memory_budget_bytes,
        imposed: None,
        seed: 0,
        started: now.clone(),
        ended: Some(now),
        seconds_measuring: 0.0,
        cpu_seconds: None,
        stopped: None,
        coverage: None,
        shard: None,
        merged: None,
        asked: None,
        tables: None,
        warnings: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn outside() -> Outside {
        let shape = ModelShape {
            layers: 12,
            hidden: 0,
            intermediate: 0,
            heads: 0,
            kv_heads: 0,
            head_dim: 0,
            vocab: 0,
            tied: false,
            masks: 7,
            adapter_rank: 0,
        };
        Outside {
            model: "some-12-layers".into(),
            shape,
            machine: "their card".into(),
            gamma_max: 4,
            context: 256,
            provenance: Provenance::default(),
        }
    }

    #[test]
    fn nothing_is_written_when_one_file_is_wrong() {
        let line = r#"{"skip_start":3,"skip_end":9,"id":"a","prompt":4,"accepted":[2,1,0]}"#;
        let dir = tempfile::tempdir().unwrap();
        let [good, bad] = ["good.jsonl", "bad.jsonl"].map(|name| dir.path().join(name));
        fs::write(&good, line).unwrap();
        fs::write(&bad, format!("{line}\n{{\"id\":\"b\",\"prompt\":1,\"accepted\":[]}}\n"))
            .unwrap();
        let out = RunDir::new(dir.path().join("out"));
        let message = import(&[good.clone(), bad], &outside(), &out).unwrap_err().to_string();
        assert!(message.contains("bad.jsonl, line 2"), "{message}");
        assert!(!out.root().exists());
        let run = import(std::slice::from_ref(&good), &outside(), &out).unwrap();
        assert_eq!(out.load().unwrap(), run, "what was written is what was read");
        assert_eq!(run.header.model.name, "some-12-layers");
        let message = import(&[good], &outside(), &out).unwrap_err().to_string();
        assert!(message.contains("holds a run already"), "{message}");
    }
}
