//! Taking a mutex without caring about poison: every critical section here leaves its data consistent, or ends
//! the process's use of the store through the intake's own stop flag.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
