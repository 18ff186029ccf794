//! A clock and a device for tests: time passes only when something is "measured", and faults that
//! real machines show can be switched on.

use crate::clock::Clock;
use crate::clock::timer::Events;
use crate::error::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_data::Seconds;
use std::sync::Mutex;

/// What disturbs a fake clock. All zero: a perfect machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Spread of every measurement, as a fraction.
    pub(crate) noise: f64,
    /// Growth of all costs per second of run, as a fraction.
    pub(crate) drift_per_second: f64,
    /// Bursts of foreign work: share of the time they take (each 0.3 s long, everything 1.6 times
    /// as slow).
    pub(crate) bursts: f64,
    /// Share of measurements with a Pareto-distributed extra cost (a heavy tail: no variance).
    pub(crate) tails: f64,
    /// At this second everything becomes 1.4 times as slow, for good.
    pub(crate) step_at: Option<f64>,
    /// Spread of the speed of whole starts of a process (standard deviation of its logarithm).
    pub(crate) start: f64,
    /// Spread, from start to start, of what a single plan costs: each has a draw of its own.
    pub(crate) start_and_plan: f64,
}

#[derive(Debug)]
struct State {
    now: f64,
    random: ChaCha8Rng,
    burst_until: f64,
    next_burst: f64,
}

/// A clock that tests move.
#[derive(Debug)]
pub(crate) struct FakeClock {
    faults: Faults,
    seed: u64,
    state: Mutex<State>,
}

const BURST_SECONDS: f64 = 0.3;

impl FakeClock {
    /// A clock at zero with `faults`.
    pub(crate) fn new(faults: Faults, seed: u64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        let state = State { now: 0.0, random, burst_until: 0.0, next_burst: 0.0 };
        Self { faults, seed, state: Mutex::new(state) }
    }

    /// Something that costs `seconds` on a quiet machine happens; returns what it cost here.
    pub(crate) fn spend(&self, seconds: f64) -> f64 {
        let mut state = self.state.lock().unwrap();
        let cost = seconds * self.faults.slowdown(&mut state);
        state.now += cost;
        cost
    }

    /// As [`Self::spend`], by plan number `plan` in the start with this number: both are faster or
    /// slower than others, for as long as the world lasts.
    pub(crate) fn spend_in(&self, start: usize, plan: usize, seconds: f64) -> f64 {
        let of_start = self.faults.start * self.normal(start, usize::MAX);
        let of_plan = self.faults.start_and_plan * self.normal(start, plan);
        self.spend(seconds * (of_start + of_plan).exp())
    }

    /// A normal number that belongs to a start and a plan (Box, Muller 1958).
    fn normal(&self, start: usize, plan: usize) -> f64 {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ 0x57a7);
        random.set_stream((start as u64) << 32 ^ plan as u64);
        let [radius, angle] = [(); 2].map(|()| random.random_range(f64::MIN_POSITIVE..1.0));
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

impl Faults {
    fn slowdown(&self, state: &mut State) -> f64 {
        let noise = (state.random.random_range(-1.0..1.0f64) * self.noise).exp();
        let drift = 1.0 + self.drift_per_second * state.now;
        let step = if self.step_at.is_some_and(|at| state.now >= at) { 1.4 } else { 1.0 };
        noise * drift * step * self.burst(state) * self.tail(state)
    }

    fn burst(&self, state: &mut State) -> f64 {
        if self.bursts == 0.0 {
            return 1.0;
        }
        if state.now >= state.next_burst {
            let quiet = BURST_SECONDS * (1.0 / self.bursts - 1.0);
            state.burst_until = state.next_burst + BURST_SECONDS;
            state.next_burst += BURST_SECONDS + quiet * state.random.random_range(0.5..1.5);
        }
        if state.now < state.burst_until { 1.6 } else { 1.0 }
    }

    fn tail(&self, state: &mut State) -> f64 {
        if state.random.random_range(0.0..1.0) >= self.tails {
            return 1.0;
        }
        // Pareto with exponent 1.5: finite mean, infinite variance; capped so that a run ends.
        let uniform: f64 = state.random.random_range(0.0001..1.0);
        uniform.powf(-1.0 / 1.5).min(50.0)
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Seconds {
        Seconds(self.state.lock().unwrap().now)
    }

    fn cpu(&self) -> Seconds {
        self.now()
    }
}

/// A device that works off its stream only when it is waited for, and notes what is asked of it.
#[derive(Debug, Default)]
pub(crate) struct FakeEvents {
    state: Mutex<Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    now: f64,
    waiting: Vec<Work>,
    /// When the device passed each event, since it was recorded last.
    passed: Vec<Option<f64>>,
    calls: Vec<&'static str>,
}

#[derive(Debug)]
enum Work {
    Kernel(f64),
    Event(usize),
}

impl FakeEvents {
    /// Gives the device work of `seconds`.
    pub(crate) fn launch(&self, seconds: f64) {
        self.state.lock().unwrap().waiting.push(Work::Kernel(seconds));
    }

    /// What was asked of the device so far, in words.
    pub(crate) fn calls(&self) -> String {
        self.state.lock().unwrap().calls.join(" ")
    }
}

impl Events for &FakeEvents {
    type Event = usize;

    fn make(&self) -> Result<usize> {
        let mut state = self.state.lock().unwrap();
        state.calls.push("make");
        state.passed.push(None);
        Ok(state.passed.len() - 1)
    }

    fn record(&self, event: &usize) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        state.calls.push("record");
        state.passed[*event] = None;
        state.waiting.push(Work::Event(*event));
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        state.calls.push("wait");
        for work in std::mem::take(&mut state.waiting) {
            match work {
                Work::Kernel(seconds) => state.now += seconds,
                Work::Event(event) => state.passed[event] = Some(state.now),
            }
        }
        Ok(())
    }

    fn elapsed(&self, from: &usize, to: &usize) -> Result<Seconds> {
        let mut state = self.state.lock().unwrap();
        state.calls.push("elapsed");
        match (state.passed[*from], state.passed[*to]) {
            (Some(from), Some(to)) => Ok(Seconds(to - from)),
            _ => Err(Error::invalid("an event was read before the device had passed it")),
        }
    }
}
