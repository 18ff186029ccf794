//! `s3d generate`: decode with S3D, stream the text, print speed and speedup over plain decoding.

use crate::args::GenerateArgs;
use crate::load::{self, Loaded};
use crate::usage::{or_usage, usage};
use crate::{prompts, resolve, terminal};
use anyhow::Context;
use s3d_data::{Plan, Prompt, RunDir};
use s3d_measure::{Agreement, Clock, SystemClock};
use s3d_model::chat::Rendering;
use s3d_model::{DraftThreshold, Event, Generation, Limits, Observer, Sampling, Tokenizer};
use serde::Serialize;

/// Streams the text by the plan, then decodes the same plainly and compares.
pub fn generate(args: &GenerateArgs) -> anyhow::Result<()> {
    let sampling = resolve::sampling(&args.sampling)?;
    let threshold = or_usage("--draft-threshold", DraftThreshold::new(args.draft_threshold))?;
    let mut loaded = load::model(&args.model, args.tokens)?;
    let plan = plan(args, &loaded)?;
    let limits = Limits { stop_strings: args.stop.clone(), ..Limits::tokens(args.tokens) };
    let prompt = prompt(args, tokenizer(&loaded)?)?;
    if prompt.is_empty() {
        return Err(usage("--prompt: expected some text, found none"));
    }
    loaded.expect(prompt.len().saturating_add(args.tokens))?;
    let tokenizer = tokenizer(&loaded)?;
    let job = Job { loaded: &loaded, tokenizer, prompt, limits, sampling, threshold };
    job.warm_up()?;
    if !args.json && !args.chat {
        terminal::stream(&args.prompt)?;
    }
    let drafted = job.decode(&plan, !args.json)?;
    let plain = job.decode(&Plan::Plain, false)?;
    let model = &loaded.model;
    // Drawn tokens follow the same distribution, not the same text; stock decoding adds in another order.
    let agreement = match plan {
        Plan::Stock => Agreement::Same,
        _ if !sampling.is_greedy() => Agreement::Same,
        _ => s3d_measure::compare(model, &job.prompt, &plain.tokens, &drafted.tokens)?,
    };
    anyhow::ensure!(
        !matches!(agreement, Agreement::Different { .. }),
        "plan {plan} gave another text than plain decoding; please report the model and the prompt"
    );
    show(&Outcome::new(&job, &plan, &drafted, &plain), args.json)
}

fn tokenizer(loaded: &Loaded) -> anyhow::Result<&Tokenizer> {
    loaded.model.tokenizer().with_context(|| {
        format!(
            "{}: no tokenizer, which text needs; give one with --tokenizer FILE",
            loaded.source.name()
        )
    })
}

/// The tokens of the prompt, as it is or in the chat template.
fn prompt(args: &GenerateArgs, tokenizer: &Tokenizer) -> anyhow::Result<Vec<u32>> {
    if args.chat {
        prompts::template_of(tokenizer)?;
    }
    let rendering = Rendering { chat: args.chat, now: prompts::now(None)? };
    let prompt = Prompt { text: args.prompt.clone(), ..Prompt::default() };
    Ok(tokenizer.encode_prompt(&prompt, rendering)?)
}

/// The plan of the flags, of a run directory, or the one recorded with the model.
fn plan(args: &GenerateArgs, loaded: &Loaded) -> anyhow::Result<Plan> {
    let plan = match (&args.plan, &args.run) {
        (Some(text), _) => or_usage("--plan", text.parse())?,
        (None, Some(dir)) => chosen(&RunDir::new(dir))?,
        (None, None) => recorded(loaded)?,
    };
    resolve::fits(&plan, loaded.model.shape().layers)?;
    plan.draft().map_or(Ok(()), |draft| loaded.model.check_plan(draft))?;
    Ok(plan)
}

/// What a run chose: its plan, or plain decoding where it advises not to speculate.
fn chosen(dir: &RunDir) -> anyhow::Result<Plan> {
    let recommendation = dir.load_recommendation()?;
    match recommendation.choice {
        Some(choice) if recommendation.speculate => Ok(choice.plan),
        _ => Ok(Plan::Plain),
    }
}

fn recorded(loaded: &Loaded) -> anyhow::Result<Plan> {
    match loaded.model.config().s3d.as_ref().and_then(|s3d| s3d.plan.as_deref()) {
        Some(text) => Ok(text.parse()?),
        None => Err(usage(
            "--plan: expected a plan, since the model records none; try seq:4..8:3 (skip layers 4 to 7), or plain",
        )),
    }
}

/// One text to decode, however often.
struct Job<'a> {
    loaded: &'a Loaded,
    tokenizer: &'a Tokenizer,
    prompt: Vec<u32>,
    limits: Limits,
    sampling: Sampling,
    threshold: DraftThreshold,
}

/// A decoded text and its time, without the prompt pass.
struct Decoded {
    tokens: Vec<u32>,
    steps: usize,
    drafted: usize,
    seconds: f64,
}

impl Decoded {
    /// Tokens after the prompt pass for each of `count`; none where there is no such token.
    fn per(&self, count: f64) -> Option<f64> {
        let after_prompt = self.tokens.len().saturating_sub(1);
        (after_prompt > 0).then(|| after_prompt as f64 / count)
    }
}

/// Notes when the prompt pass ended: speed counts what comes after it.
struct PromptEnd<'a> {
    clock: &'a SystemClock,
    seconds: Option<f64>,
}

impl Observer for PromptEnd<'_> {
    fn event(&mut self, event: Event) {
        if event == Event::PromptDone {
            self.seconds = Some(self.clock.now().0);
        }
    }
}

impl Job<'_> {
    /// A few plain steps, so that the first timed pass finds memory mapped and threads awake.
    fn warm_up(&self) -> anyhow::Result<()> {
        let mut silent = s3d_model::Silent;
        let limits = Limits::tokens(8);
        Generation::new(&self.loaded.model, &self.prompt, &Plan::Plain, limits, &mut silent)?
            .finish()?;
        Ok(())
    }

    fn decode(&self, plan: &Plan, stream: bool) -> anyhow::Result<Decoded> {
        let clock = SystemClock::new(&self.loaded.options.device);
        let mut watch = PromptEnd { clock: &clock, seconds: None };
        let mut text = self.tokenizer.stream_after(&self.prompt);
        let (mut tokens, mut steps, mut drafted) = (Vec::new(), 0, 0);
        let generation = Generation::new(
            &self.loaded.model,
            &self.prompt,
            plan,
            self.limits.clone(),
            &mut watch,
        )?;
        for step in generation.sampling(self.sampling).ending_drafts(self.threshold) {
            let step = step?;
            if stream {
                terminal::stream(&text.push(&step.tokens)?)?;
            }
            tokens.extend(step.tokens);
            drafted += step.drafted;
            steps += 1;
        }
        let seconds = clock.now().0 - watch.seconds.unwrap_or(0.0);
        if stream {
            terminal::stream(&format!("{}\n", text.finish()?))?;
        }
        Ok(Decoded { tokens, steps: steps - 1, drafted, seconds })
    }
}

/// What is said of a generation. Times leave out the prompt pass and its token.
#[derive(Serialize)]
struct Outcome {
    plan: Plan,
    /// How tokens were drawn; null: the most likely ones.
    sampling: Option<Sampling>,
    draft_threshold: f64,
    tokens: usize,
    iterations: usize,
    tokens_per_iteration: Option<f64>,
    /// Drafts that were verified.
    drafts_per_iteration: Option<f64>,
    tokens_per_s: Option<f64>,
    plain_tokens_per_s: Option<f64>,
    /// Ratio of the two; drawn texts differ and each counts its own tokens.
    speedup: Option<f64>,
    /// Whether plain decoding gave the same tokens; null where tokens are drawn.
    same_text: Option<bool>,
    token_ids: Vec<u32>,
}

impl Outcome {
    fn new(job: &Job<'_>, plan: &Plan, drafted: &Decoded, plain: &Decoded) -> Self {
        let (rate, plain_rate) = (drafted.per(drafted.seconds), plain.per(plain.seconds));
        let sampling = (!job.sampling.is_greedy()).then_some(job.sampling);
        let steps = drafted.steps as f64;
        Self {
            plan: plan.clone(),
            sampling,
            draft_threshold: job.threshold.get(),
            tokens: drafted.tokens.len(),
            iterations: drafted.steps,
            tokens_per_iteration: drafted.per(steps),
            drafts_per_iteration: drafted.per(1.0).map(|_| drafted.drafted as f64 / steps),
            tokens_per_s: rate,
            plain_tokens_per_s: plain_rate,
            speedup: rate.zip(plain_rate).map(|(rate, plain)| rate / plain),
            same_text: sampling.is_none().then(|| drafted.tokens == plain.tokens),
            token_ids: drafted.tokens.clone(),
        }
    }

    /// How the text stands to that of plain decoding.
    fn text(&self) -> String {
        match (&self.sampling, self.same_text) {
            (Some(sampling), _) => format!(
                "{sampling}: another text than plain decoding draws, of the same distribution"
            ),
            (None, Some(true)) => "same text as plain decoding".into(),
            (None, _) => "another text than plain decoding, whose sums have another order".into(),
        }
    }
}

fn show(outcome: &Outcome, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return terminal::json(outcome);
    }
    let (Some(rate), Some(plain), Some(speedup), Some(tau)) = (
        outcome.tokens_per_s,
        outcome.plain_tokens_per_s,
        outcome.speedup,
        outcome.tokens_per_iteration,
    ) else {
        terminal::note("one token; too short to time");
        return Ok(());
    };
    terminal::note(&format!(
        "\nplan {}: {} tokens at {rate:.1} tokens/s, {speedup:.2} times plain decoding \
         ({plain:.1} tokens/s); {tau:.2} tokens per iteration; {}. \
         One text, timed once: 's3d run' gives intervals.",
        outcome.plan,
        outcome.tokens,
        outcome.text()
    ));
    Ok(())
}
