//! The choice as other engines take it: flags, JSON or Python, and what each of them cannot do of
//! it. The names of flags and where they were read stand in `docs/EXPORT.md`.

use crate::args::Engine;
use s3d_data::{Drafting, LayerSet, PlanResult, Recommendation};
use s3d_reports::words::verdict::quoted;
use s3d_simulator::choose::draft_lengths::{DraftLength, draft_lengths};
use serde_json::{Value, json};

/// What an engine is given, and what it leaves out.
pub struct Export {
    /// Flags, JSON or Python, ready to be used but for capital names such as MODEL and DRAFT.
    pub text: String,
    /// What the engine cannot do of the choice, one sentence each.
    pub cannot: Vec<String>,
}

/// The choice of a run for `engine`; where the engine takes draft lengths by number of texts at
/// once and the run has them, these too.
pub fn of(engine: Engine, choice: &PlanResult, recommendation: &Recommendation) -> Export {
    let (model, lengths) = (recommendation.model.as_str(), draft_lengths(recommendation));
    match engine {
        Engine::LlamaCpp => llama_cpp(choice),
        Engine::Vllm => vllm(choice, &lengths),
        Engine::TensorrtLlm => tensorrt_llm(choice, &lengths),
        Engine::Sglang => sglang(choice, model),
        Engine::Transformers => transformers(choice, model),
        Engine::Swift => swift(choice, model),
        Engine::Layerskip => layerskip(choice, model),
    }
}

/// The sub-layers that a choice skips.
pub fn skipped(choice: &PlanResult) -> LayerSet {
    match (&choice.skip_set, choice.skip_start, choice.skip_end) {
        (Some(set), _, _) => set.clone(),
        (None, Some(start), Some(end)) => {
            LayerSet { attention: (start..end).collect(), mlp: (start..end).collect() }
        }
        _ => LayerSet { attention: Vec::new(), mlp: Vec::new() },
    }
}

/// Of engines that draft with another model: only the draft length carries over.
fn other_draft(engine: &str, choice: &PlanResult) -> Vec<String> {
    vec![
        format!(
            "{engine} cannot skip layers of the model that it serves: of {} only the draft length \
             carries over, to \
             a draft (DRAFT) that you give it",
            choice.plan
        ),
        "another draft has another acceptance and cost: import its acceptance (docs/IMPORT.md) and \
         choose again"
            .into(),
    ]
}

fn llama_cpp(choice: &PlanResult) -> Export {
    let text = format!(
        "llama-server -m MODEL.gguf --spec-draft-model DRAFT.gguf --spec-draft-n-max {0} \
         --spec-draft-n-min 0",
        choice.predictors
    );
    Export { text, cannot: other_draft("llama.cpp", choice) }
}

/// Texts at once that a server may reach beyond those that were timed: there nothing is drafted.
const MOST_TEXTS: usize = 1024;

/// The most drafts that any number of texts has.
fn most_drafts(choice: &PlanResult, lengths: &[DraftLength]) -> usize {
    lengths
        .iter()
        .map(|range| range.drafts)
        .max()
        .filter(|most| *most > 0)
        .unwrap_or(choice.predictors)
}

/// The value of `--speculative-config`; with ranges `[fewest, most, drafts]` of texts at once
/// (vllm-project/vllm, `docs/features/speculative_decoding/dynamic_speculative_decoding.md`).
fn vllm(choice: &PlanResult, lengths: &[DraftLength]) -> Export {
    let mut config = json!({
        "method": "draft_model",
        "model": "DRAFT",
        "num_speculative_tokens": most_drafts(choice, lengths),
    });
    if let Some(last) = lengths.last() {
        let beyond = DraftLength { from: last.to + 1, to: MOST_TEXTS.max(last.to + 1), drafts: 0 };
        let ranges = lengths.iter().chain([&beyond]);
        let ranges: Vec<[usize; 3]> = ranges.map(|r| [r.from, r.to, r.drafts]).collect();
        config["num_speculative_tokens_per_batch_size"] = json!(ranges);
    }
    Export { text: pretty(&config), cannot: other_draft("vLLM", choice) }
}

/// Python; `draft_len_schedule` maps the most texts of a range to its drafts, and beyond its last
/// entry nothing is drafted (NVIDIA/TensorRT-LLM, pull request 10860; `llmapi` reference).
fn tensorrt_llm(choice: &PlanResult, lengths: &[DraftLength]) -> Export {
    let entries = lengths.iter().map(|range| format!("{}: {}", range.to, range.drafts));
    let entries = entries.collect::<Vec<_>>().join(", ");
    let schedule = match lengths.is_empty() {
        true => String::new(),
        false => format!(",\n    draft_len_schedule={{{entries}}}"),
    };
    let text = format!(
        "from tensorrt_llm.llmapi import DraftTargetDecodingConfig\n\
         speculative_config = DraftTargetDecodingConfig(\n    max_draft_len={},\n    \
         speculative_model=\"DRAFT\"{schedule},\n)",
        most_drafts(choice, lengths)
    );
    Export { text, cannot: other_draft("TensorRT-LLM", choice) }
}

fn sglang(choice: &PlanResult, model: &str) -> Export {
    let text = format!(
        "python -m sglang.launch_server --model-path {} --speculative-algorithm STANDALONE \
         --speculative-draft-model-path DRAFT --speculative-num-steps {} --speculative-eagle-topk \
         1 \
         --speculative-num-draft-tokens {}",
        quoted(model),
        choice.predictors,
        choice.verify_width()
    );
    Export { text, cannot: other_draft("SGLang", choice) }
}

fn transformers(choice: &PlanResult, model: &str) -> Export {
    let text = format!(
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\
         name = {}\n\
         tokenizer = AutoTokenizer.from_pretrained(name)\n\
         model = AutoModelForCausalLM.from_pretrained(name)\n\
         model.generation_config.num_assistant_tokens = {}\n\
         model.generation_config.num_assistant_tokens_schedule = \"constant\"\n\
         model.generation_config.assistant_confidence_threshold = 0.0\n\
         inputs = tokenizer(\"Once upon a time\", return_tensors=\"pt\")\n\
         outputs = model.generate(**inputs, assistant_early_exit={}, do_sample=False, \
         max_new_tokens=64)\n\
         print(tokenizer.decode(outputs[0], skip_special_tokens=True))",
        Value::from(model),
        choice.predictors,
        choice.kept_layers()
    );
    Export { text, cannot: early_exit("transformers", choice) }
}

fn layerskip(choice: &PlanResult, model: &str) -> Export {
    let text = format!(
        "torchrun generate.py --model {} --generation_strategy self_speculative --exit_layer {} \
         --num_speculations {} --sample False",
        quoted(model),
        choice.kept_layers(),
        choice.predictors
    );
    Export { text, cannot: early_exit("LayerSkip", choice) }
}

/// Of engines that leave out the last layers alone.
fn early_exit(engine: &str, choice: &PlanResult) -> Vec<String> {
    let mut cannot = Vec::new();
    if choice.early_exit_layer().is_none() {
        cannot.push(format!(
            "{engine} drafts with the first layers alone: it keeps {0} layers as {1} does, but \
             the first {0}. \
             That is another draft: measure its acceptance with the plan seq:{0}..{2}:{3}",
            choice.kept_layers(),
            choice.plan,
            choice.layers,
            choice.predictors
        ));
    }
    cannot.extend(one_by_one(engine, choice));
    cannot
}

/// Of engines that draft one token a pass.
fn one_by_one(engine: &str, choice: &PlanResult) -> Option<String> {
    (choice.drafting == Drafting::Simultaneous && choice.predictors > 1).then(|| {
        format!(
            "{engine} drafts one token a pass; {} drafts {} in one, which it cannot",
            choice.plan, choice.predictors
        )
    })
}

/// `skip_layers.json`, which SWIFT reads with `--cache-hit`.
fn swift(choice: &PlanResult, model: &str) -> Export {
    let set = skipped(choice);
    let named = json!({ set_name(model): { "attention": set.attention, "mlp": set.mlp } });
    let mut cannot = vec![format!(
        "SWIFT ends its drafts by confidence: the draft length of {} is not taken. It reads this \
         file as \
         skip_layers.json with --cache-hit, under the name MODEL_TASK of its flags --model-id and \
         --task-name",
        choice.plan
    )];
    cannot.extend(one_by_one("SWIFT", choice));
    Export { text: pretty(&named), cannot }
}

/// The name of the set in `skip_layers.json`: the model's, in letters that a plan and a shell take.
pub fn set_name(model: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    format!("{}_s3d", model.chars().map(plain).collect::<String>())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::export::tests::plan;

    /// source: the forms of the engines' own documentation, filled in by hand.
    #[test]
    fn draft_lengths_by_number_of_texts_have_the_form_of_each_engine() {
        let range = |from, to, drafts| DraftLength { from, to, drafts };
        let lengths = [range(1, 3, 4), range(4, 6, 2), range(7, 16, 0)];
        let config: Value = serde_json::from_str(&vllm(&plan(1, 3), &lengths).text).unwrap();
        assert_eq!(config["num_speculative_tokens"], 4);
        assert_eq!(
            config["num_speculative_tokens_per_batch_size"],
            json!([[1, 3, 4], [4, 6, 2], [7, 16, 0], [17, 1024, 0]])
        );
        let text = tensorrt_llm(&plan(1, 3), &lengths).text;
        assert!(text.contains("draft_len_schedule={3: 4, 6: 2, 16: 0}"), "{text}");
        assert!(text.contains("max_draft_len=4"), "{text}");
        let config: Value = serde_json::from_str(&vllm(&plan(1, 3), &[]).text).unwrap();
        assert_eq!(config["num_speculative_tokens"], 3);
        assert!(config.get("num_speculative_tokens_per_batch_size").is_none());
        assert!(!tensorrt_llm(&plan(1, 3), &[]).text.contains("schedule"));
    }
}
