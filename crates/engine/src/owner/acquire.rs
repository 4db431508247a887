//! Taking a lock that may be held: turns are short, so it is tried for a while; a lock that is held for longer must not
//! stop what has nothing to do with it.

use std::sync::{LockResult, Mutex, MutexGuard, TryLockError};

use tokio::runtime::{Handle, RuntimeFlavor};

/// Tries without giving the processor to another thread, and tries that do: a turn's time, about.
const SPINS: u32 = 64;
const YIELDS: u32 = 64;

/// Takes a lock. A thread of the runtime that has to wait for long has another one take its tasks over: an owner that
/// hangs is then found, and a signal still ends the process. Errors: the lock is poisoned.
pub(super) fn acquire<T>(lock: &Mutex<T>) -> LockResult<MutexGuard<'_, T>> {
    for round in 0..SPINS + YIELDS {
        match lock.try_lock() {
            Ok(state) => return Ok(state),
            Err(TryLockError::Poisoned(poisoned)) => return Err(poisoned),
            Err(TryLockError::WouldBlock) if round < SPINS => std::hint::spin_loop(),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    let may_hand_over = Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if may_hand_over {
        tokio::task::block_in_place(|| lock.lock())
    } else {
        lock.lock()
    }
}
