//! Times between the components of a pass: read from the clock, or from events that a device
//! records while it works.
//!
//! Reading a clock means to wait for the device, which a pass over a card must not do at every
//! component. There, events made beforehand are recorded into the stream of work, and read after
//! the pass.

use crate::clock::{Clock, DeviceTimer};
use crate::error::{Error, Result};
use s3d_data::Seconds;

/// Marks by reading a clock.
pub struct ClockTimer<'c> {
    clock: &'c dyn Clock,
    times: Vec<Seconds>,
}

impl<'c> ClockTimer<'c> {
    /// A timer that reads `clock`.
    pub fn new(clock: &'c dyn Clock) -> Self {
        Self { clock, times: Vec::new() }
    }
}

impl DeviceTimer for ClockTimer<'_> {
    fn begin(&mut self, marks: usize) -> Result<()> {
        self.times.clear();
        self.times.reserve(marks);
        Ok(())
    }

    fn mark(&mut self, number: usize) -> Result<()> {
        in_turn(number, self.times.len())?;
        self.times.push(self.clock.now());
        Ok(())
    }

    fn read(&mut self) -> Result<Vec<Seconds>> {
        let first = self.times.first().copied().unwrap_or_default();
        Ok(self.times.iter().map(|time| *time - first).collect())
    }
}

fn in_turn(number: usize, expected: usize) -> Result<()> {
    match number == expected {
        true => Ok(()),
        false => Err(Error::invalid(format!("mark {number} was taken where {expected} was due"))),
    }
}

/// Events of a device.
pub trait Events {
    /// Something that can be recorded into the stream of work, again and again.
    type Event;

    /// Makes an event.
    ///
    /// # Errors
    /// When the device refuses.
    fn make(&self) -> Result<Self::Event>;

    /// Records `event` behind the work given so far, without waiting.
    ///
    /// # Errors
    /// When the device refuses.
    fn record(&self, event: &Self::Event) -> Result<()>;

    /// Waits for all work given so far.
    ///
    /// # Errors
    /// When some of it failed.
    fn synchronize(&self) -> Result<()>;

    /// Time from one recorded event to a later one, both of which the device has passed.
    ///
    /// # Errors
    /// When one was not recorded.
    fn elapsed(&self, from: &Self::Event, to: &Self::Event) -> Result<Seconds>;
}

/// Marks by recording events.
pub struct EventTimer<E: Events> {
    device: E,
    events: Vec<E::Event>,
    prepared: usize,
    recorded: usize,
}

impl<E: Events> EventTimer<E> {
    /// A timer on `device`; its events are made when a pass begins, and used again by the next.
    pub fn new(device: E) -> Self {
        Self { device, events: Vec::new(), prepared: 0, recorded: 0 }
    }
}

impl<E: Events> DeviceTimer for EventTimer<E> {
    fn begin(&mut self, marks: usize) -> Result<()> {
        while self.events.len() < marks {
            self.events.push(self.device.make()?);
        }
        (self.prepared, self.recorded) = (marks, 0);
        Ok(())
    }

    fn mark(&mut self, number: usize) -> Result<()> {
        in_turn(number, self.recorded)?;
        let event =
            self.events.get(number).filter(|_| number < self.prepared).ok_or_else(|| {
                Error::invalid(format!("mark {number} of a pass of {} marks", self.prepared))
            })?;
        self.device.record(event)?;
        self.recorded += 1;
        Ok(())
    }

    fn read(&mut self) -> Result<Vec<Seconds>> {
        if self.recorded == 0 {
            return Ok(Vec::new());
        }
        self.device.synchronize()?;
        let mut times = vec![Seconds(0.0)];
        for pair in self.events[..self.recorded].windows(2) {
            let gap = self.device.elapsed(&pair[0], &pair[1])?;
            times.push(times.last().copied().unwrap_or_default() + gap);
        }
        Ok(times)
    }
}

/// Events of an NVIDIA card. Type-checked; not run on a card yet.
#[cfg(feature = "cuda")]
pub mod card {
    use super::Events;
    use crate::error::{Error, Result};
    use candle_core::CudaDevice;
    use candle_core::cuda_backend::cudarc::driver::{CudaEvent, DriverError, sys::CUevent_flags};
    use s3d_data::Seconds;

    /// Events in the stream of a card.
    pub struct CudaEvents(pub CudaDevice);

    fn told<T>(outcome: std::result::Result<T, DriverError>) -> Result<T> {
        outcome.map_err(|e| Error::invalid(format!("the card's events fail: {e}")))
    }

    impl Events for CudaEvents {
        type Event = CudaEvent;

        fn make(&self) -> Result<CudaEvent> {
            // Without a flag cudarc makes events that take no time.
            let flags = Some(CUevent_flags::CU_EVENT_DEFAULT);
            told(self.0.cuda_stream().context().new_event(flags))
        }

        fn record(&self, event: &CudaEvent) -> Result<()> {
            told(event.record(&self.0.cuda_stream()))
        }

        fn synchronize(&self) -> Result<()> {
            told(self.0.cuda_stream().synchronize())
        }

        fn elapsed(&self, from: &CudaEvent, to: &CudaEvent) -> Result<Seconds> {
            let milliseconds = told(from.elapsed_ms(to))?;
            Ok(Seconds::MILLISECOND * f64::from(milliseconds))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::fake::{FakeClock, FakeEvents, Faults};

    #[test]
    fn events_are_made_before_recorded_in_turn_and_read_after_one_wait() {
        let device = FakeEvents::default();
        let mut timer = EventTimer::new(&device);
        for pass in 0..3 {
            timer.begin(3).unwrap();
            for (number, seconds) in [0.5, 1.0, 2.0].into_iter().enumerate() {
                device.launch(seconds);
                timer.mark(number).unwrap();
            }
            device.launch(4.0); // what comes after the last mark is nobody's
            let times = timer.read().unwrap();
            assert_eq!(times, [Seconds(0.0), Seconds(1.0), Seconds(3.0)], "pass {pass}");
        }
        let of_a_pass = "record record record wait elapsed elapsed";
        let calls = format!("make make make {of_a_pass} {of_a_pass} {of_a_pass}");
        assert_eq!(device.calls(), calls, "made once, used again; one wait for a pass");
    }

    #[test]
    fn a_pass_may_be_shorter_or_longer_than_the_one_before() {
        let device = FakeEvents::default();
        let mut timer = EventTimer::new(&device);
        for marks in [2, 1, 0, 4] {
            timer.begin(marks).unwrap();
            for number in 0..marks {
                device.launch(1.0);
                timer.mark(number).unwrap();
            }
            assert_eq!(timer.read().unwrap().len(), marks);
        }
        assert_eq!(device.calls().matches("make").count(), 4);
    }

    #[test]
    fn marks_out_of_turn_are_refused() {
        let device = FakeEvents::default();
        let clock = FakeClock::new(Faults::default(), 0);
        let timers: [Box<dyn DeviceTimer + '_>; 2] =
            [Box::new(EventTimer::new(&device)), Box::new(ClockTimer::new(&clock))];
        for mut timer in timers {
            timer.begin(3).unwrap();
            timer.mark(0).unwrap();
            assert!(timer.mark(0).unwrap_err().to_string().contains("1 was due"));
            assert!(timer.mark(2).is_err());
            timer.mark(1).unwrap();
            assert_eq!(timer.read().unwrap().len(), 2);
        }
        let mut timer = EventTimer::new(&device);
        timer.begin(1).unwrap();
        timer.mark(0).unwrap();
        assert!(timer.mark(1).unwrap_err().to_string().contains("pass of 1 marks"));
        // A failed pass leaves nothing behind.
        timer.begin(1).unwrap();
        timer.mark(0).unwrap();
        assert_eq!(timer.read().unwrap(), [Seconds(0.0)]);
    }

    #[test]
    fn an_event_read_before_the_device_has_passed_it_is_an_error() {
        let device = FakeEvents::default();
        let device = &device;
        let (from, to) = (device.make().unwrap(), device.make().unwrap());
        device.record(&from).unwrap();
        device.launch(1.0);
        device.record(&to).unwrap();
        assert!(
            device.elapsed(&from, &to).is_err(),
            "the fake would show a timer that forgets to wait"
        );
        device.synchronize().unwrap();
        assert_eq!(device.elapsed(&from, &to).unwrap(), Seconds(1.0));
    }
}
