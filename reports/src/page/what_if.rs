//! The choice under other conditions: values computed beforehand and embedded, looked up by
//! sliders.

use crate::input::ReportInput;
use s3d_data::{Bytes, Estimate, Plan};
use s3d_simulator::predict::conditions::Condition;
use serde::Serialize;
use std::collections::BTreeSet;

/// Three sliders, and the choice under each of their positions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct WhatIf {
    sliders: [Slider; 3],
    rows: Vec<Row>,
}

/// A slider over the places of some values.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Slider {
    id: &'static str,
    label: &'static str,
    /// The last place.
    last: usize,
    /// The place where it stands at first.
    at: usize,
    /// The values in words, in the order of their places.
    names: String,
}

/// A condition and the choice under it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    plan: String,
    context: usize,
    budget: String,
    drafted: usize,
    choice: String,
}

impl WhatIf {
    /// The conditions of `input`; none where nothing was computed.
    pub(super) fn new(input: &ReportInput) -> Option<Self> {
        let header = &input.header;
        let all = &input.what_if;
        let values = |of: fn(&Condition) -> u64| all.iter().map(of).collect::<BTreeSet<_>>();
        let contexts = values(|row| row.context as u64);
        let budgets = values(|row| row.memory_budget_bytes);
        let drafted = values(|row| row.gamma_max as u64);
        let limit = header.memory_budget_bytes.map_or(u64::MAX, |bytes| bytes.0);
        let (context, most) = (header.context as u64, header.gamma_max.get() as u64);
        let count = |count: u64| count.to_string();
        let sliders = [
            Slider::new("context", "Context (tokens)", &contexts, context, count),
            Slider::new("budget", "Memory budget", &budgets, limit, budget),
            Slider::new("predictors", "Drafted tokens at most", &drafted, most, count),
        ];
        let rows = all.iter().map(|condition| Row::new(condition, input)).collect();
        (!all.is_empty()).then_some(Self { sliders, rows })
    }
}

impl Slider {
    /// Over the places of `values`, standing at `start`.
    fn new(
        id: &'static str,
        label: &'static str,
        values: &BTreeSet<u64>,
        start: u64,
        words: impl Fn(u64) -> String,
    ) -> Self {
        let last = values.len().saturating_sub(1);
        let at = values.iter().position(|value| *value >= start).unwrap_or(last);
        let names: Vec<_> = values.iter().map(|value| words(*value)).collect();
        Self { id, label, last, at, names: names.join("|") }
    }
}

impl Row {
    fn new(condition: &Condition, input: &ReportInput) -> Self {
        let (plan, speedup) = answer(condition, input);
        let beyond = if condition.extrapolated { " (beyond the timed contexts)" } else { "" };
        let choice = match &plan {
            Some(plan) => format!("{plan}{}{beyond}", speedup.unwrap_or_default()),
            None => "no plan fits the budget".into(),
        };
        Self {
            plan: plan.map(|plan| plan.to_string()).unwrap_or_default(),
            context: condition.context,
            budget: budget(condition.memory_budget_bytes),
            drafted: condition.gamma_max,
            choice,
        }
    }
}

/// A memory budget in words.
fn budget(bytes: u64) -> String {
    if bytes == u64::MAX { "no limit".into() } else { Bytes(bytes).to_string() }
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
