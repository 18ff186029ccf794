//! The best tree of drafts with a given number of nodes, by dynamic programming (Sequoia, Chen et
//! al., arXiv 2402.12374, section 3.1).
//!
//! A node at depth `d` is the draft of rank `r` there; it is right with probability `p_d(r)`, given
//! that the nodes above it are. That this does not depend on which nodes these are, the
//! *positional* acceptance of that paper, is an assumption about probabilities; drafts made at once
//! have the same candidates under every node of a depth, whatever was drafted above. The expected
//! accepted drafts of the children of a right node are then
//!
//! ```text
//! T(n, d) = max over n_1 + n_2 + ... <= n of  sum_r p_d(r) (1 + T(n_r - 1, d + 1)),  n_r >= 1
//! ```

use serde::Serialize;

/// Ranks of drafts that are looked at.
pub const RANKS: usize = 4;

/// `rates[d][r]`: probability that the draft of rank `r + 1` at depth `d + 1` is the right token.
pub type Rates = Vec<[f64; RANKS]>;

/// A tree of drafts: the root is the last committed token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Tree {
    /// Children by rank, from the most likely on.
    children: Vec<Option<Tree>>,
}

impl Tree {
    /// The tree in which each node has one child, the most likely token: `drafts` in a row.
    pub fn chain(drafts: usize) -> Self {
        match drafts {
            0 => Self::default(),
            _ => Self { children: vec![Some(Self::chain(drafts - 1))] },
        }
    }

    /// A tree of these children, by rank.
    pub fn of(children: Vec<Option<Tree>>) -> Self {
        Self { children }
    }

    /// Drafts: all nodes but the root.
    pub(crate) fn nodes(&self) -> usize {
        self.present().map(|child| 1 + child.nodes()).sum()
    }

    /// The longest path: drafts that one pass must make.
    pub fn depth(&self) -> usize {
        self.present().map(|child| 1 + child.depth()).max().unwrap_or(0)
    }

    /// Drafts accepted where the right tokens have these ranks (0: none of those looked at), depth
    /// by depth.
    pub fn accepted(&self, ranks: &[u8]) -> usize {
        let Some((&rank, below)) = ranks.split_first() else { return 0 };
        let place = usize::from(rank).checked_sub(1);
        let child = place.and_then(|place| self.children.get(place)?.as_ref());
        child.map_or(0, |child| 1 + child.accepted(below))
    }

    /// Expected accepted drafts where acceptance is positional.
    pub fn expected(&self, rates: &[[f64; RANKS]]) -> f64 {
        let Some((here, below)) = rates.split_first() else { return 0.0 };
        let children = self.children.iter().zip(here);
        let right = children.filter_map(|(child, rate)| Some((child.as_ref()?, rate)));
        right.map(|(child, rate)| rate * (1.0 + child.expected(below))).sum()
    }

    /// Nodes of each depth, from the first drafts on.
    pub fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        let mut level: Vec<&Tree> = self.present().collect();
        while !level.is_empty() {
            widths.push(level.len());
            level = level.iter().flat_map(|node| node.present()).collect();
        }
        widths
    }

    fn present(&self) -> impl Iterator<Item = &Tree> {
        self.children.iter().flatten()
    }
}

/// Expected accepted drafts, and how many nodes the child of each rank has, itself counted.
type Cell = (f64, [usize; RANKS]);

/// The best trees of up to so many nodes whose paths are no longer than the rates are deep.
pub struct Best {
    /// `cells[d][n]`: the best of up to `n` nodes below a right node at depth `d`.
    cells: Vec<Vec<Cell>>,
}

impl Best {
    /// Fills the tables.
    pub fn new(rates: &[[f64; RANKS]], nodes: usize) -> Self {
        let empty = vec![(0.0, [0; RANKS]); nodes + 1];
        let mut cells = vec![empty];
        for rates in rates.iter().rev() {
            let level = divided(rates, &cells[cells.len() - 1]);
            cells.push(level);
        }
        cells.reverse();
        Self { cells }
    }

    /// Expected accepted drafts of the best tree of `nodes` nodes.
    pub fn expected(&self, nodes: usize) -> f64 {
        self.cells[0][nodes].0
    }

    /// That tree.
    pub fn tree(&self, nodes: usize) -> Tree {
        self.below(0, nodes)
    }

    fn below(&self, depth: usize, nodes: usize) -> Tree {
        let (_, parts) = self.cells[depth][nodes];
        let child = |part: usize| (part > 0).then(|| self.below(depth + 1, part - 1));
        let last = parts.iter().rposition(|part| *part > 0).map_or(0, |last| last + 1);
        Tree { children: parts[..last].iter().map(|&part| child(part)).collect() }
    }
}

/// For every number of nodes: divided among the children of a node, rank after rank, the most
/// expected accepted drafts and each child's share. `below` has the same of the children.
fn divided(rates: &[f64; RANKS], below: &[Cell]) -> Vec<Cell> {
    let mut best = vec![(0.0, [0; RANKS]); below.len()];
    for (rank, rate) in rates.iter().enumerate() {
        for all in (1..best.len()).rev() {
            for own in 1..=all {
                let (value, mut parts) = best[all - own];
                let value = value + rate * (1.0 + below[own - 1].0);
                if value > best[all].0 {
                    parts[rank] = own;
                    best[all] = (value, parts);
                }
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All trees of exactly `nodes` nodes whose paths are no longer than `depth`.
    fn all(nodes: usize, depth: usize) -> Vec<Tree> {
        forests(nodes, depth, RANKS).into_iter().map(Tree::of).collect()
    }

    /// All lists of `ranks` children with `nodes` nodes in all.
    fn forests(nodes: usize, depth: usize, ranks: usize) -> Vec<Vec<Option<Tree>>> {
        if nodes == 0 || ranks == 0 || depth == 0 {
            return if nodes == 0 { vec![Vec::new()] } else { Vec::new() };
        }
        let mut found = Vec::new();
        for own in 0..=nodes {
            let first: Vec<Option<Tree>> = match own {
                0 => vec![None],
                _ => all(own - 1, depth - 1).into_iter().map(Some).collect(),
            };
            for rest in forests(nodes - own, depth, ranks - 1) {
                found
                    .extend(first.iter().map(|first| [vec![first.clone()], rest.clone()].concat()));
            }
        }
        found
    }

    /// source: enumeration of every tree.
    #[test]
    fn no_tree_of_up_to_seven_rows_is_better() {
        let falling = vec![[0.7, 0.12, 0.06, 0.02], [0.5, 0.2, 0.1, 0.05], [0.4, 0.2, 0.1, 0.1]];
        let odd = vec![[0.2, 0.3, 0.1, 0.25], [0.9, 0.0, 0.05, 0.0], [0.1, 0.1, 0.6, 0.1]];
        let long = vec![[0.8, 0.1, 0.05, 0.01]; 6];
        let mut looked_at = 0;
        for rates in [falling, odd, long] {
            let best = Best::new(&rates, 6);
            for nodes in 0..=6 {
                let trees: Vec<Tree> = (0..=nodes).flat_map(|n| all(n, rates.len())).collect();
                looked_at += trees.len();
                let values = trees.iter().map(|tree| tree.expected(&rates));
                let most = values.fold(0.0, f64::max);
                assert!((best.expected(nodes) - most).abs() < 1e-12, "{nodes}: {most}");
                let tree = best.tree(nodes);
                assert!((tree.expected(&rates) - most).abs() < 1e-12);
                assert!(tree.nodes() <= nodes && tree.depth() <= rates.len());
            }
        }
        assert!(looked_at > 10_000, "{looked_at}");
    }

    #[test]
    fn a_tree_accepts_the_longest_path_of_right_tokens() {
        // The most likely token, two under it, and the second most likely one with one under it.
        let leaf = || Some(Tree::default());
        let under = Tree::of(vec![leaf(), None, leaf()]);
        let tree = Tree::of(vec![Some(under), Some(Tree::chain(1))]);
        assert_eq!((tree.nodes(), tree.depth(), tree.widths()), (5, 2, vec![2, 3]));
        for (ranks, accepted) in [
            (&[1, 1, 1][..], 2),
            (&[1, 2], 1),
            (&[1, 3], 2),
            (&[2, 1], 2),
            (&[2, 3], 1),
            (&[3, 1], 0),
            (&[0, 1], 0),
            (&[1], 1),
            (&[], 0),
        ] {
            assert_eq!(tree.accepted(ranks), accepted, "{ranks:?}");
        }
        // source: by hand: 0.6 (1 + 0.5 + 0.1) + 0.3 (1 + 0.5)
        let rates = [[0.6, 0.3, 0.0, 0.0], [0.5, 0.2, 0.1, 0.0]];
        assert!((tree.expected(&rates) - 1.41).abs() < 1e-12);
    }

    #[test]
    fn chains_are_trees_of_first_ranks() {
        let chain = Tree::chain(3);
        assert_eq!((chain.nodes(), chain.depth(), chain.widths()), (3, 3, vec![1, 1, 1]));
        assert_eq!(chain.accepted(&[1, 1, 2, 1]), 2);
        // source: Leviathan et al., eq. 1: 0.9 + 0.9 * 0.5 + 0.9 * 0.5 * 0.2
        let rates = [0.9, 0.5, 0.2].map(|rate| [rate, 0.0, 0.0, 0.0]);
        assert!((chain.expected(&rates) - 1.44).abs() < 1e-12);
        // Where only first ranks are ever right, the best tree is the chain.
        assert_eq!(Best::new(&rates, 3).tree(3), chain);
    }
}
