//! What is said in words and tables: snapshots, never pixels.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use s3d_data::{Adapter, Answer, Basis, Bytes, Estimate, Plan, PlanResult, TaskResult};
use s3d_reports::draw::shape::Shape;
use s3d_reports::format::{csv, markdown, text};
use s3d_reports::words::verdict::{summary, summary_markdown};
use s3d_reports::words::{baseline, by_task, provenance};
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
fn programs_that_took_the_machine_are_named_in_the_first_line() {
    let mut input = fixture::input();
    let headline = |input: &s3d_reports::ReportInput| {
        Verdict::new(&input.recommendation, &input.header).headline
    };
    input.header.other_programs = Some(0.09);
    let quiet = headline(&input);
    input.header.other_programs = Some(0.35);
    assert_eq!(headline(&input), quiet + "; other programs took 35 % of the processor");
    input.recommendation.speculate = false;
    input.recommendation.verdict = Some(Answer::CannotTellYet);
    assert!(headline(&input).ends_with("; other programs took 35 % of the processor"));
}

#[test]
fn a_software_adapter_is_named_in_the_verdict() {
    let mut input = fixture::input();
    let adapter = |software| Adapter {
        name: "llvmpipe".into(),
        backend: "vulkan".into(),
        driver: "Mesa 22.3.6".into(),
        software,
    };
    let first = |input: &s3d_reports::ReportInput| {
        Verdict::new(&input.recommendation, &input.header).details[0].clone()
    };
    let silent = first(&input);
    input.header.machines[0].adapter = Some(adapter(false));
    assert_eq!(first(&input), silent);
    input.header.machines[0].adapter = Some(adapter(true));
    assert_eq!(first(&input), "Software Vulkan (llvmpipe): its times say nothing about a GPU.");
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

/// A task of the fixture's choice.
fn task(name: &str, speedup: Estimate, verdict: Answer) -> TaskResult {
    TaskResult {
        task: name.into(),
        texts: 6,
        plan: "1..10:6".parse().unwrap(),
        verdict,
        speedup,
        tokens_per_iteration: fixture::around(3.0, 0.1),
        speedup_of_choice: speedup,
        loss_of_choice: Estimate::exact(0.0),
        basis: Basis::Measured,
    }
}

#[test]
fn tasks_are_said_where_they_differ() {
    let mut input = fixture::input();
    let alike =
        [2.0, 2.1].map(|value| task("story", fixture::around(value, 0.1), Answer::Speculate));
    input.recommendation.by_task = alike.to_vec();
    assert_eq!(by_task::sentences(&input.recommendation), Vec::<String>::new());
    let mut code = task("code", fixture::around(3.1, 0.1), Answer::Speculate);
    code.plan = "2..10:8".parse().unwrap();
    code.loss_of_choice = Estimate::new(0.04, 0.01, 0.07);
    let noise = task("noise", Estimate::new(0.9, 0.85, 0.95), Answer::DoNot);
    let few = task("prose", Estimate::new(1.6, 0.7, 3.6), Answer::CannotTellYet);
    input.recommendation.by_task = vec![code, noise, few];
    assert_eq!(
        by_task::sentences(&input.recommendation),
        [
            "Code: 3.10 times plain decoding [2.79, 3.41] with a plan of its own, 8 drafts \
             (2..10:8).",
            "Noise: no plan beats plain decoding; the best is at 0.90 times plain decoding [0.85, \
             0.95].",
            "Prose: more texts are needed (6 were traced).",
            "One plan for all loses 4.0 % [1.0 %, 7.0 %] in code.",
        ]
    );
    insta::assert_snapshot!(
        "by_task_text",
        text::table(&tables::by_task(&input.recommendation), 100)
    );
    let many = (0..12).map(|n| task(&n.to_string(), fixture::around(2.0, 0.1), Answer::Speculate));
    input.recommendation.by_task.extend(many);
    let told = by_task::sentences(&input.recommendation);
    assert_eq!(told.len(), 8 + 2, "{told:?}");
    assert!(told[0].starts_with("Code") && told[1].starts_with("Noise"), "{told:?}");
    assert_eq!(told[8], "7 more tasks stand in the table by task.");
    let page = s3d_reports::page::page(&input).unwrap();
    assert!(page.contains("figure-by_task") && page.contains("<h2>By task</h2>"));
}

#[test]
fn an_interval_wider_than_a_factor_of_two_is_shown_nowhere() {
    let mut input = fixture::input();
    let wide = Estimate::new(0.94, 0.08, 10.68);
    let choice = input.recommendation.choice.as_mut().unwrap();
    (choice.measured_speedup, choice.tokens_per_s) = (Some(wide), Some(wide.map(|v| v * 31.0)));
    for cell in &mut input.grid {
        (cell.measured_speedup, cell.predicted_speedup) = (Some(wide), wide);
    }
    let verdict = Verdict::new(&input.recommendation, &input.header);
    assert!(verdict.headline.contains("0.94 times plain decoding (more data needed)"));
    let page = s3d_reports::page::page(&input).unwrap();
    let shown = summary(&input.recommendation, &input.header, 100, false);
    for text in [page, shown] {
        assert!(!text.contains("10.68") && !text.contains("0.08,"), "{text}");
    }
    for figure in figures::all(&input).iter().filter(|f| f.name.starts_with("speedup_sim")) {
        let shapes = s3d_reports::draw::scene::scene(figure).shapes;
        let ticks = shapes.iter().filter_map(|shape| match shape {
            Shape::Text { text, .. } => text.parse::<f64>().ok(),
            _ => None,
        });
        assert!(ticks.fold(0.0, f64::max) <= 12.0, "an axis is stretched: {}", figure.name);
        let csv = String::from_utf8(csv::figure(figure)).unwrap();
        assert!(!csv.contains("10.68"), "{csv}");
    }
    let grid = String::from_utf8(csv::table(&tables::grid(&input))).unwrap();
    assert!(!grid.contains("10.68"), "{grid}");
}

#[test]
fn a_wide_terminal_shows_every_interval_and_a_narrow_one_every_number() {
    let input = fixture::input();
    let lines = |width: usize| summary(&input.recommendation, &input.header, width, false);
    assert!(lines(120).lines().all(|line| line.chars().count() <= 120));
    let choice = |width: usize| {
        let text = lines(width);
        text.lines().find(|line| line.starts_with("1..10:6 ")).unwrap().to_string()
    };
    assert_eq!(choice(120).matches('[').count(), 3, "{}", choice(120));
    assert_eq!(choice(80).matches('[').count(), 1, "{}", choice(80));
    assert!(choice(80).contains(" MiB"), "{}", choice(80));
}

#[test]
fn no_memory_is_drawn_where_none_differs() {
    let mut input = fixture::input();
    let drawn = |input: &s3d_reports::ReportInput| {
        figures::all(input).iter().any(|figure| figure.name == "speed_memory")
    };
    assert!(drawn(&input));
    for cell in &mut input.grid {
        cell.peak_memory_bytes = Some(700_000_000 + cell.predictors() as u64);
    }
    assert!(!drawn(&input));
}

#[test]
fn a_faster_plain_path_is_not_asserted_on_a_shared_machine() {
    let mut input = fixture::input();
    input.recommendation.baseline.bandwidth_share = Some(Estimate::exact(0.4));
    input.header.warnings = vec!["other programs used 31 % of the processor time: close".into()];
    let first = baseline::sentences(&input)[0].clone();
    assert!(first.contains("other programs") && !first.contains("faster plain path"), "{first}");
}

#[test]
fn plans_are_said_in_words() {
    let words = |plan: &str| s3d_reports::words::verdict::plan_in_words(&result(plan));
    assert_eq!(
        words("3..9:4"),
        "skip layers 3 to 8 of 12, counted from 0 (3..9), draft 4 tokens at once"
    );
    assert_eq!(
        words("seq:4..5:2"),
        "skip layer 4 of 12, counted from 0 (4..5), draft 2 tokens one after the other"
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
    input.header.warnings.clear();
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
