//! What is said in words and tables: snapshots, never pixels.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use s3d_data::{Answer, Basis, Bytes, Estimate, Plan, PlanResult};
use s3d_reports::format::{csv, markdown, text};
use s3d_reports::words::verdict::{summary, summary_markdown};
use s3d_reports::words::{baseline, provenance};
use s3d_reports::{Verdict, figures, tables};

#[test]
fn terminal_fits_80_columns() {
    let input = fixture::input();
    let plain = summary(&input.recommendation, &input.header, 80, false);
    assert!(plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
    assert!(!plain.contains('\x1b'));
    insta::assert_snapshot!(plain);
    let coloured = summary(&input.recommendation, &input.header, 80, true);
    assert!(coloured.starts_with("\x1b[1m\x1b[32mSpeculate"));
}

#[test]
fn markdown_is_ready_to_paste() {
    let input = fixture::input();
    insta::assert_snapshot!(summary_markdown(&input.recommendation, &input.header));
}

#[test]
fn a_verdict_against_speculation_says_why() {
    let mut input = fixture::input();
    input.recommendation.speculate = false;
    input.recommendation.reason = Some("a verify pass of 5 tokens costs 2.6 plain steps.".into());
    let choice = input.recommendation.choice.as_mut().unwrap();
    choice.measured_speedup = Some(Estimate::new(0.97, 0.93, 1.01));
    let verdict = Verdict::new(&input.recommendation, &input.header);
    assert_eq!(
        verdict.headline,
        "Do not speculate here: a verify pass of 5 tokens costs 2.6 plain steps. The best \
         speculative plan, 1..10:6, reaches 0.97 times plain decoding [0.93, 1.01], measured"
    );
    assert!(verdict.command.unwrap().starts_with("s3d generate --plan plain"));
    input.recommendation.reason = Some("the best, 1..10:6, is predicted at 0.89".into());
    let verdict = Verdict::new(&input.recommendation, &input.header);
    assert_eq!(
        verdict.headline, "Do not speculate here: the best, 1..10:6, is predicted at 0.89",
        "the plan is not said twice"
    );
    input.recommendation.reason = Some("a verify pass of 5 tokens costs 2.6 plain steps.".into());
    input.recommendation.choice = None;
    let verdict = Verdict::new(&input.recommendation, &input.header);
    assert_eq!(verdict.command, None);
    assert!(verdict.headline.starts_with("Do not speculate here: a verify pass"));
}

#[test]
fn a_verdict_that_is_open_says_what_is_missing() {
    let mut input = fixture::input();
    input.recommendation.speculate = false;
    input.recommendation.verdict = Some(Answer::CannotTellYet);
    input.recommendation.reason = Some("2 of 8 blocks were run; run again.".into());
    let verdict = Verdict::new(&input.recommendation, &input.header);
    assert_eq!(verdict.headline, "Cannot tell yet: 2 of 8 blocks were run; run again");
    assert!(verdict.command.unwrap().starts_with("s3d generate --plan plain"));
}

#[test]
fn random_weights_are_said_first() {
    let mut input = fixture::input();
    input.header.model.random_weights = true;
    let verdict = Verdict::new(&input.recommendation, &input.header);
    assert!(verdict.details[0].starts_with("The weights are random"), "{:?}", verdict.details);
}

#[test]
fn imposed_acceptance_is_said_wherever_it_counts() {
    let mut input = fixture::input();
    input.header.imposed = Some(vec![0.9, 0.8]);
    input.recommendation.imposed = Some(vec![0.9, 0.8]);
    let verdict = Verdict::new(&input.recommendation, &input.header);
    let words = "imposed acceptance (0.9, then 0.8)";
    assert!(verdict.headline.starts_with(&format!("With {words}: ")), "{}", verdict.headline);
    assert!(verdict.details[0].starts_with("Acceptance was imposed"), "{}", verdict.details[0]);
    assert!(tables::all(&input).iter().all(|table| table.note.contains(words)));
    let figures = figures::all(&input);
    assert!(figures.iter().all(|figure| figure.caption.contains(words)));
    let page = s3d_reports::page::page(&input).unwrap();
    assert!(page.contains("(imposed acceptance)</title>"));
}

#[test]
fn derived_times_are_said_wherever_they_count() {
    let mut input = fixture::input();
    let device = s3d_data::TimesFrom::DERIVED.to_string();
    (input.header.device, input.recommendation.device) = (device.clone(), device);
    let words = "times derived from a data sheet";
    let verdict = Verdict::new(&input.recommendation, &input.header);
    assert!(verdict.headline.starts_with(&format!("With {words}: ")), "{}", verdict.headline);
    assert!(tables::all(&input).iter().all(|table| table.note.contains(words)));
    assert!(figures::all(&input).iter().all(|figure| figure.caption.contains(words)));
    let page = s3d_reports::page::page(&input).unwrap();
    assert!(page.contains("(derived times)</title>"));
    // Both at once are both said.
    input.recommendation.imposed = Some(vec![0.9]);
    let both = Verdict::new(&input.recommendation, &input.header).headline;
    assert!(both.starts_with(&format!("With {words} and imposed acceptance (0.9): ")), "{both}");
}

fn result(plan: &str) -> PlanResult {
    let plan: Plan = plan.parse().unwrap();
    let draft = plan.draft().unwrap().clone();
    PlanResult {
        drafting: draft.drafting,
        skip_start: None,
        skip_end: None,
        layers: 12,
        skip_ratio: draft.skip.window().unwrap().skip_ratio(12).unwrap(),
        skip_set: None,
        predictors: draft.predictors.get(),
        predicted_speedup: None,
        measured_speedup: None,
        direct_speedup: None,
        tokens_per_s: None,
        tokens_per_iteration: None,
        basis: Basis::Predicted,
        peak_memory_bytes: None,
        probability_best: None,
        plan,
    }
}

#[test]
fn plans_are_said_in_words() {
    let words = |plan: &str| s3d_reports::words::verdict::plan_in_words(&result(plan));
    assert_eq!(words("3..9:4"), "skip layers 3 to 8 of 12 (3..9), draft 4 tokens at once");
    assert_eq!(
        words("seq:4..5:2"),
        "skip layer 4 of 12 (4..5), draft 2 tokens one after the other"
    );
    assert_eq!(words("6..6:1"), "skip no layer of 12 (6..6), draft 1 token");
}

#[test]
fn the_command_keeps_the_flags_that_matter_and_quotes_them() {
    let mut input = fixture::input();
    let command = ["s3d", "run", "--model", "my model", "--out", "x", "--widen=2", "--seed", "3"];
    input.header.command = command.map(String::from).to_vec();
    let verdict = Verdict::new(&input.recommendation, &input.header);
    assert_eq!(
        verdict.command.unwrap(),
        "s3d generate --plan 1..10:6 --model 'my model' --widen=2 --prompt 'Once upon a time'"
    );
    assert_eq!(s3d_reports::words::verdict::quoted("it's"), "'it'\\''s'");
}

#[test]
fn the_baseline_is_judged() {
    let mut input = fixture::input();
    insta::assert_json_snapshot!(baseline::sentences(&input));
    let first = |input: &s3d_reports::ReportInput| baseline::sentences(input)[0].clone();
    input.recommendation.baseline.bandwidth_share = Some(Estimate::exact(1.2));
    assert!(first(&input).contains("above 105 %"), "{}", first(&input));
    input.recommendation.baseline.bandwidth_share = Some(Estimate::exact(0.4));
    assert!(first(&input).contains("below 70 %"), "{}", first(&input));
    input.memory[0].bytes = Bytes(4 * (36 << 20) - 1);
    assert!(first(&input).contains("partly in the last-level cache"), "{}", first(&input));
}

#[test]
fn tables_carry_units_and_intervals() {
    let all = tables::all(&fixture::input());
    let names: Vec<_> = all.iter().map(|table| table.name.as_str()).collect();
    insta::assert_json_snapshot!(names);
    let named = |name: &str| all.iter().find(|table| table.name == name).unwrap();
    insta::assert_snapshot!(
        "pass_time_csv",
        String::from_utf8(csv::table(named("pass_time"))).unwrap()
    );
    insta::assert_snapshot!("pass_time_markdown", markdown::table(named("pass_time")));
    insta::assert_snapshot!("components_text", text::table(named("components"), 80));
    for table in &all {
        let text = text::table(table, 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

#[test]
fn how_it_was_made_is_complete() {
    insta::assert_json_snapshot!(provenance::rows(&fixture::header("story")));
}

#[test]
fn figures_are_data() {
    let all = figures::all(&fixture::input());
    let summary: Vec<_> = all.iter().map(|figure| (&figure.name, &figure.title)).collect();
    insta::assert_json_snapshot!("figure_titles", summary);
    let named = |name: &str| all.iter().find(|figure| figure.name == name).unwrap();
    insta::assert_json_snapshot!("acceptance_by_task", named("acceptance_by_task"));
    insta::assert_json_snapshot!("waterfall", named("waterfall"));
    let csv = |name: &str| String::from_utf8(csv::figure(named(name))).unwrap();
    insta::assert_snapshot!("speedup_csv", csv("speedup_simultaneous"));
    insta::assert_snapshot!("map_csv", csv("map_sequential"));
}
