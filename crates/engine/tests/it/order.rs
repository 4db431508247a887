//! Order under load: what one client sends stays in its order in every partition, whatever others send over several of
//! them at the same time.

use std::collections::{HashMap, VecDeque};

use engine::queue::{NewMessage, NewQueue};
use engine::{Broker, NewTopic, Pending, Publish, TopicKey};

use crate::stage::{Stage, anyone, outgoing, sequenced};

/// Each reads a topic of its own.
const QUEUES: usize = 8;
/// Of each topic: 32 together.
const PARTITIONS: usize = 4;
/// Requests that one client leaves unanswered.
const PIPELINE: usize = 48;

fn name(number: usize) -> String {
    format!("queue-{number}")
}

async fn with_queues() -> Stage {
    let stage = Stage::new().await;
    for number in 0..QUEUES {
        let name = name(number);
        let topic = NewTopic {
            name: name.clone(),
            partitions: u32::try_from(PARTITIONS).ok(),
            ..NewTopic::default()
        };
        stage.access.create_topic(topic, false).await.unwrap();
        let queue = NewQueue {
            topic: Some(name.clone()),
            name,
            ..NewQueue::default()
        };
        stage.access.create_queue(queue).await.unwrap();
    }
    stage
}

/// Publishes as one idempotent producer, to three partitions with each request, without waiting for answers.
async fn produce(broker: Broker, producer: usize, rounds: usize) {
    let id = broker.on_behalf_of(anyone()).producer_id().await.unwrap();
    let names: Vec<String> = (0..QUEUES).map(name).collect();
    let mut sequences: HashMap<(usize, usize), i32> = HashMap::new();
    let mut pending: VecDeque<Pending> = VecDeque::new();
    for round in 0..rounds {
        let batches = (0..3).map(|part| {
            let at = (producer + round * (part + 1) * 5 + part) % (QUEUES * PARTITIONS);
            let (topic, partition) = (at / PARTITIONS, at % PARTITIONS);
            let next = sequences.entry((topic, partition)).or_default();
            let batch = sequenced(id, *next, &["produced"]);
            *next += 1;
            Publish {
                topic: TopicKey::Name(&names[topic]),
                partition: i32::try_from(partition).unwrap(),
                batch: Ok(batch),
            }
        });
        pending.push_back(
            broker
                .on_behalf_of(anyone())
                .publish(batches.collect())
                .await,
        );
        if pending.len() >= PIPELINE {
            for result in pending.pop_front().unwrap().done().await {
                result.unwrap();
            }
        }
    }
    for pending in pending {
        for result in pending.done().await {
            result.unwrap();
        }
    }
}

/// Sends messages to all queues at once, and directly to single ones.
async fn fan_out(broker: Broker, sender: usize, rounds: usize) {
    let names: Vec<String> = (0..QUEUES).map(name).collect();
    let mut pending = VecDeque::new();
    for round in 0..rounds {
        let some = 1 + (sender + round) % QUEUES;
        let message = NewMessage {
            body: format!("{sender}:{round:05}").into(),
            key: Some(format!("key-{sender}").into()),
            ..NewMessage::default()
        };
        let to = names.iter().cycle().skip(sender).take(some);
        let to: Vec<&str> = to.map(String::as_str).collect();
        let out = outgoing(&broker, message, &to);
        pending.push_back(broker.send_routed(vec![out]).await);
        if pending.len() >= PIPELINE {
            for result in pending.pop_front().unwrap().done().await {
                result.unwrap();
            }
        }
    }
    for sends in pending {
        for result in sends.done().await {
            result.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_client_pipelines_stays_in_order_while_others_send_over_many_partitions() {
    let stage = with_queues().await;
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.push(tokio::spawn(produce(stage.broker.clone(), number, 400)));
        clients.push(tokio::spawn(fan_out(stage.broker.clone(), number, 400)));
    }
    for client in clients {
        client.await.unwrap();
    }
    for number in 0..QUEUES {
        let seen = stage.access.peek(&name(number), 0, 100_000).await.unwrap();
        for sender in 0..4 {
            let prefix = format!("{sender}:");
            let numbers = seen.iter().filter_map(|message| {
                let text = std::str::from_utf8(&message.body).unwrap();
                text.strip_prefix(&prefix).map(str::to_owned)
            });
            assert!(numbers.is_sorted(), "{}: those of {sender}", name(number));
        }
    }
}
