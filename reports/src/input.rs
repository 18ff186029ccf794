//! What a report is made from: records as they are, and numbers that `simulator` computed.
//!
//! Plain data; every list may be empty, and what depends on it is then left out of the page.

use s3d_data::{Estimate, Fit, MemoryRecord, Plan, Recommendation, RunHeader};
use s3d_simulator::PlanEvaluation;
use s3d_simulator::choose::by_context::PlanCurve;
use s3d_simulator::cost::memory::PlanMemory;
use s3d_simulator::cost::summary::{ComponentSeconds, FullPass, SharedPasses};
use s3d_simulator::predict::conditions::Condition;
use s3d_simulator::predict::held_out::HeldOutPlan;
use s3d_simulator::validate::waterfall::WaterfallStep;

/// All that a report shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportInput {
    /// How the run was made.
    pub header: RunHeader,
    /// The choice.
    pub recommendation: Recommendation,
    /// Curves and cost laws.
    pub fit: Option<Fit>,
    /// Every plan that was compared.
    pub grid: Vec<PlanEvaluation>,
    /// Plans measured but not used to fit.
    pub held_out: Vec<HeldOutPlan>,
    /// Time of a full pass by width, at the run's context.
    pub passes: Vec<FullPass>,
    /// The same of passes that several texts share, by number of texts.
    pub shared_passes: Vec<SharedPasses>,
    /// Time of each component, over all layers, at the run's context.
    pub components: Vec<ComponentSeconds>,
    /// From ideal to measured speedup of the choice.
    pub waterfall: Vec<WaterfallStep>,
    /// Share of the choice's iterations by number of accepted drafts, from none.
    pub accepted: Vec<Estimate>,
    /// Rows of `memory.csv`.
    pub memory: Vec<MemoryRecord>,
    /// Computed peak memory of plain decoding at the run's context, in bytes.
    pub plain_memory_bytes: Option<u64>,
    /// Plain decoding, the choice, and what is best somewhere, over the contexts asked about.
    pub curves: Vec<PlanCurve>,
    /// Memory of plain decoding, of the choice and of leading ties.
    pub plan_memory: Vec<PlanMemory>,
    /// The choice under other conditions, for the sliders of the page.
    pub what_if: Vec<Condition>,
}

impl ReportInput {
    /// A report of nothing but the choice.
    pub fn new(header: RunHeader, recommendation: Recommendation) -> Self {
        Self {
            header,
            recommendation,
            fit: None,
            grid: Vec::new(),
            held_out: Vec::new(),
            passes: Vec::new(),
            shared_passes: Vec::new(),
            components: Vec::new(),
            waterfall: Vec::new(),
            accepted: Vec::new(),
            memory: Vec::new(),
            plain_memory_bytes: None,
            curves: Vec::new(),
            plan_memory: Vec::new(),
            what_if: Vec::new(),
        }
    }

    /// Layers of the model.
    pub fn layers(&self) -> usize {
        self.header.model.shape.layers
    }

    /// The chosen plan, where there is one.
    pub fn chosen(&self) -> Option<&Plan> {
        self.recommendation.choice.as_ref().map(|choice| &choice.plan)
    }
}

/// A run with the name it goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedRun {
    /// Such as its folder.
    pub name: String,
    /// The run.
    pub input: ReportInput,
}
