//! In which order messages come, and what a message that always fails does to the others.

use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName as System;

use super::{Sqs, bodies, redrive, system};
use crate::broker::eventually_async;

const HIDDEN: i32 = 600;

impl Sqs {
    /// Changes how long a message stays hidden.
    async fn hide(&self, url: &str, handle: &str, seconds: i32) -> Result<(), String> {
        let change = self.client.change_message_visibility().queue_url(url);
        let change = change.receipt_handle(handle).visibility_timeout(seconds);
        let changed = change.send().await;
        changed.map(|_| ()).map_err(|error| super::code(&error))
    }

    /// Receives one message, hidden for `seconds`.
    async fn one(&self, url: &str, seconds: i32) -> aws_sdk_sqs::types::Message {
        let receive = self.client.receive_message().queue_url(url);
        let received = receive.visibility_timeout(seconds).send().await.unwrap();
        received.messages.unwrap().remove(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_always_fails_lets_the_others_through() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[]).await;
    for body in ["poison", "a", "b", "c"] {
        sqs.send(&url, body).await;
    }
    let mut served = Vec::new();
    for _ in 0..4 {
        let message = sqs.one(&url, HIDDEN).await;
        let handle = message.receipt_handle().unwrap();
        served.push(message.body().unwrap().to_owned());
        if served.last().unwrap() == "poison" {
            sqs.hide(&url, handle, 0).await.unwrap();
        } else {
            sqs.delete(&url, handle).await.unwrap();
        }
    }
    assert_eq!(served, ["poison", "a", "b", "c"]);
    // What ran out stands behind what was given back before, and what comes later behind both.
    sqs.send(&url, "d").await;
    let (poison, _) = (sqs.one(&url, 1).await, sqs.send(&url, "e").await);
    assert_eq!(poison.body(), Some("poison"));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    sqs.send(&url, "f").await;
    let sqs = sqs.restart();
    let all = sqs.receive(&url, HIDDEN).await;
    let mut all = bodies(&all);
    // A restart does not know when it ran out: it stands behind all that is there.
    assert_eq!(all.pop(), Some("poison"));
    assert_eq!(all, ["d", "e", "f"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_give_back_survives_a_restart_at_its_place() {
    let sqs = Sqs::start();
    let url = sqs.queue("orders", &[]).await;
    for body in ["a", "b"] {
        sqs.send(&url, body).await;
    }
    let given = sqs.one(&url, HIDDEN).await;
    sqs.hide(&url, given.receipt_handle().unwrap(), 0)
        .await
        .unwrap();
    sqs.send(&url, "c").await;
    let sqs = sqs.restart();
    assert_eq!(bodies(&sqs.receive(&url, HIDDEN).await), ["b", "a", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_fails_steps_behind_the_other_groups() {
    let sqs = Sqs::start();
    let url = sqs.fifo("orders.fifo").await;
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1")] {
        sqs.send_in(&url, group, body).await;
    }
    let mut served = Vec::new();
    for _ in 0..3 {
        let message = sqs.one(&url, HIDDEN).await;
        served.push(message.body().unwrap().to_owned());
        sqs.hide(&url, message.receipt_handle().unwrap(), 0)
            .await
            .unwrap();
    }
    assert_eq!(served, ["a1", "b1", "c1"]);
    let sqs = sqs.restart();
    let all = sqs.receive(&url, HIDDEN).await;
    assert_eq!(bodies(&all), ["a1", "a2", "b1", "c1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_change_of_visibility_counts_only_in_order() {
    let sqs = Sqs::start();
    let (plain, ordered) = (
        sqs.queue("orders", &[]).await,
        sqs.fifo("orders.fifo").await,
    );
    sqs.send(&plain, "one").await;
    sqs.send_in(&ordered, "a", "one").await;
    let (old, late) = (sqs.one(&plain, 0).await, sqs.one(&ordered, 0).await);
    let new = sqs.one(&plain, HIDDEN).await;
    // Succeeds, and takes nothing from the receiver that has the message now.
    let old = old.receipt_handle().unwrap();
    assert_eq!(sqs.hide(&plain, old, 0).await, Ok(()));
    assert_eq!(sqs.depth(&plain).await, [0, 1, 0]);
    let late = sqs.hide(&ordered, late.receipt_handle().unwrap(), 5).await;
    let not_in_flight = "AWS.SimpleQueueService.MessageNotInflight";
    assert_eq!(late, Err(not_in_flight.into()));
    sqs.delete(&plain, new.receipt_handle().unwrap())
        .await
        .unwrap();
    let gone = sqs.hide(&plain, old, 0).await;
    assert_eq!(gone, Err("InvalidParameterValue".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_poll_in_order_goes_on_past_what_dies() {
    let sqs = Sqs::start();
    let dead = sqs.fifo("dead.fifo").await;
    let policy = redrive("dead.fifo", 1);
    let attributes = [
        ("FifoQueue", "true"),
        ("ContentBasedDeduplication", "true"),
        ("RedrivePolicy", &policy),
    ];
    let url = sqs.queue("orders.fifo", &attributes).await;
    for body in ["a1", "a2", "a3"] {
        sqs.send_in(&url, "a", body).await;
    }
    let mut ids = Vec::new();
    for expected in ["a1", "a2", "a3"] {
        // The one before it dies on the way.
        let message = sqs.one(&url, 0).await;
        assert_eq!(message.body(), Some(expected));
        ids.push(message.message_id().unwrap().to_owned());
    }
    assert_eq!(sqs.receive(&url, 0).await.len(), 0, "all have died");
    eventually_async("the last one has moved", async || {
        sqs.depth(&dead).await == [3, 0, 0]
    })
    .await;
    let dead_letters = sqs.receive(&dead, HIDDEN).await;
    assert_eq!(bodies(&dead_letters), ["a1", "a2", "a3"]);
    for (message, id) in dead_letters.iter().zip(&ids) {
        assert_eq!(message.message_id(), Some(id.as_str()));
        let dedup = system(message, &System::MessageDeduplicationId);
        assert_eq!(
            dedup,
            Some(id.as_str()),
            "the identity tells dead letters apart"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_keeps_the_time_of_its_first_send() {
    let sqs = Sqs::start();
    let last = sqs.fifo("last.fifo").await;
    let policy = redrive("last.fifo", 1);
    let fifo = ("FifoQueue", "true");
    let content = ("ContentBasedDeduplication", "true");
    let next = sqs
        .queue("next.fifo", &[fifo, content, ("RedrivePolicy", &policy)])
        .await;
    let policy = redrive("next.fifo", 1);
    let url = sqs
        .queue("orders.fifo", &[fifo, content, ("RedrivePolicy", &policy)])
        .await;
    sqs.send_in(&url, "a", "one").await;
    let sent = sqs.receive(&url, 0).await.remove(0);
    let sent = system(&sent, &System::SentTimestamp).unwrap().to_owned();
    tokio::time::sleep(Duration::from_millis(20)).await;
    // It dies twice: here, and where it is moved to.
    assert_eq!(sqs.receive(&url, 0).await.len(), 0);
    let moved = async |url: &str| {
        eventually_async("it has moved", async || sqs.depth(url).await == [1, 0, 0]).await;
    };
    moved(&next).await;
    assert_eq!(sqs.receive(&next, 0).await.len(), 1);
    assert_eq!(sqs.receive(&next, 0).await.len(), 0);
    moved(&last).await;
    let dead = sqs.receive(&last, 0).await.remove(0);
    assert_eq!(system(&dead, &System::SentTimestamp), Some(&*sent));
}
