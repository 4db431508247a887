//! Owners that panic, return, hang and go on, and what the supervisor says of each.

use std::time::Duration;

use super::{Supervisor, Work};

const SECOND: Duration = Duration::from_secs(1);

fn failed(supervisor: &Supervisor) -> Option<String> {
    supervisor.failure().map(|failure| failure.to_string())
}

#[test]
fn a_thread_that_panics_is_a_failure_with_its_words() {
    let supervisor = Supervisor::new();
    let owner = supervisor.owner("flusher", Work::Background);
    let number = 7;
    assert_eq!(owner.run(|| panic!("number {number}")), None::<()>);
    assert_eq!(
        failed(&supervisor).as_deref(),
        Some("flusher stopped: it panicked: number 7")
    );
}

#[tokio::test]
async fn a_task_that_panics_after_a_wait_is_a_failure() {
    let supervisor = Supervisor::new();
    let owner = supervisor.owner("shard 0", Work::Computes);
    let work = async {
        tokio::task::yield_now().await;
        panic!("on purpose")
    };
    owner.task(work).await;
    assert_eq!(
        failed(&supervisor).as_deref(),
        Some("shard 0 stopped: it panicked: on purpose")
    );
}

#[tokio::test]
async fn a_return_nobody_asked_for_is_a_failure() {
    let supervisor = Supervisor::new();
    supervisor
        .owner("shard 0", Work::Computes)
        .task(async {})
        .await;
    assert_eq!(
        failed(&supervisor).as_deref(),
        Some("shard 0 stopped: it returned")
    );
    // Its cause is learned a moment later, and is what is told.
    supervisor.fail("journal", "the disk is gone");
    assert_eq!(
        failed(&supervisor).as_deref(),
        Some("journal stopped: the disk is gone")
    );
}

#[tokio::test]
async fn a_return_that_was_asked_for_is_none() {
    let supervisor = Supervisor::new();
    let owner = supervisor.owner("move task", Work::AwaitsDisk);
    owner.errand(async {}).await;
    assert_eq!(failed(&supervisor), None);
    let owner = supervisor.owner("shard 0", Work::Computes);
    supervisor.stopping();
    owner.task(async {}).await;
    assert_eq!(failed(&supervisor), None);
}

#[tokio::test]
async fn a_panic_while_stopping_or_on_an_errand_still_is_one() {
    let supervisor = Supervisor::new();
    supervisor.stopping();
    let owner = supervisor.owner("move task", Work::AwaitsDisk);
    owner.errand(async { panic!("late") }).await;
    assert_eq!(
        failed(&supervisor).as_deref(),
        Some("move task stopped: it panicked: late")
    );
}

/// Who has stalled, and whether it is beyond help, as the seconds go by without a turn.
fn look(supervisor: &Supervisor, at: Duration) -> Vec<(String, bool)> {
    let stalled = supervisor.stalled(at).into_iter();
    stalled
        .map(|stalled| (stalled.owner, stalled.is_beyond_help))
        .collect()
}

#[test]
fn an_owner_that_makes_no_turn_is_found_within_five_seconds() {
    let supervisor = Supervisor::new();
    let shard = supervisor.owner("shard 0", Work::Computes);
    let journal = supervisor.owner("journal", Work::AwaitsDisk);
    shard.turn();
    journal.turn();
    for second in 0..4 {
        assert_eq!(look(&supervisor, SECOND * second), []);
    }
    let found = look(&supervisor, SECOND * 4);
    assert_eq!(
        found,
        [("shard 0".to_owned(), true), ("journal".to_owned(), false)]
    );
    shard.turn();
    assert_eq!(
        look(&supervisor, SECOND * 5),
        [("journal".to_owned(), false)]
    );
    journal.rest();
    assert_eq!(look(&supervisor, SECOND * 6), []);
    journal.turn();
    assert_eq!(look(&supervisor, SECOND * 7), [], "it began just now");
}

#[test]
fn a_disk_may_pause_for_a_minute() {
    let supervisor = Supervisor::new();
    let journal = supervisor.owner("journal", Work::AwaitsDisk);
    let merger = supervisor.owner("merger", Work::Background);
    journal.turn();
    merger.turn();
    look(&supervisor, Duration::ZERO);
    assert_eq!(
        look(&supervisor, SECOND * 59),
        [("journal".to_owned(), false)]
    );
    assert_eq!(
        look(&supervisor, SECOND * 60),
        [("journal".to_owned(), true), ("merger".to_owned(), false)]
    );
}

#[test]
fn who_has_ended_is_not_waited_for() {
    let supervisor = Supervisor::new();
    let owner = supervisor.owner("flusher", Work::Background);
    owner.turn();
    supervisor.stopping();
    assert_eq!(owner.run(|| 5), Some(5));
    look(&supervisor, Duration::ZERO);
    assert_eq!(look(&supervisor, SECOND * 100), []);
}
