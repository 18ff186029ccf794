//! The verdict in words, the same on the page and in the terminal.

use crate::format::{markdown, text};
use crate::table::digits;
use crate::tables;
use crate::words::caveat::{caveat, derived, software};
use crate::words::{by_batch, by_context, by_task, capital};
use s3d_data::units::TOO_WIDE;
use s3d_data::{
    Answer, Basis, Bytes, DraftPlan, Drafting, Estimate, Plan, PlanResult, Recommendation,
    RegretBasis, RunHeader, Share, Skip, TimesFrom,
};
use serde::Serialize;

/// Ties that a terminal lists.
const TIES: usize = 5;

/// Should one speculate here, how, and how sure is that.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether the choice beats plain decoding with 95 % confidence.
    pub speculate: bool,
    /// The answer in one sentence.
    pub headline: String,
    /// What else to know, one sentence each, most important first.
    pub details: Vec<String>,
    /// What the numbers rest on and hold for, one sentence each.
    pub grounds: Vec<String>,
    /// What to run, as a command to copy: the choice, or plain decoding where it does not pay.
    pub command: Option<String>,
}

impl Verdict {
    /// The verdict of a recommendation.
    pub fn new(recommendation: &Recommendation, header: &RunHeader) -> Self {
        Self {
            speculate: recommendation.speculate,
            headline: match caveat(recommendation) {
                Some(words) => format!("With {words}: {}", headline(recommendation)),
                None => headline(recommendation),
            } + &beside_others(header),
            details: derived(header)
                .into_iter()
                .chain(software(header))
                .chain(random(header))
                .chain(imported(header))
                .chain(details(recommendation))
                .collect(),
            grounds: grounds(recommendation),
            // Nobody can read what random weights write, and another engine's model is not here.
            command: recommendation.choice.as_ref().filter(|_| runs_here(header)).map(|choice| {
                let plan = if recommendation.speculate { &choice.plan } else { &Plan::Plain };
                command(plan, header)
            }),
        }
    }

    /// The verdict for a terminal of `width` characters, with or without colour.
    pub fn text(&self, width: usize, colour: bool) -> String {
        let (bold, hue, reset) = match (colour, self.speculate) {
            (false, _) => ("", "", ""),
            (true, true) => ("\x1b[1m", "\x1b[32m", "\x1b[0m"),
            (true, false) => ("\x1b[1m", "\x1b[33m", "\x1b[0m"),
        };
        let mut out = String::new();
        for line in text::wrap(&text::clean(&self.headline), width) {
            out += &format!("{bold}{hue}{line}{reset}\n");
        }
        for detail in self.details.iter().chain(&self.grounds) {
            let detail = text::clean(detail);
            for (i, line) in text::wrap(&detail, width.saturating_sub(2)).iter().enumerate() {
                out += &format!("{}{line}\n", if i == 0 { "- " } else { "  " });
            }
        }
        if let Some(command) = &self.command {
            out += &format!("Try it: {bold}{}{reset}\n", text::clean(command));
        }
        out
    }

    /// The verdict as Markdown.
    pub fn markdown(&self) -> String {
        let escape = markdown::escape;
        let mut out = format!("**{}**\n\n", escape(&self.headline));
        for detail in self.details.iter().chain(&self.grounds) {
            out += &format!("- {}\n", escape(detail));
        }
        if let Some(command) = &self.command {
            out += &format!("\n```sh\n{command}\n```\n");
        }
        out
    }
}

/// Verdict and plans for a terminal: what `run` and `optimize` print.
pub fn summary(
    recommendation: &Recommendation,
    header: &RunHeader,
    width: usize,
    colour: bool,
) -> String {
    let verdict = Verdict::new(recommendation, header).text(width, colour);
    let plans = tables::narrowed(tables::leading(recommendation, TIES), width);
    format!("{verdict}\n{}\n{}", plans.title, text::table(&plans, width))
}

/// Verdict and plans as Markdown, for pasting into an issue.
pub fn summary_markdown(recommendation: &Recommendation, header: &RunHeader) -> String {
    let verdict = Verdict::new(recommendation, header).markdown();
    format!("{verdict}\n{}", markdown::table(&tables::shortened(tables::plans(recommendation))))
}

/// Other programs that took much of the processor, as the end of a sentence.
fn beside_others(header: &RunHeader) -> String {
    let share = header.taken_by_others();
    share.map_or(String::new(), |share| format!("; other programs took {share} of the processor"))
}

fn headline(recommendation: &Recommendation) -> String {
    let Some(choice) = &recommendation.choice else {
        return match &recommendation.reason {
            Some(reason) => format!("Do not speculate here: {reason}"),
            None => "Do not speculate here: no plan could be compared.".into(),
        };
    };
    let gain = gain(choice);
    if recommendation.speculate {
        return format!("Speculate: {}; {gain}", plan_in_words(choice));
    }
    if recommendation.verdict == Some(Answer::CannotTellYet) {
        let reason = recommendation.reason.as_deref().unwrap_or("the intervals are too wide");
        return format!("Cannot tell yet: {}", reason.trim_end_matches('.'));
    }
    let reason = recommendation
        .reason
        .clone()
        .unwrap_or_else(|| "no plan beats plain decoding with 95 % confidence".into());
    let reason = reason.trim_end_matches('.');
    if reason.contains(&choice.plan.to_string()) {
        return format!("Do not speculate here: {reason}");
    }
    let best = format!("The best speculative plan, {}, reaches {gain}", choice.plan);
    format!("Do not speculate here: {reason}. {best}")
}

/// `1.83 times plain decoding [1.75, 1.91], measured`.
fn gain(choice: &PlanResult) -> String {
    let words = |speedup: Estimate, basis: &str| {
        let interval = match speedup.interval() {
            Some((low, high)) if !speedup.is_wide() => format!("[{low:.2}, {high:.2}]"),
            Some(_) => format!("({TOO_WIDE})"),
            None => "(no interval)".into(),
        };
        format!("{:.2} times plain decoding {interval}, {basis}", speedup.value)
    };
    match (choice.measured_speedup, choice.predicted_speedup) {
        (Some(measured), _) => words(measured, "measured"),
        (None, Some(predicted)) => words(predicted, "predicted"),
        (None, None) => "speedup not known".into(),
    }
}

/// `skip layers 3 to 8 of 12, counted from 0 (3..9), draft 4 tokens at once`.
pub fn plan_in_words(result: &PlanResult) -> String {
    match result.plan.draft() {
        Some(draft) => {
            format!("{}, {}", skip_in_words(draft, result.layers), draft_in_words(draft))
        }
        None => result.plan.to_string(),
    }
}

fn skip_in_words(draft: &DraftPlan, layers: usize) -> String {
    match &draft.skip {
        Skip::Window(window) => match window.len() {
            0 => format!("skip no layer of {layers} ({window})"),
            1 => {
                format!("skip layer {} of {layers}, counted from 0 ({window})", window.start())
            }
            _ => format!(
                "skip layers {} to {} of {layers}, counted from 0 ({window})",
                window.start(),
                window.end() - 1
            ),
        },
        Skip::Set { layers: set, .. } => format!(
            "skip the attention of {} and the MLP of {} of {layers} layers",
            set.attention.len(),
            set.mlp.len()
        ),
    }
}

fn draft_in_words(draft: &DraftPlan) -> String {
    let count = draft.predictors.get();
    match (draft.drafting, count) {
        (_, 1) => "draft 1 token".into(),
        (Drafting::Simultaneous, _) => format!("draft {count} tokens at once"),
        (Drafting::Sequential, _) => format!("draft {count} tokens one after the other"),
    }
}

/// What a reader must know first when acceptance means nothing.
fn random(header: &RunHeader) -> Option<String> {
    let warning =
        "The weights are random: times are real, but acceptance and speedup mean nothing.";
    if header.imposed.is_some() {
        return Some(
            "Acceptance was imposed, not measured: drafts were made right with these \
             probabilities by \
             peeking at the plain text. The times are real; the speedup is that of a model that \
             would draft so well."
                .into(),
        );
    }
    header.model.random_weights.then(|| warning.into())
}

/// Whether this program can decode with the run's model, and to any use.
fn runs_here(header: &RunHeader) -> bool {
    !header.model.random_weights && header.times_from() != TimesFrom::OtherEngine
}

/// What measurements of another engine rest on and leave open.
fn imported(header: &RunHeader) -> Vec<String> {
    match header.times_from() == TimesFrom::OtherEngine {
        true => header.warnings.iter().map(|note| format!("{}.", capital(note))).collect(),
        false => Vec::new(),
    }
}

fn details(recommendation: &Recommendation) -> Vec<String> {
    let choice = recommendation.choice.as_ref();
    let mut details = Vec::new();
    details.extend(choice.and_then(|choice| speed(choice, recommendation)));
    details.extend(by_context::sentence(recommendation));
    details.extend(by_task::sentences(recommendation));
    details.extend(by_batch::sentence(recommendation));
    details.extend(recommendation.notes.iter().cloned());
    details.extend(ties(recommendation));
    details
}

fn grounds(recommendation: &Recommendation) -> Vec<String> {
    let choice = recommendation.choice.as_ref();
    let mut grounds = Vec::new();
    grounds.extend(choice.map(|choice| match choice.peak_memory_bytes {
        Some(bytes) => {
            format!("Peak memory {} at {} tokens of context.", Bytes(bytes), recommendation.context)
        }
        None => "Peak memory unknown: of the model only its number of layers is known.".into(),
    }));
    grounds.extend(regret(recommendation));
    grounds.extend(error(recommendation));
    grounds.push(conditions(recommendation));
    grounds
}

fn speed(choice: &PlanResult, recommendation: &Recommendation) -> Option<String> {
    let basis = match choice.basis {
        Basis::Measured => "measured",
        Basis::Predicted => "predicted",
    };
    let plain = recommendation
        .baseline
        .tokens_per_s
        .map(|plain| format!(" against {} of plain decoding", rate(plain)))
        .unwrap_or_default();
    let iteration = choice
        .tokens_per_iteration
        .map(|tokens| format!("; {tokens:#} tokens per iteration"))
        .unwrap_or_default();
    let speed = rate(choice.tokens_per_s?);
    Some(format!("{speed} tokens/s{plain}{iteration} ({basis})."))
}

/// A rate with three digits: `546 [505, 590]`.
pub(super) fn rate(rate: Estimate) -> String {
    let digits = digits(rate.value);
    format!("{rate:#.digits$}")
}

fn ties(recommendation: &Recommendation) -> Option<String> {
    let plans: Vec<_> = recommendation.ties.iter().map(|tie| tie.plan.to_string()).collect();
    let more = plans.len().saturating_sub(6);
    let shown = plans[..plans.len() - more].join(", ");
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let is = if plans.len() == 1 { "plan is" } else { "plans are" };
    (!plans.is_empty()).then(|| format!("{} {is} tied with it: {shown}{rest}.", plans.len()))
}

fn regret(recommendation: &Recommendation) -> Option<String> {
    let regret = recommendation.regret_bound?;
    let high = regret.high?;
    let how = match recommendation.regret_basis {
        Some(RegretBasis::Sweep) => ", from measuring every plan",
        Some(RegretBasis::Bootstrap) => ", a bootstrap bound over predicted plans",
        None => "",
    };
    Some(format!(
        "The choice is at most {} slower than the best of {} plans{how} (point estimate {}).",
        Share(high.max(0.0)),
        recommendation.evaluated,
        Share(regret.value.max(0.0))
    ))
}

fn error(recommendation: &Recommendation) -> Option<String> {
    let error = recommendation.prediction_error.as_ref()?;
    if error.held_out == 1 {
        let side = if error.coverage_95 > 0.5 { "inside" } else { "outside" };
        return Some(format!(
            "One plan was predicted without any data of its window: off by {}, {side} the \
             predicted 95 % interval.",
            Share(error.median)
        ));
    }
    Some(format!(
        "Predictions of {} plans that were not used to predict: median error {}, 95th percentile \
         {}; \
         {} of the measured values lie inside their predicted 95 % intervals.",
        error.held_out,
        Share(error.median),
        Share(error.p95),
        Share(error.coverage_95)
    ))
}

fn conditions(recommendation: &Recommendation) -> String {
    let widen = match recommendation.widen {
        1 => String::new(),
        times => format!(", widened x{times}"),
    };
    format!(
        "Holds for {} on {}, {}{widen}, at {} tokens of context.",
        recommendation.model, recommendation.device, recommendation.dtype, recommendation.context
    )
}

/// Flags of the run that `s3d generate` needs too.
const KEPT_FLAGS: [&str; 8] = [
    "--model",
    "--tokenizer",
    "--adapters",
    "--config",
    "--layers",
    "--device",
    "--dtype",
    "--widen",
];

/// The command that decodes with `plan` as the run did.
fn command(plan: &Plan, header: &RunHeader) -> String {
    let mut words =
        vec!["s3d".to_string(), "generate".into(), "--plan".into(), quoted(&plan.to_string())];
    let mut arguments = header.command.iter().peekable();
    while let Some(argument) = arguments.next() {
        let name = argument.split('=').next().unwrap_or_default();
        if KEPT_FLAGS.contains(&name) {
            words.push(quoted(argument));
            if !argument.contains('=') {
                words.extend(arguments.next().map(|value| quoted(value)));
            }
        }
    }
    if let Some(drawn) = &header.sampling {
        words.extend(["--temperature".into(), drawn.temperature.to_string()]);
        words.extend(drawn.top_p.map(|share| format!("--top-p {share}")));
    }
    if header.command.iter().any(|argument| argument == "--chat") {
        words.push("--chat".into());
    }
    words.push("--prompt 'Once upon a time'".into());
    words.join(" ")
}

/// An argument as a shell reads it back. By hand, since `shlex` also quotes commas and equals
/// signs, of which plans and flags are full.
pub fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.into();
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}
