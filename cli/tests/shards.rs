//! Work that is divided over processes: shards of the shipped model, merged, and what is concluded
//! of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::in_folder::{done, fails};
use serde_json::Value;
use std::fs;

#[test]
fn acceptance_of_merged_shards_is_that_of_a_single_run() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let measure = "measure acceptance --prompt-count 3 --tokens 24 --gamma-max 3 --seed 7 --quiet";
    done(dir, &format!("{measure} --out single"));
    done(dir, &format!("{measure} --out a --shard 1/2"));
    // Threads decide nothing about a text: another host may have another number of them.
    done(dir, &format!("{measure} --out b --shard 2/2 --threads 1"));
    let (printed, _) = done(dir, "merge b a --out merged");
    assert_eq!(
        printed.trim(),
        "merged: 0 latency samples, 72 traces, 0 generations, 0 memory records"
    );
    let traces = |run: &str| fs::read(dir.join(run).join("acceptance.jsonl")).unwrap();
    assert!(traces("merged") == traces("single"), "acceptance.jsonl differs");
    for shard in ["a", "b"] {
        let lines = traces(shard).iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(lines, 36, "half of 3 prompts x 12 windows x 2 draftings each");
    }
    let (fit, _) = done(dir, "fit merged --json");
    assert_eq!(fit, done(dir, "fit single --json").0);
    assert!(done(dir, "inspect merged").0.contains("2 of 2 shards, 1 machines"));
    assert!(done(dir, "inspect a").0.contains("shard    1/2"));

    let said = fails(dir, 1, "merge a b --out merged");
    assert!(said.contains("--force"), "{said}");
    done(dir, "merge a b --out merged --force");
    let said = fails(dir, 1, "merge a --out half");
    assert!(said.contains("shard 2 missing") && !dir.join("half").exists(), "{said}");
    let (_, said) = done(dir, "merge a --out half --partial");
    assert!(said.contains("a partial merge"), "{said}");
    let said = fails(dir, 1, "merge a single --out no");
    assert!(said.contains("single: no shard"), "{said}");
    let said = fails(dir, 1, &format!("{measure} --out b --shard 1/2 --threads 1"));
    assert!(said.contains("--shard 2/2, but 1/2 was asked for"), "{said}");
}

#[test]
fn everything_after_takes_a_merged_run_and_keeps_machines_apart() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (name, shard) in [("a", "1/2"), ("b", "2/2")] {
        let measure = "measure acceptance latency throughput --plans plain,3..9:3,seq:4..8:2 \
            --widen 1 \
                       --prompt-count 4 --tokens 20 --context 20 --gamma-max 3 --time-budget 1s \
                       --quiet";
        done(dir, &format!("{measure} --out {name} --shard {shard}"));
    }
    // The second shard as if another machine had measured it.
    let header = dir.join("b/run.json");
    let mut other: Value = serde_json::from_slice(&fs::read(&header).unwrap()).unwrap();
    other["machines"][0]["model"] = "Another Processor".into();
    fs::write(&header, other.to_string()).unwrap();
    let (_, said) = done(dir, "merge a b --out merged");
    assert!(said.contains("2 different machines") && said.contains("--machine"), "{said}");
    let machines: Vec<String> = fs::read_to_string(dir.join("merged/latency.csv"))
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap().to_string())
        .collect();
    let of = |machine: &str| machines.iter().filter(|m| *m == machine).count();
    assert!(of("0") > 0 && of("1") > 0 && of("0") + of("1") == machines.len());

    let answer = |flags: &str| -> (Value, String) {
        let (printed, said) = done(dir, &format!("optimize merged --json {flags}"));
        (serde_json::from_str(&printed).unwrap(), said)
    };
    let (second, said) = answer("--machine 1");
    assert_eq!(second["machine"], "Another Processor");
    assert!(said.contains("machine 1 of 2, counted from 0: Another Processor"), "{said}");
    let (first, said) = answer("");
    assert!(said.contains("machine 0 of 2"), "{said}");
    assert_ne!(first["machine"], second["machine"]);
    assert_ne!(first["baseline"], second["baseline"], "two machines, two speeds");
    let said = fails(dir, 2, "optimize merged --machine 2");
    assert!(said.contains("--machine") && said.contains("1 (Another Processor)"), "{said}");
    done(dir, "fit merged --machine 1");
    let (_, said) = done(dir, "validate merged");
    assert!(said.contains("replay: 8 of 8 generations"), "all of both machines: {said}");
    done(dir, "report merged --machine 1");
    let page = fs::read_to_string(dir.join("merged/report.html")).unwrap();
    assert!(page.contains("machine 1 of 2, counted from 0: Another Processor"));
}
