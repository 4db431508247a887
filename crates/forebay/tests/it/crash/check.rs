//! Reads everything back and holds it against the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use clients::kafka::{Client, answer, refused};
use kafka::wire::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use kafka::wire::offset_fetch::OffsetFetchRequestTopic;
use kafka::wire::{
    ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetFetchRequest,
    OffsetFetchResponse,
};
use storage::Batch;

use super::Book;
use super::ledger::{Life, PartitionBook, Print, Violation};

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// More would only repeat the first ones.
const REPORTED_MAX: usize = 20;

/// A batch as the broker has it.
struct Found {
    base: u64,
    next: u64,
    producer: i64,
    first: i32,
    print: Print,
}

/// What a partition holds now.
struct Reading {
    start: u64,
    end: u64,
    batches: Vec<Found>,
}

/// Checks topics, committed offsets and every partition from where `since` says on.
pub(crate) async fn check(at: SocketAddr, book: &Book, since: &mut [u64]) -> io::Result<()> {
    let mut client = Client::connect(at).await?;
    check_topics(&mut client, book).await?;
    check_offsets(&mut client, book).await?;
    for (slot, since) in since.iter_mut().enumerate() {
        let (topic, index) = {
            let ledger = book.lock();
            let partition = &ledger.partitions[slot];
            (partition.topic.clone(), partition.index)
        };
        let read = read(&mut client, &topic, index, *since).await;
        let mut ledger = book.lock();
        let read = match read {
            Err(error) if error.kind() == io::ErrorKind::Other => {
                ledger.lost(format!("{topic}-{index} cannot be read: {error}"));
                continue;
            }
            read => read?,
        };
        let mut found = Vec::new();
        compare(&mut ledger.partitions[slot], &read, *since, &mut found);
        found.truncate(REPORTED_MAX);
        ledger.violations.extend(found);
        *since = read.end;
    }
    Ok(())
}

async fn check_topics(client: &mut Client, book: &Book) -> io::Result<()> {
    let asked = MetadataRequest {
        topics: None,
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    let body = client.call(12, &asked).await?;
    let response: MetadataResponse<'_> = answer(&body, 12);
    let mut there: BTreeMap<String, uuid::Uuid> = response
        .topics
        .iter()
        .filter_map(|topic| Some((topic.name.clone()?.into_owned(), topic.topic_id)))
        .collect();
    let mut ledger = book.lock();
    let stable: BTreeSet<String> = ledger.partitions.iter().map(|p| p.topic.clone()).collect();
    for name in &stable {
        if there.remove(name).is_none() {
            ledger.lost(format!("topic {name}"));
        }
    }
    let known: Vec<_> = ledger.topics.iter().map(|(n, l)| (n.clone(), *l)).collect();
    for (name, life) in known {
        let now = there.remove(&name);
        let settled = match (life, now) {
            (Life::There(id), None) => {
                ledger.lost(format!("topic {name} {id}"));
                Life::Gone(id)
            }
            (Life::Gone(id), Some(back)) => {
                ledger.wrong(format!("topic {name} {id} is back as {back}"));
                Life::There(back)
            }
            (Life::There(id) | Life::Going(id), Some(now)) if id != now => {
                ledger.wrong(format!("topic {name} was {id} and is {now}"));
                Life::There(now)
            }
            (Life::Coming | Life::There(_) | Life::Going(_), Some(id)) => Life::There(id),
            (Life::Going(id) | Life::Gone(id), None) => Life::Gone(id),
            (Life::Coming, None) => Life::Gone(uuid::Uuid::nil()),
        };
        ledger.topics.insert(name, settled);
    }
    for (name, id) in there {
        ledger.wrong(format!("topic {name} {id} was never asked for"));
    }
    Ok(())
}

async fn check_offsets(client: &mut Client, book: &Book) -> io::Result<()> {
    let committed: Vec<_> = {
        let ledger = book.lock();
        let named = |slot: usize| {
            let partition = &ledger.partitions[slot];
            (partition.topic.clone(), partition.index)
        };
        let all = ledger.offsets.iter();
        all.map(|((group, slot), offsets)| (group.clone(), named(*slot), *offsets))
            .collect()
    };
    for (group, (topic, index), offsets) in committed {
        let asked = OffsetFetchRequest {
            group_id: group.as_str().into(),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: topic.as_str().into(),
                partition_indexes: vec![index],
            }]),
            ..OffsetFetchRequest::default()
        };
        let body = client.call(7, &asked).await?;
        let response: OffsetFetchResponse<'_> = answer(&body, 7);
        let now = response.topics[0].partitions[0].committed_offset.max(0);
        let place = format!("{group} on {topic}-{index}: {now}, {offsets:?}");
        if now < offsets.acked {
            book.lock().lost(format!("committed offset of {place}"));
        } else if now > offsets.asked {
            book.lock().wrong(format!("committed offset of {place}"));
        }
    }
    Ok(())
}

async fn offset_of(
    client: &mut Client,
    topic: &str,
    index: i32,
    timestamp: i64,
) -> io::Result<u64> {
    let asked = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: index,
                current_leader_epoch: -1,
                timestamp,
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    let body = client.call(5, &asked).await?;
    let response: ListOffsetsResponse<'_> = answer(&body, 5);
    let answered = &response.topics[0].partitions[0];
    refused(answered.error_code)?;
    Ok(u64::try_from(answered.offset).unwrap())
}

async fn read(client: &mut Client, topic: &str, index: i32, since: u64) -> io::Result<Reading> {
    let start = offset_of(client, topic, index, EARLIEST).await?;
    let end = offset_of(client, topic, index, LATEST).await?;
    let mut batches: Vec<Found> = Vec::new();
    let mut at = since.max(start);
    while at < end {
        let mut bytes = client.fetch(topic, index, at).await?;
        while !bytes.is_empty() {
            let batch = Batch::split_first(&mut bytes).expect("a sound batch");
            batches.push(Found {
                base: batch.header.base_offset,
                next: batch.header.next_offset(),
                producer: batch.header.producer_id,
                first: batch.header.base_sequence,
                print: Print::of(&batch),
            });
        }
        let next = batches.last().map_or(at, |last| last.next);
        if next <= at {
            // Nothing where something must be; the comparison says what is missing.
            break;
        }
        at = next;
    }
    Ok(Reading {
        start,
        end,
        batches,
    })
}

/// Holds one partition against its history.
fn compare(book: &mut PartitionBook, read: &Reading, since: u64, found: &mut Vec<Violation>) {
    let place = format!("{}-{}", book.topic, book.index);
    let wrong = |what: String| Violation::Wrong(format!("{place}: {what}"));
    if read.start < book.trim_acked || read.start > book.trim_asked {
        let (acked, asked) = (book.trim_acked, book.trim_asked);
        found.push(wrong(format!(
            "starts at {}, deletion was asked to {asked} and acknowledged to {acked}",
            read.start
        )));
    }
    // An unacknowledged deletion that took effect is a fact from now on.
    book.trim_acked = book.trim_acked.max(read.start.min(book.trim_asked));
    let from = since.max(read.start);
    let mut next = None;
    let mut seen = BTreeMap::new();
    for batch in &read.batches {
        if next.map_or(batch.base > from, |next| next != batch.base) {
            found.push(wrong(format!("a gap before {}", batch.base)));
        }
        next = Some(batch.next);
        check_batch(book, batch, &mut seen, found);
    }
    if next.unwrap_or(from) != read.end && read.end >= from {
        found.push(wrong(format!("ends at {next:?}, said {}", read.end)));
    }
    for (producer, sent) in &book.sent {
        for sent in sent {
            let missing = sent.acked.is_some_and(|offset| offset >= from)
                && !seen.contains_key(&(*producer, sent.first));
            if missing {
                let (first, offset) = (sent.first, sent.acked.unwrap_or_default());
                found.push(Violation::LostRecords(format!(
                    "{place}: batch {first} of producer {producer}, acknowledged at {offset}"
                )));
            }
        }
    }
}

fn check_batch(
    book: &mut PartitionBook,
    batch: &Found,
    seen: &mut BTreeMap<(i64, i32), u64>,
    found: &mut Vec<Violation>,
) {
    let (producer, first) = (batch.producer, batch.first);
    let place = format!(
        "{}-{} at {}: batch {first} of producer {producer}",
        book.topic, book.index, batch.base
    );
    let mut wrong = |what: &str| found.push(Violation::Wrong(format!("{place} {what}")));
    // The last one of this producer before it.
    let before = seen
        .range((producer, i32::MIN)..)
        .take_while(|((id, _), _)| *id == producer);
    if before.last().is_some_and(|((_, last), _)| *last >= first) {
        wrong("is there twice or out of order");
    }
    seen.insert((producer, first), batch.base);
    match book.find(producer, first) {
        None => wrong("was never sent"),
        Some(sent) if sent.print != batch.print => wrong("is not what was sent"),
        Some(sent) if sent.acked.is_some_and(|offset| offset != batch.base) => {
            wrong("was acknowledged elsewhere");
        }
        Some(_) => {}
    }
}
