//! Any byte or number of a run directory changed: whatever commands do with it ends with finite
//! answers, or with an error that names the file and the line. The functions are those that the
//! commands call.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rayon::prelude::*;
use s3d_data::{Drafting, Journal, Plan, Run, RunDir, RunHeader, finite};
use s3d_reports::{ReportInput, figures, page, tables};
use s3d_simulator::choose::machines::on_machine;
use s3d_simulator::cost::summary;
use s3d_simulator::explore::early_stop::early_stop;
use s3d_simulator::explore::sublayers::free_sets;
use s3d_simulator::explore::training::training_gain;
use s3d_simulator::predict::blocks::Blocks;
use s3d_simulator::validate::{self, block_sums, bookkeeping, control, sweep_regret, waterfall};
use s3d_simulator::{FitOptions, Request, choose, fit};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// What stands in place of a number, or is thrown in.
const NASTY: [&str; 16] = [
    "0",
    "1",
    "-1",
    "2",
    "65",
    "4096",
    "4097",
    "1000000000000",
    "18446744073709551615",
    "99999999999999999999999",
    "1e-323",
    "1e308",
    "1e999",
    "NaN",
    "-inf",
    "",
];
/// Files of a run that has ended.
const ENDED: [&str; 7] = [
    "run.json",
    "latency.csv",
    "acceptance.jsonl",
    "throughput.csv",
    "memory.csv",
    "near_ties.csv",
    "recommendation.json",
];
/// Files of one that was interrupted: all it saw is in its journal.
const INTERRUPTED: [&str; 2] = ["run.json", "journal.jsonl"];
/// Mutations of each file.
const TIMES: u64 = 32;

/// Reproducible numbers (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// A part of the shipped run: six texts, three windows, few blocks.
fn small_run(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/runs/story-x2-epyc");
    let windows = [
        "\"skip_start\":3,\"skip_end\":9,",
        "\"skip_start\":4,\"skip_end\":8,",
        "\"skip_start\":2,\"skip_end\":10,",
    ];
    let read = |name: &str| fs::read_to_string(from.join(name)).unwrap();
    let write =
        |name: &str, lines: Vec<&str>| fs::write(to.join(name), lines.join("\n") + "\n").unwrap();
    let traces = read("acceptance.jsonl");
    let kept =
        windows.iter().flat_map(|w| traces.lines().filter(move |line| line.contains(w)).take(6));
    write("acceptance.jsonl", kept.collect());
    for (name, rows) in [("latency.csv", 1200), ("throughput.csv", 120), ("memory.csv", 99)] {
        write(name, read(name).lines().take(rows).collect());
    }
    for name in ["run.json", "recommendation.json"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let ties = "id,position,first,second,first_token,second_token,logit_gap\n\
                a,17,f32 width 1,f32 width 4,11,12,0.00001\n\
                b,3,f32 width 1,f32 width 2,7,9,0.5\n";
    fs::write(to.join("near_ties.csv"), ties).unwrap();
}

/// The run at `from` as it stands before its tables are written.
fn interrupted(from: &Path, to: &Path) {
    let run = RunDir::new(from).load().unwrap();
    let to = RunDir::new(to);
    to.save_header(&RunHeader { ended: None, tables: None, ..run.header }).unwrap();
    let entries = run.observations.into_journal();
    Journal::open(&to.journal()).unwrap().0.append(&entries).unwrap();
}

/// `text` with one thing changed, and what that was.
fn mutated(text: &[u8], random: &mut Random) -> (Vec<u8>, String) {
    let mut lines: Vec<Vec<u8>> = text.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    let line = random.below(lines.len());
    let place = random.below(lines[line].len());
    let what = match random.below(8) {
        0 if !lines[line].is_empty() => {
            lines[line][place] = random.below(256) as u8;
            format!("byte {place} of line {}", line + 1)
        }
        1 => {
            lines.remove(line);
            format!("line {} gone", line + 1)
        }
        2 => {
            lines.insert(line, lines[line].clone());
            format!("line {} twice", line + 1)
        }
        3 => {
            lines[line].truncate(place);
            lines.truncate(line + 1);
            format!("cut at byte {place} of line {}", line + 1)
        }
        _ => {
            let nasty = NASTY[random.below(NASTY.len())];
            replace_number(&mut lines[line], place, nasty);
            format!("'{nasty}' near byte {place} of line {}", line + 1)
        }
    };
    (lines.join(&b'\n'), what)
}

/// Puts `nasty` in place of the number at or after `place`.
fn replace_number(line: &mut Vec<u8>, place: usize, nasty: &str) {
    let digit = |b: &u8| b.is_ascii_digit() || *b == b'.';
    let Some(start) = line[place.min(line.len())..].iter().position(digit) else { return };
    let start = place + start;
    let length = line[start..].iter().take_while(|b| digit(b)).count();
    line.splice(start..start + length, nasty.bytes());
}

/// All that commands conclude of a run, checked to be finite.
fn concluded(run: Run) -> Result<(), String> {
    let words = |e: s3d_simulator::Error| e.to_string();
    let check = |outcome: s3d_data::Result<()>| outcome.unwrap_or_else(|e| panic!("{e}"));
    let run = on_machine(run, None).map_err(words)?;
    let request = Request { draws: 40, ..Request::of(&run.header) };
    let options = FitOptions { seed: 1, draws: 20, ..FitOptions::default() };
    let fitted = fit(&run, &options).map_err(words)?;
    check(finite::check(&fitted));
    check(finite::check(&control::control(&run, 0, 1).map(|(ratio, _)| ratio)));
    check(finite::check(&block_sums::sums(&run, 0)));
    let choice = choose(&run, &request).map_err(words)?;
    check(finite::check(&choice));
    let chosen = choice.recommendation.choice.as_ref().and_then(|c| c.plan.draft().cloned());
    check(finite::check(&bookkeeping(&run, &request).map_err(words)?.map(|e| e.summary)));
    check(finite::check(&validate::held_out(&run, &request).map_err(words)?.map(|e| e.summary)));
    if let Some(draft) = chosen {
        let blocks = Blocks::new(&run, 0, 1);
        let regret = sweep_regret(&run, &blocks, &Plan::Speculate(draft.clone()));
        check(finite::check(&regret.map(|regret| regret.estimate)));
        let measured = choice.recommendation.choice.as_ref().and_then(|c| c.measured_speedup);
        check(finite::check(
            &waterfall::waterfall(&run, &request, &draft, measured).map_err(words)?,
        ));
        check(finite::check(&summary::accepted_shares(&run, &draft, 1).map_err(words)?));
        for drafting in Drafting::ALL {
            check(finite::check(&free_sets(&run, &request, drafting, 5).ok()));
            check(finite::check(
                &training_gain(&run, &fitted, &request, drafting, &[1.0, 2.0]).ok(),
            ));
        }
        check(finite::check(&early_stop(&run, &request, &draft, &[0.0, 0.5]).ok()));
    }
    let mut input = ReportInput::new(run.header.clone(), choice.recommendation);
    input.fit = Some(fitted);
    input.memory = run.observations.memory.clone();
    tables::all(&input).iter().for_each(|table| check(finite::check(table)));
    figures::all(&input).iter().for_each(|figure| check(finite::check(figure)));
    page::page(&input).map(drop).map_err(|e| e.to_string())
}

/// Loads and concludes; what is refused while reading names file and line.
fn judged(dir: &Path, file: &str) -> bool {
    let run = RunDir::new(dir);
    let refusal = |e: &s3d_data::Error| {
        let said = e.to_string();
        let place = said.contains(&format!("{file}, line ")) || said.contains("schema");
        assert!(place && said.len() < 1200, "an error without its place: {said}");
    };
    if run.recommendation().exists()
        && let Err(e) = run.load_recommendation()
    {
        refusal(&e);
    }
    match run.load() {
        Ok(run) => concluded(run).is_ok(),
        Err(e) => {
            refusal(&e);
            false
        }
    }
}

/// Changes each of `files` many times, each time in a copy of the folder; how many copies stay
/// sound.
fn sound_after_changes(folder: &Path, files: &[&str]) -> usize {
    assert!(judged(folder, "none"), "the run itself is sound");
    let cases: Vec<(&str, u64)> =
        files.iter().flat_map(|file| (1..=TIMES).map(move |seed| (*file, seed))).collect();
    let sound = cases.into_par_iter().map(|(file, seed)| {
        let own = tempfile::tempdir().unwrap();
        for name in files {
            fs::copy(folder.join(name), own.path().join(name)).unwrap();
        }
        let path: PathBuf = own.path().join(file);
        let mut random = Random(seed * 0x9E37_79B9_7F4A_7C15 + file.len() as u64);
        let (text, what) = mutated(&fs::read(&path).unwrap(), &mut random);
        fs::write(&path, text).unwrap();
        match catch_unwind(|| judged(own.path(), file)) {
            Ok(sound) => usize::from(sound),
            Err(_) => panic!("{file}, mutation {seed}: {what}"),
        }
    });
    sound.sum()
}

#[test]
fn a_run_with_anything_changed_gives_finite_answers_or_says_where_it_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    small_run(dir.path());
    let sound = sound_after_changes(dir.path(), &ENDED);
    assert!(sound > 30, "most mutations of a digit leave a run that is sound: {sound}");
}

#[test]
fn so_does_one_that_was_interrupted() {
    let (whole, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small_run(whole.path());
    interrupted(whole.path(), dir.path());
    let sound = sound_after_changes(dir.path(), &INTERRUPTED);
    assert!(sound > 10, "most mutations of a digit leave a run that is sound: {sound}");
}
