//! One plan has one speedup: on the page, in the terminal, in every table and figure, in the JSON.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const RUN: &str = "data/runs/story-x2-epyc";

fn s3d(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_s3d")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A copy of the shipped run in a folder of its own, reported.
fn reported(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("one-number").join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(RUN);
    fs::create_dir_all(&folder).unwrap();
    for file in ["run.json", "latency.csv", "acceptance.jsonl", "throughput.csv", "memory.csv"] {
        fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    s3d(&["report", folder.to_str().unwrap()]);
    folder
}

/// What is said of a plan: predicted and measured speedup, as `2.26 [2.10, 2.44]`, where given.
type Said = BTreeMap<String, [Option<String>; 2]>;

fn words(value: f64, low: f64, high: f64) -> String {
    format!("{value:.2} [{low:.2}, {high:.2}]")
}

fn of_json(value: &Value) -> Option<String> {
    let number = |key: &str| value[key].as_f64();
    Some(words(number("value")?, number("low")?, number("high")?))
}

fn json(recommendation: &Value) -> Said {
    let ties = recommendation["ties"].as_array().unwrap();
    let row = |plan: &Value| {
        let name = plan["plan"].as_str().unwrap().to_string();
        (name, [of_json(&plan["predicted_speedup"]), of_json(&plan["measured_speedup"])])
    };
    ties.iter().chain([&recommendation["choice"]]).map(row).collect()
}

/// The rows of a CSV by the names of its columns.
fn csv(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let names = reader.headers().unwrap().clone();
    let row = |record: csv::StringRecord| {
        names.iter().zip(&record).map(|(n, v)| (n.to_string(), v.to_string())).collect()
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

fn of_csv(row: &BTreeMap<String, String>, name: &str) -> Option<String> {
    let number = |name: String| row.get(&name)?.parse().ok();
    let (value, low) = (number(format!("{name} (times)"))?, number(format!("{name} low"))?);
    Some(words(value, low, number(format!("{name} high"))?))
}

fn table(path: &Path) -> Said {
    let row = |row: BTreeMap<String, String>| {
        let speedups = ["predicted speedup", "measured speedup"].map(|name| of_csv(&row, name));
        (row["plan"].clone(), speedups)
    };
    csv(path).into_iter().map(row).collect()
}

/// The cells of a table on the page, as text.
fn cells(page: &str, name: &str) -> Vec<Vec<String>> {
    let start = page.find(&format!("data-name=\"{name}\"")).unwrap();
    let table = page[start..].split("</table>").next().unwrap();
    let text = |cell: &str| {
        let inside = cell.split_once('>').unwrap().1.split("</t").next().unwrap();
        let parts = inside.split('<').enumerate();
        let shown =
            parts.map(|(i, part)| if i == 0 { part } else { part.split_once('>').unwrap().1 });
        shown.collect::<String>()
    };
    let row = |row: &str| -> Vec<String> {
        row.split("<td").chain(row.split("<th").skip(1)).skip(1).map(text).collect()
    };
    table.split("<tr>").skip(1).map(row).collect()
}

fn of_page(page: &str, name: &str) -> Said {
    let rows = cells(page, name);
    let place = |name: &str| rows[0].iter().position(|head| head == name);
    let [predicted, measured] =
        ["predicted speedup (times)", "measured speedup (times)"].map(place);
    let cell = |row: &[String], place: Option<usize>| {
        row.get(place?).filter(|cell| cell.as_str() != "-").cloned()
    };
    let row = |row: &Vec<String>| (row[0].clone(), [cell(row, predicted), cell(row, measured)]);
    rows[1..].iter().map(row).collect()
}

/// Plan and speedup of the rows that show the one number: the measured one, else the predicted.
fn one(said: &Said) -> BTreeMap<String, String> {
    let pick = |(plan, [predicted, measured]): (&String, &[Option<String>; 2])| {
        Some((plan.clone(), measured.clone().or_else(|| predicted.clone())?))
    };
    said.iter().filter_map(pick).collect()
}

/// All of `found` says what `known` says of the same plan; some plan occurs in both.
fn same<T: PartialEq + std::fmt::Debug>(
    place: &str,
    found: &BTreeMap<String, T>,
    known: &BTreeMap<String, T>,
) {
    let shared: Vec<&String> = found.keys().filter(|plan| known.contains_key(*plan)).collect();
    assert!(!shared.is_empty(), "{place} names no plan: {found:?}");
    for plan in shared {
        assert_eq!(found[plan], known[plan], "{place}: {plan}");
    }
}

#[test]
fn a_plan_has_one_speedup_wherever_it_is_read() {
    let folder = reported("walked");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let recommendation: Value = serde_json::from_str(&read("recommendation.json")).unwrap();
    let known = json(&recommendation);
    assert!(known.len() > 3, "{known:?}");
    let path = folder.to_str().unwrap();
    let again: Value = serde_json::from_str(&s3d(&["optimize", path, "--json"])).unwrap();
    assert_eq!(json(&again), known, "optimize --json");

    let grid = table(&folder.join("tables/grid.csv"));
    same("grid.csv", &grid, &known);
    same("plans.csv", &table(&folder.join("tables/plans.csv")), &known);
    let page = read("report.html");
    same("the page's plans", &of_page(&page, "plans"), &known);
    same("the page's grid", &of_page(&page, "grid"), &grid);

    let numbers = one(&grid);
    let leading: BTreeMap<String, String> = cells(&page, "leading")[1..]
        .iter()
        .filter(|row| row[1] != "-")
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    same("the first table", &leading, &numbers);
    let choice = recommendation["choice"]["plan"].as_str().unwrap();
    let (value, interval) = numbers[choice].split_once(' ').unwrap();
    let headline = format!("{value} times plain decoding {interval}");
    let shown = s3d(&["optimize", path]).split_whitespace().collect::<Vec<_>>().join(" ");
    for (place, text) in [("the page", &page), ("the terminal", &shown)] {
        assert!(text.contains(&headline), "{place} does not say {headline}");
    }
    for (plan, speedup) in &leading {
        assert!(shown.contains(&format!("{plan} {speedup}")), "the terminal: {plan} {speedup}");
    }
    let what_if = format!("{choice}, {} times plain decoding", numbers[choice]);
    assert!(page.contains(&what_if), "what if does not say {what_if}");
    figures(&folder, &numbers);
}

/// Points and cells of the figures say of each plan what the tables say.
fn figures(folder: &Path, numbers: &BTreeMap<String, String>) {
    for (file, kind) in [("speedup_simultaneous", "point"), ("map_simultaneous", "cell")] {
        let rows = csv(&folder.join(format!("figures/{file}.csv")));
        let value = |row: &BTreeMap<String, String>| {
            let plan = row["text"].trim_start_matches("choice: ").split(';').next()?.to_string();
            // A point's value is its height, a cell's its colour; the ring has no interval.
            let height = row.values().find_map(|_| row.get("speedup over plain decoding (times)"));
            let shown = if kind == "cell" { row.get("value") } else { height };
            let number = |text: &String| text.parse::<f64>().ok();
            Some((plan, format!("{:.2}", number(shown?)?)))
        };
        let found: BTreeMap<String, String> =
            rows.iter().filter(|row| row["kind"] == kind).filter_map(value).collect();
        let short = |(plan, words): (&String, &String)| {
            (plan.clone(), words.split(' ').next().unwrap_or_default().to_string())
        };
        same(file, &found, &numbers.iter().map(short).collect());
    }
}

#[test]
fn no_ratio_has_an_interval_wider_than_a_factor_of_two() {
    let folder = reported("narrow");
    let ratios = ["speedup", "speed (", "tokens per iteration", "pass", "time"];
    for entry in fs::read_dir(folder.join("tables")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "csv") {
            continue;
        }
        for row in csv(&path) {
            for (name, low) in row.iter().filter(|(name, _)| name.ends_with(" low")) {
                let name = name.trim_end_matches(" low");
                let high = &row[&format!("{name} high")];
                let (low, high): (f64, f64) = match (low.parse(), high.parse()) {
                    (Ok(low), Ok(high)) => (low, high),
                    _ => continue,
                };
                let ratio = ratios.iter().any(|ratio| name.contains(ratio.trim_end_matches(" (")));
                assert!(!ratio || high <= 2.0 * low, "{}: {name} {low} {high}", path.display());
            }
        }
    }
}
