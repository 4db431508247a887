//! Who sends: single messages and batches, in order and not, with and without delay, some of them twice; and who
//! publishes into a queue's topic without knowing that there is a queue.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clients::kafka::answer;
use kafka::wire::produce::{PartitionProduceData, TopicProduceData};
use kafka::wire::{ProduceRequest, ProduceResponse};
use serde_json::{Value, json};
use storage::batch::BatchBuilder;

use super::client::Client;
use super::ledger::{Message, QueueNumber};
use super::{Book, content, judge, now_ms};
use crate::random::RandomSource;

/// Senders leave queues alone that hold more than this.
const BACKLOG_MAX: usize = 300;
/// A repeat comes at most this long after the first attempt, ms: well within the five minutes.
const REPEAT_MS: u64 = 200_000;
const GROUPS: u64 = 12;
const BATCH_MAX: usize = 10;

/// Sends to all queues until the connection breaks.
pub(crate) async fn send(at: SocketAddr, book: &Book, mut random: RandomSource) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    while !book.lock().over {
        let open: Vec<QueueNumber> = {
            let ledger = book.lock();
            let all = 0..ledger.queues.len();
            all.filter(|queue| {
                let book = &ledger.queues[*queue];
                !book.for_dead && !book.purged && ledger.backlog(*queue) < BACKLOG_MAX
            })
            .collect()
        };
        if !open.is_empty() {
            let queue = open[random.index(open.len())];
            let fresh = if random.once_in(3) {
                1
            } else {
                1 + random.index(BATCH_MAX)
            };
            send_some(&mut client, book, queue, fresh, &mut random).await?;
        }
        tokio::time::sleep(Duration::from_millis(random.pick(0..12))).await;
    }
    Ok(())
}

/// Sends `fresh` new messages, and now and then some of the old ones once more.
pub(crate) async fn send_some(
    client: &mut Client,
    book: &Book,
    queue: QueueNumber,
    fresh: usize,
    random: &mut RandomSource,
) -> io::Result<()> {
    let (name, mut numbers) = {
        let mut ledger = book.lock();
        let name = ledger.queues[queue].name.clone();
        let fifo = ledger.queues[queue].fifo;
        let mut numbers = Vec::with_capacity(fresh);
        for _ in 0..fresh {
            numbers.push(ledger.begin_send(|number| new_message((number, queue), fifo, random)));
        }
        (name, numbers)
    };
    if random.once_in(3) {
        let before = book.lock().messages.len();
        let some = (0..random.index(4)).map(|_| random.index(before)).collect();
        numbers.extend(repeatable(book, queue, some));
    }
    numbers.dedup();
    numbers.truncate(BATCH_MAX);
    send_these(client, book, (queue, &name), &numbers).await
}

fn repeatable(book: &Book, queue: QueueNumber, numbers: Vec<usize>) -> Vec<usize> {
    let ledger = book.lock();
    let now = now_ms();
    let may = |number: &usize| {
        let message = &ledger.messages[*number];
        let young = now.saturating_sub(message.asked) < REPEAT_MS;
        message.queue == queue && message.dedup.is_some() && message.acked && young
    };
    numbers.into_iter().filter(may).collect()
}

fn new_message(
    (number, queue): (usize, QueueNumber),
    fifo: bool,
    random: &mut RandomSource,
) -> Message {
    Message {
        queue,
        group: (fifo || random.once_in(8)).then(|| format!("g{}", random.pick(0..GROUPS))),
        dedup: fifo.then(|| format!("d-{number}")),
        body: content::body(number, random),
        attributes: content::attributes(random),
        delay: if !fifo && random.once_in(10) {
            1000 * random.pick(1..3)
        } else {
            0
        },
        asked: now_ms(),
        ..Message::default()
    }
}

fn entry(message: &Message) -> Value {
    let mut entry = json!({ "MessageBody": message.body });
    if !message.attributes.is_empty() {
        entry["MessageAttributes"] = content::to_json(&message.attributes);
    }
    if let Some(group) = &message.group {
        entry["MessageGroupId"] = json!(group);
    }
    if let Some(dedup) = &message.dedup {
        entry["MessageDeduplicationId"] = json!(dedup);
    }
    if message.delay > 0 {
        entry["DelaySeconds"] = json!(message.delay / 1000);
    }
    entry
}

/// Sends messages, new or not, and takes note of the answer.
pub(crate) async fn send_these(
    client: &mut Client,
    book: &Book,
    (_, name): (QueueNumber, &str),
    numbers: &[usize],
) -> io::Result<()> {
    let mut entries: Vec<Value> = {
        let ledger = book.lock();
        let each = numbers
            .iter()
            .map(|number| entry(&ledger.messages[*number]));
        each.collect()
    };
    if let ([number], [single]) = (numbers, &mut entries[..]) {
        single["QueueUrl"] = json!(name);
        let answer = client.call("SendMessage", single).await?;
        let mut ledger = book.lock();
        match answer {
            Ok(sent) => take_note(&mut ledger, *number, &sent),
            Err(refusal) => ledger.wrong(format!("a send to {name} was refused: {refusal:?}")),
        }
        return Ok(());
    }
    for (i, entry) in entries.iter_mut().enumerate() {
        entry["Id"] = json!(format!("e{i}"));
    }
    let asked = json!({ "QueueUrl": name, "Entries": entries });
    let answer = client.call("SendMessageBatch", &asked).await?;
    let mut ledger = book.lock();
    match answer {
        Ok(sent) => {
            for (i, number) in numbers.iter().enumerate() {
                let id = format!("e{i}");
                let all = sent["Successful"].as_array().into_iter().flatten();
                match all.into_iter().find(|one| one["Id"] == id.as_str()) {
                    Some(one) => take_note(&mut ledger, *number, one),
                    None => ledger.wrong(format!("an entry was refused: {sent}")),
                }
            }
        }
        Err(refusal) => ledger.wrong(format!("a batch to {name} was refused: {refusal:?}")),
    }
    Ok(())
}

fn take_note(ledger: &mut super::Ledger, number: usize, sent: &Value) {
    let message = &ledger.messages[number];
    let sums = (
        Some(content::md5_of_body(&message.body)),
        content::md5_of_attributes(&message.attributes),
    );
    let told = |name: &str| sent[name].as_str().map(str::to_owned);
    if sums != (told("MD5OfMessageBody"), told("MD5OfMessageAttributes")) {
        ledger.wrong(format!("message {number}: checksums {sums:?}: {sent}"));
    }
    let id = sent["MessageId"].as_str().unwrap_or_default();
    ledger.sent(number, id, judge::sequence(&sent["SequenceNumber"]));
}

/// Publishes into a queue's topic until the connection breaks.
pub(crate) async fn publish(
    at: SocketAddr,
    book: &Book,
    queue: QueueNumber,
    mut random: RandomSource,
) -> io::Result<()> {
    let mut client = clients::kafka::Client::connect(at).await?;
    while !book.lock().over {
        if book.lock().backlog(queue) < BACKLOG_MAX {
            let count = 1 + random.index(5);
            let (name, numbers) = begin_publish(book, queue, count, &mut random);
            let asked = produce(book, &name, &numbers);
            let body = client.call(9, &asked).await?;
            let response: ProduceResponse<'_> = answer(&body, 9);
            let answered = &response.responses[0].partition_responses[0];
            let mut ledger = book.lock();
            if answered.error_code == 0 {
                for number in numbers {
                    let message = &mut ledger.messages[number];
                    (message.sent, message.acked) = (true, true);
                    ledger.totals.sends += 1;
                }
            } else {
                ledger.wrong(format!("a publish was refused: {}", answered.error_code));
            }
        }
        tokio::time::sleep(Duration::from_millis(random.pick(5..40))).await;
    }
    Ok(())
}

fn begin_publish(
    book: &Book,
    queue: QueueNumber,
    count: usize,
    random: &mut RandomSource,
) -> (String, Vec<usize>) {
    let mut ledger = book.lock();
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        numbers.push(ledger.begin_send(|number| Message {
            queue,
            body: content::body(number, random),
            attributes: [("from".to_owned(), ("String".to_owned(), "topic".to_owned()))].into(),
            asked: now_ms(),
            ..Message::default()
        }));
    }
    (ledger.queues[queue].name.clone(), numbers)
}

fn produce<'a>(book: &Book, topic: &str, numbers: &[usize]) -> ProduceRequest<'a> {
    let ledger = book.lock();
    let now = now_ms().cast_signed();
    let mut builder = BatchBuilder::new(now);
    for number in numbers {
        let message = &ledger.messages[*number];
        let headers = message.attributes.iter();
        let headers: Vec<(&[u8], Option<&[u8]>)> = headers
            .map(|(name, (_, value))| (name.as_bytes(), Some(value.as_bytes())))
            .collect();
        builder.push_record(
            now,
            None,
            Some(message.body.as_bytes()),
            headers.iter().copied(),
        );
    }
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: Cow::Owned(topic.to_owned()),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: builder.build().to_bytes().into(),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}
