//! Draft passes that were not timed: a share of the full pass of the same width, or the full passes
//! of a draft model that was timed by itself.

use crate::error::{Error, Result};
use crate::import::pass_times;
use crate::import::setting::Setting;
use crate::plan::{Drafting, Plan, Predictors, SkipWindow};
use crate::records::latency::{Component, LatencySample};
use crate::records::observation::Observation;
use std::path::Path;

/// Draft passes beyond this number would not be looked at.
const MOST: usize = 1_000_000;

/// Draft passes for an import, and what they rest on: the passes of `draft_times`, else a share of
/// the full passes among `observations`. None where draft passes are there, or no full pass is.
///
/// # Errors
/// No full pass over two tokens or more; a window that does not fit.
pub fn added(
    observations: &[Observation],
    draft_times: Option<(&Path, &[Observation])>,
    setting: &Setting,
) -> Result<(Vec<Observation>, Option<String>)> {
    let timed = |component| {
        passes(observations).any(move |sample: &LatencySample| sample.component == component)
    };
    if let Some((file, times)) = draft_times {
        let window = setting.window(file, 1)?;
        let drafts = passes(times).filter_map(|s| draft(s, window, 1.0, setting)).collect();
        let note =
            format!("draft passes are those of {}, written as {window} left out", file.display());
        return Ok((drafts, Some(note)));
    }
    if timed(Component::DraftPass) || !timed(Component::FullPass) {
        return Ok((Vec::new(), None));
    }
    let full: Vec<&LatencySample> =
        passes(observations).filter(|s| s.component == Component::FullPass).collect();
    if full.iter().all(|sample| sample.width < 2) {
        return Err(Error::invalid(NARROW));
    }
    let (windows, note) = shares(setting)?;
    if windows.len().saturating_mul(full.len()) > MOST {
        let message = "too many pass times for every window; give --skip A..B or --draft-share S";
        return Err(Error::invalid(message));
    }
    let of = |(window, share): &(SkipWindow, f64)| {
        let (window, share) = (*window, *share);
        full.iter().filter_map(move |s| draft(s, window, share, setting)).collect::<Vec<_>>()
    };
    Ok((windows.iter().flat_map(of).collect(), Some(note)))
}

const NARROW: &str = "no pass over 2 tokens or more among the times: what a verify pass costs is \
                      not known; time some, such as llama-bench -p 1,2,3,4,5,6,8,9 -n 0 -d 512 -o \
                      jsonl";

fn passes(observations: &[Observation]) -> impl Iterator<Item = &LatencySample> {
    observations.iter().filter_map(|observation| match observation {
        Observation::Latency(sample) => Some(sample),
        _ => None,
    })
}

/// The windows that are looked at, each with the share of a full pass that its draft pass takes.
fn shares(setting: &Setting) -> Result<(Vec<(SkipWindow, f64)>, String)> {
    let layers = setting.layers;
    let kept = |window: &SkipWindow| Ok(1.0 - window.skip_ratio(layers)?.get());
    Ok(match (setting.skip, setting.draft_share) {
        (skip, Some(share)) => {
            let window = skip.map_or_else(|| setting.window(Path::new(""), 1), Ok)?;
            let note = format!(
                "a draft pass is assumed to take {share} of a full pass of the same width; plans \
                 show it as {window}"
            );
            (vec![(window, share)], note)
        }
        (Some(window), None) => {
            let share = kept(&window)?;
            let note =
                "draft passes were not timed: taken as the kept share of layers of a full pass";
            (vec![(window, share)], note.into())
        }
        (None, None) => {
            let windows = SkipWindow::all_symmetric(layers).into_iter();
            let all: Vec<_> =
                windows.map(|window| Ok((window, kept(&window)?))).collect::<Result<_>>()?;
            let note = "draft passes were not timed: taken as the kept share of layers of a full \
                        pass (--draft-share S, or --draft-times FILE for a draft model)";
            (all, note.into())
        }
    })
}

/// A full pass as the draft pass of `window` that takes `share` of it; none that is wider than
/// draft passes are. What is drafted one after the other has passes over one token alone.
fn draft(
    sample: &LatencySample,
    window: SkipWindow,
    share: f64,
    setting: &Setting,
) -> Option<Observation> {
    let predictors = Predictors::new(sample.width).ok()?;
    let drafting = setting.drafting.unwrap_or(Drafting::Simultaneous);
    if drafting == Drafting::Sequential && sample.width > 1 {
        return None;
    }
    let plan = Plan::window(drafting, window, predictors);
    let (width, context, block) = (sample.width, sample.context, sample.block);
    let seconds = sample.seconds * share;
    Some(Observation::Latency(pass_times::sample(Some(plan), width, context, block, seconds)))
}
