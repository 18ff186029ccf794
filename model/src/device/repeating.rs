//! How a model repeats passes: what records them, and the cache of the text before with its
//! recordings.

use super::graph::Recorder;
use crate::backend::kv_cache::KvCache;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, PoisonError};

/// Positions of the cache by which the part that a pass looks at grows. Scores of what is not there
/// yet are computed and thrown away: 128 of them in the mean.
pub(crate) const STEP: usize = 256;
/// How a model repeats passes.
#[derive(Debug)]
pub(crate) struct Repeating {
    pub(super) recorder: Option<Box<dyn Recorder>>,
    /// The cache of the text before, with its recordings.
    spare: Mutex<Option<KvCache>>,
    pub(super) prepared: AtomicUsize,
}

impl Repeating {
    /// Passes of a model on `device`.
    pub(crate) fn new(recorder: Option<Box<dyn Recorder>>) -> Self {
        Self { recorder, spare: Mutex::new(None), prepared: AtomicUsize::new(0) }
    }

    /// The spare cache, where it has room for `capacity` positions.
    pub(super) fn take(&self, capacity: usize) -> Option<KvCache> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.take_if(|cache| cache.capacity() >= capacity)
    }

    /// Keeps `cache` as the spare one, unless there is a larger one.
    pub(super) fn keep(&self, cache: KvCache) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.as_ref().is_none_or(|kept| kept.capacity() < cache.capacity()) {
            *spare = Some(cache);
        }
    }
}
