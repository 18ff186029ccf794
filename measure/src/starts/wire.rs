//! What a child is told to decode, and what it answers: JSON, a line each.

use crate::clock::Clock;
use crate::drawing;
use crate::error::{Error, Result};
use crate::pass_watch::{Generated, generate};
use crate::request::Prompt;
use s3d_data::limits::{self, within};
use s3d_data::{Drawn, Plan, Seconds};
use s3d_model::{Imposed, Model, Peek};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read};

/// Bytes of a line at most: some ten million tokens.
const LONGEST_LINE: u64 = 1 << 26;

/// One generation to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub plan: Plan,
    /// The prompt's name, which imposed acceptance depends on.
    pub id: String,
    /// The prompt's tokens.
    pub prompt: Vec<u32>,
    /// Output tokens, at most.
    pub tokens: usize,
    /// The plain text, where acceptance is imposed.
    pub reference: Vec<u32>,
    /// How tokens are drawn, and the seed; none: the most likely ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<(Drawn, u64)>,
}

/// One generation that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// The content hash of the model that decoded.
    pub model: String,
    /// CPU time of the child since it began.
    pub process_cpu_seconds: Seconds,
    pub generated: Generated,
}

/// Decodes what the line `order` says with `model`, and says in a line what came out.
///
/// # Errors
/// A line that is no order, an order that the model cannot follow.
pub fn answer(
    model: &Model,
    imposed: Option<&Imposed>,
    clock: &dyn Clock,
    order: &str,
) -> Result<String> {
    let Order { plan, id, prompt, tokens, reference, sampling } = read(order)?;
    within("tokens", tokens, &(1..=limits::TOKENS))?;
    within("tokens of the prompt", prompt.len(), &(1..=limits::TOKENS))?;
    let vocab = model.shape().vocab as u32;
    prompt.iter().try_for_each(|&token| within("token", token, &(0..=vocab - 1)).map(drop))?;
    if let Some(draft) = plan.draft() {
        model.check_plan(draft)?;
    }
    let prompt = Prompt { id, task: None, tokens: prompt };
    let peek = imposed.map(|imposed| Peek { imposed, text: &prompt.id, reference: &reference });
    let sampling = sampling.map(|(drawn, seed)| drawing::sampling(&drawn, seed)).transpose()?;
    let generated = generate(model, &plan, &prompt, tokens, clock, peek, sampling)?;
    let (model, process_cpu_seconds) = (model.identity().content_hash, clock.cpu());
    write(&Answer { model, process_cpu_seconds, generated })
}

/// The next line; none at the end.
///
/// # Errors
/// A line that is too long, or a reader that fails.
pub fn next_line(source: &mut dyn BufRead) -> Result<Option<String>> {
    let mut line = String::new();
    let read = source.take(LONGEST_LINE).read_line(&mut line);
    let read = read.map_err(|e| Error::invalid(format!("cannot read a line: {e}")))?;
    match read as u64 {
        0 => Ok(None),
        LONGEST_LINE => Err(Error::invalid(format!("a line of more than {LONGEST_LINE} bytes"))),
        _ => Ok(Some(line)),
    }
}

/// Reads a line.
pub(crate) fn read<'l, T: Deserialize<'l>>(line: &'l str) -> Result<T> {
    let shown = || s3d_data::shown(line.trim_end());
    serde_json::from_str(line).map_err(|e| {
        Error::invalid(format!("{e}: expected an order or its answer as JSON, found '{}'", shown()))
    })
}

/// Writes a line, without its end.
pub(crate) fn write<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::invalid(format!("cannot write JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::fake::{FakeClock, Faults};
    use s3d_model::{LoadOptions, ModelConfig};

    fn model() -> Model {
        let config = ModelConfig {
            num_hidden_layers: 2,
            hidden_size: 32,
            intermediate_size: 32,
            ..ModelConfig::story()
        };
        Model::random(&config, 1, &LoadOptions::default()).unwrap()
    }

    fn order(plan: &str) -> Order {
        let (plan, id) = (plan.parse().unwrap(), "a".into());
        Order { plan, id, prompt: vec![1, 2], tokens: 6, reference: Vec::new(), sampling: None }
    }

    #[test]
    fn a_child_answers_with_the_text_and_the_parts_of_its_time() {
        let (model, clock) = (model(), FakeClock::new(Faults::default(), 0));
        let plain: Answer =
            read(&answer(&model, None, &clock, &write(&order("plain")).unwrap()).unwrap()).unwrap();
        let plan: Answer =
            read(&answer(&model, None, &clock, &write(&order("0..1:2")).unwrap()).unwrap())
                .unwrap();
        assert_eq!(plain.generated.tokens.len(), 6);
        assert_eq!(plan.generated.tokens, plain.generated.tokens, "drafts change no text");
        assert_eq!(plain.generated.iterations, 5);
        assert_eq!(plain.model, model.identity().content_hash);
    }

    #[test]
    fn drawn_texts_are_as_long_as_was_ordered_and_belong_to_their_seed() {
        let (model, clock) = (model(), FakeClock::new(Faults::default(), 0));
        let drawn = Drawn { temperature: 1.0, top_p: Some(0.9) };
        let text = |plan: &str, seed| {
            let order = Order { sampling: Some((drawn, seed)), tokens: 40, ..order(plan) };
            let line = answer(&model, None, &clock, &write(&order).unwrap()).unwrap();
            read::<Answer>(&line).unwrap().generated.tokens
        };
        for plan in ["plain", "0..1:2", "seq:0..1:2"] {
            assert_eq!(text(plan, 1).len(), 40);
            assert_eq!(text(plan, 1), text(plan, 1));
            assert_ne!(text(plan, 1), text(plan, 2));
        }
    }

    #[test]
    fn an_order_that_cannot_be_followed_is_refused() {
        let (model, clock) = (model(), FakeClock::new(Faults::default(), 0));
        let refused = |line: &str| answer(&model, None, &clock, line).unwrap_err().to_string();
        assert!(refused("hello").contains("found 'hello'"));
        let of = |order: Order| refused(&write(&order).unwrap());
        assert!(
            of(Order { prompt: Vec::new(), ..order("plain") }).contains("tokens of the prompt")
        );
        assert!(of(Order { prompt: vec![u32::MAX], ..order("plain") }).starts_with("token: "));
        assert!(of(Order { tokens: 0, ..order("plain") }).starts_with("tokens: "));
        assert!(of(order("0..9:2")).contains("layers"));
        let hot = Drawn { temperature: -1.0, top_p: None };
        assert!(of(Order { sampling: Some((hot, 1)), ..order("plain") }).contains("temperature"));
    }

    #[test]
    fn lines_end_where_the_reader_does() {
        let mut source = "one\ntwo".as_bytes();
        assert_eq!(next_line(&mut source).unwrap().as_deref(), Some("one\n"));
        assert_eq!(next_line(&mut source).unwrap().as_deref(), Some("two"));
        assert_eq!(next_line(&mut source).unwrap(), None);
    }
}
