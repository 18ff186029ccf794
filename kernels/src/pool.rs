//! A small pool of threads that waits by spinning for a bounded time, then sleeps.
//!
//! A decoding pass is some sixty parallel regions of 50 to 100 microseconds. Waking a sleeping
//! thread costs 5 to 50 microseconds, so the workers stay awake between regions and sleep only when
//! no region has come for a while. Each thread has a share of the tasks and claims them one by one,
//! in their order, so that what it streams lies in one piece and what it asked for ahead is what it
//! reads next. A thread that is done takes the last task of another one's share: one that the
//! system has taken away delays nobody by more than the task it holds.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Turns of the waiting loop before a worker sleeps; about 0.2 ms.
const SPINS_BEFORE_SLEEP: u32 = 20_000;
/// Turns of the waiting loop before the caller lets others run.
const SPINS_BEFORE_YIELD: u32 = 2_000;

/// Threads that execute the tasks of one region after another.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held while a region runs; a second caller works alone instead of waiting.
    region: Mutex<()>,
}

/// Bits of a share's word that count tasks.
const TASK_BITS: u32 = 18;
/// Most tasks of one region.
const MAX_TASKS: usize = (1 << TASK_BITS) - 1;

/// One thread's share of a region, on a cache line of its own. The word holds the number of the
/// region, the end of the share and its next task, so that a late worker cannot claim a task of a
/// region it has not read.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Share(AtomicU64);

/// Which task of a share is claimed.
#[derive(Clone, Copy)]
enum Claim {
    Next,
    Last,
}

impl Share {
    /// The share of region `number` that `tasks` are.
    fn publish(&self, number: u64, tasks: Range<usize>) {
        let (next, end) = (tasks.start as u64, tasks.end as u64);
        self.0.store(number << (2 * TASK_BITS) | end << TASK_BITS | next, Ordering::Release);
    }

    /// The number of the region.
    fn region(&self) -> u64 {
        self.0.load(Ordering::Acquire) >> (2 * TASK_BITS)
    }

    /// Claims a task, if one is left: the job, read while the task was nobody's, and the task.
    fn claim(
        &self,
        which: Claim,
        job: &AtomicPtr<Region<'static>>,
    ) -> Option<(*mut Region<'static>, usize)> {
        loop {
            let word = self.0.load(Ordering::Acquire);
            let job = job.load(Ordering::Relaxed);
            let (next, end) = (word as usize & MAX_TASKS, (word >> TASK_BITS) as usize & MAX_TASKS);
            if next >= end {
                return None;
            }
            let (task, left) = match which {
                Claim::Next => (next, word + 1),
                Claim::Last => (end - 1, word - (1 << TASK_BITS)),
            };
            let claimed = (Ordering::AcqRel, Ordering::Relaxed);
            if self.0.compare_exchange(word, left, claimed.0, claimed.1).is_ok() {
                return Some((job, task));
            }
        }
    }
}

/// One region: a share for each thread, the caller's first.
#[derive(Debug, Default)]
struct Shared {
    shares: Box<[Share]>,
    done: AtomicUsize,
    job: AtomicPtr<Region<'static>>,
    panicked: AtomicBool,
    closing: AtomicBool,
}

/// What a region executes for each task number.
struct Region<'f> {
    run: &'f (dyn Fn(usize) + Sync),
}

impl Pool {
    /// A pool of `threads` threads, the caller counted in. Zero means one.
    pub(crate) fn new(threads: usize) -> Self {
        let shares = (0..threads.max(1)).map(|_| Share::default()).collect();
        let shared = Arc::new(Shared { shares, ..Shared::default() });
        let spawn = |thread| {
            let shared = Arc::clone(&shared);
            let name = "s3d-kernel".into();
            std::thread::Builder::new().name(name).spawn(move || shared.work(thread)).ok()
        };
        let workers = (1..threads).filter_map(spawn).collect();
        Self { shared, workers, region: Mutex::new(()) }
    }

    /// Threads that work on a region, the caller counted in.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Executes `run(0)`, ..., `run(tasks - 1)`, in any order, on any thread; returns when all
    /// ended.
    ///
    /// # Panics
    /// When a task panicked.
    pub(crate) fn run(&self, tasks: usize, run: &(dyn Fn(usize) + Sync)) {
        let shareable = (2..=MAX_TASKS).contains(&tasks) && !self.workers.is_empty();
        let guard = if shareable { self.region.try_lock().ok() } else { None };
        if guard.is_none() {
            (0..tasks).for_each(run);
            return;
        }
        self.shared.region(&Region { run }, tasks, &self.workers);
        assert!(!self.shared.panicked.load(Ordering::Acquire), "a kernel task panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker's panic was reported by `run` already.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Publishes a region, works on it, and waits for the tasks that others hold.
    fn region(&self, job: &Region<'_>, tasks: usize, workers: &[JoinHandle<()>]) {
        let (number, threads) = (self.number().wrapping_add(1), self.shares.len());
        self.done.store(0, Ordering::Relaxed);
        self.job.store(std::ptr::from_ref(job).cast_mut().cast(), Ordering::Relaxed);
        // The caller's share comes last: workers look at it for the next region, and then see all.
        for (thread, share) in self.shares.iter().enumerate().rev() {
            share.publish(number, tasks * thread / threads..tasks * (thread + 1) / threads);
        }
        for worker in workers {
            worker.thread().unpark();
        }
        self.help(0);
        let mut spins = 0;
        while self.done.load(Ordering::Acquire) < tasks {
            pause(&mut spins, SPINS_BEFORE_YIELD);
        }
    }

    /// The number of the present region.
    fn number(&self) -> u64 {
        self.shares.first().map_or(0, Share::region)
    }

    /// Claims and executes tasks of the present region until none is left: those of the thread's
    /// own share, then the last ones of others.
    fn help(&self, thread: usize) {
        let (before, own) = self.shares.split_at(thread);
        let others = || own.iter().skip(1).chain(before);
        let own = || own.first().and_then(|share| share.claim(Claim::Next, &self.job));
        let of_others = || others().find_map(|share| share.claim(Claim::Last, &self.job));
        while let Some((job, task)) = own().or_else(of_others) {
            // SAFETY: the claim succeeded, so the region read with it is the present one and this
            // task of it is not done: `region` has not returned, and the job it borrows is alive.
            let run = unsafe { (*job).run };
            if catch_unwind(AssertUnwindSafe(|| run(task))).is_err() {
                self.panicked.store(true, Ordering::Release);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// A worker's life: help with each region, wait for the next.
    fn work(&self, thread: usize) {
        let mut seen = 0;
        while !self.closing.load(Ordering::Acquire) {
            let number = self.number();
            if number != seen {
                seen = number;
                self.help(thread);
                continue;
            }
            let mut spins = 0;
            while self.number() == seen && spins < SPINS_BEFORE_SLEEP {
                spins += 1;
                std::hint::spin_loop();
            }
            if spins == SPINS_BEFORE_SLEEP {
                std::thread::park();
            }
        }
    }
}

/// One turn of a waiting loop that lets others run after `limit` turns.
fn pause(spins: &mut u32, limit: u32) {
    if *spins < limit {
        *spins += 1;
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_exactly_once_in_every_region() {
        for threads in [0, 1, 2, 4] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 7, 64] {
                for _ in 0..200 {
                    let counts: Vec<AtomicUsize> =
                        (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                    pool.run(tasks, &|task| {
                        counts[task].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
                }
            }
        }
    }

    #[test]
    fn two_callers_share_a_pool() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        pool.run(8, &|task| {
                            sum.fetch_add(task, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        // source: 2 callers x 500 regions x (0 + 1 + ... + 7)
        assert_eq!(sum.load(Ordering::Relaxed), 2 * 500 * 28);
    }

    #[test]
    #[should_panic(expected = "a kernel task panicked")]
    fn a_panic_reaches_the_caller() {
        Pool::new(2).run(4, &|task| assert_ne!(task, 2));
    }
}
