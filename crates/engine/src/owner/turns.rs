//! Which threads hold partitions at the moment: so that one that hangs is found, and that none takes another one
//! meanwhile.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage::Supervisor;
use storage::supervisor::{Owner, Work};

/// Threads told apart; further ones share their places with others.
const THREADS_MAX: usize = 256;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed) % THREADS_MAX;
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// The threads that hold partitions now and then, each supervised.
pub(super) struct Turns {
    supervisor: Supervisor,
    threads: Box<[OnceLock<Owner>]>,
}

impl Turns {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        let threads = (0..THREADS_MAX).map(|_| OnceLock::new()).collect();
        Self {
            supervisor,
            threads,
        }
    }

    fn current(&self) -> &Owner {
        let number = NUMBER.with(|number| *number);
        self.threads[number].get_or_init(|| {
            self.supervisor
                .owner(format!("engine thread {number}"), Work::Computes)
        })
    }

    /// This thread is about to take partitions; it has let them go when the guard is dropped.
    pub(super) fn begin(&self) -> Inside<'_> {
        let before = HELD.get();
        HELD.set(before + 1);
        if before == 0 {
            self.current().turn();
        }
        Inside(self)
    }
}

/// A thread that holds partitions.
pub(super) struct Inside<'t>(&'t Turns);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let held = HELD.get() - 1;
        HELD.set(held);
        if held == 0 {
            self.0.current().rest();
        }
    }
}

/// Whether this thread holds partitions.
pub(super) fn holds_some() -> bool {
    HELD.get() > 0
}
