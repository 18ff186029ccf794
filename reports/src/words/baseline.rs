//! Whether plain decoding, the measure of every speedup, was a fair opponent.

use crate::input::ReportInput;
use crate::words::verdict::rate;
use crate::words::warnings::shared_machine;
use s3d_data::{MemoryItem, Share};
use s3d_simulator::choose::baseline::Judgement;

/// What a reader must know of plain decoding, one sentence each.
pub fn sentences(input: &ReportInput) -> Vec<String> {
    let baseline = &input.recommendation.baseline;
    let mut sentences = Vec::new();
    sentences.extend(bandwidth(input));
    sentences.extend(baseline.stock_tokens_per_s.zip(baseline.tokens_per_s).map(
        |(stock, plain)| {
            format!(
                "Plain decoding with candle's stock matmul: {} tokens/s; with ours, which every \
                 speedup is measured against: {} tokens/s.",
                rate(stock),
                rate(plain)
            )
        },
    ));
    sentences.extend(width(input));
    if input.header.widen > 1 {
        sentences.push(format!(
            "The model ran widened x{} (Net2Net: the same function, more weights), so that its \
             weights are streamed from memory as those of a larger model are.",
            input.header.widen
        ));
    }
    if input.header.model.random_weights {
        sentences.push("The weights are random: times are real, acceptance means nothing.".into());
    }
    sentences
}

fn bandwidth(input: &ReportInput) -> Option<String> {
    let share = input.recommendation.baseline.bandwidth_share?;
    let machine = input.header.machines.first()?;
    let rate = machine.read_bytes_per_s.map(|rate| format!(" ({rate})")).unwrap_or_default();
    let interval =
        share.interval().map(|(low, high)| format!(" [{}, {}]", Share(low), Share(high)));
    let shares = format!("{}{}", Share(share.value), interval.unwrap_or_default());
    let cache = machine.last_level_cache();
    let weights =
        input.memory.iter().find(|row| row.item == MemoryItem::Weights).map(|row| row.bytes);
    let judgement = match Judgement::new(share.value, weights, cache) {
        Judgement::Cached => format!(
            "; the weights ({}) are partly in the last-level cache ({cache}), so the share is not \
             judged",
            weights.unwrap_or_default()
        ),
        Judgement::Impossible => {
            "; above 105 %, so the bandwidth was measured too low: measure again on an idle machine"
                .into()
        }
        Judgement::Slow if shared_machine(&input.header) => {
            "; other programs took a part of the machine, so the share is not judged".into()
        }
        Judgement::Slow => {
            "; below 70 %: a faster plain path exists, and speedups over it would be smaller".into()
        }
        Judgement::Fair => String::new(),
    };
    Some(format!(
        "Plain decoding streams its weights at {shares} of the machine's measured read \
         bandwidth{rate}{judgement}."
    ))
}

fn width(input: &ReportInput) -> Option<String> {
    let ratios = &input.fit.as_ref()?.width_ratio;
    let choice = input.recommendation.choice.as_ref().map(|choice| choice.predictors + 1);
    let mut widths = vec![5];
    widths.extend(choice.filter(|width| *width != 5));
    let words: Vec<_> = widths
        .into_iter()
        .filter_map(|width| ratios.iter().find(|(w, _)| *w == width))
        .map(|(width, ratio)| format!("t({width})/t(1) = {ratio:#}"))
        .collect();
    (!words.is_empty()).then(|| {
        format!(
            "What a full pass over several tokens costs, in passes over one: {}.",
            words.join(", ")
        )
    })
}
