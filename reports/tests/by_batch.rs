//! Many texts at once on the page, in the table and in one line of the verdict.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use s3d_data::{Answer, BatchResult, BreakEvenBatch, Estimate};
use s3d_reports::format::csv;
use s3d_reports::page::page;
use s3d_reports::words::by_batch::sentence;
use s3d_reports::{ReportInput, Verdict, figures, tables};
use s3d_simulator::cost::summary::SharedPasses;

fn row(batch: usize, plan: &str, predicted: f64, measured: Option<f64>) -> BatchResult {
    let around = |value: f64| Estimate::new(value, 0.95 * value, 1.05 * value);
    let speedup = measured.unwrap_or(predicted);
    BatchResult {
        batch,
        plan: plan.parse().unwrap(),
        verdict: if speedup > 1.05 { Answer::Speculate } else { Answer::DoNot },
        predicted_speedup: around(predicted),
        measured_speedup: measured.map(around),
        tokens_per_iteration: around(2.5),
        plain_tokens_per_s: Some(around(20.0 * batch as f64)),
        tokens_per_s: Some(around(20.0 * speedup * batch as f64)),
        peak_memory_bytes: Some(1 << 28),
    }
}

fn input() -> ReportInput {
    let mut input = fixture::input();
    input.recommendation.by_batch = vec![
        row(1, "1..10:6", 1.8, Some(1.9)),
        row(4, "1..10:2", 1.32, Some(1.2)),
        row(16, "1..10:1", 0.9, None),
    ];
    let texts = Estimate::new(8.0, 6.5, 10.1);
    input.recommendation.break_even_batch = Some(BreakEvenBatch { texts, below: 4, above: 16 });
    input.shared_passes =
        [4, 16].map(|batch| SharedPasses { batch, passes: input.passes.clone() }).to_vec();
    input
}

#[test]
fn the_verdict_has_one_line_on_many_texts() {
    let mut input = input();
    let line = sentence(&input.recommendation).unwrap();
    assert_eq!(
        line,
        "Many texts at once: 4 texts 1.20 times with 2 drafts, 16 texts 0.90 times at best; plain \
         decoding wins from 8.0 texts on [6.5, 10.1] (4 and 16 were timed)."
    );
    let verdict = Verdict::new(&input.recommendation, &input.header);
    assert_eq!(verdict.details.iter().filter(|detail| **detail == line).count(), 1);
    input.recommendation.break_even_batch = None;
    input.recommendation.by_batch.pop();
    let line = sentence(&input.recommendation).unwrap();
    assert!(line.ends_with("no more than 4 were timed, and plain decoding wins at none of them."));
    input.recommendation.by_batch.clear();
    assert_eq!(sentence(&input.recommendation), None);
}

#[test]
fn predicted_stands_beside_measured_with_the_median_error() {
    let table = tables::by_batch(&input().recommendation);
    // source: by hand: 1.8 / 1.9 and 1.32 / 1.2 are off by -5.3 and +10 %, 7.6 % in the median
    assert!(table.note.contains("off by 7.6 % in the median of 2"), "{}", table.note);
    let text = String::from_utf8(csv::table(&table)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("texts,plan,"), "{}", lines[0]);
    assert!(lines[2].starts_with("4,1..10:2,1.32"), "{}", lines[2]);
    assert_eq!(lines.len(), 4);
    assert!(tables::all(&fixture::input()).iter().all(|table| table.name != "by_batch"));
}

#[test]
fn the_page_shows_pass_times_by_rows_and_the_plans() {
    let input = input();
    let html = page(&input).unwrap();
    for part in ["Many texts at once", "figure-pass_time_by_batch", "figure-speedup_by_batch"] {
        assert!(html.contains(part), "{part}");
    }
    let all = figures::all(&input);
    let passes = all.iter().find(|figure| figure.name == "pass_time_by_batch").unwrap();
    assert_eq!(passes.series.len(), 3, "1, 4 and 16 texts");
    let speedups = all.iter().find(|figure| figure.name == "speedup_by_batch").unwrap();
    let rows = String::from_utf8(csv::figure(speedups)).unwrap();
    let texts: Vec<&str> = rows.lines().skip(1).map(|row| row.split(',').nth(2).unwrap()).collect();
    assert_eq!(texts[..3], ["1", "4", "16"], "numbers of texts, not of places: {rows}");
    let without = page(&fixture::input()).unwrap();
    assert!(!without.contains("Many texts at once") && !without.contains("_by_batch"));
}
