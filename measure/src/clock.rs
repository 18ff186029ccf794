//! The one clock of the project: wall time after the device has finished, and process CPU time.

#[cfg(test)]
pub(crate) mod fake;
pub mod timer;

use crate::Result;
use crate::clock::timer::{ClockTimer, DeviceTimer};
use candle_core::Device;
use rustix::time::{ClockId, clock_gettime};
use s3d_data::Seconds;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads time. Everything that is timed gets its clock as an argument, so that tests bring their own.
pub trait Clock: Sync {
    /// Wall time since the clock was made, read after the device has finished what it was given.
    fn now(&self) -> Seconds;

    /// CPU time that this process has used, over all its threads.
    fn cpu(&self) -> Seconds;

    /// The timer of a device that records events, where there is one.
    fn events(&self) -> Option<Box<dyn DeviceTimer + '_>> {
        None
    }
}

/// What takes the times of components: a device's events, or this clock itself.
pub fn timer(clock: &dyn Clock) -> Box<dyn DeviceTimer + '_> {
    clock.events().unwrap_or_else(|| Box::new(ClockTimer::new(clock)))
}

/// The system's monotonic clock.
pub struct SystemClock {
    start: Instant,
    device: Device,
    /// Used by one pass at a time.
    events: Option<Mutex<Box<dyn DeviceTimer + Send>>>,
}

impl SystemClock {
    /// A clock that starts now and waits for `device` before each reading.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn new(device: &Device) -> Self {
        let events = events_of(device).map(Mutex::new);
        Self { start: Instant::now(), device: device.clone(), events }
    }
}

/// Events of a card; the CPU has none.
fn events_of(device: &Device) -> Option<Box<dyn DeviceTimer + Send>> {
    #[cfg(feature = "cuda")]
    if let Ok(card) = device.as_cuda_device() {
        let events = crate::clock::timer::card::CudaEvents(card.clone());
        return Some(Box::new(crate::clock::timer::EventTimer::new(events)));
    }
    let _ = device;
    None
}

/// A timer in use.
struct Held<'a>(MutexGuard<'a, Box<dyn DeviceTimer + Send>>);

impl DeviceTimer for Held<'_> {
    fn begin(&mut self, marks: usize) -> Result<()> {
        self.0.begin(marks)
    }

    fn mark(&mut self, number: usize) -> Result<()> {
        self.0.mark(number)
    }

    fn read(&mut self) -> Result<Vec<Seconds>> {
        self.0.read()
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new(&Device::Cpu)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Seconds {
        // A device that cannot be waited for reports its error in the next pass, which names it.
        let _ = self.device.synchronize();
        Seconds(self.start.elapsed().as_secs_f64())
    }

    fn cpu(&self) -> Seconds {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Seconds(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
    }

    fn events(&self) -> Option<Box<dyn DeviceTimer + '_>> {
        let events = self.events.as_ref()?;
        // A pass that panicked leaves marks behind, which the next one forgets.
        Some(Box::new(Held(events.lock().unwrap_or_else(PoisonError::into_inner))))
    }
}

/// The smallest step that `clock` shows between two readings in a row, over a few tries.
pub fn resolution(clock: &dyn Clock) -> Seconds {
    let step = |_| {
        let start = clock.now().0;
        (0..1_000_000).map(|_| clock.now().0 - start).find(|&step| step > 0.0)
    };
    Seconds((0..20).filter_map(step).fold(f64::INFINITY, f64::min))
}

/// The date and time now, RFC 3339 in UTC with whole seconds, for headers.
pub fn utc_now() -> String {
    rfc_3339(since_1970().as_secs())
}

/// Seconds since 1970, for chat templates that ask for the date.
pub fn unix_seconds() -> i64 {
    i64::try_from(since_1970().as_secs()).unwrap_or(i64::MAX)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since 1970 as a date (Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`).
fn rfc_3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_date_1() {
        // source: date -u -d @N +%FT%TZ
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc_3339(seconds), text);
        }
    }

    #[test]
    fn the_system_clock_rises() {
        let clock = SystemClock::default();
        let (wall, cpu) = (clock.now(), clock.cpu());
        let step = resolution(&clock);
        assert!(step.0 > 0.0 && step.0.is_finite());
        assert!(clock.now() > wall && clock.cpu() >= cpu && cpu.0 > 0.0);
    }
}
