//! Files of other engines: read as documented, refused with their line.

use super::*;
use s3d_data::{AcceptanceCounts, Component, Drafting, Trace};
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

/// Imports one file of this name and content.
fn import_text(name: &str, text: &str) -> std::result::Result<Run, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    fs::write(&file, text).unwrap();
    let out = RunDir::new(dir.path().join("out"));
    let run = import(&[file], &outside(), &out).map_err(|e| e.to_string())?;
    assert_eq!(out.load().unwrap(), run, "what was written is what was read");
    Ok(run)
}

#[test]
fn pass_times_are_read_in_any_one_unit() {
    let text = "pass,skip,width,context,milliseconds\nfull,,1,256,6.1\ndraft,3..9,4,256,3.5\n";
    let run = import_text("passes.csv", text).unwrap();
    let found: Vec<_> = run
        .observations
        .latency
        .iter()
        .map(|s| (s.component, s.plan.as_ref().map(ToString::to_string), s.width, s.seconds))
        .collect();
    let full = (Component::FullPass, Some("plain".to_string()), 1, 6.1 * 1e-3);
    let draft = (Component::DraftPass, Some("3..9:4".to_string()), 4, 3.5 * 1e-3);
    assert_eq!(found, [full, draft]);
    let run = import_text("passes.csv", "width,context,seconds\n1,64,0.006\n5,64,0.007\n").unwrap();
    assert_eq!(run.observations.latency.len(), 2);
    assert_eq!(run.header.model.name, "some-12-layers");
}

#[test]
fn wrong_pass_times_are_refused_with_their_line() {
    for (text, words) in [
        ("width,context,seconds\n1,64,0.006\n2,64,NaN\n", "line 3: expected a time above 0"),
        ("width,context,seconds\n1,64,-0.1\n", "line 2: expected a time above 0"),
        ("width,context,seconds\n1,64,\n", "line 2: the column 'seconds' is missing or empty"),
        ("width,seconds\n1,0.1\n", "line 2: the column 'context' is missing or empty"),
        ("width,context,seconds\n", "no rows"),
        ("width,context,seconds,milliseconds\n1,64,0.1,100\n", "line 2: two units"),
        ("width,context,seconds,milliseconds\n1,64,0.1,\n2,64,,9\n", "line 3: another unit"),
        ("width,context,seconds\n1,64,0.1\n1,64,0.1\n", "line 3: this cell"),
        ("width,context,seconds\n0,64,0.1\n", "line 2: width and context"),
        ("width,context,seconds,colour\n1,64,0.1,red\n", "line 2"),
        ("width,context,seconds\n1,64,fast\n", "line 2"),
        ("pass,width,context,seconds\ndraft,1,64,0.1\n", "'skip' is missing"),
        ("pass,skip,width,context,seconds\ndraft,3..19,4,64,0.1\n", "3..19 does not fit"),
        ("pass,width,context,seconds\nprefill,1,64,0.1\n", "found 'prefill'"),
        ("a,b\n1,2\n", "line 1: expected the columns"),
        ("", "line 1"),
    ] {
        let message = import_text("passes.csv", text).unwrap_err();
        assert!(message.contains(words) && message.contains("passes.csv"), "{text:?}: {message}");
    }
    assert!(import_text("passes.txt", "x").unwrap_err().contains("*.csv"));
}

#[test]
fn an_affine_law_becomes_times_on_a_grid() {
    let law =
        r#"{"fixed_seconds":0.004,"per_token_seconds":0.0002,"per_context_token_seconds":1e-6}"#;
    let run = import_text("law.json", law).unwrap();
    let seconds = |component, width| {
        let of = |s: &&s3d_data::LatencySample| {
            (s.component, s.width, s.context) == (component, width, 256)
                && s.plan
                    .as_ref()
                    .and_then(s3d_data::Plan::draft)
                    .is_none_or(|p| p.skip.window().is_some_and(|w| w.len() == 6))
        };
        run.observations.latency.iter().find(of).unwrap().seconds
    };
    // source: 0.004 + 5 x 0.0002 + 256 x 1e-6 = 0.005256; a draft of half the layers: half of width 4
    assert!((seconds(Component::FullPass, 5) - 0.005_256).abs() < 1e-12);
    assert!((seconds(Component::DraftPass, 4) - 0.5 * 0.005_056).abs() < 1e-12);
    for (bad, words) in [
        (r#"{"fixed_seconds":-1}"#, "none below 0"),
        (r#"{"fixed_seconds":0}"#, "not all of them 0"),
        (r#"{"fixed_ms":4}"#, "fixed_ms"),
        ("{", "law.json"),
    ] {
        let message = import_text("law.json", bad).unwrap_err();
        assert!(message.contains(words), "{bad}: {message}");
    }
}

/// Walks a trace as decoding would, counting.
fn walk(trace: &Trace, predictors: usize) -> AcceptanceCounts {
    let mut counts = AcceptanceCounts::new(predictors);
    let mut position = 0;
    while position + 1 < trace.accepted.len() {
        let accepted = (trace.accepted[position] as usize).min(predictors);
        counts.record(accepted);
        position += accepted + 1;
    }
    counts
}

#[test]
fn counts_come_back_from_the_walk() {
    let text = "drafting,skip_start,skip_end,predictor,attempted,accepted\n\
                simultaneous,3,9,1,1000,890\nsimultaneous,3,9,2,890,730\nsimultaneous,3,9,3,730,0\n\
                sequential,4,8,1,7,7\n";
    let run = import_text("counts.csv", text).unwrap();
    let [simultaneous, sequential] = &run.observations.traces[..] else { panic!("two traces") };
    let counts = walk(simultaneous, 3);
    assert_eq!((counts.attempted, counts.accepted), (vec![1000, 890, 730], vec![890, 730, 0]));
    assert_eq!(walk(sequential, 1).accepted, [7]);
    assert_eq!(sequential.drafting, Some(Drafting::Sequential));
    // One predictor is right at least as often as the first of three was.
    assert!(walk(simultaneous, 1).attempted[0] > 1000);
}

#[test]
fn wrong_counts_are_refused_with_their_line() {
    let header = "skip_start,skip_end,predictor,attempted,accepted\n";
    for (rows, words) in [
        ("3,9,1,10,11\n", "line 2: 11 accepted of 10"),
        ("3,9,1,10,8\n3,9,2,9,1\n", "line 3: predictor 2 was attempted 9 times"),
        ("3,9,2,10,8\n", "line 2: expected predictor 1"),
        ("3,9,1,10,8\n3,9,1,10,8\n", "line 3: this cell"),
        ("9,3,1,10,8\n", "line 2"),
        ("3,9,1,10,-8\n", "line 2"),
        ("3,9,1,0,0\n", "never attempted"),
        ("", "no rows"),
    ] {
        let message = import_text("counts.csv", &format!("{header}{rows}")).unwrap_err();
        assert!(message.contains(words), "{rows:?}: {message}");
    }
    let message = import_text("counts.csv", "attempted,accepted\n1,1\n").unwrap_err();
    assert!(message.contains("skip_start"), "{message}");
}

#[test]
fn traces_are_checked_and_nothing_is_written_when_one_file_is_wrong() {
    let line = r#"{"skip_start":3,"skip_end":9,"id":"a","prompt":4,"accepted":[2,1,0]}"#;
    assert_eq!(import_text("t.jsonl", line).unwrap().observations.traces.len(), 1);
    let dir = tempfile::tempdir().unwrap();
    let [good, bad] = ["good.jsonl", "bad.jsonl"].map(|name| dir.path().join(name));
    fs::write(&good, line).unwrap();
    fs::write(&bad, format!("{line}\n{{\"id\":\"b\",\"prompt\":1,\"accepted\":[]}}\n")).unwrap();
    let out = RunDir::new(dir.path().join("out"));
    let message = import(&[good.clone(), bad], &outside(), &out).unwrap_err().to_string();
    assert!(message.contains("'accepted' is empty"), "{message}");
    assert!(!out.root().exists());
    import(std::slice::from_ref(&good), &outside(), &out).unwrap();
    let message = import(&[good], &outside(), &out).unwrap_err().to_string();
    assert!(message.contains("holds a run already"), "{message}");
}
