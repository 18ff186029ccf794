//! How many tokens to draft next: asked before each iteration, told what became of the drafts.

/// Decides how many tokens each iteration drafts. Greedy text does not depend on what it answers;
/// drawn text keeps its distribution, since it is asked before anything of the iteration is drawn.
pub trait DraftPolicy {
    /// Tokens that the next iteration drafts; 0 is a plain step. The plan's number is the most.
    fn drafts(&mut self) -> usize;

    /// Of `drafted` tokens that were verified `accepted` were right; 0 and 0 after a plain step.
    fn told(&mut self, drafted: usize, accepted: usize);
}
