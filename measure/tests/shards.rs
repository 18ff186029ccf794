//! Shards: merged they are the run that was never divided, byte for byte; killed ones go on; what
//! does not belong together is refused, and nothing is half written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod tiny;

use s3d_data::{BytesPerSecond, Predictors, Run, RunDir, Seconds, Shard};
use s3d_measure::merge::{Merging, merge};
use s3d_measure::{Clock, Error, Plans, Progress, Provenance, Quiet, Request, Stage};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tiny::{Models, StopAfter, request, tear_last_line};

/// A clock that goes on by one step whenever it is read: a time is the number of readings inside of
/// it, exactly, wherever in the run it was taken.
#[derive(Default)]
struct Counting {
    wall: AtomicU64,
    cpu: AtomicU64,
}

/// A power of two: sums and differences of times are exact.
const STEP: f64 = 1.0 / 1_048_576.0;

impl Clock for Counting {
    fn now(&self) -> Seconds {
        Seconds(self.wall.fetch_add(1, Ordering::SeqCst) as f64 * STEP)
    }

    fn cpu(&self) -> Seconds {
        Seconds(self.cpu.fetch_add(1, Ordering::SeqCst) as f64 * STEP)
    }
}

/// Everything that can be divided, on a tiny model.
fn everything() -> Request {
    let plans = ["plain", "stock", "1..3:3", "seq:1..2:2"].map(|plan| plan.parse().unwrap());
    Request {
        stages: vec![Stage::Acceptance, Stage::Latency, Stage::Memory, Stage::Throughput],
        plans: Plans::Exactly(plans.to_vec()),
        gamma_max: Predictors::of::<3>(),
        context: 20,
        time_budget: Seconds(1000.0),
        ..request()
    }
}

fn only_traces() -> Request {
    Request { stages: vec![Stage::Acceptance], positions: Request::EVERY_PROMPT, ..everything() }
}

fn measure(models: &Models, request: &Request, out: &Path) -> Run {
    let out = RunDir::new(out);
    models.measure_by(&Counting::default(), request, &out, &mut Quiet).unwrap()
}

fn shard(request: &Request, index: usize, count: usize) -> Request {
    Request { shard: Some(Shard::new(index, count).unwrap()), ..request.clone() }
}

/// Measures all shards into folders below `root`, and names them.
fn shards(models: &Models, request: &Request, count: usize, root: &Path) -> Vec<PathBuf> {
    let one = |index| {
        let dir = root.join(format!("{index}-of-{count}"));
        measure(models, &shard(request, index, count), &dir);
        dir
    };
    (1..=count).map(one).collect()
}

fn assert_same_tables(found: &Path, expected: &Path) {
    for name in ["latency.csv", "acceptance.jsonl", "throughput.csv", "memory.csv", "near_ties.csv"]
    {
        let [found, expected] =
            [found, expected].map(|dir| fs::read_to_string(dir.join(name)).unwrap());
        let same = match name {
            // Every shard is a start of its own, which the last column says.
            "throughput.csv" => without_last_column(&found) == without_last_column(&expected),
            _ => found == expected,
        };
        assert!(same, "{name} differs");
    }
}

fn without_last_column(table: &str) -> Vec<&str> {
    table.lines().map(|line| line.rsplit_once(',').unwrap().0).collect()
}

#[test]
fn merged_shards_equal_a_single_run_byte_for_byte() {
    let (models, root) = (Models::new(), tempfile::tempdir().unwrap());
    let request = everything();
    let single = root.path().join("single");
    let whole = measure(&models, &request, &single);
    let seen = &whole.observations;
    assert_eq!(seen.latency.last().unwrap().block, 199, "the run ended with its last block");
    assert_eq!(seen.throughput.iter().map(|s| s.block).max(), Some(7), "a block a prompt");
    assert!(seen.traces.len() > 20 && !seen.memory.is_empty());
    for count in [1, 3, 11] {
        let mut dirs = shards(&models, &request, count, root.path());
        let traced = |dir: &PathBuf| RunDir::new(dir).load().unwrap().observations.traces.len();
        let most = dirs.iter().map(traced).max().unwrap();
        assert!(most <= seen.traces.len().div_ceil(count), "{most} traces in one of {count}");
        dirs.reverse();
        let out = RunDir::new(root.path().join(format!("merged-{count}")));
        let merged = merge(&dirs, &out, &Merging::default()).unwrap();
        assert_same_tables(out.root(), &single);
        assert_eq!(out.load().unwrap(), merged, "what was written is what was returned");
        let found = s3d_data::Observations::from_journal(out.load_journal().unwrap());
        assert_eq!(found, merged.observations, "the journal holds the tables");
        let header = &merged.header;
        assert_eq!((header.machines.len(), &header.model), (1, &whole.header.model));
        assert_eq!(header.merged.as_ref().unwrap().shards.len(), count);
        let starts = merged.observations.throughput.iter().map(|s| s.start);
        let starts: std::collections::BTreeSet<usize> = starts.collect();
        assert_eq!(starts.len(), count.min(4), "8 blocks are 4 pairs, in shards of their own");
        assert_eq!(header.starts.as_ref().unwrap().count, starts.len());
        let plans = |run: &Run| run.header.coverage.as_ref().map(|c| (c.plans, c.positions));
        assert_eq!(plans(&merged), plans(&whole));
    }
}

#[test]
fn a_goal_of_positions_divides_the_prompts_that_reach_it() {
    let (models, root) = (Models::new(), tempfile::tempdir().unwrap());
    let stages = vec![Stage::Acceptance];
    for positions in [1, 60, 100_000] {
        let request = Request { stages: stages.clone(), positions, ..everything() };
        let folder = root.path().join(positions.to_string());
        let single = folder.join("single");
        let whole = measure(&models, &request, &single);
        let dirs = shards(&models, &request, 2, &folder);
        let out = RunDir::new(folder.join("merged"));
        let merged = merge(&dirs, &out, &Merging::default()).unwrap();
        assert_same_tables(out.root(), &single);
        // A single run says that the prompts did not suffice for the goal; so do its shards.
        let few = |run: &Run| run.header.warnings.iter().filter(|w| w.contains("100000")).count();
        assert_eq!((few(&whole), few(&merged)), (usize::from(positions > 60), few(&whole)));
    }
}

#[test]
fn a_killed_shard_goes_on_and_the_merge_does_not_show_it() {
    let (models, root) = (Models::new(), tempfile::tempdir().unwrap());
    let request = everything();
    let single = root.path().join("single");
    measure(&models, &request, &single);
    let whole = root.path().join("1-of-2");
    measure(&models, &shard(&request, 1, 2), &whole);
    let second = shard(&request, 2, 2);
    for updates in [0, 3, 9, 60, 105, 112, 120] {
        let dir = root.path().join(format!("killed-{updates}"));
        let out = RunDir::new(&dir);
        let mut watcher = StopAfter(updates);
        let killed = models.measure_by(&Counting::default(), &second, &out, &mut watcher);
        assert!(matches!(killed, Err(Error::Interrupted)), "after {updates} updates: {killed:?}");
        tear_last_line(&out);
        let merged = RunDir::new(root.path().join(format!("merged-{updates}")));
        let both = [whole.clone(), dir];
        let message = merge(&both, &merged, &Merging::default()).unwrap_err().to_string();
        assert!(message.contains("shard 2/2 is not finished"), "{message}");
        measure(&models, &second, &both[1]);
        merge(&both, &merged, &Merging::default()).unwrap();
        assert_same_tables(merged.root(), &single);
    }
}

#[test]
fn what_does_not_belong_together_is_refused_with_what_differs() {
    let (models, root) = (Models::new(), tempfile::tempdir().unwrap());
    let asked = only_traces();
    let out = RunDir::new(root.path().join("out"));
    let made = |name: &str, request: Request| {
        let dir = root.path().join(name);
        measure(&models, &request, &dir);
        dir
    };
    let first = made("first", shard(&asked, 1, 2));
    let other = |name: &str, request: Request| made(name, shard(&request, 2, 2));
    let provenance = Provenance { dtype: "bf16".into(), ..asked.provenance.clone() };
    let cases = [
        (other("seed", Request { seed: 12, ..asked.clone() }), "--seed is 11 in the first, 12"),
        (
            other("dtype", Request { provenance, ..asked.clone() }),
            "--dtype is f32 in the first, bf16",
        ),
        (
            other("tokens", Request { tokens: 19, ..asked.clone() }),
            "--tokens is 20 in the first, 19",
        ),
        (
            other("prompts", Request { prompts: asked.prompts[1..].into(), ..asked.clone() }),
            "--prompts",
        ),
        (other("rates", Request { confidence: true, ..asked.clone() }), "--confidence"),
        (other("ranks", Request { ranks: true, ..asked.clone() }), "--ranks"),
        (made("three", shard(&asked, 2, 3)), "the number of shards is 2 in the first, 3"),
        (
            made("whole", asked.clone()),
            "whole: no shard; expected run directories of s3d measure --shard",
        ),
        (first.clone(), "both hold shard 1/2"),
    ];
    for (dir, words) in cases {
        let message =
            merge(&[first.clone(), dir], &out, &Merging::default()).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
    // Traces are the same on any number of threads.
    let threads = other("threads", Request { threads: 2, ..asked.clone() });
    merge(
        &[first.clone(), threads],
        &RunDir::new(root.path().join("threads-out")),
        &Merging::default(),
    )
    .unwrap();
    assert!(!out.root().exists(), "nothing is written by a merge that is refused");
}

#[test]
fn a_missing_shard_is_named_and_done_without_only_when_asked() {
    let (models, root) = (Models::new(), tempfile::tempdir().unwrap());
    let asked = only_traces();
    let out = RunDir::new(root.path().join("out"));
    let second = root.path().join("second");
    measure(&models, &shard(&asked, 2, 2), &second);
    let alone = merge(std::slice::from_ref(&second), &out, &Merging::default());
    let message = alone.unwrap_err().to_string();
    assert!(
        message.contains("of 2 shards, shard 1 missing") && message.contains("--partial"),
        "{message}"
    );
    assert!(!out.root().exists(), "nothing is written by a merge that is refused");
    let partial = Merging { partial: true, ..Merging::default() };
    let half = merge(std::slice::from_ref(&second), &out, &partial).unwrap();
    assert!(half.header.warnings[0].starts_with("a partial merge: of 2 shards"));
    assert_eq!(half.observations, RunDir::new(&second).load().unwrap().observations);
    let again = models.measure_by(&Counting::default(), &asked, &out, &mut Quiet);
    assert!(again.unwrap_err().to_string().contains("merged from shards"), "no more into a merge");
    let nested = merge(&[out.root().to_path_buf()], &out, &partial).unwrap_err().to_string();
    assert!(nested.contains("merged already"), "{nested}");
}

#[test]
fn a_destination_is_replaced_only_when_asked_and_never_in_part() {
    let (models, root) = (Models::new(), tempfile::tempdir().unwrap());
    let dirs = shards(&models, &only_traces(), 2, root.path());
    let out = RunDir::new(root.path().join("out"));
    merge(&dirs, &out, &Merging::default()).unwrap();
    fs::write(out.fit(), "stale").unwrap();
    let force = Merging { force: true, ..Merging::default() };
    let refused = merge(&dirs, &out, &Merging::default()).unwrap_err().to_string();
    assert!(refused.contains("holds a run already") && refused.contains("--force"), "{refused}");
    let damaged = dirs[1].join("acceptance.jsonl");
    let good = fs::read(&damaged).unwrap();
    fs::write(&damaged, "{\"nonsense\":1}\n").unwrap();
    let message = merge(&dirs, &out, &force).unwrap_err().to_string();
    assert!(message.contains("acceptance.jsonl, line 1"), "{message}");
    assert_eq!(fs::read(out.fit()).unwrap(), b"stale", "left as it was");
    fs::write(&damaged, good).unwrap();
    merge(&dirs, &out, &force).unwrap();
    assert!(!out.fit().exists(), "what was concluded of the old run goes with it");
    fs::write(out.file("thesis.txt"), "mine").unwrap();
    let message = merge(&dirs, &out, &force).unwrap_err().to_string();
    assert!(message.contains("thesis.txt"), "{message}");
    let message = merge(&dirs, &RunDir::new(&dirs[0]), &force).unwrap_err().to_string();
    assert!(message.contains("is one of the shards"), "{message}");
    let left: Vec<_> =
        fs::read_dir(root.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 3, "two shards and the merge, no temporary folder: {left:?}");
}

/// Rewrites the machine of a shard.
fn on_another_machine(dir: &Path, change: impl Fn(&mut s3d_data::Machine)) {
    let dir = RunDir::new(dir);
    let mut header = dir.load_header().unwrap();
    change(&mut header.machines[0]);
    dir.save_header(&header).unwrap();
}

#[test]
fn machines_that_are_alike_share_an_index_and_others_keep_their_own() {
    let (models, root) = (Models::new(), tempfile::tempdir().unwrap());
    let plans = Plans::Exactly(vec!["plain".parse().unwrap(), "1..3:3".parse().unwrap()]);
    let asked = Request { stages: vec![Stage::Throughput], plans, ..everything() };
    let dirs = shards(&models, &asked, 3, root.path());
    on_another_machine(&dirs[0], |m| {
        (m.read_bytes_per_s, m.load) = (Some(BytesPerSecond(1e9)), Some(0.5))
    });
    on_another_machine(&dirs[1], |m| m.model = "Another Processor".into());
    on_another_machine(&dirs[2], |m| {
        (m.read_bytes_per_s, m.load) = (Some(BytesPerSecond(2e9)), None)
    });
    let out = RunDir::new(root.path().join("out"));
    let run = merge(&dirs, &out, &Merging::default()).unwrap();
    let machines = &run.header.machines;
    assert_eq!(machines.len(), 2);
    assert_eq!(
        (machines[0].read_bytes_per_s, machines[0].load),
        (Some(BytesPerSecond(2e9)), Some(0.5))
    );
    assert_eq!(machines[1].model, "Another Processor");
    let shards = &run.header.merged.as_ref().unwrap().shards;
    assert_eq!(shards.iter().map(|part| part.machine).collect::<Vec<_>>(), [0, 1, 0]);
    for sample in &run.observations.throughput {
        // source: by hand: 8 prompts are 4 pairs of blocks; of three shards the second has the
        // second pair
        assert_eq!(sample.machine, usize::from([2, 3].contains(&sample.block)), "{sample:?}");
    }
    assert!(run.header.warnings[0].starts_with("measured on 2 different machines"));
}

#[test]
fn work_that_is_not_known_beforehand_is_not_divided() {
    let (models, root) = (Models::new(), tempfile::tempdir().unwrap());
    let out = RunDir::new(root.path().join("out"));
    for asked in [
        Request { plans: Plans::Judged(2), ..everything() },
        Request { first_look: Some(30), ..everything() },
    ] {
        let refused =
            models.measure_by(&Counting::default(), &shard(&asked, 1, 2), &out, &mut Quiet);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("--shard"), "{message}");
    }
    let asked = only_traces();
    measure(&models, &shard(&asked, 1, 2), out.root());
    let again = |request: &Request| {
        let watcher: &mut dyn Progress = &mut Quiet;
        models.measure_by(&Counting::default(), request, &out, watcher).unwrap_err().to_string()
    };
    assert!(again(&shard(&asked, 2, 2)).contains("made with --shard 1/2, but 2/2 was asked for"));
    assert!(again(&asked).contains("made with --shard 1/2, but nothing was asked for"));
}
