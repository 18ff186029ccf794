//! The progress of long work on standard error: what is being measured, the best plan so far, the
//! time left. Nothing where standard error is no terminal or `--quiet` is given.

use crate::shared::terminal;
use indicatif::{ProgressBar, ProgressStyle};
use s3d_data::Share;
use s3d_measure::{Progress, Standing, Update};
use std::ops::ControlFlow;

/// Ticks of a full bar.
const LENGTH: u64 = 1000;

/// A bar, or nothing.
pub struct Bar {
    bar: ProgressBar,
    quiet: bool,
}

impl Bar {
    /// A bar where one can be seen.
    pub fn new(quiet: bool) -> Self {
        if quiet || !terminal::is_interactive() {
            return Self { bar: ProgressBar::hidden(), quiet };
        }
        let bar = ProgressBar::new(LENGTH);
        let template = "{bar:24} {percent:>3}%  {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, quiet }
    }

    /// Shows a share of the work and what is being done.
    pub fn show(&self, fraction: f64, message: String) {
        self.bar.set_position((fraction * LENGTH as f64) as u64);
        self.bar.set_message(message);
    }

    /// Says something above the bar, unless `--quiet` is given.
    pub fn above(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| terminal::note(text));
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn update(&mut self, update: Update<'_>) -> ControlFlow<()> {
        let best = update.standing.map(best).unwrap_or_default();
        let message =
            format!("{:.0} s left  {}: {}{best}", update.left.0, update.stage, update.what);
        self.show(update.fraction, message);
        ControlFlow::Continue(())
    }

    fn note(&mut self, text: &str) {
        self.above(text);
    }
}

/// The best plan so far, in words.
fn best(standing: &Standing) -> String {
    let width = standing.half_width.map(|width| format!(", within {}", Share(width)));
    match (&standing.best, &standing.speedup) {
        (Some(plan), Some(speedup)) => {
            format!("  best so far {plan}: {speedup}{}", width.unwrap_or_default())
        }
        (Some(plan), None) => format!("  best so far {plan}"),
        _ => String::new(),
    }
}
