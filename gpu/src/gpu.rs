//! An open device: its memory, its pipelines, and what it has been asked for and not yet done.

use crate::adapter::{Adapter, TIMES, adapter};
use crate::buffer::Books;
use crate::rows::Store;
use crate::shader::Lanes;
use crate::stream::Stream;
use crate::{Error, Result, check};
use s3d_data::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use wgpu::{DeviceDescriptor, ExperimentalFeatures, Features, MemoryHints, Trace};

/// Bytes of immediates that the largest operation takes.
const IMMEDIATES: u32 = 40;
/// Lanes of a group where there are no subgroups of one size.
const LANES: usize = 32;

/// How a device is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Bytes that may be held, where fewer than the device has.
    pub most: Option<Bytes>,
    /// Sums over lanes go through the memory of a group even where there are subgroups.
    pub without_subgroups: bool,
}

/// An open device. Operations are recorded in the order of their calls; whoever reads a result has
/// them all done.
#[derive(Debug)]
pub struct Gpu {
    pub(crate) adapter: Adapter,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) most: Option<Bytes>,
    pub(crate) books: Arc<Books>,
    pub(crate) store: Arc<Store>,
    pub(crate) stream: Stream,
    pub(crate) lanes: Lanes,
    /// Whether all products compute whole tiles: rows then agree because one pipeline makes them
    /// all.
    pub(crate) whole_tiles: AtomicBool,
    fault: Fault,
}

/// The first thing that went wrong.
type Fault = Arc<Mutex<Option<Error>>>;

impl Gpu {
    /// Opens the adapter of this number.
    ///
    /// # Errors
    /// When there is none, it lacks something, or its results are wrong.
    pub fn open(number: usize) -> Result<Self> {
        Self::open_with(number, Options::default())
    }

    /// [`Self::open`], as told.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(number: usize, options: Options) -> Result<Self> {
        let (found, about) = adapter(number)?;
        let lanes = match about.subgroup {
            Some((from, to))
                if from == to && (8..=64).contains(&to) && !options.without_subgroups =>
            {
                Lanes { count: to as usize, subgroup: true }
            }
            _ => Lanes { count: LANES, subgroup: false },
        };
        let gpu = Self::with(&found, about, lanes, options)?;
        check::settle(&gpu)?;
        Ok(gpu)
    }

    fn with(found: &wgpu::Adapter, about: Adapter, lanes: Lanes, options: Options) -> Result<Self> {
        let lacks = |what: &str| Error::Lacks { adapter: about.name.clone(), what: what.into() };
        if !found.features().contains(Features::IMMEDIATES)
            || found.limits().max_immediate_size < IMMEDIATES
        {
            return Err(lacks("immediates (push constants) of 40 bytes"));
        }
        if about.group < 256 {
            return Err(lacks("groups of 256 lanes"));
        }
        let mut features = Features::IMMEDIATES;
        if lanes.subgroup {
            features |= Features::SUBGROUP;
        }
        if about.timestamps {
            features |= TIMES;
        }
        let wanted = DeviceDescriptor {
            label: None,
            required_features: features,
            required_limits: found.limits(),
            experimental_features: ExperimentalFeatures::disabled(),
            memory_hints: MemoryHints::MemoryUsage,
            trace: Trace::Off,
        };
        let (device, queue) = now(found.request_device(&wanted))
            .map_err(|e| Error::Refused(format!("{} cannot be opened: {e}", about.name)))?;
        let fault = watch(&device);
        let most = match (about.memory, options.most) {
            (Some(memory), Some(most)) => Some(Bytes(memory.0.min(most.0))),
            (memory, most) => most.or(memory),
        };
        let times = about.timestamps.then(|| queue.get_timestamp_period());
        Ok(Self {
            adapter: about,
            stream: Stream::new(&device, times),
            device,
            queue,
            most,
            books: Arc::default(),
            store: Arc::default(),
            lanes,
            whole_tiles: AtomicBool::new(false),
            fault,
        })
    }

    /// What the adapter says of itself.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Bytes that weights, cache and activations hold: exact.
    pub fn held(&self) -> Bytes {
        Bytes(self.books.held.load(Ordering::Relaxed))
    }

    /// The most bytes that were held at once since [`Self::reset_high`].
    pub fn high(&self) -> Bytes {
        Bytes(self.books.high.load(Ordering::Relaxed))
    }

    /// Lets [`Self::high`] begin again at what is held now.
    pub fn reset_high(&self) {
        self.books.high.store(self.held().0, Ordering::Relaxed);
    }

    /// Gives back the memory of activations that waits for the next pass.
    pub fn trim(&self) {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.submit();
    }

    /// Bytes that may be held, where that is known.
    pub fn most(&self) -> Option<Bytes> {
        self.most
    }

    /// Rows of `width` numbers that an operation sees at once, of at most 512.
    pub fn most_rows(&self, width: usize) -> usize {
        let row = (width.next_multiple_of(32) * 4) as u64;
        let rows =
            usize::try_from(self.adapter.binding.0 / row.max(1)).unwrap_or(512).clamp(1, 512);
        // Memory is taken for a power of two of them.
        1 << rows.ilog2()
    }

    /// Gives the device back; whatever is asked of it afterwards is an error.
    pub fn give_back(&self) {
        self.device.destroy();
    }

    /// Bytes of a piece of a matrix, at most.
    pub(crate) fn piece_bytes(&self) -> u64 {
        self.adapter.binding.0.min(self.adapter.buffer.0)
    }

    /// Rows of a piece of a matrix, at most: one dispatch computes them.
    pub(crate) fn group_rows(&self) -> u64 {
        let groups = self.device.limits().max_compute_workgroups_per_dimension;
        u64::from(groups) * crate::shader::OUTPUTS as u64
    }

    /// What went wrong so far.
    pub(crate) fn sound(&self) -> Result<()> {
        match &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }
}

/// Writes down the first thing that goes wrong on a device.
fn watch(device: &wgpu::Device) -> Fault {
    let fault = Fault::default();
    // What a lost device refuses is no news.
    let note = |error: Error, fault: &Fault| {
        let mut first = fault.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() || matches!(error, Error::Lost(_)) {
            *first = Some(error);
        }
    };
    let seen = Arc::clone(&fault);
    device.on_uncaptured_error(Arc::new(move |error| note(Error::Refused(line(&error)), &seen)));
    let seen = Arc::clone(&fault);
    device.set_device_lost_callback(move |reason, text| {
        let text = if text.is_empty() { format!("{reason:?}") } else { text };
        note(Error::Lost(text.lines().next().unwrap_or_default().to_owned()), &seen);
    });
    fault
}

/// An error of many lines in one.
fn line(error: &wgpu::Error) -> String {
    let text = error.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// What a future yields: on Vulkan they are all ready at once.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
        std::thread::yield_now();
    }
}
