//! What was imposed or derived and not measured, and how texts were drawn, in words, wherever a
//! number of it is shown.

use s3d_data::{Drawn, Recommendation, RunHeader, TimesFrom};

/// What the numbers of a recommendation rest on that was not measured, or that is not greedy, if
/// anything: words that go behind "with", for every headline, figure and table.
pub(crate) fn caveat(recommendation: &Recommendation) -> Option<String> {
    let derived = (recommendation.times_from() == TimesFrom::DataSheet)
        .then(|| "times derived from a data sheet".to_string());
    let imposed = imposed_words(recommendation.imposed.as_deref());
    let drawn = recommendation.sampling.as_ref().map(drawn_words);
    let words: Vec<String> = derived.into_iter().chain(imposed).chain(drawn).collect();
    (!words.is_empty()).then(|| words.join(" and "))
}

/// `imposed acceptance (0.9, 0.8, then 0.7)`, where acceptance was imposed.
pub(crate) fn imposed_words(rates: Option<&[f64]>) -> Option<String> {
    let (last, before) = rates?.split_last()?;
    let before: String = before.iter().map(|rate| format!("{rate}, ")).collect();
    let then = if before.is_empty() { "" } else { "then " };
    Some(format!("imposed acceptance ({before}{then}{last})"))
}

/// `tokens drawn at temperature 0.8, top-p 0.95`.
pub(crate) fn drawn_words(drawn: &Drawn) -> String {
    format!("tokens drawn at {drawn}")
}

/// `, at temperature 0.8`; nothing of greedy texts.
pub(crate) fn at_temperature(drawn: Option<&Drawn>) -> String {
    drawn.map_or(String::new(), |drawn| format!(", at {drawn}"))
}

/// What a reader must know first when nothing was timed.
pub(super) fn derived(header: &RunHeader) -> Option<String> {
    let warning = "Times are derived from a data sheet, not measured.";
    (header.times_from() == TimesFrom::DataSheet).then(|| warning.into())
}

/// What a reader must know first when the CPU played the device.
pub(super) fn software(header: &RunHeader) -> Option<String> {
    let mut adapters = header.machines.iter().filter_map(|machine| machine.adapter.as_ref());
    let software = adapters.find(|adapter| adapter.software)?;
    Some(format!(
        "Software Vulkan ({}): its times say nothing about a GPU.",
        s3d_data::quote::message(&software.name)
    ))
}
