//! A model as people have it: SmolLM2-135M-Instruct, a GGUF file of type Q4_1. `scripts/fetch-model
//! smollm2` gets it; where it is not there, this is skipped.

#![allow(clippy::unwrap_used, reason = "tests")]

use s3d_data::{Dtype, Plan, Prompt};
use s3d_model::chat::{Now, Rendering};
use s3d_model::checkpoint::own_dtype;
use s3d_model::{Generation, Limits, LoadOptions, Model, Silent, Step};
use std::path::PathBuf;

/// Where `scripts/fetch-model` puts the file.
fn file() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty());
    let cache = cache
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Some(cache?.join("s3d/SmolLM2-135M-Instruct.Q4_1.gguf")).filter(|file| file.is_file())
}

fn tokens(model: &Model, prompt: &[u32], plan: &str) -> Vec<u32> {
    let (plan, mut silent): (Plan, _) = (plan.parse().unwrap(), Silent);
    let steps = Generation::new(model, prompt, &plan, Limits::tokens(16), &mut silent).unwrap();
    let steps: Vec<Step> = steps.map(Result::unwrap).collect();
    steps.into_iter().flat_map(|step| step.tokens).collect()
}

#[test]
fn a_public_file_reads_chats_and_decodes_the_same_under_a_plan() {
    let Some(file) = file() else {
        // The test runner does not capture what is written so.
        let mut error = std::io::stderr();
        let _ = std::io::Write::write_all(
            &mut error,
            b"skipped: scripts/fetch-model smollm2 gets the file\n",
        );
        return;
    };
    let own = own_dtype(&file).unwrap().unwrap();
    assert_eq!((own.held, own.runs), ("q4_1", Dtype::Q8_0));
    let options = LoadOptions { dtype: own.runs, threads: 2, ..LoadOptions::default() };
    let model = Model::load(&file, &options).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    // source: transformers 5.24.0 on the file's vocabulary, built as scripts/check-smollm2 does,
    // and its template
    let text = "The bridge was built in 1831, wasn't it?";
    let ids = [504, 7395, 436, 2837, 281, 216, 33, 40, 35, 33, 28, 5603, 982, 357, 47];
    assert_eq!(tokenizer.encode(text).unwrap(), ids);
    let prompt = Prompt { text: "Name three rivers.".into(), ..Prompt::default() };
    let rendering = Rendering { chat: true, now: Now::utc(0) };
    let prompt = tokenizer.encode_prompt(&prompt, rendering).unwrap();
    let expected = [
        1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411,
        407, 19712, 8182, 2, 198, 1, 4093, 198, 5820, 1296, 7626, 30, 2, 198, 1, 520, 9531, 198,
    ];
    assert_eq!(prompt, expected);
    let plain = tokens(&model, &prompt, "plain");
    assert_eq!(plain.len(), 16);
    assert_eq!(tokens(&model, &prompt, "seq:12..18:3"), plain);
}
