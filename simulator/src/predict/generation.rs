//! One generation of a traced prompt, as an end-to-end block holds it.

/// One generation of a traced prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// Place of the prompt in the trace table.
    pub prompt: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: f64,
    /// Tokens after the first.
    pub tokens: f64,
    /// Iterations that it took.
    pub iterations: f64,
}
