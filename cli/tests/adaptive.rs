//! Drafts that adapt: the engine makes exactly the iterations that the simulator replays, and the
//! commands take a run directory or refuse it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{fails, says};
use s3d_data::{AcceptanceCounts, DraftPlan, Drafting, Plan, Predictors, SkipWindow, load_prompts};
use s3d_model::{DraftPolicy, Generation, Limits, LoadOptions, Model, Silent, Step, trace_text};
use s3d_simulator::policy::{Adaptive, CostByDrafts, Settings};
use serde_json::Value;
use std::path::{Path, PathBuf};

const TOKENS: usize = 64;
const MOST: usize = 6;

struct Follows(Adaptive);

impl DraftPolicy for Follows {
    fn drafts(&mut self) -> usize {
        self.0.drafts()
    }

    fn told(&mut self, drafted: usize, accepted: usize) {
        self.0.told(drafted, accepted);
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data").join(name)
}

fn tokens(steps: &[Step]) -> Vec<u32> {
    steps.iter().flat_map(|step| step.tokens.iter().copied()).collect()
}

/// source: the trace of the same text, which the policy is walked along by hand here.
#[test]
fn adapting_iterations_are_those_that_the_trace_tells() {
    let folder = data("models/story");
    let options = LoadOptions { threads: 1, ..LoadOptions::default() };
    let model = Model::load(&folder, &options).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let counts =
        AcceptanceCounts { attempted: vec![10, 8, 6, 4, 3, 2], accepted: vec![8, 6, 4, 3, 2, 1] };
    // Costs at which drafting pays, and at which it is only tried.
    let costs = [[1.3, 1.4, 1.5, 1.6, 1.7, 1.8], [2.0, 2.6, 3.2, 3.8, 4.4, 5.0]];
    let policies = costs.map(|costs| {
        Adaptive::new(CostByDrafts::new(&costs).unwrap(), &counts, 4, Settings::default())
    });
    let mut seen = std::collections::BTreeSet::new();
    for prompt in load_prompts(&folder.join("prompts.jsonl"), Some(4)).unwrap() {
        let prompt = tokenizer.encode(&prompt.text).unwrap();
        let decode = |plan: &Plan, policy: Option<&mut dyn DraftPolicy>| {
            let mut silent = Silent;
            let limits = Limits::tokens(TOKENS);
            let mut made = Generation::new(&model, &prompt, plan, limits, &mut silent).unwrap();
            if let Some(policy) = policy {
                made = made.adapting(policy);
            }
            made.map(Result::unwrap).collect::<Vec<Step>>()
        };
        let text = tokens(&decode(&Plan::Plain, None));
        for (drafting, policy) in Drafting::ALL.into_iter().zip(&policies) {
            let skip = s3d_data::Skip::from(SkipWindow::new(2, 10).unwrap());
            let skips = [skip.clone()];
            let traces = trace_text(&model, &prompt, &text, drafting, &skips, MOST, false).unwrap();
            let predictors = Predictors::new(MOST).unwrap();
            let plan = Plan::Speculate(DraftPlan { drafting, skip, predictors });
            let found = decode(&plan, Some(&mut Follows(policy.clone())));
            assert_eq!(tokens(&found), text, "{plan}");
            let (mut walked, mut committed) = (policy.clone(), 1);
            for step in &found[1..] {
                let drafts = walked.drafts();
                let right = (traces[0].accepted[committed - 1] as usize).min(drafts);
                assert_eq!((step.drafted, step.accepted), (drafts, right), "{plan} at {committed}");
                walked.told(drafts, right);
                committed += right + 1;
                seen.insert(drafts);
            }
            // The free token of the last iteration may stand beyond the end of the text.
            assert!((text.len()..=text.len() + 1).contains(&committed), "{plan}: {committed}");
        }
    }
    assert!(seen.len() > 3 && seen.contains(&0), "the comparison must not be trivial: {seen:?}");
}

fn run() -> String {
    data("runs/story-x2-epyc").to_str().unwrap().into()
}

#[test]
fn a_run_is_replayed_and_decoded_from() {
    let found: Value =
        serde_json::from_str(&says(&["simulate", &run(), "--policy", "auto", "--json"])).unwrap();
    assert_eq!(found["plan"], "1..10:8");
    assert_eq!(found["by_task"].as_array().unwrap().len(), 3);
    let said = says(&["simulate", &run(), "--policy", "auto"]);
    assert!(said.contains("Drafts that adapt (0 to 8, from 1..10:8 on)"), "{said}");
    assert!(said.contains("records") && said.contains("adapting / fixed"), "{said}");
    let auto = format!("auto:{}", run());
    let words =
        ["generate", "--prompt", "Part 1. The", "--tokens", "40", "--threads", "1", "--json"];
    let adapted: Value =
        serde_json::from_str(&says(&[&words[..], &["--plan", &auto, "--compare"]].concat()))
            .unwrap();
    assert_eq!((&adapted["plan"], &adapted["same_text"]), (&"1..10:8".into(), &true.into()));
    let decisions = adapted["decisions"].as_array().unwrap();
    assert_eq!(decisions.len() as u64, adapted["iterations"].as_u64().unwrap());
    assert_eq!((&decisions[0]["position"], &decisions[0]["drafts"]), (&1.into(), &8.into()));
    let number = |decision: &Value, key: &str| decision[key].as_u64().unwrap();
    let committed: u64 = decisions.iter().map(|one| number(one, "accepted") + 1).sum();
    assert!((39..=40).contains(&committed), "{decisions:?}");
}

/// A copy of the shipped run, changed.
fn changed(dir: &Path, change: impl Fn(&Path)) -> String {
    for entry in std::fs::read_dir(run()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
    }
    change(dir);
    dir.to_str().unwrap().into()
}

fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut value: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

#[test]
fn what_is_no_run_of_this_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_str().unwrap().to_string();
    let untraced = tempfile::tempdir().unwrap();
    let untraced = changed(untraced.path(), |dir| {
        std::fs::write(dir.join("acceptance.jsonl"), "").unwrap();
        edit(&dir.join("run.json"), |run| run["tables"] = Value::Null);
    });
    let other = tempfile::tempdir().unwrap();
    let other = changed(other.path(), |dir| {
        edit(&dir.join("run.json"), |run| run["model"]["content_hash"] = "00ff".into());
    });
    for (folder, code, word) in [
        ("", 2, "auto:DIR"),
        ("/no/such/folder", 1, "run.json"),
        (&empty, 1, "run.json"),
        (&untraced, 1, "acceptance"),
        (&other, 2, "content"),
    ] {
        let plan = format!("auto:{folder}");
        let said = fails(code, &["generate", "--prompt", "a", "--tokens", "4", "--plan", &plan]);
        assert!(said.contains(word) && said.contains("auto:"), "{folder}: {said}");
    }
    for folder in ["/no/such/folder", &empty, &untraced] {
        fails(1, &["simulate", folder, "--policy", "auto"]);
    }
    let unranked = fails(1, &["simulate", &run(), "--trees"]);
    assert!(unranked.contains("ranks of right tokens") && unranked.contains("--ranks"));
    for words in [
        &["simulate", &run()][..],
        &["simulate", &run(), "--trees", "--rows", "1"],
        &["simulate", &run(), "--trees", "--rows", "66"],
        &["simulate", &run(), "--trees", "--rows", "nan"],
        &["simulate", &run(), "--rows", "8"],
        &["simulate", &run(), "--trees", "--policy", "auto"],
        &["simulate", "--policy", "auto"],
        &["simulate", &run(), "--policy", "never"],
        &["simulate", &run(), "--policy", "auto", "--layers", "9"],
        &["generate", "--prompt", "a", "--plan", "auto:x", "--run", "x"],
        &["run", "--policy", "always"],
        &["run", "--policy", "auto", "--impose", "0.5"],
    ] {
        fails(2, words);
    }
}
