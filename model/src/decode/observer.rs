//! What the engine tells while it works. The engine knows no time: an observer may read a clock.

/// A component of a pass has just ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A pass begins.
    PassStart,
    /// The rows are looked up.
    Embed,
    /// The attention sub-layer of this layer, its norm and residual included.
    Attention(usize),
    /// The MLP sub-layer of this layer, its norm and residual included.
    Mlp(usize),
    /// The last norm and the head.
    Head,
}

/// A part of a decoding step has just ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The prompt pass, the choice of its token included.
    PromptDone,
    /// All draft passes of the step.
    DraftDone,
    /// The full-depth pass of the step: verification, or the one pass of a plain step.
    VerifyDone,
    /// The bookkeeping after it.
    StepDone,
}

/// Someone who watches passes and steps.
pub trait Observer {
    /// Called at the end of every component of a pass.
    fn mark(&mut self, mark: Mark) {
        let _ = mark;
    }

    /// Called at the end of every part of a step.
    fn event(&mut self, event: Event) {
        let _ = event;
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
