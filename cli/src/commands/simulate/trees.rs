//! `s3d simulate RUN --trees`: would a tree of drafts pay in place of a chain?

use crate::args::{MachineArgs, OutputArgs};
use crate::shared::{adaptive, load_run, show, terminal};
use s3d_data::RunDir;
use s3d_reports::Table;
use s3d_reports::table::{Cell, Column};
use s3d_simulator::Request;
use s3d_simulator::explore::trees::{Shape, Trees, trees};
use std::path::Path;

/// Looks at trees of up to `rows` rows and prints.
pub fn show(run: &Path, rows: usize, output: &OutputArgs) -> anyhow::Result<()> {
    let dir = RunDir::new(run);
    let run = load_run::one_machine(&dir, MachineArgs { machine: None })?;
    let choice = adaptive::choice_of(&dir, &run)?;
    let found = trees(&run, &Request::of(&run.header), &choice, rows)?;
    if !output.json && !output.markdown {
        terminal::result(&format!("{}\n", sentences(&found).join("\n")))?;
    }
    show::tables(&found, &[by_rows(&found), ranks(&found)], output)
}

fn sentences(found: &Trees) -> Vec<String> {
    let (tree, chain) = (&found.tree, &found.chain);
    let ratio = show::between(found.over_chain);
    let verdict = match found.pays {
        Some(true) => "A tree of drafts would pay on this machine",
        Some(false) => "A tree of drafts would not pay on this machine",
        None => "Whether a tree of drafts would pay on this machine cannot be told",
    };
    let mut said = vec![
        format!(
            "{verdict}: {ratio} times the speed of the best chain, computed for {} over {} texts, \
             each judged by the others, costs taken as timed.",
            found.plan, found.texts
        ),
        format!(
            "The best tree has {} drafts in {} depths ({}): {:.2} tokens per iteration and {:.2} \
             times plain decoding. The best chain has {}: {:.2} and {:.2}.",
            tree.rows - 1,
            tree.depth,
            widths(tree),
            tree.tokens_per_iteration,
            tree.speedup,
            chain.rows - 1,
            chain.tokens_per_iteration,
            chain.speedup
        ),
    ];
    if tree.extrapolated {
        said.push(
            "Its verify pass is wider than any that was timed: its time is extrapolated.".into(),
        );
    }
    said
}

/// `1 + 3 + 2`: drafts of each depth.
fn widths(shape: &Shape) -> String {
    let widths: Vec<String> = shape.widths.iter().map(ToString::to_string).collect();
    widths.join(" + ")
}

fn by_rows(found: &Trees) -> Table {
    let columns = vec![
        Column::unit("rows", "tokens"),
        Column::new("drafts of each depth"),
        Column::new("tokens per iteration"),
        Column::new("by positional acceptance"),
        Column::unit("cost", "plain steps"),
        Column::unit("speedup", "times"),
        Column::new("verify pass"),
    ];
    let row = |shape: &Shape| {
        vec![
            Cell::Count(shape.rows as u64),
            Cell::text(widths(shape)),
            Cell::Number(shape.tokens_per_iteration, 3),
            Cell::Number(shape.expected_tokens, 3),
            Cell::Number(shape.cost, 3),
            Cell::Number(shape.speedup, 3),
            Cell::text(if shape.extrapolated { "extrapolated" } else { "timed" }),
        ]
    };
    Table::new("trees", "The best tree of each number of rows, replayed", columns)
        .note("Costs are those of passes without a tree's mask.")
        .rows(found.by_rows.iter().map(row))
}

fn ranks(found: &Trees) -> Table {
    let names = ["rank 1", "rank 2", "rank 3", "rank 4"];
    let columns: Vec<Column> = ["depth"].into_iter().chain(names).map(Column::new).collect();
    let row = |(depth, rates): (usize, &[f64; 4])| {
        let rates = rates.iter().map(|rate| Cell::Number(*rate, 3));
        std::iter::once(Cell::Count(depth as u64 + 1)).chain(rates).collect()
    };
    let title = "How often the draft of each rank is the right token, by depth";
    Table::new("ranks", title, columns).rows(found.rates.iter().enumerate().map(row))
}
