//! The page: one self-contained file that needs no network and no script to be read.
//!
//! The order is that of a reader's questions: should I speculate, with which plan, how sure is
//! that, why is it not more, is the comparison fair, what does it cost, how was it made.

pub mod what_if;

use crate::draw::palette::Hue;
use crate::draw::{chart, scene};
use crate::error::Result;
use crate::figure::Figure;
use crate::format::html::{self, escape};
use crate::input::{GridCell, ReportInput};
use crate::table::Table;
use crate::words::verdict::Verdict;
use crate::words::warnings::warnings;
use crate::words::{baseline, provenance};
use crate::{figures, tables};
use s3d_data::TimesFrom;

/// Forbids every request: what the page shows is in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      img-src data:; base-uri 'none'; form-action 'none'";

/// Rows of a table on the page; a search can compare thousands of plans.
const ROWS_SHOWN: usize = 200;

/// Ties that stand beside the choice on the first screen.
const TIES_FIRST: usize = 2;

/// Warnings on the first screen; all stand where it is said how the run was measured.
const WARNINGS_FIRST: usize = 3;

/// The report of one run as an HTML document.
///
/// # Errors
/// When a figure cannot be drawn.
pub fn page(input: &ReportInput) -> Result<String> {
    let figures = figures::all(input);
    let tables = tables::all(input);
    let [first, others] = leading_figures(input, &figures);
    let mut body = verdict(input);
    body += &draw(&figures, &first)?;
    let tasks = by_task(input, &figures)?;
    let differ = !input.recommendation.by_task.is_empty();
    body += if differ { &tasks } else { "" };
    body += &what_if::section(input);
    body += &section(
        "Why it is not more",
        &draw(&figures, &["waterfall", "pass_time", "components", "accepted", "acceptance"])?,
    );
    body += if differ { "" } else { &tasks };
    body += &section("Other plans", &draw(&figures, &others)?);
    body += &section("Is plain decoding a fair opponent", &baseline::section(input));
    body += &section("How far the predictions can be trusted", &draw(&figures, &["prediction"])?);
    body += &section("Tables", &table_list(&tables)).replacen(
        "<section>",
        "<section class=\"tables\">",
        1,
    );
    body += &section("How this was measured", &measured(input)).replacen(
        "<section>",
        "<section id=\"measured\">",
        1,
    );
    let imposed = if input.header.imposed.is_some() { " (imposed acceptance)" } else { "" };
    let derived =
        if input.header.times_from() == TimesFrom::DataSheet { " (derived times)" } else { "" };
    let title = format!("S3D report: {}{imposed}{derived}", input.header.model.name);
    Ok(document(&title, &body))
}

/// A whole document around `body`; `title` is escaped, `body` is HTML.
pub fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{}</title>\n<style>\n{}{}</style>\n</head>\n<body>\n<main>\n{body}</main>\n\
         <script>\n{}</script>\n</body>\n</html>\n",
        escape(title),
        include_str!("page/page.css"),
        figure_styles(),
        include_str!("page/page.js"),
    )
}

/// On a dark page (never on paper), each hue of a figure is replaced by its dark twin.
fn figure_styles() -> String {
    let rule = |hue: &Hue| {
        let (light, dark) = (hue.hex(), hue.dark_hex());
        format!(
            "svg [fill=\"{light}\"] {{ fill: {dark}; }} svg [stroke=\"{light}\"] {{ stroke: \
             {dark}; }}\n"
        )
    };
    let rules: String = Hue::ALL.iter().map(rule).collect();
    format!("@media screen and (prefers-color-scheme: dark) {{\n{rules}}}\n")
}

/// A section with a heading; nothing where it has no content.
pub fn section(title: &str, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    format!("<section>\n<h2>{}</h2>\n{content}</section>\n", escape(title))
}

/// The curve and the map of the first screen, and the figures of all other plans. Where the choice
/// is no window in the middle of the model, the map is that of windows.
fn leading_figures<'a>(input: &ReportInput, figures: &'a [Figure]) -> [Vec<&'a str>; 2] {
    let middle = |cell: &&GridCell| cell.is_symmetric(input.layers());
    let chosen = input.grid.iter().find(|cell| Some(&cell.plan) == input.chosen());
    let map = if chosen.is_none_or(|cell| middle(&cell)) { "map" } else { "windows" };
    let named =
        |prefix: &'static str| figures.iter().filter(move |figure| belongs(&figure.name, prefix));
    let first: Vec<&str> = ["speedup", map]
        .iter()
        .filter_map(|prefix| named(prefix).next())
        .map(|figure| figure.name.as_str())
        .collect();
    let others = ["speedup", "map", "windows", "speed_memory"];
    let others = others.iter().flat_map(|prefix| named(prefix));
    let others = others.map(|figure| figure.name.as_str()).filter(|name| !first.contains(name));
    [first.clone(), others.collect()]
}

/// The choice by task, with the acceptance behind it.
fn by_task(input: &ReportInput, figures: &[Figure]) -> Result<String> {
    let table = tables::by_task(&input.recommendation);
    if table.rows.is_empty() {
        return Ok(section("Acceptance by task", &draw(figures, &["acceptance_by_task"])?));
    }
    let drawn = draw(figures, &["by_task", "acceptance_by_task"])?;
    Ok(section("By task", &(drawn + &html::table(&table))))
}

/// What the numbers rest on: grounds, warnings, the run.
fn measured(input: &ReportInput) -> String {
    let grounds = Verdict::new(&input.recommendation, &input.header).grounds;
    let items: String = grounds.iter().map(|one| format!("<li>{}</li>\n", escape(one))).collect();
    let warnings = warnings(&input.header);
    let warnings: String = warnings.iter().map(|one| warning(&one.whole)).collect();
    format!("<ul>\n{items}</ul>\n{warnings}{}", provenance::section(&input.header))
}

fn warning(text: &str) -> String {
    format!("<p class=\"warning\">{}</p>\n", escape(text))
}

/// The figures whose name starts with one of `names`, in the order of `names`.
pub fn draw(figures: &[Figure], names: &[&str]) -> Result<String> {
    let mut drawn = String::new();
    for name in names {
        for figure in figures.iter().filter(|figure| belongs(&figure.name, name)) {
            drawn += &inline(figure)?;
        }
    }
    if drawn.is_empty() {
        return Ok(drawn);
    }
    Ok(format!("<div class=\"figures\">\n{drawn}</div>\n"))
}

/// Whether a figure is `name` itself or that of one drafting.
fn belongs(figure: &str, name: &str) -> bool {
    figure == name
        || figure
            .strip_prefix(name)
            .is_some_and(|rest| ["_simultaneous", "_sequential"].contains(&rest))
}

/// A figure as inline SVG that says more when a reader points at a value.
fn inline(figure: &Figure) -> Result<String> {
    let scene = scene::scene(figure);
    let svg = chart::svg(&scene)?;
    let zoom = chart::ZOOM;
    let spots = scene.hotspots.iter().map(|spot| {
        format!(
            "<rect class=\"spot\" x=\"{:.0}\" y=\"{:.0}\" width=\"{:.0}\" \
             height=\"{:.0}\"><title>{}</title></rect>\n",
            (spot.centre.0 - spot.half.0) * zoom,
            (spot.centre.1 - spot.half.1) * zoom,
            spot.half.0 * 2.0 * zoom,
            spot.half.1 * 2.0 * zoom,
            escape(&spot.text)
        )
    });
    let spots: String = spots.collect();
    let label = format!("<svg role=\"img\" aria-label=\"{}\" ", escape(&figure.title));
    let svg = svg.replacen("<svg ", &label, 1).replace("</svg>", &format!("{spots}</svg>"));
    Ok(format!(
        "<figure id=\"figure-{}\">{svg}<figcaption>{}</figcaption></figure>\n",
        escape(&figure.name),
        escape(&figure.caption)
    ))
}

fn verdict(input: &ReportInput) -> String {
    let verdict = Verdict::new(&input.recommendation, &input.header);
    let class = if verdict.speculate { "verdict" } else { "verdict no" };
    let details: String =
        verdict.details.iter().map(|detail| format!("<li>{}</li>\n", escape(detail))).collect();
    let command = verdict.command.iter().map(|command| {
        format!("<pre class=\"copy\" id=\"command\"><code>{}</code></pre>\n", escape(command))
    });
    let mut out = format!(
        "<h1>{} on {}{}</h1>\n<div class=\"{class}\" id=\"verdict\">\n<p \
         class=\"headline\">{}</p>\n<ul>\n{details}</ul>\n</div>\n{}",
        escape(&input.header.model.name),
        escape(&provenance::machine_name(&input.header)),
        if input.header.imposed.is_some() { ", with imposed acceptance" } else { "" },
        escape(&verdict.headline),
        command.collect::<String>()
    );
    let all = warnings(&input.header);
    out += &all.iter().take(WARNINGS_FIRST).map(|one| warning(&one.short)).collect::<String>();
    if !all.is_empty() {
        out += "<p class=\"note\">What to do about it stands below: \
                <a href=\"#measured\">how this was measured</a>.</p>\n";
    }
    out + &html::table(&tables::leading(&input.recommendation, TIES_FIRST))
}

fn table_list(tables: &[Table]) -> String {
    let folded = |table: &Table| {
        let mut shown = table.clone();
        shown.rows.truncate(ROWS_SHOWN);
        if shown.rows.len() < table.rows.len() {
            let file =
                format!(" The first {ROWS_SHOWN} rows; all stand in tables/{}.csv.", table.name);
            shown.note += &file;
        }
        format!(
            "<details><summary>{} ({} rows)</summary>\n{}</details>\n",
            escape(&table.title),
            table.rows.len(),
            html::table(&shown)
        )
    };
    tables.iter().map(folded).collect()
}
