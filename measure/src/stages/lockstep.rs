//! Plans for several texts against plain decoding of as many, end to end: blocks in lockstep.
//!
//! A block decodes the same texts twice, plainly and by the plan. The number of texts at once never
//! falls: a text that ends is replaced, in the end by one that is not counted. So every pass has
//! the rows of a full batch, and the texts that are counted are decoded whole. Each counted text
//! bears its part of every pass that it is in; prompts are read in passes of their own, which are
//! not part of the speed.

use crate::bench::{Bench, run_before};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::pass_watch::Stopwatch;
use crate::request::Prompt;
use crate::robust::median;
use crate::stages::afford::SHORTEST_TEXT;
use crate::stages::lossless::mismatch;
use crate::stages::reference::first_difference;
use crate::stages::throughput::fresh_prompts;
use s3d_data::{BlockPurpose, Component, Observation, Plan, Run, Seconds, ThroughputSample};
use s3d_model::{Lockstep, Model, Order, Sampling, Written, decode_together, loop_cut};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Numbers of texts that are confirmed whatever the time; the others while it lasts.
const AT_LEAST: usize = 3;
/// Rounds of blocks that there are in any case, and that texts are shortened for.
const ROUNDS: [usize; 2] = [2, 5];
/// Rounds after which nothing gets narrower.
const AT_MOST: usize = 64;
/// Texts of a block, at least.
const TEXTS: usize = 4;
/// Texts whose plain continuation is found at once.
const REFERENCES: usize = 16;

/// Stage: for every number of texts the plan that is best there, beside plain decoding.
pub(crate) fn confirm(bench: &mut Bench<'_>) -> Result<()> {
    let plans = plans(bench)?;
    if plans.is_empty() {
        return Ok(());
    }
    let left = (bench.deadline - bench.clock.now()).max(Seconds::ZERO);
    let tokens = affordable_tokens(&bench.recorder.run, &plans, left, bench.request.tokens);
    let mut texts = Texts { places: fresh_prompts(bench), tokens, known: HashMap::new() };
    let seen = &bench.recorder.run.observations.together.throughput;
    let first = seen.iter().map(|sample| sample.block + 1).max().unwrap_or(0);
    for round in first..first.saturating_add(AT_MOST) {
        for (place, (batch, plan)) in plans.iter().enumerate() {
            let needed = round - first < ROUNDS[0] && place < AT_LEAST;
            if needed || bench.clock.now() < bench.deadline {
                block(bench, (*batch, plan), round, &mut texts)?;
            }
        }
        if round + 1 - first >= ROUNDS[0] && bench.clock.now() >= bench.deadline {
            break;
        }
    }
    Ok(())
}

/// The best plan for each number of texts; the fewest, the most and the middle number come first.
fn plans(bench: &mut Bench<'_>) -> Result<Vec<(usize, Plan)>> {
    let run = run_before(&bench.recorder.run, BlockPurpose::Confirm.blocks().start).into_owned();
    let mut plans = Vec::new();
    for &batch in &bench.request.batches {
        let best = bench.judge.together(&run, batch).map_err(Error::Judge)?;
        plans.extend(best.map(|(plan, _)| (batch, plan)));
    }
    let last = plans.len().saturating_sub(1);
    let mut order: Vec<usize> = [0, last, last / 2].into_iter().chain(0..plans.len()).collect();
    let mut taken = std::collections::HashSet::new();
    order.retain(|place| *place < plans.len() && taken.insert(*place));
    Ok(order.into_iter().map(|place| plans[place].clone()).collect())
}

/// Texts of a block of `batch` texts at once.
fn texts_of(batch: usize) -> usize {
    batch.max(TEXTS)
}

/// Output tokens so that the wanted rounds fit the time `left`.
fn affordable_tokens(run: &Run, plans: &[(usize, Plan)], left: Seconds, most: usize) -> usize {
    let step =
        |batch: usize| {
            let plain =
                run.observations.together.latency.iter().filter(|sample| {
                    sample.batch == batch && sample.component == Component::FullPass
                });
            median(&plain.map(|sample| sample.seconds.0).collect::<Vec<_>>())
        };
    // A block decodes plainly and by the plan; the texts' plain continuations are found before.
    let of =
        |&(batch, _): &(usize, Plan)| 3.0 * step(batch) * texts_of(batch) as f64 / batch as f64;
    let each: f64 = plans.iter().map(of).sum::<f64>() * ROUNDS[1] as f64;
    let fitting = left.0 / each.max(1e-9);
    (fitting as usize).clamp(SHORTEST_TEXT.min(most), most)
}

/// One block: the same texts plainly and by the plan, the order turning from round to round.
fn block(
    bench: &mut Bench<'_>,
    (batch, plan): (usize, &Plan),
    round: usize,
    texts: &mut Texts,
) -> Result<()> {
    bench.tell(&format!("{plan} and plain, {batch} texts at once, block {}", round + 1))?;
    let texts = texts.next(bench, round, texts_of(batch))?;
    let mut pair = [Plan::Plain, plan.clone()];
    if round % 2 == 1 {
        pair.reverse();
    }
    let mut rows = Vec::new();
    for (order, plan) in pair.iter().enumerate() {
        let timed = decode(bench.subject.model, bench.clock, (plan, batch), &texts)?;
        for (text, output) in texts.iter().zip(&timed.outputs) {
            if let Some(position) = first_difference(&text.plain, output) {
                return Err(mismatch(plan, text.prompt, position, &text.plain, output));
            }
        }
        rows.push(Observation::Throughput(timed.sample(plan, batch, (round, order), &texts)));
    }
    bench.recorder.append(rows)
}

/// A text to decode, and what it must become.
struct Text<'r> {
    prompt: &'r Prompt,
    plain: Vec<u32>,
}

/// The prompts, and their plain continuations as far as they are known.
struct Texts {
    places: Vec<usize>,
    tokens: usize,
    known: HashMap<usize, Vec<u32>>,
}

impl Texts {
    /// The texts of a round: `count` of them, one prompt after the other.
    fn next<'r>(&mut self, bench: &Bench<'r>, round: usize, count: usize) -> Result<Vec<Text<'r>>> {
        let places: Vec<usize> =
            (0..count).map(|i| self.places[(round * count + i) % self.places.len()]).collect();
        let unknown: Vec<usize> =
            places.iter().copied().filter(|place| !self.known.contains_key(place)).collect();
        self.find(bench, &unknown)?;
        let request = bench.request;
        let text = |place: usize| {
            let plain = self.known.get(&place).cloned().unwrap_or_default();
            Text { prompt: &request.prompts[place], plain }
        };
        Ok(places.into_iter().map(text).collect())
    }

    /// Plain continuations, cut where they run into a loop, in which drafts are too easy.
    fn find(&mut self, bench: &Bench<'_>, places: &[usize]) -> Result<()> {
        let (model, request, tokens) = (bench.subject.model, bench.request, self.tokens);
        let orders: Vec<Order> = places
            .iter()
            .map(|&place| order(&request.prompts[place], tokens))
            .collect::<Result<_>>()?;
        let mut found = Vec::new();
        let orders = orders.into_iter().map(Ok);
        decode_together(model, &Plan::Plain, orders, REFERENCES, &mut |number, output| {
            found.push((places[number], output));
            Ok(ControlFlow::Continue(()))
        })?;
        for (place, mut output) in found {
            let whole = loop_cut(&output, model.tokenizer())?;
            output.truncate(whole.max(1));
            self.known.insert(place, output);
        }
        Ok(())
    }
}

fn order(prompt: &Prompt, tokens: usize) -> Result<Order> {
    Ok(Order { prompt: prompt.tokens.clone(), tokens, sampling: Sampling::new(0.0, 0)? })
}

/// A block of texts that were decoded in lockstep.
#[derive(Debug, Default)]
struct Timed {
    outputs: Vec<Vec<u32>>,
    iterations: usize,
    prompt: Seconds,
    draft: Seconds,
    verify: Seconds,
    /// The counted texts' part of all iterations.
    decode: Seconds,
    cpu: Seconds,
    /// Counted texts that are not complete.
    open: usize,
}

impl Timed {
    fn take(&mut self, ended: Vec<Written>) {
        for text in ended {
            if let Some(output) = self.outputs.get_mut(text.number) {
                *output = text.output;
                self.iterations += text.iterations;
                self.open -= 1;
            }
        }
    }

    fn sample(
        &self,
        plan: &Plan,
        batch: usize,
        (block, order): (usize, usize),
        texts: &[Text<'_>],
    ) -> ThroughputSample {
        ThroughputSample {
            machine: 0,
            block,
            order,
            copy: 0,
            plan: plan.clone(),
            id: texts.first().map_or_else(String::new, |text| text.prompt.id.clone()),
            tokens: self.outputs.iter().map(Vec::len).sum(),
            iterations: self.iterations,
            prompt_seconds: self.prompt,
            draft_seconds: self.draft,
            verify_seconds: self.verify,
            seconds: self.prompt + self.decode,
            cpu_seconds: Some(self.cpu),
            batch,
            start: 0,
        }
    }
}

/// Decodes `texts`, always `batch` at once.
fn decode(
    model: &Model,
    clock: &dyn Clock,
    (plan, batch): (&Plan, usize),
    texts: &[Text<'_>],
) -> Result<Timed> {
    let count = texts.len();
    let mut timed = Timed { outputs: vec![Vec::new(); count], open: count, ..Timed::default() };
    let mut lockstep = Lockstep::new(model, plan)?;
    let cpu = clock.cpu();
    let mut entered = 0;
    loop {
        while lockstep.len() < batch {
            let text = &texts[entered % count];
            lockstep.enter(entered, order(text.prompt, text.plain.len())?)?;
            entered += 1;
        }
        let mut watch = Stopwatch::new(clock);
        timed.take(lockstep.read_prompts(&mut watch)?);
        timed.prompt += watch.prompt;
        if timed.open == 0 {
            break;
        }
        if lockstep.len() < batch {
            continue;
        }
        let waiting = count.saturating_sub(entered);
        let share = (timed.open - waiting) as f64 / batch as f64;
        let mut watch = Stopwatch::new(clock);
        let ended = lockstep.step(&mut watch)?;
        timed.decode += (clock.now() - watch.begin) * share;
        timed.draft += watch.draft * share;
        timed.verify += watch.verify * share;
        timed.take(ended);
        if timed.open == 0 {
            break;
        }
    }
    timed.cpu = clock.cpu() - cpu;
    Ok(timed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::fake::{FakeClock, Faults};
    use s3d_model::{Generation, Limits, LoadOptions, ModelConfig, Silent};

    fn model() -> Model {
        let config = ModelConfig {
            hidden_size: 32,
            intermediate_size: 48,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            head_dim: Some(8),
            vocab_size: 24,
            max_position_embeddings: 128,
            tie_word_embeddings: false,
            ..ModelConfig::story()
        };
        Model::random(&config, 3, &LoadOptions::default()).unwrap()
    }

    /// source: each text decoded alone, by `Generation`.
    #[test]
    fn a_block_holds_the_texts_and_iterations_of_each_text_alone() {
        let (model, clock) = (model(), FakeClock::new(Faults::default(), 0));
        let prompts: Vec<Prompt> = (0..5)
            .map(|n: u32| Prompt {
                id: format!("p{n}"),
                task: None,
                tokens: (0..3 + n).map(|t| (7 * t + n) % 24).collect(),
            })
            .collect();
        let alone = |plan: &Plan, prompt: &Prompt, tokens| {
            let (limits, mut silent) = (Limits::tokens(tokens), Silent);
            let steps = Generation::new(&model, &prompt.tokens, plan, limits, &mut silent).unwrap();
            let steps: Vec<_> = steps.map(|step| step.unwrap()).collect();
            let count = steps.len() - 1;
            (steps.into_iter().flat_map(|step| step.tokens).collect::<Vec<u32>>(), count)
        };
        let text = |(n, prompt)| Text { prompt, plain: alone(&Plan::Plain, prompt, 6 + 2 * n).0 };
        let texts: Vec<Text<'_>> = prompts.iter().enumerate().map(text).collect();
        for plan in ["plain", "1..3:3", "seq:1..3:2"].map(|plan| plan.parse().unwrap()) {
            for batch in [2, 5, 7] {
                let timed = decode(&model, &clock, (&plan, batch), &texts).unwrap();
                let plain: Vec<Vec<u32>> = texts.iter().map(|text| text.plain.clone()).collect();
                assert_eq!(timed.outputs, plain, "{plan}, {batch}");
                let iterations = |text: &Text<'_>| alone(&plan, text.prompt, text.plain.len()).1;
                let wanted: usize = texts.iter().map(iterations).sum();
                assert_eq!(timed.iterations, wanted, "{plan}, {batch}");
                let row = timed.sample(&plan, batch, (0, 0), &texts);
                assert_eq!((row.tokens, row.batch), (plain.concat().len(), batch));
            }
        }
    }

    #[test]
    fn texts_are_shortened_so_that_rounds_fit_the_time() {
        let sample = |batch, seconds| s3d_data::LatencySample {
            machine: 0,
            component: Component::FullPass,
            layer: None,
            plan: Some(Plan::Plain),
            width: 1,
            context: 9,
            block: 0,
            order: 0,
            copy: 0,
            seconds: Seconds(seconds),
            cpu_seconds: None,
            batch,
        };
        let header = s3d_data::RunHeader::new(crate::machine::describe(), model().identity());
        let mut run = Run { header, observations: s3d_data::Observations::default() };
        run.observations.together.latency = vec![sample(2, 0.01), sample(8, 0.02)];
        let plans = [2, 8].map(|batch| (batch, Plan::Plain));
        // source: by hand: 5 rounds of 3 (0.01 * 4/2 + 0.02 * 8/8) = 0.6 s a token
        let tokens = |left| affordable_tokens(&run, &plans, Seconds(left), 128);
        assert_eq!([tokens(30.01), tokens(1e6), tokens(0.0)], [50, 128, SHORTEST_TEXT]);
    }
}
