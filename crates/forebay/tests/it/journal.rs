//! Data folders that were tampered with, and bodies that look like parts of the journal, as the real process sees them.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use clients::kafka::{Client, answer};
use kafka::wire::produce::{PartitionProduceData, TopicProduceData};
use kafka::wire::{ProduceRequest, ProduceResponse};
use storage::Batch;
use storage::batch::BatchBuilder;
use tempfile::TempDir;

use crate::broker::{Broker, Options, PATIENCE, command, eventually_async};
use crate::crash::create_topic;

const PAGE: usize = 4096;
/// What no file's identity is.
const GUESS: [u8; 16] = [7; 16];
const TIMESTAMP: i64 = 1_700_000_000_000;

fn options() -> Options {
    Options::new()
        .env("FOREBAY__STORAGE__JOURNAL_FILE_BYTES", "4MiB")
        .env("FOREBAY__STORAGE__UNFLUSHED_BYTES", "4MiB")
}

fn batch(value: &[u8]) -> Batch {
    let mut builder = BatchBuilder::new(TIMESTAMP);
    builder.push(TIMESTAMP, None, Some(value), &[]);
    builder.build()
}

/// Publishes one record and waits until it is acknowledged.
async fn produce(client: &mut Client, topic: &str, value: &[u8]) {
    let data = PartitionProduceData {
        index: 0,
        records: batch(value).to_bytes().into(),
    };
    let asked = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![data],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let body = client.call(9, &asked).await.unwrap();
    let response: ProduceResponse<'_> = answer(&body, 9);
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

async fn connect(broker: &Broker) -> Client {
    Client::connect(broker.address("kafka").unwrap())
        .await
        .unwrap()
}

/// Publishes `count` records to `kept`, each in a group of its own.
async fn fill(broker: &Broker, count: usize) {
    let mut client = connect(broker).await;
    create_topic(&mut client, "kept", 1).await.unwrap().unwrap();
    for number in 0..count {
        produce(&mut client, "kept", format!("value {number}").as_bytes()).await;
    }
}

/// All of them are there.
async fn assert_kept(broker: &Broker, count: usize) {
    let mut client = connect(broker).await;
    let mut at = 0;
    while at < count as u64 {
        let mut bytes = client.fetch("kept", 0, at).await.unwrap();
        assert!(!bytes.is_empty(), "records from {at} on are missing");
        while !bytes.is_empty() {
            let batch = Batch::split_first(&mut bytes).unwrap();
            let value = format!("value {at}");
            let found = batch.to_bytes();
            let mut windows = found.windows(value.len());
            assert!(
                windows.any(|part| part == value.as_bytes()),
                "{value} is not there"
            );
            at = batch.header.next_offset();
        }
    }
}

fn journal(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.join("journal")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn generation_of(path: &Path) -> u64 {
    u64::from_str_radix(path.file_name().unwrap().to_str().unwrap(), 16).unwrap()
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Sequence, file and place of every group of the files' present uses, in order.
fn groups(store: &Path) -> Vec<(u64, PathBuf, usize)> {
    let mut groups = Vec::new();
    for path in journal(store) {
        let content = fs::read(&path).unwrap();
        for at in (PAGE..content.len()).step_by(PAGE) {
            let is_group = content[at..].starts_with(b"FBJ2");
            if is_group && content[at + 16..at + 32] == content[24..40] {
                groups.push((number(&content, at + 32), path.clone(), at));
            }
        }
    }
    groups.sort();
    groups
}

/// Waits until the mark names the last group.
async fn await_mark(store: &Path) {
    eventually_async("the mark names the last group", async || {
        let mark = fs::read(store.join("journal.mark")).unwrap();
        let named = number(&mark, 16).max(number(&mark, 32 * 1024 + 16));
        groups(store)
            .last()
            .is_some_and(|(last, ..)| named == last + 1)
    })
    .await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Starts on a copy of the folder to which `tamper` was done, and expects the process to end with an error that says all
/// of `says`.
fn refused(data: &Path, says: &[&str], tamper: impl Fn(&Path)) {
    let folder = TempDir::new().unwrap();
    let copied = folder.path().join("data");
    copy(data, &copied);
    tamper(&copied.join("store"));
    let mut child = command()
        .args(["serve", "--kafka", "127.0.0.1:0", "--amqp", "127.0.0.1:0"])
        .args(["--sqs", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .arg("--data")
        .arg(&copied)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pause = Duration::from_millis(10);
    let ended = (0..PATIENCE.as_millis() / pause.as_millis()).find_map(|_| {
        thread::park_timeout(pause);
        child.try_wait().unwrap()
    });
    let _ = child.kill();
    let mut message = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut message)
        .unwrap();
    child.wait().unwrap();
    let status = ended.unwrap_or_else(|| panic!("it started, expected {says:?}:\n{message}"));
    assert_eq!(status.code(), Some(1), "{message}");
    for part in says.iter().chain(&["nothing was changed"]) {
        assert!(message.contains(part), "does not say {part:?}:\n{message}");
    }
}

fn set_len(path: &Path, bytes: u64) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(bytes)
        .unwrap();
}

fn truncated_and_gone(data: &Path) {
    let (_, newest, _) = groups(&data.join("store")).pop().unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap().to_owned();
    let cut = "it should have 4194304 bytes and has 2000000";
    refused(data, &[&name, cut], |store| {
        set_len(&store.join("journal").join(&name), 2_000_000);
    });
    let gone = "a file of 4194304 bytes is missing";
    refused(data, &[&name, gone], |store| {
        fs::remove_file(store.join("journal").join(&name)).unwrap();
    });
    refused(data, &["it should have 4194304 bytes and has 0"], |store| {
        for path in journal(store) {
            set_len(&path, 0);
        }
    });
    refused(data, &["a file of 4194304 bytes is missing"], |store| {
        fs::remove_dir_all(store.join("journal")).unwrap();
    });
    refused(data, &["journal.mark", "it is missing"], |store| {
        fs::remove_file(store.join("journal.mark")).unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_whose_end_is_missing_is_refused() {
    let mut broker = options().start();
    fill(&broker, 150).await;
    await_mark(&broker.data().join("store")).await;
    broker.kill();
    let data = broker.data();
    truncated_and_gone(&data);
    let zeroed = ["is missing or damaged, but journal.mark says that all groups before"];
    refused(&data, &zeroed, |store| {
        for (_, path, at) in groups(store).iter().rev().take(100) {
            let mut file = fs::File::options().write(true).open(path).unwrap();
            file.seek(SeekFrom::Start(*at as u64)).unwrap();
            file.write_all(&[0; PAGE]).unwrap();
        }
    });
    let mut broker = broker.restart();
    assert_kept(&broker, 150).await;
    assert_eq!(broker.terminate().code(), Some(0));
    truncated_and_gone(&data);
    refused(
        &data,
        &["checkpoint", "missing after a clean end"],
        |store| {
            fs::remove_file(store.join("checkpoint")).unwrap();
        },
    );
    let broker = broker.restart();
    assert_kept(&broker, 150).await;
}

/// A page that is a group in everything a client can know or guess: it removes a stream, and says that more is durable.
fn forged_group(generation: u64, owner: [u8; 16]) -> Vec<u8> {
    let sequence: u64 = 1 << 40;
    let seed = crc32c::crc32c(&GUESS);
    let seed = crc32c::crc32c_append(seed, &generation.to_le_bytes());
    let seed = crc32c::crc32c_append(seed, &sequence.to_le_bytes());
    let mut entry = vec![0, 0, 0, 0, 3, 0, 0, 0];
    entry.extend_from_slice(&owner);
    entry.extend_from_slice(&[0; 4]);
    entry.extend_from_slice(&crc32c::crc32c_append(seed, &entry).to_le_bytes());
    let mut group = b"FBJ2\0\0\0\0".to_vec();
    group.extend_from_slice(&generation.to_le_bytes());
    group.extend_from_slice(&GUESS);
    for number in [sequence, u64::MAX, 64 + entry.len() as u64] {
        group.extend_from_slice(&number.to_le_bytes());
    }
    group.extend_from_slice(&1_u32.to_le_bytes());
    group.extend_from_slice(&crc32c::crc32c(&group).to_le_bytes());
    group.extend_from_slice(&entry);
    group.resize(PAGE, 0);
    group
}

/// A value whose pages stand at pages of the journal when it is the first entry of its group.
fn aligned(pages: &[u8]) -> Vec<u8> {
    for lead in (0..PAGE).rev() {
        let mut value = vec![0; lead];
        value.extend_from_slice(pages);
        // Behind the headers of the group and of the entry.
        if batch(&value).to_bytes().get(PAGE - 96..PAGE - 92) == Some(&pages[..4]) {
            return value;
        }
    }
    panic!("it cannot be aligned");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_look_like_groups_do_nothing() {
    let mut broker = options().start();
    let store = broker.data().join("store");
    fill(&broker, 20).await;
    let mut client = connect(&broker).await;
    let made = create_topic(&mut client, "forger", 1).await.unwrap();
    let owner = *made.unwrap().as_bytes();
    // Files are used again and again, and each is full of groups for its coming uses.
    for _ in 0..60 {
        let next = journal(&store)
            .iter()
            .map(|path| generation_of(path))
            .max()
            .unwrap();
        let pages: Vec<u8> = (0..200)
            .flat_map(|page| forged_group(next + page % 8, owner))
            .collect();
        produce(&mut client, "forger", &aligned(&pages)).await;
    }
    broker.kill();
    let dangerous = |path: &PathBuf| {
        let content = fs::read(path).unwrap();
        let pages = content.chunks_exact(PAGE);
        let is_forged = |page: &&[u8]| {
            page.starts_with(b"FBJ2")
                && page[16..32] == GUESS
                && number(page, 8) == generation_of(path)
        };
        pages.filter(is_forged).count()
    };
    let found: usize = journal(&store).iter().map(dangerous).sum();
    assert!(found > 0, "no forged group is where it could do harm");
    let broker = broker.restart();
    assert_kept(&broker, 20).await;
}
