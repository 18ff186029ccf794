//! The forward pass against its definition, and against itself at other widths.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::naive::Naive;
use common::{adapted, grouped, options, random, rows, sub_layers, tied, window};
use s3d_data::Drafting;
use s3d_model::config::{AdapterConfig, S3dConfig};
use s3d_model::{Mark, Model, ModelConfig, Observer, Silent};

const TEXT: [u32; 21] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 10];

fn assert_close(found: &[f32], exact: &[f64], what: &str) {
    for (found, exact) in found.iter().zip(exact) {
        assert!((f64::from(*found) - exact).abs() < 2e-4, "{what}: {found} {exact}");
    }
}

#[test]
fn a_full_pass_is_the_definition() {
    for (config, seed) in [(grouped(), 1), (tied(), 2)] {
        let (model, naive) = (random(&config, seed), Naive::new(&config, seed));
        let mut cache = model.new_cache(TEXT.len()).unwrap();
        let logits = rows(&model.full_pass(&TEXT, &mut cache, &mut Silent).unwrap());
        let exact = naive.text(&TEXT, &mut naive.empty_cache());
        for (i, (found, exact)) in logits.iter().zip(&exact).enumerate() {
            assert_close(found, exact, &format!("seed {seed}, token {i}"));
        }
    }
}

#[test]
fn a_draft_pass_sees_full_depth_text_and_its_own_reduced_rows() {
    let plain = [(grouped(), 3), (tied(), 4)];
    for (config, seed) in plain.into_iter().chain([(adapted(grouped()), 5), (adapted(tied()), 6)]) {
        let (model, naive) = (random(&config, seed), Naive::new(&config, seed));
        for skip in [window(1, 4), window(0, 2), window(2, 2), window(2, 5), sub_layers()] {
            let mut cache = model.new_cache(40).unwrap();
            model.full_pass(&TEXT, &mut cache, &mut Silent).unwrap();
            let logits = rows(
                &model
                    .draft_pass(Drafting::Simultaneous, 7, 3, &skip, &mut cache, &mut Silent)
                    .unwrap(),
            );
            let mut exact_cache = naive.empty_cache();
            naive.text(&TEXT, &mut exact_cache);
            for (row, found) in [Ok(7), Err(0), Err(1), Err(2)].into_iter().zip(&logits) {
                let exact = naive.step(row, Some(&skip), &mut exact_cache);
                assert_close(found, &exact, &format!("{skip} {row:?}"));
            }
        }
    }
}

/// The logits of `TEXT` when it is fed in pieces of `width` tokens.
fn in_pieces(model: &Model, width: usize) -> Vec<Vec<f32>> {
    let mut cache = model.new_cache(TEXT.len()).unwrap();
    TEXT.chunks(width)
        .flat_map(|piece| rows(&model.full_pass(piece, &mut cache, &mut Silent).unwrap()))
        .collect()
}

#[test]
fn logits_have_the_same_bits_at_every_width_and_thread_count() {
    for config in [grouped(), tied()] {
        let reference = in_pieces(&Model::random(&config, 5, &options(2, 1)).unwrap(), 1);
        for threads in [1, 2, 4] {
            let model = Model::random(&config, 5, &options(2, threads)).unwrap();
            for width in [1, 2, 3, 5, 8, 9, 13, TEXT.len()] {
                assert_eq!(in_pieces(&model, width), reference, "{threads} threads, {width}");
            }
        }
    }
}

#[test]
fn a_prompt_pass_gives_the_last_row_of_a_full_pass() {
    let model = random(&grouped(), 6);
    let (mut one, mut two) = (model.new_cache(30).unwrap(), model.new_cache(30).unwrap());
    let all = rows(&model.full_pass(&TEXT, &mut one, &mut Silent).unwrap());
    let last = rows(&model.prompt_pass(&TEXT, &mut two, &mut Silent).unwrap());
    assert_eq!(last, all[TEXT.len() - 1..]);
    assert_eq!((one.len(), two.len()), (TEXT.len(), TEXT.len()));
}

#[test]
fn logits_after_a_rejection_are_those_of_a_fresh_run() {
    let model = random(&grouped(), 7);
    let mut cache = model.new_cache(60).unwrap();
    model.full_pass(&TEXT, &mut cache, &mut Silent).unwrap();
    model.draft_pass(Drafting::Simultaneous, 1, 7, &window(1, 3), &mut cache, &mut Silent).unwrap();
    cache.truncate(TEXT.len());
    model.full_pass(&[1, 2, 3, 4, 5], &mut cache, &mut Silent).unwrap();
    cache.truncate(TEXT.len() - 4);
    let found = rows(&model.full_pass(&[9, 8], &mut cache, &mut Silent).unwrap());
    let text = [&TEXT[..TEXT.len() - 4], &[9, 8]].concat();
    let mut fresh = model.new_cache(60).unwrap();
    let expected = rows(&model.full_pass(&text, &mut fresh, &mut Silent).unwrap());
    assert_eq!(found, expected[text.len() - 2..]);
}

#[test]
fn a_widened_model_computes_the_same_function() {
    for config in [grouped(), tied()] {
        let narrow = rows_of(&config, 1);
        for widen in [2, 4] {
            for (found, exact) in rows_of(&config, widen).iter().zip(&narrow) {
                let exact: Vec<f64> = exact.iter().copied().map(f64::from).collect();
                assert_close(found, &exact, &format!("widen {widen}"));
            }
        }
        let wide = Model::random(&config, 8, &options(2, 1)).unwrap();
        assert_eq!(wide.shape().hidden, 2 * config.hidden_size);
        assert_eq!(wide.shape().head_dim, config.head_dim());
        assert_eq!(wide.shape().kv_heads, 2 * config.kv_heads());
    }
}

fn rows_of(config: &ModelConfig, widen: usize) -> Vec<Vec<f32>> {
    in_pieces(&Model::random(config, 8, &options(widen, 1)).unwrap(), 4)
}

#[test]
fn the_stock_model_computes_the_same_function() {
    for config in [grouped(), tied()] {
        let model = random(&config, 9);
        for (found, exact) in in_pieces(model.stock().unwrap(), 3).iter().zip(in_pieces(&model, 3))
        {
            let exact: Vec<f64> = exact.into_iter().map(f64::from).collect();
            assert_close(found, &exact, "stock");
        }
    }
}

#[test]
fn an_observer_sees_every_component_that_runs() {
    #[derive(Default)]
    struct Marks(Vec<Mark>);
    impl Observer for Marks {
        fn mark(&mut self, mark: Mark) {
            self.0.push(mark);
        }
    }
    let model = random(&grouped(), 10);
    let (mut cache, mut marks) = (model.new_cache(10).unwrap(), Marks::default());
    model.draft_pass(Drafting::Simultaneous, 1, 0, &window(1, 4), &mut cache, &mut marks).unwrap();
    let (a, m) = (Mark::Attention, Mark::Mlp);
    assert_eq!(marks.0, [Mark::PassStart, Mark::Embed, a(0), m(0), a(4), m(4), Mark::Head]);
}

/// Adapters change draft passes of simultaneous drafting, and nothing else, by a bit; in every form
/// that a model can be run in.
#[test]
fn adapters_act_on_draft_rows_alone() {
    for config in [grouped(), tied()] {
        let (bare, with) = (random(&config, 12), random(&adapted(config.clone()), 12));
        assert_eq!(in_pieces(&with, 5), in_pieces(&bare, 5));
        let draft = |model: &Model, drafting, masks| {
            let mut cache = model.new_cache(40).unwrap();
            model.full_pass(&TEXT, &mut cache, &mut Silent).unwrap();
            let skip = window(1, 4);
            rows(&model.draft_pass(drafting, 7, masks, &skip, &mut cache, &mut Silent).unwrap())
        };
        let at_once = |model: &Model| draft(model, Drafting::Simultaneous, 3);
        let in_turn = |model: &Model| draft(model, Drafting::Sequential, 0);
        assert_eq!(in_turn(&with), in_turn(&bare));
        assert_ne!(at_once(&with), at_once(&bare));
        let adapted = adapted(config);
        let wide = |widen| at_once(&Model::random(&adapted, 12, &options(widen, 2)).unwrap());
        for other in [wide(2), wide(4), at_once(with.stock().unwrap())] {
            for (found, exact) in other.iter().zip(at_once(&with)) {
                let exact: Vec<f64> = exact.into_iter().map(f64::from).collect();
                assert_close(found, &exact, "widened or stock");
            }
        }
    }
}

#[test]
fn bytes_are_those_of_the_weights() {
    let model = Model::random(&ModelConfig::story(), 1, &options(1, 1)).unwrap();
    // source: 12 layers x (256 x 512 + 256 x 256 + 3 x 256 x 768) + 512 x 256 weights of 4 bytes
    let streamed = 4 * (12 * (256 * 512 + 256 * 256 + 3 * 256 * 768) + 512 * 256);
    assert_eq!(model.streamed_bytes(), streamed);
    assert_eq!(model.weight_bytes(), streamed + 4 * (25 * 256 + 7 * 256));
    assert_eq!(model.weight_bytes(), 4 * model.shape().parameters());
    let adapters = Some(AdapterConfig::of_rank(16));
    let s3d = Some(S3dConfig { masks: 7, adapters, ..S3dConfig::default() });
    let config = ModelConfig { s3d, ..ModelConfig::story() };
    let with = Model::random(&config, 1, &options(1, 1)).unwrap();
    // source: 12 layers x rank 16 x (256 + 512 + 256 + 256 + 256 + 1536 + 768 + 256) weights
    assert_eq!(with.weight_bytes() - model.weight_bytes(), 4 * 12 * 16 * 4096);
    assert_eq!(with.streamed_bytes(), streamed);
    assert_eq!(with.weight_bytes(), 4 * with.shape().parameters());
}

#[test]
fn passes_refuse_what_does_not_exist() {
    let model = random(&grouped(), 11);
    let mut cache = model.new_cache(10).unwrap();
    let mut full =
        |tokens: &[u32]| model.full_pass(tokens, &mut cache, &mut Silent).unwrap_err().to_string();
    assert!(full(&[1, 11]).contains("token 11 is outside the vocabulary of 11"));
    assert!(full(&[]).contains("at least one token"));
    assert!(full(&[1; 17]).contains("room for 16"));
    let mut cache = model.new_cache(300).unwrap();
    let error = model.full_pass(&[1; 280], &mut cache, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("200 positions"), "{error}");
    let error = model
        .draft_pass(Drafting::Simultaneous, 1, 8, &window(1, 2), &mut cache, &mut Silent)
        .unwrap_err();
    assert!(error.to_string().contains("mask 8"), "{error}");
}
