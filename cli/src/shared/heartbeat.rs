//! Progress of work whose stages can be long: a bar on a terminal, elsewhere a line every quarter
//! of a minute, so that a log shows what is being done. Nothing with `--quiet`.

use crate::shared::progress::Bar;
use crate::shared::terminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two lines.
const PERIOD: Duration = Duration::from_secs(15);

/// Says what is being done until it is dropped.
pub struct Heartbeat {
    bar: Bar,
    latest: Arc<Mutex<String>>,
    /// The thread that writes lines, and how to end it.
    lines: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Heartbeat {
    /// A bar on a terminal, lines elsewhere.
    pub fn new(quiet: bool) -> Self {
        let latest = Arc::new(Mutex::new(String::new()));
        let talks = !quiet && !terminal::is_interactive();
        let lines = talks.then(|| lines(Arc::clone(&latest), PERIOD, terminal::note));
        Self { bar: Bar::new(quiet), latest, lines: lines.flatten() }
    }

    /// What is being done, and its share of the work.
    pub fn show(&self, fraction: f64, message: String) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&message);
        self.bar.show(fraction, message);
    }

    /// What is being done, with `done` of `all` parts finished.
    pub fn part(&self, done: u64, all: u64, message: String) {
        self.show(done as f64 / all as f64, message);
    }

    /// Says something above the bar, unless `--quiet` is given.
    pub fn above(&self, text: &str) {
        self.bar.above(text);
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.clear();
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.lines.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// A thread that says the latest message once a period.
fn lines(
    latest: Arc<Mutex<String>>,
    period: Duration,
    say: impl Fn(&str) + Send + 'static,
) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = channel::<()>();
    let mut waited = Duration::ZERO;
    let work = move || {
        while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
            waited += period;
            let message = latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if !message.is_empty() {
                say(&format!("{:.0} s  {message}", waited.as_secs_f64()));
            }
        }
    };
    let thread = std::thread::Builder::new().name("heartbeat".into()).spawn(work).ok()?;
    Some((stop, thread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_message_is_said_again_and_again_while_nothing_else_happens() {
        let latest = Arc::new(Mutex::new(String::new()));
        let (said, heard) = channel();
        let say = move |text: &str| drop(said.send(text.to_string()));
        let (stop, thread) = lines(Arc::clone(&latest), Duration::from_millis(5), say).unwrap();
        *latest.lock().unwrap() = "judging".into();
        let words: Vec<String> = heard.iter().take(3).collect();
        assert!(words.iter().all(|line| line.ends_with("s  judging")), "{words:?}");
        drop(stop);
        thread.join().unwrap();
        assert!(heard.iter().count() < 10_000);
    }
}
