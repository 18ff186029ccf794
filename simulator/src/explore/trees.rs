//! Would a tree of drafts pay, in place of a chain? Asked before anyone builds one.
//!
//! A trace with ranks says at every position which of the four most likely tokens of each draft was
//! the right one. Drafts made at once do not depend on each other, so the candidates of a depth are
//! the same on every path, and walking a tree through the trace is *exact*. Which tree to walk is
//! chosen by expectation ([`Best`]), from acceptance by depth and rank; costs are those of a plain
//! draft pass of the tree's depth and of a plain verify pass of its rows, since nobody has timed a
//! pass with a tree's mask.
//!
//! Each text is judged under the tree, and beside the chain, that are best on the *other* texts.

mod best;

pub use best::{Best, RANKS, Rates, Tree};

use crate::cost::measured::MeasuredCosts;
use crate::error::{Error, Result};
use crate::policy::ratio;
use crate::predict::request::Request;
use crate::traces::table::TraceTable;
use crate::traces::walk::visit;
use s3d_data::{Draft, DraftPlan, Drafting, Estimate, Plan, Predictors, Run, Trace};
use serde::Serialize;

/// A shape of drafts with what it gives on all texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shape {
    /// Rows of the verify pass: its drafts and the last committed token.
    pub rows: usize,
    /// Tokens that the draft pass drafts in a row.
    pub depth: usize,
    /// Drafts of each depth.
    pub widths: Vec<usize>,
    /// Tokens per iteration, by acceptance that does not depend on the path.
    pub expected_tokens: f64,
    /// The same by replay.
    pub tokens_per_iteration: f64,
    /// Cost of an iteration, in plain steps.
    pub cost: f64,
    /// Speedup over plain decoding, by replay.
    pub speedup: f64,
    /// Whether the verify pass is wider than any that was timed.
    pub extrapolated: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trees {
    /// The window that was looked at: the run's choice.
    pub plan: Plan,
    /// Texts with ranks.
    pub texts: usize,
    /// Probability that the draft of each rank is right, by depth, given that the drafts before it
    /// were among those looked at.
    pub rates: Rates,
    /// The best chain.
    pub chain: Shape,
    /// The best tree of all numbers of rows.
    pub tree: Shape,
    /// The tree itself: children by rank, and theirs.
    pub nodes: Tree,
    /// Speed with the best tree over that with the best chain, each text judged by the others.
    pub over_chain: Estimate,
    /// Whether a tree pays: null where the interval holds 1.
    pub pays: Option<bool>,
    /// The best tree of each number of rows.
    pub by_rows: Vec<Shape>,
}

/// What is known of the texts and of costs.
struct Known<'a> {
    texts: Vec<&'a Trace>,
    strata: Vec<usize>,
    /// By text, depth and rank: positions where it was the right one, and in the last place all.
    counts: Vec<Counts>,
    /// Longest path.
    depth: usize,
    /// By number of drafts in a row, from 1: the draft pass, in plain passes.
    draft: Vec<f64>,
    /// By rows, from 1.
    verify: Vec<f64>,
    step: f64,
    /// Rows of the widest pass that was timed.
    timed: usize,
}

type Counts = Vec<[u64; RANKS + 1]>;

/// Looks at trees of up to `rows` rows under the window of `choice`.
///
/// # Errors
/// A choice that drafts in turn, no trace with ranks, costs that are not known.
pub fn trees(run: &Run, request: &Request, choice: &DraftPlan, rows: usize) -> Result<Trees> {
    let known = Known::of(run, request, choice, rows)?;
    let rates = rates(known.counts.iter());
    let shape = |tree: &Tree| known.shape(tree, &rates);
    let trees = known.best_trees(&rates, rows);
    let by_rows: Vec<Shape> = trees.iter().map(shape).collect();
    let nodes = known.fastest(&rates, &trees);
    let chain = known.fastest(&rates, &known.chains());
    let over_chain = known.over_chain(request, rows);
    Ok(Trees {
        plan: Plan::Speculate(choice.clone()),
        texts: known.texts.len(),
        chain: shape(&chain),
        tree: shape(&nodes),
        nodes,
        over_chain,
        pays: pays(over_chain),
        by_rows,
        rates,
    })
}

/// Whether an interval lies on one side of 1.
fn pays(ratio: Estimate) -> Option<bool> {
    let (low, high) = ratio.interval()?;
    if low > 1.0 { Some(true) } else { (high <= 1.0).then_some(false) }
}

/// Acceptance by depth and rank over some texts.
fn rates<'c>(counts: impl Iterator<Item = &'c Counts>) -> Rates {
    let mut all: Counts = Vec::new();
    for counts in counts {
        all.resize(all.len().max(counts.len()), [0; RANKS + 1]);
        for (sum, own) in all.iter_mut().zip(counts) {
            sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        }
    }
    let rate = |counts: [u64; RANKS + 1]| {
        let tried = counts[RANKS].max(1) as f64;
        std::array::from_fn(|rank| counts[rank] as f64 / tried)
    };
    all.into_iter().map(rate).collect()
}

/// Ranks of right tokens at the positions that decoding visits with the longest chain: a depth
/// counts where the ranks before it were among those looked at.
fn count(trace: &Trace, depth: usize) -> Counts {
    let mut counts = vec![[0; RANKS + 1]; depth];
    visit(&trace.accepted, |committed, accepted| {
        for (counts, &rank) in counts.iter_mut().zip(ranks_at(trace, committed)) {
            counts[RANKS] += 1;
            match rank {
                0 => break,
                rank => counts[usize::from(rank) - 1] += 1,
            }
        }
        (accepted as usize).min(depth)
    });
    counts
}

fn ranks_at(trace: &Trace, committed: usize) -> &[u8] {
    let rows = trace.ranks.as_ref();
    rows.and_then(|rows| rows.get(committed - 1)).map_or(&[], Vec::as_slice)
}

/// Iterations of `tree` on a text: exact.
fn iterations(trace: &Trace, tree: &Tree) -> u64 {
    let mut iterations = 0;
    visit(&trace.accepted, |committed, _| {
        iterations += 1;
        tree.accepted(ranks_at(trace, committed))
    });
    iterations
}

impl<'a> Known<'a> {
    fn of(run: &'a Run, request: &Request, choice: &DraftPlan, rows: usize) -> Result<Self> {
        let way = choice.draft();
        if way.drafting != Drafting::Simultaneous {
            let found = format!("{choice}, which drafts them one after the other");
            return Err(Error::domain("trees of drafts", "a plan that drafts all at once", found));
        }
        let table = TraceTable::of(run)?;
        let row = table.ways.get(&way).cloned().unwrap_or_default().into_iter();
        let ranked = row.zip(table.strata()).filter_map(|(trace, stratum)| {
            Some((trace.filter(|t| t.ranks.is_some() && t.tokens() > 1)?, stratum))
        });
        let (texts, strata): (Vec<&Trace>, Vec<usize>) = ranked.unzip();
        if texts.is_empty() {
            let what =
                format!("traces of {} with the ranks of right tokens in the run", choice.skip);
            let advice = format!(
                "measure some beside its times: s3d measure latency acceptance --ranks --plans \
                 {choice} --out DIR"
            );
            return Err(Error::missing(what, advice));
        }
        let depth = texts.iter().filter_map(|t| t.gamma_max).map(Predictors::get).min();
        let depth = depth.unwrap_or(request.gamma_max);
        let costs = MeasuredCosts::new(run, request.machine, &request.contexts)?;
        let draft = |drafts| draft_cost(&costs, &way, drafts);
        let timed = run.observations.latency.iter().filter(|s| s.machine == request.machine);
        Ok(Self {
            counts: texts.iter().map(|trace| count(trace, depth)).collect(),
            draft: (1..=depth).map(draft).collect::<Result<_>>()?,
            verify: (1..=rows).map(|rows| Ok(costs.full(rows)?.value)).collect::<Result<_>>()?,
            step: costs.step().value,
            timed: timed.map(|sample| sample.width).max().unwrap_or(1),
            texts,
            strata,
            depth,
        })
    }

    /// Cost of an iteration, in plain steps.
    fn cost(&self, tree: &Tree) -> f64 {
        let draft = tree.depth().checked_sub(1).map_or(0.0, |last| self.draft[last]);
        (draft + self.verify[tree.nodes()] + self.step) / (1.0 + self.step)
    }

    /// For each number of rows from 2 on the tree with the most expected tokens for its time.
    fn best_trees(&self, rates: &Rates, rows: usize) -> Vec<Tree> {
        // A longer path needs a longer draft pass, so each longest path is looked at by itself.
        let by_depth: Vec<Best> =
            (1..=self.depth).map(|depth| Best::new(&rates[..depth], rows - 1)).collect();
        let fastest = |nodes: usize| {
            let trees: Vec<Tree> = by_depth.iter().map(|best| best.tree(nodes)).collect();
            self.fastest(rates, &trees)
        };
        (1..rows).map(fastest).collect()
    }

    fn chains(&self) -> Vec<Tree> {
        (1..=self.depth.min(self.verify.len() - 1)).map(Tree::chain).collect()
    }

    /// The one with the most expected tokens for its time; of equal ones the first.
    fn fastest(&self, rates: &Rates, trees: &[Tree]) -> Tree {
        let slowness = |tree: &&Tree| self.cost(tree) / (1.0 + tree.expected(rates));
        let best = trees.iter().min_by(|a, b| slowness(a).total_cmp(&slowness(b)));
        best.cloned().unwrap_or_default()
    }

    fn shape(&self, tree: &Tree, rates: &Rates) -> Shape {
        let tokens: usize = self.texts.iter().map(|text| text.tokens() - 1).sum();
        let iterations: u64 = self.texts.iter().map(|text| iterations(text, tree)).sum();
        let (per_iteration, cost) = (tokens as f64 / iterations as f64, self.cost(tree));
        let rows = tree.nodes() + 1;
        Shape {
            rows,
            depth: tree.depth(),
            widths: tree.widths(),
            expected_tokens: 1.0 + tree.expected(rates),
            tokens_per_iteration: per_iteration,
            cost,
            speedup: per_iteration / cost,
            extrapolated: rows > self.timed,
        }
    }

    /// Time of each text under the best chain over that under the best tree of its others.
    fn over_chain(&self, request: &Request, rows: usize) -> Estimate {
        let time = |text: &Trace, tree: &Tree| iterations(text, tree) as f64 * self.cost(tree);
        let judged = |place: usize| {
            let others = self.counts.iter().enumerate().filter(|(other, _)| *other != place);
            // Of a single text nothing is known but itself.
            let rates = match self.counts.len() {
                1 => rates(self.counts.iter()),
                _ => rates(others.map(|(_, counts)| counts)),
            };
            let tree = self.fastest(&rates, &self.best_trees(&rates, rows));
            let chain = self.fastest(&rates, &self.chains());
            (time(self.texts[place], &chain), time(self.texts[place], &tree))
        };
        let (chain, tree): (Vec<f64>, Vec<f64>) = (0..self.texts.len()).map(judged).unzip();
        ratio(&chain, &tree, &self.strata, request)
    }
}

/// The draft pass of `drafts` tokens at once, in plain passes.
fn draft_cost(costs: &MeasuredCosts, way: &Draft, drafts: usize) -> Result<f64> {
    Ok(costs.of(way, drafts)?.draft.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::walk::walk;

    fn ranked(accepted: &[u32], ranks: &[&[u8]]) -> Trace {
        let line = format!(
            r#"{{"id":"a","prompt":1,"gamma_max":3,"accepted":{accepted:?},"ranks":{ranks:?}}}"#
        );
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn a_chain_walks_as_its_plan_and_a_tree_goes_further() {
        let ranks: [&[u8]; 8] =
            [&[1, 2, 1], &[2, 1, 1], &[1, 1, 4], &[1, 4, 1], &[4, 1, 1], &[1, 1], &[1], &[]];
        let text = ranked(&[1, 0, 2, 1, 0, 2, 1, 0], &ranks);
        text.validate().unwrap();
        for drafts in 1..=3 {
            assert_eq!(
                iterations(&text, &Tree::chain(drafts)),
                walk(&text.accepted, drafts).iterations
            );
        }
        // source: by hand: with two drafts 1 -> 3 -> 6 -> 9; with the second rank under the first
        // draft as well 1 -> 4 -> 6 -> 8, and as a start too.
        assert_eq!(iterations(&text, &Tree::chain(2)), 3);
        let wide =
            Tree::of(vec![Some(Tree::of(vec![Some(Tree::default()), Some(Tree::default())]))]);
        assert_eq!(iterations(&text, &wide), 3);
        // Counted where the chain of three goes: at 1, 3 and 6.
        let counts = count(&text, 3);
        assert_eq!(counts, [[3, 0, 0, 0, 3], [2, 1, 0, 0, 3], [1, 0, 0, 1, 2]]);
        let found = rates(std::iter::once(&counts));
        assert_eq!(found[1], [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
    }

    #[test]
    fn an_interval_on_one_side_of_one_answers() {
        assert_eq!(pays(Estimate::new(1.1, 1.02, 1.2)), Some(true));
        assert_eq!(pays(Estimate::new(0.9, 0.8, 0.99)), Some(false));
        assert_eq!(pays(Estimate::new(1.1, 0.9, 1.2)), None);
        assert_eq!(pays(Estimate::alone(2.0)), None);
    }
}
