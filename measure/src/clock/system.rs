//! The system's clock: wall time after the device has finished, and process CPU time.

use crate::clock::timer::ClockTimer;
use crate::clock::{Clock, DeviceTimer};
use crate::error::Result;
use rustix::time::{ClockId, clock_gettime};
use s3d_data::Seconds;
use s3d_model::device::Device;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

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

/// Events of a card, or timestamps; the CPU has none.
fn events_of(device: &Device) -> Option<Box<dyn DeviceTimer + Send>> {
    #[cfg(feature = "gpu")]
    if let Device::Gpu(gpu) = device {
        return Some(Box::new(crate::clock::timestamps::Timestamps(gpu.clone())));
    }
    #[cfg(feature = "cuda")]
    if let Ok(card) = device.tensors().as_cuda_device() {
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
        let _ = self.device.wait();
        Seconds(self.start.elapsed().as_secs_f64())
    }

    fn cpu(&self) -> Seconds {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Seconds(time.tv_sec as f64) + Seconds::NANOSECOND * time.tv_nsec as f64
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
        let start = clock.now();
        (0..1_000_000).map(|_| clock.now() - start).find(|step| *step > Seconds::ZERO)
    };
    (0..20).filter_map(step).fold(Seconds(f64::INFINITY), Seconds::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_rises() {
        let clock = SystemClock::default();
        let (wall, cpu) = (clock.now(), clock.cpu());
        let step = resolution(&clock);
        assert!(step.0 > 0.0 && step.0.is_finite());
        assert!(clock.now() > wall && clock.cpu() >= cpu && cpu.0 > 0.0);
    }
}
