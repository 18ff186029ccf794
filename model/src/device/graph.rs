//! Work that a device records once and then repeats with a single launch (CUDA graphs).

use crate::error::Result;
use std::any::Any;
use std::fmt;

/// Recorded work. It reads and writes the memory that it was recorded over.
pub(crate) trait Recording: fmt::Debug + Send {
    /// Does the work again, behind what the device was given so far.
    ///
    /// # Errors
    /// When the device refuses.
    fn launch(&mut self) -> Result<()>;
}

/// A device that records what it is given instead of doing it.
pub(crate) trait Recorder: fmt::Debug + Send + Sync {
    /// Keeps what kernels need of the host (shapes, strides) on the device, from now until the end
    /// of the program; while the value lives, what is needed newly is kept too.
    fn keep_parameters(&self) -> Box<dyn Any>;

    /// Waits for all work given so far.
    ///
    /// # Errors
    /// When some of it failed.
    fn finish(&self) -> Result<()>;

    /// Begins to record.
    ///
    /// # Errors
    /// When the device refuses.
    fn begin(&self) -> Result<()>;

    /// Ends what [`Self::begin`] began: the device works again.
    ///
    /// # Errors
    /// When nothing was recorded, or what cannot be.
    fn end(&self) -> Result<Box<dyn Recording>>;
}

/// Records `work`. It is done once before, so that kernels are loaded and parameters uploaded:
/// neither can be recorded. Recording ends even where the work fails, or the device would record
/// for ever.
///
/// # Errors
/// When the work fails or the device refuses.
pub(crate) fn record(
    recorder: &dyn Recorder,
    mut work: impl FnMut() -> Result<()>,
) -> Result<Box<dyn Recording>> {
    let _kept = recorder.keep_parameters();
    work()?;
    recorder.finish()?;
    recorder.begin()?;
    let worked = work();
    let recording = recorder.end();
    worked?;
    recording
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::sync::{Arc, Mutex};

    /// A device that writes down what it is asked.
    #[derive(Debug, Default, Clone)]
    struct Fake {
        calls: Arc<Mutex<Vec<&'static str>>>,
        refuses: Option<&'static str>,
    }

    impl Fake {
        fn call(&self, what: &'static str) -> Result<()> {
            self.calls.lock().unwrap().push(what);
            match self.refuses == Some(what) {
                true => Err(Error::invalid(what)),
                false => Ok(()),
            }
        }
    }

    struct Kept(Fake);

    impl Drop for Kept {
        fn drop(&mut self) {
            self.0.call("release").unwrap();
        }
    }

    impl Recording for Fake {
        fn launch(&mut self) -> Result<()> {
            self.call("launch")
        }
    }

    impl Recorder for Fake {
        fn keep_parameters(&self) -> Box<dyn Any> {
            self.call("keep").unwrap();
            Box::new(Kept(self.clone()))
        }

        fn finish(&self) -> Result<()> {
            self.call("finish")
        }

        fn begin(&self) -> Result<()> {
            self.call("begin")
        }

        fn end(&self) -> Result<Box<dyn Recording>> {
            self.call("end")?;
            Ok(Box::new(self.clone()))
        }
    }

    /// What a device is asked where `refuses` is refused, or the work fails the `fails`th time.
    fn calls(refuses: Option<&'static str>, fails: usize) -> (bool, String) {
        let device = Fake { refuses, ..Fake::default() };
        let mut times = 0;
        let recording = record(&device, || {
            times += 1;
            device.call("work")?;
            match times == fails {
                true => Err(Error::invalid("work")),
                false => Ok(()),
            }
        });
        let calls = device.calls.lock().unwrap().join(" ");
        (recording.is_ok(), calls)
    }

    #[test]
    fn work_is_done_once_then_recorded() {
        assert_eq!(calls(None, 0), (true, "keep work finish begin work end release".into()));
    }

    #[test]
    fn whatever_fails_recording_ends_once_it_has_begun() {
        let whole = "keep work finish begin work end release";
        assert_eq!(calls(None, 1), (false, "keep work release".into()));
        assert_eq!(calls(None, 2), (false, whole.into()));
        assert_eq!(calls(Some("finish"), 0), (false, "keep work finish release".into()));
        assert_eq!(calls(Some("begin"), 0), (false, "keep work finish begin release".into()));
        assert_eq!(calls(Some("end"), 0), (false, whole.into()));
    }
}
