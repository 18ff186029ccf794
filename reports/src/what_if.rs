//! The choice under other conditions: values computed beforehand and embedded, looked up by sliders.

use crate::format::html::escape;
use crate::input::{GridCell, ReportInput, WhatIf};
use s3d_data::{Bytes, Estimate};
use std::collections::BTreeSet;

/// The fastest prediction of `grid` that fits, for every memory budget worth asking (the least and
/// the middle memory of a plan, `budget`, none) and every number of drafts up to `gamma_max`.
///
/// Only looks up what was predicted for `context`; a grid of another context gives further rows.
pub fn rows(
    context: usize,
    grid: &[GridCell],
    budget: Option<u64>,
    gamma_max: usize,
) -> Vec<WhatIf> {
    let memory: BTreeSet<u64> = grid.iter().filter_map(|cell| cell.peak_memory_bytes).collect();
    let middle = memory.iter().nth(memory.len() / 2);
    let known = memory.first().into_iter().chain(middle).copied();
    let budgets: BTreeSet<u64> = known.chain(budget).chain([u64::MAX]).collect();
    let row = |memory_budget_bytes: u64, gamma_max: usize| {
        let fits = |cell: &&GridCell| {
            cell.predictors <= gamma_max
                && cell.peak_memory_bytes.unwrap_or(0) <= memory_budget_bytes
        };
        let speedup =
            |cell: &GridCell| cell.predicted.map_or(0.0, |speedup: Estimate| speedup.value);
        let best = grid.iter().filter(fits).max_by(|a, b| speedup(a).total_cmp(&speedup(b)));
        WhatIf {
            context,
            memory_budget_bytes,
            gamma_max,
            plan: best.map(|cell| cell.plan.clone()),
            predicted: best.and_then(|cell| cell.predicted),
        }
    };
    budgets.iter().flat_map(|budget| (1..=gamma_max).map(|most| row(*budget, most))).collect()
}

/// The section of the page: three sliders and the choice they lead to; without script, a table.
pub fn section(input: &ReportInput) -> String {
    let header = &input.header;
    let own;
    let all = if input.what_if.is_empty() && !input.grid.is_empty() {
        own = rows(header.context, &input.grid, header.memory_budget_bytes, header.gamma_max);
        &own
    } else {
        &input.what_if
    };
    if all.is_empty() {
        return String::new();
    }
    let contexts: BTreeSet<_> = all.iter().map(|row| row.context as u64).collect();
    let budgets: BTreeSet<_> = all.iter().map(|row| row.memory_budget_bytes).collect();
    let predictors: BTreeSet<_> = all.iter().map(|row| row.gamma_max as u64).collect();
    let budget =
        |bytes: u64| if bytes == u64::MAX { "no limit".into() } else { Bytes(bytes).to_string() };
    let limit = header.memory_budget_bytes.unwrap_or(u64::MAX);
    let (context, most) = (header.context as u64, header.gamma_max as u64);
    let count = |count: u64| count.to_string();
    let sliders = [
        slider("context", "Context (tokens)", &contexts, context, count),
        slider("budget", "Memory budget", &budgets, limit, budget),
        slider("predictors", "Drafted tokens at most", &predictors, most, count),
    ];
    let body: String = all.iter().map(row).collect();
    format!(
        "<section class=\"what-if-section\">\n<h2>What if</h2>\n{}</section>\n",
        format_args!(
            "<div class=\"what-if\" hidden>\n{}<p>Choice: <output id=\"what-if-choice\"></output></p>\n</div>\n\
             <details id=\"what-if-table\"><summary>All {} conditions</summary><div class=\"wide\"><table>\
             <thead><tr><th class=\"number\">context (tokens)</th><th class=\"number\">memory budget</th>\
             <th class=\"number\">drafted at most</th><th>choice</th></tr></thead><tbody>\n{body}</tbody></table></div></details>\n",
            sliders.concat(),
            all.len()
        ),
    )
}

/// A slider over the places of `values`, standing at `start`.
fn slider(
    id: &str,
    label: &str,
    values: &BTreeSet<u64>,
    start: u64,
    words: impl Fn(u64) -> String,
) -> String {
    let last = values.len().saturating_sub(1);
    let at = values.iter().position(|value| *value >= start).unwrap_or(last);
    let names: Vec<_> = values.iter().map(|value| words(*value)).collect();
    format!(
        "<label>{} <input type=\"range\" id=\"what-if-{id}\" min=\"0\" max=\"{last}\" value=\"{at}\" data-names=\"{}\"> \
         <output></output></label>\n",
        escape(label),
        escape(&names.join("|"))
    )
}

fn row(row: &WhatIf) -> String {
    let speedup =
        row.predicted.map(|speedup| format!(", {speedup} times plain decoding, predicted"));
    let choice = match &row.plan {
        Some(plan) => format!("{plan}{}", speedup.unwrap_or_default()),
        None => "no plan fits the budget".into(),
    };
    let budget = match row.memory_budget_bytes {
        u64::MAX => "no limit".into(),
        bytes => Bytes(bytes).to_string(),
    };
    let plan = row.plan.as_ref().map(|plan| plan.to_string()).unwrap_or_default();
    format!(
        "<tr data-plan=\"{}\"><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td></tr>\n",
        escape(&plan),
        row.context,
        escape(&budget),
        row.gamma_max,
        escape(&choice)
    )
}
