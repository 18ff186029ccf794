//! Drafts over a part of the vocabulary: logits, acceptance, text.

use crate::backend::{Backend, number_on_device};
use crate::config::DraftOver;
use crate::config::{AdapterConfig, ModelConfig, S3dConfig};
use crate::decode::generate::{Generation, Limits};
use crate::decode::observer::Silent;
use crate::decode::sample::Sampling;
use crate::decode::trace_text::trace_text;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::options::LoadOptions;
use crate::weights::draft_vocabulary::DraftVocabulary;
use crate::weights::source::{Seeded, WeightSource};
use s3d_data::{Drafting, Dtype, Plan, Skip, SkipWindow};
use s3d_kernels::isa::Isa;

const VOCAB: u32 = 90;

fn config(listed: Option<usize>) -> ModelConfig {
    let adapters = Some(AdapterConfig::of_rank(3));
    ModelConfig {
        hidden_size: 256,
        intermediate_size: 256,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        head_dim: Some(64),
        vocab_size: VOCAB as usize,
        s3d: Some(S3dConfig {
            masks: 3,
            adapters,
            draft_vocabulary: listed,
            ..S3dConfig::default()
        }),
        ..ModelConfig::story()
    }
}

/// Seeded weights with a list of our own.
struct Listed(Vec<i64>);

impl WeightSource for Listed {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        Seeded::new(1).tensor(name, shape)
    }

    fn draft_vocabulary(&self, _: usize, vocab: usize) -> Result<DraftVocabulary> {
        DraftVocabulary::new(&self.0, vocab).map_err(Error::invalid)
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn content_hash(&self) -> Result<String> {
        Ok(String::new())
    }
}

fn model(list: &[i64], dtype: Dtype, composed: bool) -> Model {
    let options = LoadOptions { dtype, ..LoadOptions::default() };
    let backend = match composed {
        true => Backend::candle(number_on_device(dtype), &Device::Cpu),
        false => Backend::cpu(2, Isa::detect()),
    };
    let listed = Some(list.len()).filter(|count| *count > 0);
    Model::build(&Listed(list.to_vec()), &config(listed), &options, backend, "test").unwrap()
}

/// Draft logits of both draftings after a text.
fn drafts(model: &Model) -> Vec<Vec<f32>> {
    let skip = Skip::from(SkipWindow::new(1, 3).unwrap());
    let mut cache = model.new_cache(40).unwrap();
    model.full_pass(&[1, 2, 3, 4, 5], &mut cache, &mut Silent).unwrap();
    let mut all = Vec::new();
    for (drafting, masks) in [(Drafting::Simultaneous, 3), (Drafting::Sequential, 0)] {
        let pass = model.draft_pass(drafting, 5, masks, &skip, &mut cache, &mut Silent);
        all.extend(pass.unwrap().to_rows().unwrap());
        cache.truncate(5);
    }
    all
}

/// source: the whole head's logits at these tokens; by the kernels to the bit, by candle's
/// matmul, which may order sums by the shape, to the rounding of its numbers
#[test]
fn draft_logits_are_those_of_the_whole_head_at_the_listed_tokens() {
    let list = [88, 3, 17, 16, 0, 89, 40, 41, 42, 5, 71, 33, 34, 35, 36, 37, 38, 2, 1];
    let mut tokens = list.map(|id| id as usize);
    tokens.sort_unstable();
    for dtype in Dtype::ENGINE {
        for composed in [false, true] {
            let whole = drafts(&model(&[], dtype, composed));
            let some = model(&list, dtype, composed);
            assert_eq!(some.draft_tokens().unwrap(), tokens.map(|id| id as u32));
            let some = drafts(&some);
            assert_eq!(some.len(), 5);
            for (some, whole) in some.iter().zip(&whole) {
                let expected: Vec<f32> = tokens.iter().map(|&id| whole[id]).collect();
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 0.02 * b.abs().max(1.0);
                match composed {
                    false => assert_eq!(some, &expected, "{dtype}"),
                    true => assert!(some.iter().zip(&expected).all(near), "{dtype}"),
                }
            }
        }
    }
}

/// source: plain decoding; and the draft model's own choices over the whole vocabulary
#[test]
fn a_list_without_the_right_token_lowers_acceptance_there_and_nowhere_before() {
    let whole = model(&[], Dtype::F32, false);
    let limits = || Limits { stop_at_end: false, ..Limits::tokens(60) };
    let decode = |model: &Model, plan: &str| {
        let plan: Plan = plan.parse().unwrap();
        let mut silent = Silent;
        let text = Generation::new(model, &[7, 8, 9], &plan, limits(), &mut silent).unwrap();
        text.finish().unwrap()
    };
    let text = decode(&whole, "plain");
    let missing = text[20];
    let list: Vec<i64> = (0..i64::from(VOCAB)).filter(|id| *id != i64::from(missing)).collect();
    let some = model(&list, Dtype::F32, false);
    let skips = ["1..1:4", "1..2:4"]
        .map(|text| text.parse::<Plan>().unwrap().draft().unwrap().skip.clone());
    for drafting in Drafting::ALL {
        let traces =
            |model| trace_text(model, &[7, 8, 9], &text, drafting, &skips, 4, false).unwrap();
        for (some, whole) in traces(&some).iter().zip(traces(&whole)) {
            for (committed, (&some, &whole)) in
                some.accepted.iter().zip(&whole.accepted).enumerate()
            {
                // Tokens after the committed ones, up to the missing one.
                let rest = &text[committed + 1..];
                let room = rest.iter().position(|token| *token == missing);
                let room = room.unwrap_or(rest.len()) as u32;
                assert!(some <= room && some >= whole.min(room), "{some} {whole} {room}");
            }
        }
        let prefix = if drafting == Drafting::Sequential { "seq:" } else { "" };
        for plan in ["1..1:4", "1..2:3", "0..3:2"] {
            assert_eq!(decode(&some, &format!("{prefix}{plan}")), text, "{plan}");
        }
    }
}

/// source: by definition: a distribution over the list, spread over the vocabulary, adds up to 1
#[test]
fn drawn_drafts_come_from_the_list_with_all_of_their_probability() {
    let list = [11, 60, 3, 4];
    let model = model(&list, Dtype::F32, false);
    let plan: Plan = "1..2:4".parse().unwrap();
    let sampling = Sampling::new(1.0, 5).unwrap();
    let mut proposal =
        crate::decode::draft::Proposal::new(Some(sampling), crate::DraftThreshold::OFF, 0);
    let mut cache = model.new_cache(40).unwrap();
    model.full_pass(&[1, 2, 3], &mut cache, &mut Silent).unwrap();
    let draft = plan.draft().unwrap();
    crate::decode::draft::draft(&model, 4, draft, &mut proposal, &mut cache, &mut Silent).unwrap();
    assert_eq!(proposal.tokens.len(), 4);
    for (token, from) in proposal.tokens.iter().zip(&proposal.drawn_from) {
        assert!(list.contains(&i64::from(*token)) && from.probability(*token) > 0.0);
        let all: f64 = list.iter().map(|id| from.probability(*id as u32)).sum();
        assert!((all - 1.0).abs() < 1e-12 && from.probability(5) == 0.0);
    }
}

#[test]
fn less_of_a_list_is_used_where_less_is_asked_for() {
    let list = [50, 40, 30, 20];
    let with = |draft_over| {
        let options = LoadOptions { draft_over, ..LoadOptions::default() };
        let backend = Backend::cpu(1, Isa::detect());
        Model::build(&Listed(list.to_vec()), &config(Some(4)), &options, backend, "test")
    };
    let tokens = |over| with(over).unwrap().draft_tokens().map(<[u32]>::to_vec);
    assert_eq!(tokens(DraftOver::List), Some(vec![20, 30, 40, 50]));
    assert_eq!(tokens(DraftOver::First(2)), Some(vec![40, 50]));
    assert_eq!(tokens(DraftOver::All), None);
    assert!(with(DraftOver::First(5)).is_err());
    let [four, two, all] =
        [DraftOver::List, DraftOver::First(2), DraftOver::All].map(|over| with(over).unwrap());
    assert_eq!((four.shape().draft_vocab, two.shape().draft_vocab), (4, 2));
    // source: by hand: two rows more of 256 weights of 4 bytes, in whole panels of 16 rows
    assert_eq!(four.weight_bytes(), two.weight_bytes());
    assert_eq!(four.weight_bytes() - all.weight_bytes(), 16 * 256 * 4);
    let hashes = [&four, &two, &all].map(|model| model.identity().content_hash);
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
}
