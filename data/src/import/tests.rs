//! Files of other engines: read as documented, refused with their line.

use super::*;
use crate::plan::{Drafting, Plan, Predictors};
use crate::records::latency::{Component, LatencySample};
use crate::records::trace::{AcceptanceCounts, Trace};

fn setting() -> Setting {
    Setting {
        drafting: Some(Drafting::Simultaneous),
        ..Setting::new(12, Predictors::of::<4>(), 256)
    }
}

/// Reads a file of this name and content.
fn read(name: &str, text: &str) -> std::result::Result<Vec<Observation>, String> {
    let file = Path::new(name);
    kind_of(text.as_bytes(), file)
        .and_then(|kind| parse(text.as_bytes(), kind, file, &setting()))
        .map(|found| found.observations)
        .map_err(|e| e.to_string())
}

fn latency(name: &str, text: &str) -> Vec<LatencySample> {
    let sample = |entry| match entry {
        Observation::Latency(sample) => sample,
        other => panic!("{other:?}"),
    };
    read(name, text).unwrap().into_iter().map(sample).collect()
}

fn traces(name: &str, text: &str) -> Vec<Trace> {
    let trace = |entry| match entry {
        Observation::Trace(trace) => trace,
        other => panic!("{other:?}"),
    };
    read(name, text).unwrap().into_iter().map(trace).collect()
}

#[test]
fn pass_times_are_read_in_any_one_unit() {
    let text = "pass,skip,width,context,milliseconds\nfull,,1,256,6.1\ndraft,3..9,4,256,3.5\n";
    let found: Vec<_> = latency("passes.csv", text)
        .iter()
        .map(|s| (s.component, s.plan.as_ref().map(ToString::to_string), s.width, s.seconds.0))
        .collect();
    let full = (Component::FullPass, Some("plain".to_string()), 1, 6.1 * 1e-3);
    let draft = (Component::DraftPass, Some("3..9:4".to_string()), 4, 3.5 * 1e-3);
    assert_eq!(found, [full, draft]);
    let text = "width,context,seconds\n1,64,0.006\n5,64,0.007\n";
    assert_eq!(latency("passes.csv", text).len(), 2);
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
        let message = read("passes.csv", text).unwrap_err();
        assert!(message.contains(words) && message.contains("passes.csv"), "{text:?}: {message}");
    }
    assert!(read("passes.txt", "x").unwrap_err().contains("*.csv"));
}

#[test]
fn an_affine_law_becomes_times_on_a_grid() {
    let law =
        r#"{"fixed_seconds":0.004,"per_token_seconds":0.0002,"per_context_token_seconds":1e-6}"#;
    let samples = latency("law.json", law);
    let seconds = |component, width| {
        let of = |s: &&LatencySample| {
            (s.component, s.width, s.context) == (component, width, 256)
                && s.plan
                    .as_ref()
                    .and_then(Plan::draft)
                    .is_none_or(|p| p.skip.window().is_some_and(|w| w.len() == 6))
        };
        samples.iter().find(of).unwrap().seconds.0
    };
    // source: 0.004 + 5 x 0.0002 + 256 x 1e-6 = 0.005256; a draft of half the layers: half of width
    // 4
    assert!((seconds(Component::FullPass, 5) - 0.005_256).abs() < 1e-12);
    assert!((seconds(Component::DraftPass, 4) - 0.5 * 0.005_056).abs() < 1e-12);
    for (bad, words) in [
        (r#"{"fixed_seconds":-1}"#, "none below 0"),
        (r#"{"fixed_seconds":0}"#, "not all of them 0"),
        (r#"{"fixed_ms":4}"#, "fixed_ms"),
        ("{", "law.json, line 1"),
        (r#"{"fixed_seconds":1e308,"per_token_seconds":1e308}"#, "a law that overflows"),
    ] {
        let message = read("law.json", bad).unwrap_err();
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
    let found = traces("counts.csv", text);
    let [simultaneous, sequential] = &found[..] else { panic!("two traces") };
    let counts = walk(simultaneous, 3);
    assert_eq!((counts.attempted, counts.accepted), (vec![1000, 890, 730], vec![890, 730, 0]));
    assert_eq!(walk(sequential, 1).accepted, [7]);
    assert_eq!(sequential.drafting, Some(Drafting::Sequential));
    // One predictor is right at least as often as the first of three was.
    assert!(walk(simultaneous, 1).attempted[0] > 1000);
    assert_eq!(simultaneous.counted_drafts.map(Predictors::get), Some(3));
    let lines =
        r#"{"skip_start":3,"skip_end":9,"id":"chat","predictor":1,"attempted":9,"accepted":4}"#;
    let of_lines = traces("counts.jsonl", lines);
    assert_eq!((of_lines[0].id.as_str(), simultaneous.id.as_str()), ("chat", "counts"));
    assert_eq!(walk(&of_lines[0], 1).accepted, [4]);
}

#[test]
fn acceptance_without_its_drafting_is_refused_with_what_to_do() {
    let unsaid = Setting { drafting: None, ..setting() };
    let counts = "skip_start,skip_end,id,predictor,attempted,accepted\n3,9,a,1,10,8\n";
    let line = r#"{"skip_start":3,"skip_end":9,"id":"a","prompt":4,"accepted":[2,1,0]}"#;
    let positions = "skip_start,skip_end,id,position,accepted\n3,9,a,1,2\n";
    for (name, text) in [("c.csv", counts), ("t.jsonl", line), ("p.csv", positions)] {
        let (bytes, file) = (text.as_bytes(), Path::new(name));
        let kind = kind_of(bytes, file).unwrap();
        let message = parse(bytes, kind, file, &unsaid).unwrap_err().to_string();
        assert!(message.contains("--drafting sequential"), "{message}");
        assert!(message.contains("--drafting simultaneous"), "{message}");
    }
}

#[test]
fn a_trace_knows_as_many_drafts_as_any_of_its_window_accepted() {
    let line = |id: &str, accepted: &str| {
        format!(r#"{{"skip_start":3,"skip_end":9,"id":"{id}","prompt":4,"accepted":{accepted}}}"#)
    };
    let text = format!("{}\n{}\n", line("a", "[2,1,0]"), line("b", "[0,3,0]"));
    let most: Vec<_> =
        traces("t.jsonl", &text).iter().map(|trace| trace.gamma_max.map(Predictors::get)).collect();
    assert_eq!(most, [Some(3), Some(3)]);
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
        ("3,9,1,2000000,8\n", "line 2: counts of more than 1000000 tokens"),
        ("3,9,1,10,NaN\n", "line 2"),
        ("3,19,1,10,8\n", "line 2: skip window 3..19 does not fit"),
        ("", "no rows"),
    ] {
        let message = read("counts.csv", &format!("{header}{rows}")).unwrap_err();
        assert!(message.contains(words), "{rows:?}: {message}");
    }
    let message = read("counts.csv", "attempted,accepted\n1,1\n").unwrap_err();
    assert!(message.contains("skip_start"), "{message}");
}

#[test]
fn traces_read_alike_from_lines_and_from_a_table() {
    let line = concat!(
        r#"{"drafting":"simultaneous","skip_start":3,"skip_end":9,"id":"a","prompt":4,"#,
        r#""accepted":[2,1,0]}"#
    );
    let table =
        "skip_start,skip_end,id,prompt,position,accepted\n3,9,a,4,1,2\n3,9,a,4,2,1\n3,9,a,4,3,0\n";
    assert_eq!(traces("t.jsonl", line), traces("t.csv", table));
}

#[test]
fn wrong_traces_are_refused_with_their_line() {
    let line = |id: &str, end: u8, accepted: &str| {
        format!(
            r#"{{"skip_start":3,"skip_end":{end},"id":"{id}","prompt":4,"accepted":{accepted}}}"#
        )
    };
    let good = line("a", 9, "[2,1,0]");
    for (second, words) in [
        (line("b", 9, "[]"), "line 2: trace 'b': 'accepted' is empty"),
        (line("a", 9, "[1]"), "line 2: the text 'a' is traced twice"),
        (line("b", 19, "[1]"), "line 2: skip window 3..19 does not fit"),
        (line("b", 9, "[-1]"), "line 2"),
        (line("b", 9, "[NaN]"), "line 2"),
        (line("b", 9, "[1.5]"), "line 2"),
        ("{".into(), "line 2"),
    ] {
        let message = read("t.jsonl", &format!("{good}\n{second}\n")).unwrap_err();
        assert!(message.contains(words) && message.contains("t.jsonl"), "{second}: {message}");
    }
    assert!(read("t.jsonl", "\n").unwrap_err().contains("no traces"));
    let header = "skip_start,skip_end,id,position,accepted\n";
    for (rows, words) in [
        ("3,9,a,1,2\n3,9,a,3,1\n", "line 3: expected position 2"),
        ("3,9,a,1,2\n3,9,a,1,1\n", "line 3: this cell"),
        ("3,9,a,1,-2\n", "line 2"),
        ("9,3,a,1,2\n", "line 2"),
        ("3,9,a,1\n", "line 2"),
        ("", "no rows"),
    ] {
        let message = read("t.csv", &format!("{header}{rows}")).unwrap_err();
        assert!(message.contains(words), "{rows:?}: {message}");
    }
}

#[test]
fn own_tables_are_checked_like_any_other() {
    let latency = "machine,component,layer,plan,width,context,block,order,copy,seconds\n";
    for (row, words) in [
        ("0,full_pass,,plain,1,64,0,0,0,NaN\n", "line 2: expected a time above 0"),
        ("0,attention,3,plain,1,64,0,0,0,inf\n", "line 2: expected a finite time"),
        ("0,full_pass,,plain,1,64,0,0,0,1\n0,full_pass,,plain,1,64,0,0,0,1\n", "line 3: this cell"),
        ("0,full_pass,,9..3:1,1,64,0,0,0,1\n", "line 2"),
    ] {
        let message = read("latency.csv", &format!("{latency}{row}")).unwrap_err();
        assert!(message.contains(words), "{row:?}: {message}");
    }
    let throughput = "machine,block,order,copy,plan,id,tokens,iterations,prompt_seconds,\
                      draft_seconds,verify_seconds,seconds\n";
    for (row, words) in [
        ("0,0,0,0,plain,a,9,8,0.1,0,0.2,-1\n", "line 2: expected a time above 0"),
        ("0,0,0,0,plain,a,9,8,-0.1,0,0.2,1\n", "'prompt_seconds' at or above 0"),
        ("0,0,0,0,plain,a,0,8,0.1,0,0.2,1\n", "at least one token"),
    ] {
        let message = read("throughput.csv", &format!("{throughput}{row}")).unwrap_err();
        assert!(message.contains(words), "{row:?}: {message}");
    }
    let good = format!("{throughput}0,0,0,0,plain,a,9,8,0.1,0,0.2,1\n");
    assert_eq!(read("throughput.csv", &good).unwrap().len(), 1, "a table without the last column");
}
