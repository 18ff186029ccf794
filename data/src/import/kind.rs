//! The forms of files that are read.

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `run.json`: no observation, but how a run was made.
    Header,
    /// An affine law of pass times.
    Law,
    /// Traces, one JSON object each.
    Traces,
    /// Traces, one position a row.
    Positions,
    /// Attempted and accepted drafts, as CSV.
    Counts,
    /// Attempted and accepted drafts, one JSON object a line.
    CountLines,
    /// Times of passes.
    Passes,
    /// `latency.csv` of a run.
    OwnLatency,
    /// `throughput.csv` of a run.
    OwnThroughput,
    /// `memory.csv` of a run.
    OwnMemory,
    /// `near_ties.csv` of a run.
    OwnNearTies,
    /// Pass times of llama.cpp's `llama-bench`.
    LlamaBench,
    /// Pass times of llama.cpp's `llama-batched-bench`.
    BatchedBench,
    /// Per-position acceptance in the log of vLLM.
    VllmLog,
    /// Per-position acceptance among the metrics of vLLM.
    VllmMetrics,
    /// Acceptance of single requests of vLLM.
    VllmRequests,
    /// Answers of Spec-Bench, EAGLE or SWIFT.
    AcceptLengths,
    /// Attempts of ik_llama.cpp's `llama-spec-bench`.
    IkSpecBench,
    /// SGLang's `bench_speculative`.
    SglangBench,
    /// LayerSkip's `sweep`.
    LayerSkipSweep,
}
