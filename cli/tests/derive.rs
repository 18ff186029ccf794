//! Cards that were never measured: profiles from data sheets, and choices on them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

fn s3d(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_s3d"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .args(arguments)
        .output()
        .unwrap()
}

fn json(arguments: &[&str]) -> serde_json::Value {
    let output = s3d(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_derived_profile_says_so_and_serves_a_choice() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("profile");
    let out = out.to_str().unwrap();
    let derive =
        ["derive", "--card", "a10g", "--model", "llama-2-7b", "--dtype", "f16", "--out", out];
    let made = s3d(&derive);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(!s3d(&derive).status.success(), "a run directory is never written over");
    let run: serde_json::Value =
        serde_json::from_slice(&std::fs::read(Path::new(out).join("run.json")).unwrap()).unwrap();
    assert_eq!(run["device"], "derived from the data sheet");
    assert!(run["warnings"][0].as_str().unwrap().starts_with("derived, not measured"));

    let choose = ["optimize", "--profile", out, "--curve", "power", "--u", "3", "--json"];
    let answer = json(&[&choose[..], &["--ceiling", "0.8"]].concat());
    assert_eq!((&answer["derived"], &answer["machine"]), (&true.into(), &"NVIDIA A10G".into()));
    // source: by hand, simultaneous, layers 12..20 skipped, 4 predictors at 1024 tokens: a full
    // pass reads its layers, head and 1024 x 524,288 bytes of cache, a draft pass the head and
    // 24/32 of the layers with their cache; both are bound by reading.
    let cells = answer["cells"].as_array().unwrap();
    let cell = cells.iter().find(|cell| {
        cell["drafting"] == "simultaneous" && cell["skipped"] == 8 && cell["predictors"] == 4
    });
    let found = cell.unwrap()["improvement_factor"].as_f64().unwrap();
    let layers = 32.0 * 202_383_360.0 * 2.0 + 536_870_912.0;
    let head = 131_072_000.0 * 2.0;
    let cost = 1.0 + (0.75 * layers + head) / (layers + head);
    let alpha: f64 = 0.8 * (1.0 - 0.25f64.powi(3));
    let tokens: f64 = (0..=4).map(|i| alpha.powi(i)).sum();
    assert!((found / (tokens / cost) - 1.0).abs() < 2e-3, "{found} for {}", tokens / cost);
}

#[test]
fn what_is_not_known_is_refused_with_what_is() {
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = s3d(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    let derive = |card, model, dtype| {
        ["derive", "--card", card, "--model", model, "--dtype", dtype, "--out", "/nowhere"]
    };
    refused(&derive("gtx-970", "llama-2-7b", "f16"), &["--card", "gtx-970", "a10g"]);
    refused(&derive("t4", "llama-9", "f16"), &["--model", "llama-9", "phi-3-mini"]);
    refused(&derive("t4", "llama-2-7b", "bf16"), &["--dtype", "bf16", "T4"]);
    refused(&derive("t4", "llama-2-7b", "q3"), &["--dtype", "q3"]);
    let profile = |name| ["optimize", "--profile", name, "--curve", "power", "--u", "3"];
    refused(
        &profile("nope"),
        &["--profile nope", "s3d measure latency memory", "s3d derive --card CARD"],
    );
    refused(
        &profile("h100/llama-2-7b-f16"),
        &[
            "shipped: none",
            "nothing was measured on h100 yet",
            "s3d measure latency memory --model llama-2-7b --dtype f16 --out DIR",
            "s3d derive --card h100 --model llama-2-7b --dtype f16 --out DIR",
        ],
    );
}

/// A profile where `--profile` finds it by name: pass times of a geometry in a folder of profiles.
#[test]
fn a_profile_of_one_machine_takes_acceptance_from_another() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let data = folder.path().join("data");
    let shelf = data.join("profiles/this-cpu/tiny-f32");
    let sizes = folder.path().join("sizes.json");
    std::fs::write(
        &sizes,
        r#"{"hidden_size":64,"intermediate_size":96,"num_hidden_layers":12,"num_attention_heads":2,
            "vocab_size":50,"s3d":{"masks":7}}"#,
    )
    .unwrap();
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_s3d"))
            .current_dir(folder.path())
            .env("S3D_DATA", &data)
            .args(arguments)
            .output()
            .unwrap()
    };
    let [sizes, shelf] = [&sizes, &shelf].map(|path| path.to_str().unwrap());
    let made = run(&[
        &"measure latency memory --model custom --context 64 --time-budget 2s --quiet"
            .split(' ')
            .collect::<Vec<_>>()[..],
        &["--config", sizes, "--out", shelf],
    ]
    .concat());
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let run_dir = root.join("data/runs/story-x2-epyc");
    let traces = run_dir.to_str().unwrap();
    let chosen = run(&["optimize", "--profile", "this-cpu/tiny-f32", traces, "--json"]);
    let said = String::from_utf8_lossy(&chosen.stderr).into_owned();
    assert!(chosen.status.success(), "{said}");
    assert!(said.contains("times are those of profile this-cpu/tiny-f32"), "{said}");
    assert!(said.contains("acceptance that of") && said.contains("story-x2-epyc"), "{said}");
    let answer: serde_json::Value = serde_json::from_slice(&chosen.stdout).unwrap();
    assert_eq!((&answer["context"], &answer["derived"]), (&64.into(), &false.into()));
    // The generations of the other machine are not taken for this one's.
    let choice = &answer["choice"];
    assert!(choice["predicted_speedup"]["value"].as_f64().unwrap() > 0.0);
    assert_eq!(choice["measured_speedup"], serde_json::Value::Null);
    assert_eq!(choice["layers"], 12);

    // The same on a derived profile says so, in words and in JSON.
    let derived = folder.path().join("derived");
    let derive = ["derive", "--card", "t4", "--model", "llama-2-7b", "--out", "derived"];
    assert!(run(&derive).status.success());
    let other = run(&["optimize", "--profile", derived.to_str().unwrap(), traces]);
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(1));
    assert!(said.contains("acceptance of 12 layers does not fit") && said.contains("32"), "{said}");
}

#[test]
fn a_choice_on_a_derived_profile_with_traces_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let profile = path("profile");
    let derive =
        ["derive", "--card", "l4", "--model", "llama-2-7b", "--out", &profile, "--context", "256"];
    assert!(s3d(&derive).status.success());
    // Counts of three windows of 32 layers, as another engine would give them.
    let lines: Vec<String> = [(8, 24), (10, 22), (12, 20)]
        .iter()
        .flat_map(|(start, end)| {
            (0..4).map(move |text| {
                format!(
                    r#"{{"drafting":"simultaneous","skip_start":{start},"skip_end":{end},"gamma_max":4,"id":"t{text}","prompt":9,"accepted":[4,3,2,1,0,4,3,2,1,0,2,1,0,1,0]}}"#
                )
            })
        })
        .collect();
    let traces = path("traces.jsonl");
    std::fs::write(&traces, lines.join("\n")).unwrap();
    let run = path("run");
    let import = ["import", &traces, "--layers", "32", "--out", &run, "--machine", "elsewhere"];
    assert!(s3d(&import).status.success());
    let answer = json(&["optimize", "--profile", &profile, &run, "--json"]);
    assert_eq!(answer["derived"], true);
    assert_eq!(answer["device"], "derived from the data sheet");
    assert_eq!(answer["machine"], "NVIDIA L4");
    let printed = s3d(&["optimize", "--profile", &profile, &run]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    let flat = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.starts_with("With times derived from a data sheet: "), "{printed}");
    // A report of the profile with these traces says it in the title, the headline and the tables.
    std::fs::copy(&traces, Path::new(&profile).join("acceptance.jsonl")).unwrap();
    let report = s3d(&["report", &profile]);
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let page = std::fs::read_to_string(Path::new(&profile).join("report.html")).unwrap();
    assert!(page.contains("(derived times)</title>") && page.contains("Derived, not measured"));
    let recorded =
        std::fs::read_to_string(Path::new(&profile).join("recommendation.json")).unwrap();
    assert!(recorded.contains("\"device\": \"derived from the data sheet\""));
}

/// source: by hand: 8 experts of which a token uses 2, routed independently: 2 rows touch 8 (1 -
/// 0.75^2) = 3.5, 5 rows 8 (1 - 0.75^5) = 6.1; a card that is bound by reading pays for them.
#[test]
fn a_mixture_of_experts_pays_for_wide_passes() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (moe, dense, touched) = (place("moe"), place("dense"), place("touched.csv"));
    let model = ["derive", "--card", "h100", "--model", "llama-3-8b", "--context", "64"];
    let experts = ["--experts", "8", "--active", "2", "--out", &moe];
    let made = s3d(&[&model[..], &experts].concat());
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let row: Vec<&str> = said
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.first() == Some(&"4"))
        .unwrap();
    assert_eq!(&row[..3], ["4", "5", "6.1"], "{said}");
    assert!(s3d(&[&model[..], &["--out", &dense]].concat()).status.success());
    let best = |profile: &str| {
        let ask = ["optimize", "--profile", profile, "--curve", "power", "--u", "3", "--json"];
        let answer = json(&[&ask[..], &["--ceiling", "0.8"]].concat());
        let cells = answer["cells"].as_array().unwrap().iter();
        cells.filter_map(|cell| cell["improvement_factor"].as_f64()).fold(0.0, f64::max)
    };
    assert!(best(&moe) < 0.75 * best(&dense), "{} {}", best(&moe), best(&dense));
    std::fs::write(&touched, "rows,experts\n2,9\n").unwrap();
    let refused = |more: &[&str], word: &str| {
        let output = s3d(&[&model[..], more, &["--out", &place("no")]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(word), "{said}");
        assert!(!folder.path().join("no").exists());
    };
    refused(&["--experts", "8", "--active", "9"], "active experts");
    refused(&["--experts", "8"], "--active");
    refused(&["--experts", "4096", "--active", "2"], "experts times the MLP's width");
    refused(
        &["--experts", "8", "--active", "2", "--experts-touched", &touched],
        "experts touched by 2 rows: expected 2 to 8, found 9",
    );
}
