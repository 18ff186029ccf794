//! A tiny random model, what is asked of it, and who judges and watches: shared by the tests of
//! runs.

#![allow(dead_code, reason = "each test file uses a part")]

use s3d_data::{
    BlockPurpose, Draft, Drafting, Plan, Predictors, Run, RunDir, Seconds, SkipWindow,
    ThroughputSample,
};
use s3d_measure::{
    Clock, Error, Judge, JudgeResult, Plans, Progress, Prompt, Provenance, Request, Stage,
    Standing, Subject, SystemClock, Update, measure,
};
use s3d_model::{LoadOptions, Model, ModelConfig};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

/// A clock that goes on by four milliseconds whenever it is read.
#[derive(Default)]
pub struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Seconds {
        Seconds::MILLISECOND * 4.0 * self.0.fetch_add(1, Ordering::SeqCst) as f64
    }

    fn cpu(&self) -> Seconds {
        self.now()
    }
}

/// Two plans, one of them the best; never content.
pub struct Fixed;

impl Judge for Fixed {
    fn candidates(&mut self, run: &Run, wanted: usize) -> JudgeResult<Vec<Plan>> {
        assert!(!run.observations.traces.is_empty() && run.observations.throughput.is_empty());
        let plans = ["1..3:3", "seq:1..3:2"].map(str::parse);
        Ok(plans.into_iter().take(wanted).collect::<Result<_, _>>()?)
    }

    fn leading(&mut self, run: &Run, wanted: usize) -> JudgeResult<Vec<Plan>> {
        let explores = |s: &ThroughputSample| s.purpose() == BlockPurpose::Explore;
        assert!(run.observations.throughput.iter().all(explores));
        let plans = ["1..3:3", "1..3:2"].map(str::parse);
        Ok(plans.into_iter().take(wanted).collect::<Result<_, _>>()?)
    }

    fn undecided(&mut self, run: &Run) -> JudgeResult<Option<Vec<Draft>>> {
        assert!(!run.observations.latency.is_empty(), "asked after the passes were timed");
        let skip = SkipWindow::new(1, 3)?.into();
        Ok(Some(vec![Draft { drafting: Drafting::Simultaneous, skip }]))
    }

    fn together(&mut self, run: &Run, batch: usize) -> JudgeResult<Option<(Plan, f64)>> {
        assert!(run.observations.together.batches().contains(&batch), "its passes were timed");
        Ok(Some(("1..3:3".parse()?, 1.1)))
    }

    /// The half-width falls with the texts and with the blocks that confirm.
    fn standing(&mut self, run: &Run) -> JudgeResult<Standing> {
        let confirms = |s: &&ThroughputSample| s.purpose() == BlockPurpose::Confirm;
        let blocks = run.observations.throughput.iter().filter(confirms).count();
        let best: Plan = "1..3:3".parse()?;
        let draft = best.draft().map(s3d_data::DraftPlan::draft);
        let texts = run.observations.traces.iter().filter(|t| t.draft() == draft).count();
        let (from_texts, from_costs) = (1.0 / texts as f64, 0.1 / blocks as f64);
        let half_width = (blocks > 0).then(|| from_texts.hypot(from_costs));
        let standing = Standing { best: Some(best), ..Standing::default() };
        Ok(Standing { half_width, from_texts: half_width.map(|_| from_texts), ..standing })
    }
}

/// Stops after so many updates.
pub struct StopAfter(pub usize);

impl Progress for StopAfter {
    fn update(&mut self, update: Update<'_>) -> ControlFlow<()> {
        assert!((0.0..=1.0).contains(&update.fraction) && !update.what.is_empty());
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }
}

pub fn config() -> ModelConfig {
    ModelConfig {
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        head_dim: Some(8),
        vocab_size: 24,
        max_position_embeddings: 128,
        tie_word_embeddings: false, // a tied head makes random models repeat one token
        ..ModelConfig::story()
    }
}

#[expect(clippy::unwrap_used, reason = "a test")]
pub fn load(seed: u64, widen: usize) -> Model {
    let options = LoadOptions { widen, threads: 1, ..LoadOptions::default() };
    Model::random(&config(), seed, &options).unwrap()
}

pub fn request() -> Request {
    let prompt = |n: u32| Prompt {
        id: format!("p{n}"),
        task: Some(["story", "sum"][n as usize % 2].into()),
        tokens: (0..5 + n).map(|t| (7 * t + n) % 24).collect(),
    };
    let provenance = Provenance {
        command: vec!["s3d".into(), "run".into()],
        device: "cpu".into(),
        dtype: "f32".into(),
        widen: 2,
        ..Provenance::default()
    };
    Request {
        stages: Stage::ALL.into_iter().filter(|&stage| stage != Stage::Probe).collect(),
        plans: Plans::Judged(2),
        tokens: 20,
        positions: 60,
        gamma_max: Predictors::of::<4>(),
        context: 64,
        threads: 1,
        seed: 11,
        time_budget: Seconds(1.0),
        ..Request::whole_job(4, (0..8).map(prompt).collect(), provenance)
    }
}

pub struct Models {
    pub wide: Model,
    pub narrow: Model,
}

impl Models {
    pub fn new() -> Self {
        Self { wide: load(3, 2), narrow: load(3, 1) }
    }

    pub fn measure(
        &self,
        request: &Request,
        out: &RunDir,
        progress: &mut dyn Progress,
    ) -> Result<Run, Error> {
        self.measure_by(&SystemClock::default(), request, out, progress)
    }

    /// The same with a clock of the test's own.
    pub fn measure_by(
        &self,
        clock: &dyn Clock,
        request: &Request,
        out: &RunDir,
        progress: &mut dyn Progress,
    ) -> Result<Run, Error> {
        let subject = Subject { model: &self.wide, before_widening: &self.narrow };
        measure(subject, request, out, clock, &mut Fixed, progress).map(|outcome| outcome.run)
    }
}

/// Cuts the journal in the middle of its last line, as a kill would.
#[expect(clippy::unwrap_used, reason = "a test")]
pub fn tear_last_line(out: &RunDir) {
    let text = std::fs::read(out.journal()).unwrap();
    let keep = text.len().saturating_sub(7);
    std::fs::write(out.journal(), &text[..keep]).unwrap();
}
