//! Questions that a model asks itself.

use super::*;
use crate::data::questions::ask_questions;
use crate::data::self_written::seed_of;
use s3d_data::{Plan, Prompt};
use s3d_model::config::EndTokens;
use s3d_model::{Generation, Limits, LoadOptions, Model, Sampling, Silent};

/// Drawn once, then read; a file that was cut off goes on to the same questions.
/// source: each draw alone, by `Generation`, after the beginning of the template.
#[test]
fn questions_are_what_the_model_draws_where_a_user_speaks_and_are_drawn_once() {
    let dir = tempfile::tempdir().unwrap();
    // Untrained, so that any token is as likely as another, the end of a text too.
    let tokenizer = learn_tokenizer(3, 300, 20).unwrap();
    let end = tokenizer.token_to_id(END_OF_TEXT).map(EndTokens::One);
    let model = ModelConfig { eos_token_id: end, ..tiny_model() };
    let config = TrainConfig { model, ..TrainConfig::story(3) }.text_only();
    let base = dir.path().join("base");
    Trainer::with_tokenizer(config, tokenizer, 1).unwrap().save(&base).unwrap();
    let file = dir.path().join("questions.jsonl");
    let ask = |model: &Model, count: usize, seed: u64| {
        ask_questions(model, count, seed, &file, &mut |_, _| ())
    };
    let bare = Model::load(&base, &LoadOptions::default()).unwrap();
    assert!(ask(&bare, 4, 1).unwrap_err().to_string().contains("chat template"));
    let template = "{% for m in messages %}Once {{ m.content }}</s>{% endfor %}";
    std::fs::write(base.join("chat_template.jinja"), template).unwrap();
    let model = Model::load(&base, &LoadOptions::default()).unwrap();
    let questions = ask(&model, 6, 1).unwrap();
    let alone = |prompt: &Prompt| {
        let draw = prompt.id.strip_prefix("question-").unwrap();
        let begin = model.tokenizer().unwrap().encode("Once ").unwrap();
        let sampling = Sampling::new(1.0, seed_of(1, &format!("question {draw}"))).unwrap();
        let (limits, mut silent) = (Limits::tokens(96), Silent);
        let text = Generation::new(&model, &begin, &Plan::Plain, limits, &mut silent).unwrap();
        let output = text.sampling(sampling).finish().unwrap();
        let (end, words) = output.split_last().unwrap();
        assert!(model.config().is_end(*end));
        model.tokenizer().unwrap().decode(words).unwrap().trim().to_string()
    };
    assert_eq!(questions.len(), 6);
    for prompt in &questions {
        assert_eq!(alone(prompt), prompt.text);
    }
    let different: std::collections::HashSet<&str> =
        questions.iter().map(|prompt| prompt.text.as_str()).collect();
    assert_eq!(different.len(), 6);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() * 2 / 3]).unwrap();
    assert_eq!(ask(&model, 6, 1).unwrap(), questions);
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    assert_eq!(ask(&model, 3, 1).unwrap(), questions[..3]);
    assert!(ask(&model, 3, 2).unwrap_err().to_string().contains("another seed"));
}
