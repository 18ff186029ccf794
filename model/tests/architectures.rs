//! Every architecture against transformers: tiny random checkpoints, whose logits were computed
//! there. The recipe is `scripts/fixtures/checkpoints.py`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{options, rows};
use s3d_data::{Drafting, Plan};
use s3d_model::chat::{Message, Now};
use s3d_model::{Generation, Limits, Model, Silent, Tokenizer, trace_text};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Hugging Face folders.
const FOLDERS: [&str; 15] = [
    "llama2",
    "llama3",
    "llama3-older",
    "llama-linear-bias",
    "llama-dynamic",
    "llama-yarn",
    "mistral",
    "qwen2",
    "qwen3",
    "phi3",
    "phi3-longrope",
    "phi3-longrope-long",
    "phi4-mini",
    "smollm3",
    "llama-mlp-bias",
];
/// GGUF files.
const FILES: [&str; 4] = ["llama", "qwen2", "qwen3", "phi3"];

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<u32>,
    rows: Vec<usize>,
    logits: Vec<Vec<f32>>,
    #[serde(default)]
    texts: Vec<Encoded>,
}

/// A text, its tokens, and the text of the tokens.
#[derive(Deserialize)]
struct Encoded {
    text: String,
    ids: Vec<u32>,
    back: String,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// All checkpoints, each with the file of what is expected.
fn checkpoints() -> impl Iterator<Item = (PathBuf, PathBuf)> {
    let folders = FOLDERS.iter().map(|name| {
        let folder = fixtures().join("checkpoints").join(name);
        (folder.clone(), folder.join("expected.json"))
    });
    let gguf = fixtures().join("gguf");
    let files = FILES
        .iter()
        .map(move |name| (gguf.join(format!("{name}.gguf")), gguf.join(format!("{name}.json"))));
    folders.chain(files)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn load(path: &Path) -> Model {
    Model::load(path, &options(1, 2)).unwrap()
}

#[test]
fn logits_are_those_of_transformers() {
    for (path, expected) in checkpoints() {
        let expected: Expected = read(&expected);
        for widen in [1, 2] {
            let mut model = Model::load(&path, &options(widen, 1)).unwrap();
            model.expect(expected.tokens.len()).unwrap();
            let mut cache = model.new_cache(expected.tokens.len()).unwrap();
            let found = rows(&model.full_pass(&expected.tokens, &mut cache, &mut Silent).unwrap());
            let largest = expected.logits.iter().flatten().fold(0.0f32, |max, x| max.max(x.abs()));
            assert!(largest > 1.0, "{}: logits must differ from nothing", path.display());
            for (&row, exact) in expected.rows.iter().zip(&expected.logits) {
                for (found, exact) in found[row].iter().zip(exact) {
                    let gap = (found - exact).abs() / largest;
                    assert!(gap < 1e-4, "{} x{widen}, row {row}: {found} {exact}", path.display());
                }
            }
        }
    }
}

fn decode(model: &Model, prompt: &[u32], plan: &Plan, tokens: usize) -> Vec<u32> {
    let limits = Limits { stop_at_end: false, ..Limits::tokens(tokens) };
    Generation::new(model, prompt, plan, limits, &mut Silent).unwrap().finish().unwrap()
}

#[test]
fn every_architecture_decodes_losslessly() {
    let plans = ["seq:1..2:4", "seq:0..1:1", "seq:1..1:3", "1..2:1", "seq:set=attn-0-mlp-1:2"];
    for (path, _) in checkpoints() {
        let model = load(&path);
        let prompt = [5, 9, 200, 33];
        let tokens = 20.min(model.positions() - prompt.len());
        let plain = decode(&model, &prompt, &Plan::Plain, tokens);
        assert_eq!(plain.len(), tokens);
        for text in plans {
            let plan: Plan = text.parse().unwrap();
            assert_eq!(decode(&model, &prompt, &plan, tokens), plain, "{} {text}", path.display());
        }
        assert_eq!(decode(&model, &prompt, &Plan::Stock, tokens), plain, "{}", path.display());
    }
}

#[test]
fn with_masks_every_architecture_drafts_both_ways_losslessly() {
    for class in ["Llama", "Mistral", "Qwen2", "Qwen3", "Phi3", "SmolLM3"] {
        for widen in [1, 2] {
            let mut config = common::grouped();
            config.other.insert("architectures".into(), vec![format!("{class}ForCausalLM")].into());
            if class == "Llama" {
                config.other.insert("attention_bias".into(), true.into());
                config.other.insert("mlp_bias".into(), true.into());
            }
            if class == "Phi3" {
                config.other.insert("partial_rotary_factor".into(), 0.4.into());
            }
            let model = Model::random(&config, 11, &options(widen, 2)).unwrap();
            assert_eq!(model.config().class(), format!("{class}ForCausalLM"));
            let plain = decode(&model, &[1, 2, 3], &Plan::Plain, 30);
            for text in ["1..4:4", "2..3:8", "seq:1..4:3", "set=attn-1+3-mlp-0+3:5"] {
                let plan: Plan = text.parse().unwrap();
                assert_eq!(decode(&model, &[1, 2, 3], &plan, 30), plain, "{class} x{widen} {text}");
            }
            assert_eq!(decode(&model, &[1, 2, 3], &Plan::Stock, 30), plain, "{class} x{widen}");
        }
    }
}

#[test]
fn traces_of_every_architecture_replay_their_generations() {
    let plan: Plan = "seq:1..2:3".parse().unwrap();
    let draft = plan.draft().unwrap();
    for (path, _) in checkpoints() {
        let model = load(&path);
        let prompt = [5, 9, 200, 33];
        let output = decode(&model, &prompt, &Plan::Plain, 20);
        let skips = [draft.skip.clone()];
        let trace =
            trace_text(&model, &prompt, &output, Drafting::Sequential, &skips, 3, false).unwrap();
        let mut silent = Silent;
        let limits = Limits { stop_at_end: false, ..Limits::tokens(20) };
        let steps = Generation::new(&model, &prompt, &plan, limits, &mut silent).unwrap();
        let mut committed = 1;
        for step in steps.skip(1) {
            let step = step.unwrap();
            assert_eq!(step.accepted, trace[0].accepted[committed - 1] as usize);
            committed += step.tokens.len();
        }
    }
}

#[test]
fn a_checkpoint_without_masks_drafts_one_token_at_a_time_and_says_why() {
    let model = load(&fixtures().join("checkpoints/llama2"));
    let plan: Plan = "1..2:3".parse().unwrap();
    let mut silent = Silent;
    let error = Generation::new(&model, &[1], &plan, Limits::tokens(5), &mut silent).err().unwrap();
    let error = error.to_string();
    assert!(error.contains("mask embeddings") && error.contains("seq:1..2:3"), "{error}");
}

#[test]
fn texts_end_where_the_positions_hold() {
    // source: the sliding window of the fixture is 24 tokens, its longrope was trained on 32 of 128
    let ends = [("mistral", 200, 24), ("phi3-longrope", 32, 32), ("phi3-longrope", 33, 128)];
    for (name, context, positions) in ends.into_iter().chain([("phi3", 200, 128)]) {
        let mut model = load(&fixtures().join("checkpoints").join(name));
        model.expect(context).unwrap();
        assert_eq!(model.positions(), positions);
        assert_eq!(decode(&model, &[1, 2, 3], &Plan::Plain, 200).len(), positions - 3);
        let mut cache = model.new_cache(200).unwrap();
        let text = vec![1; positions + 1];
        let error = model.prompt_pass(&text, &mut cache, &mut Silent).unwrap_err().to_string();
        assert!(error.contains(&format!("{positions} positions")), "{error}");
        let long = model.full_pass(&vec![1; positions + 70], &mut cache, &mut Silent);
        assert!(long.unwrap_err().to_string().contains(&format!("{positions} positions")));
    }
}

#[test]
fn tokenizers_in_gguf_files_are_those_they_were_made_from() {
    // source: tokenizers (byte-level BPE) and sentencepiece, see the recipe
    for name in FILES {
        let expected: Expected = read(&fixtures().join(format!("gguf/{name}.json")));
        let model = load(&fixtures().join(format!("gguf/{name}.gguf")));
        let tokenizer = model.tokenizer().unwrap();
        assert!(expected.texts.len() > 8);
        for Encoded { text, ids, back } in expected.texts {
            assert_eq!(tokenizer.encode(&text).unwrap(), ids, "{name} {text:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), back, "{name} {text:?}");
        }
    }
}

#[test]
fn conversations_are_written_as_transformers_writes_them() {
    #[derive(Deserialize)]
    struct Talk {
        messages: Vec<Message>,
        text: String,
    }
    let folder = fixtures().join("chat");
    let talks: Vec<Talk> = read(&folder.join("expected.json"));
    let template = s3d_model::chat::ChatTemplate::load(&folder).unwrap().unwrap();
    let gguf = load(&fixtures().join("gguf/qwen2.gguf"));
    let tokenizer = Tokenizer::load(&folder.join("tokenizer.json")).unwrap();
    for Talk { messages, text } in talks {
        assert_eq!(template.render(&messages, Now::utc(0)).unwrap(), text);
        assert_eq!(
            gguf.tokenizer().unwrap().chat().unwrap().render(&messages, Now::utc(0)).unwrap(),
            text
        );
        let tokens = tokenizer.encode_bare(&text).unwrap();
        // <s> has id 1; it is there once
        assert_eq!(tokens.iter().filter(|&&token| token == 1).count(), 1);
        assert_eq!(gguf.tokenizer().unwrap().encode_bare(&text).unwrap(), tokens);
    }
}
