//! The memory pool of a device: what tensors take, to the byte, and the most that they took.

use crate::error::Result;
use s3d_data::Bytes;

/// Memory of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Free now.
    pub free: Bytes,
    /// All there is.
    pub total: Bytes,
}

/// A pool that gives out the memory of a device in the order of its stream.
pub trait Pool {
    /// Waits until the device has done all that it was given: gauges are exact then.
    ///
    /// # Errors
    /// When the device fails.
    fn finish(&self) -> Result<()>;

    /// Bytes that are given out.
    ///
    /// # Errors
    /// When the driver does not tell.
    fn used(&self) -> Result<u64>;

    /// The most bytes that were given out at once since the last [`Self::reset_high`].
    ///
    /// # Errors
    /// When the driver does not tell.
    fn high(&self) -> Result<u64>;

    /// Lets [`Self::high`] begin again at what is given out now.
    ///
    /// # Errors
    /// When the driver refuses.
    fn reset_high(&self) -> Result<()>;

    /// Makes the pool keep what is given back to it: no memory is asked of the driver twice.
    ///
    /// # Errors
    /// When the driver refuses.
    fn keep_all(&self) -> Result<()>;

    /// The driver's view: everything on the card counts, other programs too.
    ///
    /// # Errors
    /// When the driver does not tell.
    fn room(&self) -> Result<Room>;
}

/// What some work took of a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rise {
    /// Given out before it.
    pub before: Bytes,
    /// Given out at most during it.
    pub high: Bytes,
    /// Taken after it in the driver's view: code, libraries, the pool's reserve and other programs
    /// counted in.
    pub driver: Bytes,
}

impl Rise {
    /// What the work needed beside what was there.
    pub fn added(&self) -> Bytes {
        Bytes(self.high.0.saturating_sub(self.before.0))
    }
}

/// Does `work` and says what it took. Before and after, the device is waited for; the peak begins
/// anew.
///
/// # Errors
/// When the work or a gauge fails.
pub fn watch(pool: &dyn Pool, work: impl FnOnce() -> Result<()>) -> Result<Rise> {
    pool.finish()?;
    pool.reset_high()?;
    let before = Bytes(pool.used()?);
    work()?;
    pool.finish()?;
    let high = Bytes(pool.high()?.max(before.0));
    let room = pool.room()?;
    Ok(Rise { before, high, driver: Bytes(room.total.0.saturating_sub(room.free.0)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// A pool that is written down call by call; memory is given out when the device gets there.
    #[derive(Default)]
    struct FakePool {
        calls: RefCell<Vec<&'static str>>,
        waiting: RefCell<Vec<i64>>,
        used: Cell<u64>,
        high: Cell<u64>,
    }

    impl FakePool {
        fn launch(&self, bytes: i64) {
            self.waiting.borrow_mut().push(bytes);
        }

        fn note(&self, call: &'static str) {
            self.calls.borrow_mut().push(call);
        }
    }

    impl Pool for FakePool {
        fn finish(&self) -> Result<()> {
            self.note("finish");
            for bytes in self.waiting.take() {
                self.used.set(self.used.get().saturating_add_signed(bytes));
                self.high.set(self.high.get().max(self.used.get()));
            }
            Ok(())
        }

        fn used(&self) -> Result<u64> {
            self.note("used");
            Ok(self.used.get())
        }

        fn high(&self) -> Result<u64> {
            self.note("high");
            Ok(self.high.get())
        }

        fn reset_high(&self) -> Result<()> {
            self.note("reset");
            self.high.set(self.used.get());
            Ok(())
        }

        fn keep_all(&self) -> Result<()> {
            self.note("keep");
            Ok(())
        }

        fn room(&self) -> Result<Room> {
            self.note("room");
            Ok(Room { free: Bytes(200), total: Bytes(1000) })
        }
    }

    #[test]
    fn the_peak_is_that_of_the_work_alone() {
        let pool = FakePool::default();
        // A model is loaded: its reading needed more than anything later.
        pool.launch(500);
        pool.launch(-400);
        let work = || {
            pool.launch(30);
            pool.launch(50);
            pool.launch(-80);
            Ok(())
        };
        let rise = watch(&pool, work).unwrap();
        assert_eq!(rise, Rise { before: Bytes(100), high: Bytes(180), driver: Bytes(800) });
        assert_eq!(rise.added(), Bytes(80));
        let calls = ["finish", "reset", "used", "finish", "high", "room"];
        assert_eq!(*pool.calls.borrow(), calls, "gauges are read after the device has finished");
        // And again: nothing of the first time is left.
        assert_eq!(watch(&pool, || Ok(())).unwrap().added(), Bytes(0));
    }

    #[test]
    fn work_that_fails_is_reported() {
        let failing = || Err(crate::error::Error::invalid("out of memory"));
        assert!(watch(&FakePool::default(), failing).is_err());
    }
}
