//! Tables of what moves with the context: the choice, and memory.

use crate::table::{Cell, Column, Table};
use crate::tables::worth;
use s3d_data::{Bytes, ContextResult, Recommendation};
use s3d_simulator::cost::memory::PlanMemory;

/// The choice by context, where there are several.
pub fn by_context(recommendation: &Recommendation) -> Table {
    let columns = vec![
        Column::unit("context", "tokens"),
        Column::unit("speedup", "times"),
        Column::new("plan"),
        Column::new("known"),
        Column::new("worth it"),
        Column::unit("speedup of the choice", "times"),
        Column::new("loss of the choice"),
        Column::unit("speed", "tokens/s"),
        Column::unit("plain", "tokens/s"),
        Column::new("peak memory"),
    ];
    let row = |at: &ContextResult| {
        vec![
            Cell::Count(at.context as u64),
            Cell::estimate(at.speedup, 2),
            at.plan.as_ref().map_or(Cell::text("none fits"), |plan| Cell::text(plan.to_string())),
            Cell::text(at.basis.name()),
            Cell::text(worth(at.verdict)),
            Cell::estimate(at.speedup_of_choice, 2),
            at.loss_of_choice.map_or(Cell::Unknown, Cell::Share),
            Cell::rate(at.tokens_per_s),
            Cell::rate(at.plain_tokens_per_s),
            at.peak_memory_bytes.map_or(Cell::Unknown, |bytes| Cell::Bytes(bytes.0)),
        ]
    };
    Table::new("by_context", "The choice by context", columns)
        .note(
            "Acceptance is that of the traced texts at every context; the cost of an iteration and \
             of a plain step moves with it. Another plan than the choice is named only where it is \
             surely faster. Extrapolated: beyond the contexts that were timed.",
        )
        .rows(recommendation.by_context.iter().map(row))
        .without_empty_columns()
}

/// What drafting adds to the memory of plain decoding, by part, and the longest context that fits.
pub fn drafting_memory(plans: &[PlanMemory]) -> Table {
    let columns = vec![
        Column::new("plan"),
        Column::new("drafting adds"),
        Column::new("masks"),
        Column::new("adapters"),
        Column::new("draft head"),
        Column::new("cache rows"),
        Column::new("activations"),
        Column::new("logits"),
        Column::new("peak memory"),
        Column::unit("largest context", "tokens"),
    ];
    let room = plans.iter().find_map(|plan| plan.room);
    let longest = |plan: &PlanMemory| match (plan.room, plan.largest_context) {
        (None, _) => Cell::Unknown,
        (Some(_), None) => Cell::text("none fits"),
        (Some(_), Some(context)) => Cell::Count(context as u64),
    };
    let row = |plan: &PlanMemory| {
        let part = |part: fn(&s3d_data::memory::Added) -> Bytes| {
            let bytes = plan.added.as_ref().map(|added| part(added).0).filter(|bytes| *bytes > 0);
            bytes.map_or(Cell::Unknown, Cell::Bytes)
        };
        vec![
            Cell::text(plan.plan.to_string()),
            part(|added| added.total_bytes),
            part(|added| added.masks_bytes),
            part(|added| added.adapters_bytes),
            part(|added| added.draft_head_bytes),
            part(|added| added.cache_rows_bytes),
            part(|added| added.activations_bytes),
            part(|added| added.logits_bytes),
            Cell::Bytes(plan.peak_bytes.0),
            longest(plan),
        ]
    };
    let context = plans.first().map_or(0, |plan| plan.context);
    let limit = room.map(|room| {
        let which = if room.budget { "the memory budget of" } else { "the device's memory of" };
        format!(" Largest context: the longest that fits {which} {}.", room.bytes)
    });
    Table::new("drafting_memory", "What drafting adds to the memory", columns)
        .note(format!(
            "Computed, at {context} tokens of context. Plain: the same model without masks, \
             adapters and draft head.{}",
            limit.unwrap_or_default()
        ))
        .rows(plans.iter().map(row))
        .without_empty_columns()
}
