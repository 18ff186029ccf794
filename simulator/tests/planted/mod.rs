//! Runs whose truth is known: acceptance from a planted curve, costs from a planted law, noise and
//! drift on top.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

pub mod markov;
pub mod monte_carlo;

use monte_carlo::Drawing;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_data::{
    Bytes, BytesPerSecond, Component, DraftPlan, Drafting, FlopsPerSecond, LatencySample, Machine,
    ModelIdentity, ModelShape, Observations, Plan, Predictors, Run, RunHeader, Seconds, SkipRatio,
    SkipWindow, ThroughputSample, Trace,
};
use s3d_simulator::statistics::Normals;
use s3d_simulator::traces::walk::walk;
use s3d_simulator::{AcceptanceCurve, AcceptanceRate};

/// What to plant.
#[derive(Debug, Clone)]
pub struct Planted {
    pub layers: usize,
    pub windows: Vec<SkipWindow>,
    pub draftings: Vec<Drafting>,
    pub gamma_max: usize,
    pub prompts: usize,
    pub positions: usize,
    pub blocks: usize,
    pub curve: AcceptanceCurve,
    /// How much prompts differ, as in `monte_carlo::Drawing`.
    pub spread: f64,
    /// Relative noise of a timed pass.
    pub noise: f64,
    /// Relative growth of a full pass with each token beyond the first.
    pub widening: f64,
    pub seed: u64,
}

/// Share of a pass that is paid whatever its depth.
const PASS_SHARE: f64 = 0.05;
const PLAIN_SECONDS: f64 = 4e-3;
const SECONDS_PER_CACHED: f64 = 1e-6;
const STEP_SECONDS: f64 = 4e-5;
pub const CONTEXT: usize = 128;

impl Planted {
    pub fn small(curve: AcceptanceCurve, seed: u64) -> Self {
        Self {
            layers: 12,
            windows: SkipWindow::all_symmetric(12),
            draftings: Drafting::ALL.to_vec(),
            gamma_max: 6,
            prompts: 30,
            positions: 128,
            blocks: 10,
            curve,
            spread: 0.5,
            noise: 0.03,
            widening: 0.05,
            seed,
        }
    }

    pub fn full_seconds(&self, width: usize, context: usize) -> f64 {
        PLAIN_SECONDS * (1.0 + self.widening * (width as f64 - 1.0))
            + SECONDS_PER_CACHED * context as f64
    }

    pub fn draft_pass_seconds(&self, window: SkipWindow, width: usize, context: usize) -> f64 {
        let kept = 1.0 - window.len() as f64 / self.layers as f64;
        self.full_seconds(width, context) * (PASS_SHARE + (1.0 - PASS_SHARE) * kept)
    }

    pub fn iteration_seconds(&self, plan: &DraftPlan, context: usize) -> f64 {
        let (gamma, window) = (plan.predictors.get(), plan.skip.window().unwrap());
        let draft = match plan.drafting {
            Drafting::Simultaneous => self.draft_pass_seconds(window, gamma, context),
            Drafting::Sequential => {
                (0..gamma).map(|i| self.draft_pass_seconds(window, 1, context + i)).sum()
            }
        };
        draft + self.full_seconds(gamma + 1, context) + STEP_SECONDS
    }

    /// Planted acceptance of all predictors: each a little below the one before.
    pub fn rates(&self, window: SkipWindow, gamma: usize) -> Vec<AcceptanceRate> {
        let ratio = SkipRatio::new(window.len() as f64 / self.layers as f64).unwrap();
        let one = self.curve.rate(ratio).get();
        let falling = (0..gamma).map(|i| one * (1.0 - 0.02 * i as f64));
        AcceptanceRate::all(&falling.collect::<Vec<f64>>()).unwrap()
    }

    pub fn traces(&self) -> Vec<Trace> {
        let mut all = Vec::new();
        for (d, &drafting) in self.draftings.iter().enumerate() {
            for (w, window) in self.windows.iter().enumerate() {
                let drawing = Drawing {
                    rates: self.rates(*window, self.gamma_max),
                    length: self.positions,
                    texts: self.prompts,
                    spread: self.spread,
                    seed: self.seed * 1_000_003 + (d * 10_007 + w) as u64,
                };
                all.extend(drawing.traces().into_iter().map(|trace| Trace {
                    drafting: Some(drafting),
                    skip_start: Some(window.start()),
                    skip_end: Some(window.end()),
                    ..trace
                }));
            }
        }
        all
    }

    pub fn plans(&self) -> Vec<DraftPlan> {
        let mut plans = Vec::new();
        for &drafting in &self.draftings {
            for &window in &self.windows {
                for gamma in 1..=self.gamma_max {
                    let predictors = Predictors::new(gamma).unwrap();
                    plans.push(DraftPlan { drafting, skip: window.into(), predictors });
                }
            }
        }
        plans
    }

    /// Passes of every plan, in blocks of their own drift.
    pub fn latency(&self) -> Vec<LatencySample> {
        let mut noise = Normals::new(self.seed, 77);
        let mut rows = Vec::new();
        for block in 0..self.blocks {
            let drift = 1.0 + 0.02 * block as f64;
            let mut push = |component, plan: Option<&DraftPlan>, width, context, seconds: f64| {
                let order = rows.len();
                let seconds = seconds * drift * (self.noise * noise.next().unwrap()).exp();
                let plan = plan.cloned().map_or(Plan::Plain, Plan::Speculate);
                rows.push(LatencySample {
                    machine: 0,
                    component,
                    layer: None,
                    plan: Some(plan),
                    width,
                    context,
                    block,
                    order,
                    copy: 0,
                    seconds: Seconds(seconds),
                    cpu_seconds: None,
                    batch: 1,
                });
            };
            for context in [CONTEXT - 64, CONTEXT - 20, CONTEXT + 40] {
                for _ in 0..4 {
                    push(Component::FullPass, None, 1, context, self.full_seconds(1, context));
                }
            }
            for plan in self.plans() {
                let (gamma, window) = (plan.predictors.get(), plan.skip.window().unwrap());
                let width = if plan.drafting == Drafting::Simultaneous { gamma } else { 1 };
                let context = CONTEXT - 30 + 7 * (block % 9);
                let seconds = self.draft_pass_seconds(window, width, context);
                push(Component::DraftPass, Some(&plan), width, context, seconds);
                let seconds = self.full_seconds(gamma + 1, context);
                push(Component::VerifyPass, Some(&plan), gamma + 1, context, seconds);
            }
        }
        rows
    }

    /// Passes as a busy schedule times them: every number of predictors at every context once a
    /// block, five windows taking turns, a burst now and then.
    pub fn latency_in_turns(&self, contexts: &[usize]) -> Vec<LatencySample> {
        let mut noise = Normals::new(self.seed, 78);
        let mut rows: Vec<LatencySample> = Vec::new();
        let windows: Vec<SkipWindow> =
            (1..=5).map(|i| self.windows[i * self.windows.len() / 6]).collect();
        for block in 0..self.blocks {
            let drift = 1.0 + 0.02 * block as f64;
            let mut push = |component, plan: Plan, width, context, seconds: f64| {
                let order = rows.len();
                let burst = if order % 37 == 5 { 1.8 } else { 1.0 };
                let seconds = seconds * drift * burst * (self.noise * noise.next().unwrap()).exp();
                let (machine, layer, copy, plan) = (0, None, 0, Some(plan));
                rows.push(LatencySample {
                    machine,
                    component,
                    layer,
                    plan,
                    width,
                    context,
                    block,
                    order,
                    copy,
                    seconds: Seconds(seconds),
                    cpu_seconds: None,
                    batch: 1,
                });
            };
            for (place, &context) in contexts.iter().enumerate() {
                push(Component::FullPass, Plan::Plain, 1, context, self.full_seconds(1, context));
                push(Component::FullPass, Plan::Plain, 1, context, self.full_seconds(1, context));
                for gamma in 1..=self.gamma_max + 1 {
                    let sequential = gamma > self.gamma_max;
                    let (gamma, passes) = if sequential { (4, 4) } else { (gamma, 1) };
                    let window = windows[(place * 9 + gamma + block / 2) % 5];
                    let drafting = Drafting::ALL[usize::from(sequential)];
                    let predictors = Predictors::new(gamma).unwrap();
                    let plan = Plan::window(drafting, window, predictors);
                    for pass in 0..passes {
                        let (width, at) = (if sequential { 1 } else { gamma }, context + pass);
                        let seconds = self.draft_pass_seconds(window, width, at);
                        push(Component::DraftPass, plan.clone(), width, at, seconds);
                    }
                    let seconds = self.full_seconds(gamma + 1, context);
                    push(Component::VerifyPass, plan, gamma + 1, context, seconds);
                }
            }
        }
        rows
    }

    /// End-to-end blocks of `plans` and plain decoding: of every prompt, or one prompt a block.
    pub fn throughput(
        &self,
        plans: &[DraftPlan],
        traces: &[Trace],
        blocks: std::ops::Range<usize>,
        one_prompt: bool,
    ) -> Vec<ThroughputSample> {
        let meant = |trace: &Trace, block: usize| {
            !one_prompt || trace.id == format!("text-{}", block % self.prompts)
        };
        let mut source = ChaCha8Rng::seed_from_u64(self.seed ^ 0xb10c);
        let mut rows = Vec::new();
        let mut noisy = |seconds: f64| seconds * (1.0 + 0.02 * source.random_range(-1.0..1.0));
        for block in blocks {
            let drift = 1.0 + 0.02 * block as f64;
            let mut push =
                |plan: Plan, trace: &Trace, iterations: usize, draft: f64, verify: f64| {
                    let mut noisy = |seconds| Seconds(noisy(seconds));
                    let (draft, verify) = (noisy(draft * drift), noisy(verify * drift));
                    let prompt_seconds = noisy(0.05 * drift);
                    let step = Seconds(STEP_SECONDS * drift * iterations as f64);
                    rows.push(ThroughputSample {
                        machine: 0,
                        block,
                        order: rows.len(),
                        copy: 0,
                        plan,
                        id: trace.id.clone(),
                        tokens: trace.tokens(),
                        iterations,
                        prompt_seconds,
                        draft_seconds: draft,
                        verify_seconds: verify,
                        seconds: prompt_seconds + draft + verify + step,
                        cpu_seconds: None,
                        start: 0,
                        batch: 1,
                    });
                };
            for trace in traces.iter().take(self.prompts).filter(|trace| meant(trace, block)) {
                let steps = trace.tokens() - 1;
                push(Plan::Plain, trace, steps, 0.0, steps as f64 * self.full_seconds(1, CONTEXT));
            }
            for plan in plans {
                let (gamma, window) = (plan.predictors.get(), plan.skip.window().unwrap());
                let own = traces.iter().filter(|trace| {
                    trace.drafting == Some(plan.drafting)
                        && trace.window() == Some(window)
                        && meant(trace, block)
                });
                for trace in own {
                    let iterations = walk(&trace.accepted, gamma).iterations as f64;
                    let verify = self.full_seconds(gamma + 1, CONTEXT);
                    let draft = self.iteration_seconds(plan, CONTEXT) - verify - STEP_SECONDS;
                    push(
                        Plan::Speculate(plan.clone()),
                        trace,
                        iterations as usize,
                        iterations * draft,
                        iterations * verify,
                    );
                }
            }
        }
        rows
    }

    pub fn run(&self) -> Run {
        let observations = Observations {
            latency: self.latency(),
            traces: self.traces(),
            ..Observations::default()
        };
        Run { header: self.header(), observations }
    }

    pub fn header(&self) -> RunHeader {
        let shape = ModelShape {
            layers: self.layers,
            hidden: 256,
            intermediate: 768,
            heads: 8,
            kv_heads: 4,
            head_dim: 32,
            vocab: 512,
            tied: true,
            masks: self.gamma_max - 1,
            adapter_rank: 0,
            draft_vocab: 0,
        };
        let model = ModelIdentity::named("planted", shape);
        RunHeader {
            program_version: "test".into(),
            device: "cpu".into(),
            threads: 1,
            dtype: "f32".into(),
            gamma_max: Predictors::new(self.gamma_max).unwrap(),
            context: CONTEXT,
            seed: self.seed,
            seconds_measuring: Seconds(1.0),
            ..RunHeader::new(machine(), model)
        }
    }
}

fn machine() -> Machine {
    Machine {
        cores: 1,
        read_bytes_per_s: Some(BytesPerSecond(2e10)),
        flops_per_s: Some(FlopsPerSecond(5e10)),
        ..Machine::named("test", Bytes(0))
    }
}
