//! The tasks that serve all owners: one sends answers, one keeps time, some do what no other task waits for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use storage::supervisor::Owner;
use tokio::sync::watch;

use super::env::Env;
use super::servers::Calls;

/// How long the task that keeps time sleeps when nothing is due.
const IDLE: Duration = Duration::from_hours(1);

/// Sends answers as the log gets on, until the log stops or the broker is gone.
pub(super) async fn send_answers(env: Arc<Env>, owner: Owner, mut ended: watch::Receiver<()>) {
    let completions = &env.completions;
    let mut progress = env.log.progress();
    loop {
        tokio::select! {
            biased;
            changed = progress.changed() => if changed.is_err() {
                // Nothing is true any more that is decided from now on.
                env.stopped.store(true, Ordering::SeqCst);
                return completions.fail();
            },
            () = completions.looks.notified() => {}
            _ = ended.changed() => return,
        }
        owner.turn();
        let reached = *progress.borrow_and_update();
        completions.release(reached);
        owner.rest();
    }
}

/// Has looked at what is due, until the broker is gone.
pub(super) async fn look_at_due(env: Arc<Env>, owner: Owner, mut ended: watch::Receiver<()>) {
    loop {
        owner.turn();
        for due in env.timers.take(env.clock.now_ms()) {
            owner.turn();
            due.on_time();
        }
        let next = env.timers.next();
        let now = env.clock.now_ms();
        let sleep = next.map_or(IDLE, |next| Duration::from_millis(next.saturating_sub(now)));
        owner.rest();
        tokio::select! {
            () = env.timers.earlier.notified() => {}
            () = tokio::time::sleep(sleep) => {}
            _ = ended.changed() => return,
        }
    }
}

/// Serves partitions, until the broker is gone.
pub(super) async fn serve(owner: Owner, mut calls: Calls, mut ended: watch::Receiver<()>) {
    loop {
        owner.rest();
        let called = tokio::select! {
            biased;
            called = calls.recv() => called,
            _ = ended.changed() => return,
        };
        let Some(called) = called else { return };
        owner.turn();
        called.serve_called();
    }
}
