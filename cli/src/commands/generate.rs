//! `s3d generate`: decode with S3D, stream the text, print speed and, compared with plain decoding,
//! speedup.

mod concluded_run;

use crate::args::GenerateArgs;
use crate::commands::generate::concluded_run::ConcludedRun;
use crate::shared::adaptive::{self, AutoPlan};
use crate::shared::decode::{Decision, Decoded, TextToDecode};
use crate::shared::load::{self, Loaded};
use crate::shared::usage::{or_usage, usage};
use crate::shared::{prompts, resolve, terminal};
use anyhow::Context;
use s3d_data::prompt::load_text;
use s3d_data::{Plan, Prompt, finite};
use s3d_measure::Agreement;
use s3d_model::chat::Rendering;
use s3d_model::{DraftThreshold, Limits, Model, Sampling, Tokenizer};
use serde::Serialize;
use std::path::Path;

/// Streams the text by the plan; where that is asked for, decodes the same plainly and compares.
pub fn generate(args: &GenerateArgs) -> anyhow::Result<()> {
    let sampling = resolve::sampling(&args.sampling)?;
    let threshold = or_usage("--draft-threshold", DraftThreshold::new(args.draft_threshold))?;
    let text = text(args)?;
    let auto = args.plan.as_deref().map(adaptive::folder).transpose()?.flatten();
    let run = run_of(args, auto)?;
    let auto = auto.map(AutoPlan::load).transpose()?;
    let mut loaded = loaded(args, run.as_ref())?;
    let plan = plan(args, auto.as_ref(), run.as_ref(), &loaded.model)?;
    let limits = Limits { stop_strings: args.stop.clone(), ..Limits::tokens(args.tokens) };
    let prompt = tokens(args, &text, tokenizer(&loaded)?)?;
    loaded.expect(prompt.len().saturating_add(args.tokens))?;
    let tokenizer = tokenizer(&loaded)?;
    let job = TextToDecode { loaded: &loaded, tokenizer, prompt, limits, sampling, threshold };
    job.warm_up()?;
    if !args.json && !args.chat {
        terminal::stream(&text)?;
    }
    let drafted = job.decode(&plan, auto.as_ref().map(AutoPlan::policy), !args.json)?;
    let plain = match compares(args, &plan) {
        true => Some(compared(&job, &plan, &drafted)?),
        false => None,
    };
    let text = job.text(&drafted.tokens)?;
    let outcome = Outcome::new(&job, &plan, &drafted, plain.as_ref(), text);
    show(&outcome.adapted(auto.is_some(), &drafted), args.json)
}

/// The run directory of `--run`, or that of `--plan auto:DIR`.
fn run_of(args: &GenerateArgs, auto: Option<&Path>) -> anyhow::Result<Option<ConcludedRun>> {
    let run = args.run.as_deref().map(|folder| ConcludedRun::load("--run ", folder));
    let auto = auto.map(|folder| ConcludedRun::load("--plan auto:", folder));
    run.or(auto).transpose()
}

/// The model of the flags, or of a run directory.
fn loaded(args: &GenerateArgs, run: Option<&ConcludedRun>) -> anyhow::Result<Loaded> {
    let Some(run) = run else { return load::model(&args.model, args.tokens) };
    let loaded = load::model(&run.model(&args.model)?, args.tokens)?;
    run.check(&loaded.model)?;
    Ok(loaded)
}

fn tokenizer(loaded: &Loaded) -> anyhow::Result<&Tokenizer> {
    loaded.model.tokenizer().with_context(|| {
        format!(
            "{}: no tokenizer, which text needs; give one with --tokenizer FILE",
            loaded.source.name()
        )
    })
}

/// The text of `--prompt` or of `--prompt-file`.
fn text(args: &GenerateArgs) -> anyhow::Result<String> {
    let text = match &args.prompt_file {
        Some(file) => load_text(file).context("--prompt-file")?,
        None => args.prompt.clone().unwrap_or_default(),
    };
    match text.is_empty() {
        true => Err(usage("--prompt: expected some text, found none")),
        false => Ok(text),
    }
}

/// The tokens of the prompt, as it is or in the chat template.
fn tokens(args: &GenerateArgs, text: &str, tokenizer: &Tokenizer) -> anyhow::Result<Vec<u32>> {
    if args.chat {
        prompts::template_of(tokenizer)?;
    }
    let rendering = Rendering { chat: args.chat, now: prompts::now(None)? };
    let prompt = Prompt { text: text.to_string(), ..Prompt::default() };
    let tokens = tokenizer.encode_prompt(&prompt, rendering)?;
    match tokens.is_empty() {
        true => Err(usage(
            "--prompt: expected some text, found none of which the tokenizer makes a token",
        )),
        false => Ok(tokens),
    }
}

/// The plan of the flags, of a run directory, or the one recorded with the model; else plain
/// decoding.
fn plan(
    args: &GenerateArgs,
    auto: Option<&AutoPlan>,
    run: Option<&ConcludedRun>,
    model: &Model,
) -> anyhow::Result<Plan> {
    let recorded = model.config().s3d.as_ref().and_then(|s3d| s3d.plan.as_deref());
    let plan = match (auto, &args.plan, run, recorded) {
        (Some(auto), ..) => auto.plan.clone(),
        (None, Some(text), ..) => resolve::plan("--plan", text)?,
        (None, None, Some(run), _) => run.plan.clone(),
        (None, None, None, Some(text)) => text.parse()?,
        (None, None, None, None) => {
            terminal::note(
                "no plan: decoding plainly, since the model records none; try --plan seq:4..8:3 \
                 (draft with layers \
                 4 to 7 skipped), or let 's3d run --model M --out DIR' choose and give --run DIR",
            );
            Plan::Plain
        }
    };
    resolve::fits(&plan, model.shape().layers)?;
    if plan.draft().is_none() && args.draft_threshold > 0.0 {
        return Err(usage(format!("--draft-threshold: expected a plan that drafts, found {plan}")));
    }
    plan.draft().map_or(Ok(()), |draft| model.check_plan(draft))?;
    Ok(plan)
}

/// Whether the text is decoded a second time, plainly. A plain text need not be compared with
/// itself.
fn compares(args: &GenerateArgs, plan: &Plan) -> bool {
    *plan != Plan::Plain && (args.compare || !args.no_compare && terminal::shows_results())
}

/// The same text decoded plainly.
fn compared(job: &TextToDecode<'_>, plan: &Plan, drafted: &Decoded) -> anyhow::Result<Decoded> {
    let plain = job.decode(&Plan::Plain, None, false)?;
    // Drawn tokens follow the same distribution, not the same text; stock decoding adds in another
    // order.
    let agreement = match plan {
        Plan::Stock => Agreement::Same,
        _ if !job.sampling.is_greedy() => Agreement::Same,
        _ => {
            let model = &job.loaded.model;
            s3d_measure::compare(model, &job.prompt, &plain.tokens, &drafted.tokens)?
        }
    };
    anyhow::ensure!(
        !matches!(agreement, Agreement::Different { .. }),
        "plan {plan} gave another text than plain decoding; please report the model and the prompt"
    );
    Ok(plain)
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
    /// Null without a comparison, like what follows from it.
    plain_tokens_per_s: Option<f64>,
    /// Ratio of the two; drawn texts differ and each counts its own tokens.
    speedup: Option<f64>,
    /// Whether plain decoding gave the same tokens; null where tokens are drawn.
    same_text: Option<bool>,
    /// The drafts of each iteration, where they adapt.
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<Vec<Decision>>,
    token_ids: Vec<u32>,
    /// What the tokens add to the prompt.
    text: String,
}

impl Outcome {
    fn new(
        job: &TextToDecode<'_>,
        plan: &Plan,
        drafted: &Decoded,
        plain: Option<&Decoded>,
        text: String,
    ) -> Self {
        let sampling = (!job.sampling.is_greedy()).then_some(job.sampling);
        let same = |plain: &Decoded| drafted.tokens == plain.tokens;
        Self {
            plan: plan.clone(),
            sampling,
            draft_threshold: job.threshold.get(),
            tokens: drafted.tokens.len(),
            iterations: drafted.steps,
            tokens_per_iteration: drafted.tokens_per_iteration(),
            drafts_per_iteration: drafted.drafts_per_iteration(),
            tokens_per_s: drafted.tokens_per_s(),
            plain_tokens_per_s: plain.and_then(Decoded::tokens_per_s),
            speedup: plain.and_then(|plain| drafted.speedup_over(plain)),
            same_text: plain.filter(|_| sampling.is_none()).map(same),
            decisions: None,
            token_ids: drafted.tokens.clone(),
            text,
        }
    }

    /// The same with its decisions, where drafts adapt.
    fn adapted(self, adapts: bool, drafted: &Decoded) -> Self {
        Self { decisions: adapts.then(|| drafted.decisions.clone()), ..self }
    }

    /// What drafts that adapt did: nothing where they do not.
    fn decided(&self) -> String {
        let Some(decisions) = &self.decisions else { return String::new() };
        let drafts = || decisions.iter().map(|decision| decision.drafts);
        let plain = drafts().filter(|drafts| *drafts == 0).count();
        let (least, most) = (drafts().min().unwrap_or(0), drafts().max().unwrap_or(0));
        format!(
            "\nDrafts adapted to the text: {least} to {most} an iteration, {:.1} on average; \
             {plain} of {} iterations drafted none.",
            self.drafts_per_iteration.unwrap_or(0.0),
            decisions.len()
        )
    }

    /// How speed and text stand to those of plain decoding.
    fn beside_plain(&self) -> String {
        let (Some(plain), Some(speedup)) = (self.plain_tokens_per_s, self.speedup) else {
            return match self.plan {
                Plan::Plain => "One text, timed once: 's3d run' gives intervals.".into(),
                _ => "Not compared with plain decoding: --compare does, 's3d run' gives intervals."
                    .into(),
            };
        };
        let text = match (&self.sampling, self.same_text) {
            (Some(sampling), _) => {
                format!("{sampling}: text differs from plain decoding's sample (same distribution)")
            }
            (None, Some(true)) => "same text as plain decoding".into(),
            (None, _) => {
                "text differs from plain decoding's (sums rounded in another order)".into()
            }
        };
        format!(
            "{speedup:.2} times plain decoding ({plain:.1} tokens/s); {text}. One text, timed \
             once: 's3d run' gives \
             intervals."
        )
    }
}

fn show(outcome: &Outcome, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return terminal::json(outcome);
    }
    finite::check(outcome)?;
    let (Some(rate), Some(tau)) = (outcome.tokens_per_s, outcome.tokens_per_iteration) else {
        terminal::note("one token; too short to time");
        return Ok(());
    };
    terminal::note(&format!(
        "\nplan {}: {} tokens at {rate:.1} tokens/s, {tau:.2} tokens per iteration. {}{}",
        outcome.plan,
        outcome.tokens,
        outcome.beside_plain(),
        outcome.decided()
    ));
    Ok(())
}
