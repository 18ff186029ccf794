//! Files as engines write them: small ones of our own, in the forms of their sources, with values
//! worked out by hand.

use crate::import::kind::Kind;
use crate::import::setting::{Found, Setting};
use crate::import::{kind_of, parse};
use crate::plan::{Drafting, Plan, Predictors, SkipWindow};
use crate::records::latency::LatencySample;
use crate::records::observation::Observation;
use crate::records::throughput::ThroughputSample;
use crate::records::trace::{AcceptanceCounts, Trace};
use std::path::Path;

fn setting() -> Setting {
    Setting {
        drafting: Some(Drafting::Sequential),
        skip: Some(SkipWindow::new(8, 24).unwrap()),
        ..Setting::new(32, Predictors::of::<8>(), 256)
    }
}

/// Recognises a file under a name that says nothing, and reads it.
fn read_with(kind: Kind, text: &str, setting: &Setting) -> Result<Found, String> {
    let file = Path::new("output.txt");
    assert_eq!(kind_of(text.as_bytes(), file).unwrap(), kind);
    parse(text.as_bytes(), kind, file, setting).map_err(|e| e.to_string())
}

fn read(kind: Kind, text: &str) -> Found {
    read_with(kind, text, &setting()).unwrap()
}

fn passes(found: &Found) -> Vec<(usize, usize, usize, f64)> {
    let pass = |s: &LatencySample| (s.width, s.context, s.block, s.seconds.0);
    let of = |entry: &Observation| match entry {
        Observation::Latency(sample) => Some(pass(sample)),
        _ => None,
    };
    found.observations.iter().filter_map(of).collect()
}

fn traces(found: &Found) -> Vec<&Trace> {
    let mut all = Vec::new();
    for entry in &found.observations {
        if let Observation::Trace(trace) = entry {
            all.push(trace);
        }
    }
    all
}

fn generations(found: &Found) -> Vec<&ThroughputSample> {
    let mut all = Vec::new();
    for entry in &found.observations {
        if let Observation::Throughput(sample) = entry {
            all.push(sample);
        }
    }
    all
}

/// Walks a trace with as many drafts as it was logged with.
fn counts(trace: &Trace) -> AcceptanceCounts {
    let predictors = trace.counted_drafts.unwrap().get();
    let mut counts = AcceptanceCounts::new(predictors);
    let mut position = 0;
    while position + 1 < trace.accepted.len() {
        let accepted = (trace.accepted[position] as usize).min(predictors);
        counts.record(accepted);
        position += accepted + 1;
    }
    counts
}

fn close(found: &[(usize, usize, usize, f64)], wanted: &[(usize, usize, usize, f64)]) {
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    for (a, b) in found.iter().zip(wanted) {
        assert_eq!((a.0, a.1, a.2), (b.0, b.1, b.2));
        assert!((a.3 / b.3 - 1.0).abs() < 1e-9, "{a:?} {b:?}");
    }
}

const LLAMA_JSONL: &str = r#"
{"build_commit":"8cf427ff","build_number":5163,"cpu_info":"a processor","gpu_info":"","backends":"CPU","model_type":"llama 7B Q4_0","n_threads":8,"n_ubatch":512,"n_prompt":4,"n_gen":0,"n_depth":256,"avg_ns":130000000,"stddev_ns":1,"samples_ns":[120000000,140000000],"samples_ts":[33.3,28.6]}
ggml_cuda_init: some line of a log
{"build_commit":"8cf427ff","build_number":5163,"cpu_info":"a processor","gpu_info":"","backends":"CPU","model_type":"llama 7B Q4_0","n_threads":8,"n_ubatch":512,"n_prompt":0,"n_gen":32,"n_depth":256,"avg_ns":3200000000,"stddev_ns":1,"samples_ns":[3200000000,3520000000],"samples_ts":[10,9.1]}
{"build_commit":"8cf427ff","build_number":5163,"cpu_info":"a processor","gpu_info":"","backends":"CPU","model_type":"llama 7B Q4_0","n_threads":8,"n_ubatch":512,"n_prompt":512,"n_gen":0,"n_depth":0,"avg_ns":9,"stddev_ns":1,"samples_ns":[9],"samples_ts":[1]}
"#;

#[test]
fn llama_bench_gives_times_of_passes_by_width_depth_and_repetition() {
    let found = read(Kind::LlamaBench, LLAMA_JSONL);
    // source: by hand: pp4 is one pass of 0.12 s and 0.14 s at 257 tokens; tg32 is 32 passes, 0.1 s
    // and 0.11 s each, at 256 + 16 tokens in the mean. pp512 is wider than any verify pass.
    let wanted = [(4, 257, 0, 0.12), (4, 257, 1, 0.14), (1, 272, 0, 0.1), (1, 272, 1, 0.11)];
    close(&passes(&found), &wanted);
    let facts = &found.facts;
    assert_eq!(facts.model.as_deref(), Some("llama 7B Q4_0"));
    assert_eq!((facts.machine.as_deref(), facts.threads), (Some("a processor"), Some(8)));
    assert_eq!(facts.dtype.as_deref(), Some("q4_0"));
    assert!(facts.notes.iter().any(|note| note.contains("build 8cf427ff (5163)")), "{facts:?}");
    assert!(facts.notes.iter().any(|note| note.contains("pp512")), "{facts:?}");
}

#[test]
fn llama_bench_reads_alike_as_json_as_csv_and_as_drawn() {
    let json = r#"[
  {"model_type":"m","n_threads":4,"n_prompt":2,"n_gen":0,"n_depth":0,"avg_ns":200000000,"samples_ns":[200000000]},
  {"model_type":"m","n_threads":4,"n_prompt":0,"n_gen":10,"n_depth":0,"avg_ns":1000000000,"samples_ns":[1000000000]}
]"#;
    let csv = "build_commit,model_type,n_threads,n_prompt,n_gen,n_depth,avg_ns,stddev_ns,avg_ts,stddev_ts\n\
               \"8c\",\"m\",\"4\",\"2\",\"0\",\"0\",\"200000000\",\"1\",\"10\",\"1\"\n\
               \"8c\",\"m\",\"4\",\"0\",\"10\",\"0\",\"1000000000\",\"1\",\"10\",\"1\"\n";
    let drawn = "\
| model | size | params | backend | threads | test | t/s |
| ----- | ---: | -----: | ------- | ------: | ---- | --: |
| m     | 1 GiB | 6.74 B | CPU    |       4 |  pp2 | 10.00 ± 0.10 |
| m     | 1 GiB | 6.74 B | CPU    |       4 | tg10 | 10.00 ± 0.20 |

build: 8cf427ff (5163)
";
    // source: by hand: 2 tokens at 10 tokens/s are a pass of 0.2 s; a token of tg takes 0.1 s.
    let wanted = [(2, 1, 0, 0.2), (1, 5, 0, 0.1)];
    for text in [json, csv, drawn] {
        close(&passes(&read(Kind::LlamaBench, text)), &wanted);
    }
    let depth = drawn.replace("pp2 |", "pp 2 @ d512 |");
    assert_eq!(passes(&read(Kind::LlamaBench, &depth))[0].1, 513);
}

#[test]
fn rows_of_several_settings_are_refused_until_one_is_kept() {
    let eight = LLAMA_JSONL.lines().nth(1).unwrap();
    let text = format!("{eight}\n{}\n", eight.replace("\"n_threads\":8", "\"n_threads\":4"));
    let message = read_with(Kind::LlamaBench, &text, &setting()).unwrap_err();
    assert!(message.contains("line 2") && message.contains("--only 'n_threads=4'"), "{message}");
    let only = vec![("n_threads".to_string(), "4".to_string())];
    let kept = read_with(Kind::LlamaBench, &text, &Setting { only, ..setting() }).unwrap();
    assert_eq!(kept.facts.threads, Some(4));
    let wide = eight.replace("\"n_prompt\":4", "\"n_prompt\":512");
    let message = read_with(Kind::LlamaBench, &wide, &setting()).unwrap_err();
    assert!(message.contains("-p 1,2,3,4"), "{message}");
}

#[test]
fn batched_bench_gives_passes_over_as_many_sequences() {
    let json = r#"{"n_kv_max": 4096, "n_batch": 2048, "is_pp_shared": 0, "n_threads": 8, "n_threads_batch": 8, "pp": 128, "tg": 64, "pl": 1, "n_kv": 192, "t_pp": 0.1, "speed_pp": 1280.0, "t_tg": 1.28, "speed_tg": 50.0, "t": 1.38, "speed": 139.1}
{"n_kv_max": 4096, "n_batch": 2048, "is_pp_shared": 0, "n_threads": 8, "n_threads_batch": 8, "pp": 128, "tg": 64, "pl": 4, "n_kv": 768, "t_pp": 0.1, "speed_pp": 1280.0, "t_tg": 1.92, "speed_tg": 133.3, "t": 2.02, "speed": 139.1}
"#;
    let drawn = "
main: n_kv_max = 4096, n_batch = 2048, n_ubatch = 512, flash_attn = 0, is_pp_shared = 0, n_gpu_layers = 99, n_threads = 8, n_threads_batch = 8

|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |
|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|
|   128 |     64 |    1 |    192 |    0.100 |  1280.00 |    1.280 |    50.00 |    1.380 |   139.10 |
|   128 |     64 |    4 |    768 |    0.400 |  1280.00 |    1.920 |   133.30 |    2.320 |   331.00 |
";
    for text in [json, drawn] {
        let found = read(Kind::BatchedBench, text);
        // source: by hand: 64 passes in 1.28 s and 1.92 s, 128 + 32 tokens in the mean
        close(&passes(&found), &[(1, 160, 0, 0.02), (4, 160, 0, 0.03)]);
        assert_eq!(found.facts.threads, Some(8));
    }
}

#[test]
fn vllm_counts_by_position_from_log_metrics_and_requests() {
    let log = "INFO 07-01 12:00:00 [loggers.py:123] Engine 000: Avg prompt throughput: 1.0 tokens/s\n\
        INFO 07-01 12:00:00 [metrics.py:86] SpecDecoding metrics: Mean acceptance length: 2.40, Accepted \
        throughput: 14.00 tokens/s, Drafted throughput: 20.00 tokens/s, Accepted: 140 tokens, Drafted: 200 \
        tokens, Per-position acceptance rate: 0.800, 0.600, Avg Draft acceptance rate: 70.0%\n";
    let metrics = "# HELP vllm:spec_decode_num_drafts_total Number of spec decoding drafts.\n\
        # TYPE vllm:spec_decode_num_drafts_total counter\n\
        vllm:spec_decode_num_drafts_total{engine=\"0\",model_name=\"m\"} 100.0\n\
        vllm:spec_decode_num_drafts_created{engine=\"0\",model_name=\"m\"} 1.78e+09\n\
        vllm:spec_decode_num_accepted_tokens_per_pos_total{engine=\"0\",model_name=\"m\",position=\"0\"} 80.0\n\
        vllm:spec_decode_num_accepted_tokens_per_pos_total{engine=\"0\",model_name=\"m\",position=\"1\"} 60.0\n";
    // Exactly 0, 1 and 2 of 2 drafts: 20, 20 and 60 iterations.
    let requests = r#"{"id":"a","model":"m","choices":[],"metrics":{"speculative_decoding":{"acceptance_histogram":[20,20,60],"num_spec_steps":100,"num_spec_tokens":2}}}"#;
    // source: by hand: 200 drafted tokens in drafts of 2 are 100 iterations: 80 accepted the first
    // draft, 60 the second as well.
    let wanted = AcceptanceCounts { attempted: vec![100, 80], accepted: vec![80, 60] };
    let kinds = [Kind::VllmLog, Kind::VllmMetrics, Kind::VllmRequests];
    for (kind, text) in kinds.into_iter().zip([log, metrics, requests]) {
        let found = read(kind, text);
        let [trace] = traces(&found)[..] else { panic!("{kind:?}") };
        assert_eq!(counts(trace), wanted, "{kind:?}");
        assert_eq!((trace.drafting, trace.skip_start), (Some(Drafting::Sequential), Some(8)));
        let unsaid = Setting { drafting: None, ..setting() };
        assert!(read_with(kind, text, &unsaid).unwrap_err().contains("--drafting"), "{kind:?}");
        let nowhere = Setting { skip: None, ..setting() };
        assert!(read_with(kind, text, &nowhere).unwrap_err().contains("--draft-share"), "{kind:?}");
    }
    let rising = log.replace("0.800, 0.600", "0.600, 0.800");
    assert!(read_with(Kind::VllmLog, &rising, &setting()).unwrap_err().contains("line 2"));
    assert_eq!(read(Kind::VllmMetrics, metrics).facts.model.as_deref(), Some("m"));
}

#[test]
fn answers_of_spec_bench_and_swift_give_iterations_in_order_and_wall_times() {
    let eagle = r#"{"question_id":81,"category":"writing","answer_id":"x","model_id":"eagle","choices":[{"index":0,"turns":["a","b"],"decoding_steps":[2,1],"new_tokens":[5,1],"wall_time":[0.4,0.1],"accept_lengths":[3,2,1]}],"tstamp":1.0}
{"question_id":82,"category":"math","answer_id":"y","model_id":"eagle","choices":[{"index":0,"turns":["c"],"decoding_steps":[1],"new_tokens":[2],"wall_time":[0.2],"accept_lengths":[2]}],"tstamp":1.0}
"#;
    let found = read(Kind::AcceptLengths, eagle);
    let all = traces(&found);
    assert_eq!(all.len(), 2);
    // source: by hand: iterations that accepted 2, 1 and 0 drafts
    assert_eq!(all[0].accepted, [2, 1, 0, 1, 0, 0, 0]);
    assert_eq!((all[0].id.as_str(), all[0].task.as_deref()), ("81", Some("writing")));
    assert_eq!(all[0].gamma_max.map(Predictors::get), Some(2), "the most that was accepted");
    let sample = generations(&found)[0].clone();
    assert_eq!(
        (sample.tokens, sample.iterations, sample.plan.to_string()),
        (6, 3, "seq:8..24:2".into())
    );
    assert!((sample.seconds.0 - 0.5).abs() < 1e-12);
    let longer = Setting { draft_length: Some(4), ..setting() };
    let found = read_with(Kind::AcceptLengths, eagle, &longer).unwrap();
    assert_eq!(traces(&found)[0].gamma_max.map(Predictors::get), Some(4));
    // The baseline of the same questions: plain decoding.
    let plain = eagle
        .replace("[3,2,1]", "[1,1,1,1,1,1]")
        .replace("\"accept_lengths\":[2]", "\"accept_lengths\":[1,1]");
    let found = read(Kind::AcceptLengths, &plain);
    assert!(traces(&found).is_empty());
    assert!(generations(&found).iter().all(|sample| sample.plan == Plan::Plain));
    // SWIFT's last line says which sub-layers were skipped.
    let swift = r#"{"model_id":"swift","choices":[{"turns":"a","decoding_steps":[2],"new_tokens":[4],"wall_time":[0.4],"accept_lengths":[3,1],"acceptance_rate":0.5}],"tstamp":1.0}
{"Mean accepted tokens":2.0,"Token acceptance rate":0.5,"Best Skip Ratio":0.1,"Best Attn Layer Set":[3,5],"Best MLP Layer Set":[4]}
"#;
    let found = read(Kind::AcceptLengths, swift);
    let set = traces(&found)[0].skip_set.clone().unwrap();
    assert_eq!((set.attention, set.mlp), (vec![3, 5], vec![4]));
    let wrong = eagle.replace("[3,2,1]", "[3,0,1]");
    assert!(read_with(Kind::AcceptLengths, &wrong, &setting()).unwrap_err().contains("line 1"));
}

#[test]
fn llama_spec_bench_gives_counts_by_position_and_times() {
    let text = r#"llama_model_loader: a line of a log
{"row_type":"attempt","task":"code","run":1,"ok":true,"stop":"limit","generated":240,"decode_s":4.0,"decode_tps":60.0,"stages":[{"type":"mtp","drafts":100,"draft_tokens":200,"accepted":140,"drafted_by_position":[100,100],"accepted_by_position":[80,60]}],"error":null}
{"row_type":"attempt","task":"story","run":1,"ok":false,"stop":"fail","generated":0,"decode_s":0.0,"stages":[],"error":"x"}
{"row_type":"summary","attempts":2,"generated":240,"decode_s":4.0,"speculative":{"stages":[]}}
"#;
    let found = read(Kind::IkSpecBench, text);
    let wanted = AcceptanceCounts { attempted: vec![100, 80], accepted: vec![80, 60] };
    assert_eq!(counts(traces(&found)[0]), wanted);
    let [sample] = generations(&found)[..] else { panic!("{found:?}") };
    // source: by hand: 240 tokens, 140 of them drafts, in 100 iterations
    assert_eq!((sample.tokens, sample.iterations, sample.seconds.0), (240, 100, 4.0));
    assert_eq!(sample.plan.to_string(), "seq:8..24:2");
    let base = r#"{"row_type":"attempt","task":"code","run":1,"ok":true,"stop":"limit","generated":240,"decode_s":6.0,"decode_tps":40.0,"stages":[],"error":null}"#;
    assert_eq!(generations(&read(Kind::IkSpecBench, base))[0].plan, Plan::Plain);
}

#[test]
fn sweeps_of_means_become_generations() {
    let sglang = r#"{"batch_size": 1, "steps": 0, "topk": 0, "num_draft_tokens": 0, "acc_length": 1.0, "step_time": 0.02, "speed": 50.0, "completion_tokens": 512.0}
{"batch_size": 1, "steps": 3, "topk": 1, "num_draft_tokens": 4, "acc_length": 2.5, "step_time": 0.025, "speed": 100.0, "completion_tokens": 512.0}
{"batch_size": 1, "steps": 3, "topk": 4, "num_draft_tokens": 8, "acc_length": 2.9, "step_time": 0.03, "speed": 96.0, "completion_tokens": 512.0}
{"batch_size": 8, "steps": 0, "topk": 0, "num_draft_tokens": 0, "acc_length": 1.0, "step_time": 0.03, "speed": 33.0, "completion_tokens": 512.0}
"#;
    let found = read(Kind::SglangBench, sglang);
    let rows: Vec<_> = generations(&found)
        .iter()
        .map(|s| (s.plan.to_string(), s.tokens, s.iterations, s.seconds.0))
        .collect();
    let wanted =
        [("plain".to_string(), 1001, 1000, 20.0), ("seq:8..24:3".into(), 2501, 1000, 25.0)];
    assert_eq!(rows, wanted);
    assert!(found.facts.notes.iter().any(|note| note.contains("1 rows of trees")), "{found:?}");
    let csv = "exit_layer,num_speculations,acceptance_rate,total_time,time_per_token,tokens_per_second\n\
               8,4,0.5,1.0,0.02,50.0\n";
    let found = read(Kind::LayerSkipSweep, csv);
    let [sample] = generations(&found)[..] else { panic!("{found:?}") };
    // source: by hand: 4 drafts of which half are accepted: 3 tokens an iteration, 0.06 s
    assert_eq!((sample.plan.to_string(), sample.tokens), ("seq:8..32:4".to_string(), 3001));
    assert!((sample.seconds.0 - 60.0).abs() < 1e-9);
    let beyond = csv.replace("\n8,", "\n32,");
    assert!(
        read_with(Kind::LayerSkipSweep, &beyond, &setting())
            .unwrap_err()
            .contains("expected 1 to 31")
    );
}
