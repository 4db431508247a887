//! Receivers with little room in memory: what can never fit is passed over, and nothing behind it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use engine::queue::{QueueSettings, Receive};
use engine::{Event, NewConsumer, Room};

use crate::stage::Stage;

/// Room for so many bytes, of which only a part is always there in the end.
#[derive(Debug)]
struct Small {
    taken: AtomicUsize,
    most: usize,
}

impl Small {
    fn new(most: usize) -> Arc<Self> {
        let taken = AtomicUsize::new(0);
        Arc::new(Self { taken, most })
    }
}

impl Room for Small {
    fn try_take(&self, bytes: usize) -> bool {
        let fits = |taken: usize| (taken + bytes <= self.most).then_some(taken + bytes);
        let taken = self
            .taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits);
        taken.is_ok()
    }

    fn poll_take(&self, _: &mut Context<'_>, bytes: usize) -> Poll<()> {
        if self.try_take(bytes) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::SeqCst);
    }

    fn bytes_max(&self) -> usize {
        self.most
    }
}

async fn totals(stage: &Stage) {
    stage.declare("q", QueueSettings::default()).await.unwrap();
    let large = "x".repeat(200_000);
    stage.fill("q", &["before", &large, "behind"]).await;
}

#[tokio::test]
async fn a_consumer_gets_what_stands_behind_a_message_that_is_too_large() {
    let stage = Stage::new().await;
    totals(&stage).await;
    let room = Small::new(100_000);
    let (session, mut deliveries) = stage.access.open_session_within(room.clone());
    let new = NewConsumer::default();
    let _consumer = session.subscribe("q", new).await.unwrap();
    for expected in ["before", "behind"] {
        let Some(Event::Delivery(delivery)) = deliveries.next().await else {
            panic!("a message was to come");
        };
        assert_eq!(delivery.message.body, expected);
    }
    drop(deliveries);
    assert_eq!(room.taken.load(Ordering::SeqCst), 0);
    drop(session);
    // It is still there, for one who has more room, and has failed.
    let receive = || Receive {
        max: 10,
        wait_ms: 20_000,
        ..Receive::default()
    };
    let mut found = None;
    while found.is_none() {
        let got = stage.access.receive("q", receive()).await.unwrap();
        found = got
            .into_iter()
            .find(|message| message.body.len() == 200_000);
    }
    assert!(found.unwrap().failed > 0);
}

#[tokio::test]
async fn a_receiver_gets_what_stands_behind_a_message_that_is_too_large() {
    let stage = Stage::new().await;
    totals(&stage).await;
    let room = Small::new(100_000);
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let receive = Receive {
            max: 1,
            wait_ms: 20_000,
            ..Receive::default()
        };
        let access = &stage.access;
        let got = access.receive_within("q", receive, &*room);
        for message in got.await.unwrap() {
            room.give_back(room.taken.load(Ordering::SeqCst));
            bodies.push(String::from_utf8(message.body.to_vec()).unwrap());
        }
    }
    assert_eq!(bodies, ["before", "behind"]);
    let access = &stage.access;
    let seen = access.peek_within("q", (0, 10), &*room);
    let (seen, _) = seen.await.unwrap();
    let shown: Vec<_> = seen.iter().map(|message| message.body.len()).collect();
    assert!(!shown.contains(&200_000), "{shown:?}");
    // It has failed once, and waits.
    let depth = stage.access.queue_depth("q").await.unwrap();
    assert_eq!((depth.in_flight, depth.delayed), (2, 1));
}
