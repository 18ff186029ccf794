//! The choice under other conditions: values computed beforehand and embedded, looked up by
//! sliders.

use crate::format::html::escape;
use crate::input::ReportInput;
use s3d_data::{Bytes, Estimate, Plan};
use s3d_simulator::predict::conditions::Condition;
use std::collections::BTreeSet;

/// The section of the page: three sliders and the choice they lead to; without script, a table.
pub fn section(input: &ReportInput) -> String {
    let header = &input.header;
    let all = &input.what_if;
    if all.is_empty() {
        return String::new();
    }
    let contexts: BTreeSet<_> = all.iter().map(|row| row.context as u64).collect();
    let budgets: BTreeSet<_> = all.iter().map(|row| row.memory_budget_bytes).collect();
    let predictors: BTreeSet<_> = all.iter().map(|row| row.gamma_max as u64).collect();
    let budget =
        |bytes: u64| if bytes == u64::MAX { "no limit".into() } else { Bytes(bytes).to_string() };
    let limit = header.memory_budget_bytes.map_or(u64::MAX, |bytes| bytes.0);
    let (context, most) = (header.context as u64, header.gamma_max.get() as u64);
    let count = |count: u64| count.to_string();
    let sliders = [
        slider("context", "Context (tokens)", &contexts, context, count),
        slider("budget", "Memory budget", &budgets, limit, budget),
        slider("predictors", "Drafted tokens at most", &predictors, most, count),
    ];
    let body: String = all.iter().map(|condition| row(condition, input)).collect();
    format!(
        "<section class=\"what-if-section\">\n<h2>What if</h2>\n{}</section>\n",
        format_args!(
            "<div class=\"what-if\" hidden>\n{}<p>Choice: <output \
             id=\"what-if-choice\"></output></p>\n\
             <p class=\"note\">By prediction alone, except under the conditions of the run: there \
             the verdict stands.</p>\n</div>\n\
             <details id=\"what-if-table\"><summary>All {} conditions</summary><div \
             class=\"wide\"><table>\
             <thead><tr><th class=\"number\">context (tokens)</th><th class=\"number\">memory \
             budget</th>\
             <th class=\"number\">drafted at \
             most</th><th>choice</th></tr></thead><tbody>\n{body}</tbody></table></div></details>\n",
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
        "<label>{} <input type=\"range\" id=\"what-if-{id}\" min=\"0\" max=\"{last}\" \
         value=\"{at}\" data-names=\"{}\"> \
         <output></output></label>\n",
        escape(label),
        escape(&names.join("|"))
    )
}

/// Plan and speedup under a condition; under the run's own those of the verdict.
fn answer(condition: &Condition, input: &ReportInput) -> (Option<Plan>, Option<String>) {
    let header = &input.header;
    let own = condition.context == header.context
        && condition.memory_budget_bytes
            == header.memory_budget_bytes.map_or(u64::MAX, |bytes| bytes.0)
        && condition.gamma_max == header.gamma_max.get();
    let words =
        |speedup: Estimate, basis: &str| format!(", {speedup:#} times plain decoding, {basis}");
    match &input.recommendation.choice {
        Some(choice) if own => {
            let measured = choice.measured_speedup.map(|speedup| words(speedup, "measured"));
            let predicted = choice.predicted_speedup.map(|speedup| words(speedup, "predicted"));
            (Some(choice.plan.clone()), measured.or(predicted))
        }
        _ => {
            let predicted = condition.predicted.map(|speedup| words(speedup, "predicted"));
            (condition.plan.clone(), predicted)
        }
    }
}

fn row(condition: &Condition, input: &ReportInput) -> String {
    let (plan, speedup) = answer(condition, input);
    let beyond = if condition.extrapolated { " (beyond the timed contexts)" } else { "" };
    let choice = match &plan {
        Some(plan) => format!("{plan}{}{beyond}", speedup.unwrap_or_default()),
        None => "no plan fits the budget".into(),
    };
    let budget = match condition.memory_budget_bytes {
        u64::MAX => "no limit".into(),
        bytes => Bytes(bytes).to_string(),
    };
    let plan = plan.map(|plan| plan.to_string()).unwrap_or_default();
    format!(
        "<tr data-plan=\"{}\"><td class=\"number\">{}</td><td class=\"number\">{}</td><td \
         class=\"number\">{}</td><td>{}</td></tr>\n",
        escape(&plan),
        condition.context,
        escape(&budget),
        condition.gamma_max,
        escape(&choice)
    )
}
