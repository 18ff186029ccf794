//! Published rows beside ours.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use s3d_data::RunDir;
use s3d_data::published::System;
use s3d_reports::format::markdown;
use s3d_reports::paper::{self, PaperInput};
use s3d_reports::table::Cell;

#[test]
fn every_published_row_on_the_page_leads_to_its_source() {
    let part = |runs| paper::parts(&PaperInput { runs, ..PaperInput::default() }).unwrap();
    for part in part(Vec::new()).into_iter().chain(part(vec![fixture::input()]).drain(2..)) {
        for table in part.tables.iter().filter(|table| table.name != "paper_optimum") {
            for row in &table.rows {
                let cited = row.iter().any(|cell| {
                    matches!(cell, Cell::Link { text, url } if !text.is_empty() && url.starts_with("https://"))
                });
                assert!(cited, "{}: {row:?}", table.name);
            }
        }
    }
}

#[test]
fn what_was_not_to_be_had_stays_empty_until_a_user_fills_it() {
    let systems = |input: &PaperInput| {
        let parts = paper::parts(input).unwrap();
        let table = parts[1].tables[0].clone();
        markdown::table(&table)
    };
    let empty = systems(&PaperInput::default());
    assert!(
        empty.contains("| not to be had | A10G | Phi-3-mini | S3D | - | - | - | - | - |"),
        "{empty}"
    );
    let row = System {
        gpu: "A10G".into(),
        target: "Phi-3-mini".into(),
        method: "S3D".into(),
        task: "MT-Bench".into(),
        tokens_per_s: Some(1.5),
        speedup: None,
        tokens_per_iteration: None,
        peak_memory_gib: Some(3.0),
        conditions: String::new(),
        citation: "user's file mine.csv".into(),
        url: String::new(),
    };
    let filled = systems(&PaperInput { figures: vec![row], ..PaperInput::default() });
    assert!(!filled.contains("not to be had"), "{filled}");
    assert!(
        filled.contains("| user's | A10G | Phi-3-mini | S3D | 1.5 | - | - | 3.0 | 0.50 |"),
        "{filled}"
    );
}

#[test]
fn the_comparison_is_written_with_and_without_runs() {
    let root = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("paper");
    let input = PaperInput { runs: vec![fixture::input()], ..PaperInput::default() };
    paper::write_paper(&RunDir::new(&root), &input).unwrap();
    let page = std::fs::read_to_string(root.join("paper.html")).unwrap();
    assert!(!page.contains(fixture::EVIL_NAME));
    assert!(page.contains("S3D 1..10:6 (modelled)") && page.contains("href=\"https://arxiv.org"));
    paper::document(&PaperInput::default()).unwrap();
}

#[test]
fn tables_of_the_paper() {
    let parts = paper::parts(&PaperInput::default()).unwrap();
    insta::assert_snapshot!("optimum", markdown::table(&parts[0].tables[0]));
    insta::assert_snapshot!("formats", markdown::table(&parts[2].tables[0]));
    insta::assert_snapshot!("memory", markdown::table(&parts[2].tables[1]));
}

#[test]
fn runs_are_compared() {
    use s3d_reports::compare::{NamedRun, table, write_comparison};
    use s3d_simulator::statistics::quotient;
    let mut other = fixture::input();
    other.header.dtype = "q8_0".into();
    other.recommendation.dtype = "q8_0".into();
    other.recommendation.speculate = false;
    let runs = [
        NamedRun { name: "f32 & co".into(), input: fixture::input() },
        NamedRun { name: "<q8>".into(), input: other },
    ];
    insta::assert_snapshot!("comparison", markdown::table(&table(&runs)));
    let root = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("comparison");
    write_comparison(&RunDir::new(&root), &runs).unwrap();
    let page = std::fs::read_to_string(root.join("comparison.html")).unwrap();
    assert!(page.contains("&lt;q8&gt;") && !page.contains("<q8>"));
    // source: delta method by hand: 2 / 1 with 3 % and 4 % half widths is 2 with 5 %
    let ratio = quotient(fixture::around(2.0, 0.03), fixture::around(1.0, 0.04));
    let (low, high) = ratio.interval().unwrap();
    assert!((low - 1.9).abs() < 1e-12 && (high - 2.1).abs() < 1e-12);
}

#[test]
fn checkpoints_show_what_training_buys() {
    use s3d_reports::compare::{NamedRun, write_comparison};
    let run = |steps: u64, u: f64| {
        let mut input = fixture::input();
        input.header.model.name = format!("step-{steps}");
        input.header.model.training_steps = Some(steps);
        for curve in &mut input.fit.as_mut().unwrap().curves {
            curve.parameters[0].estimate = fixture::around(u, 0.1);
        }
        NamedRun { name: format!("step-{steps}"), input }
    };
    let runs = [run(500, 2.0), run(1000, 3.0), run(2000, 4.0)];
    let root = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("checkpoints");
    write_comparison(&RunDir::new(&root), &runs).unwrap();
    let table = std::fs::read_to_string(root.join("tables/training.md")).unwrap();
    insta::assert_snapshot!("training", table);
    let figure = std::fs::read_to_string(root.join("figures/training_simultaneous.csv")).unwrap();
    assert!(figure.contains("draft 1,point,1000,3,,2.7,3.3"), "{figure}");
    // Two models do not differ by their training alone.
    let mut others = runs;
    others[0].input.header.model.shape.layers = 6;
    let alone = root.join("others");
    write_comparison(&RunDir::new(&alone), &others).unwrap();
    assert!(!alone.join("tables/training.md").exists());
}
