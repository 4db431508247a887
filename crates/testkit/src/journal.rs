//! Damage to a data folder: what the real store wrote, then anything a disk, an old copy, an editor or a peer could
//! make of it, and the start after that.
//!
//! The promise: a start never panics and never ends without an answer. It either refuses, and then has changed nothing,
//! or comes to a beginning of the history that holds everything the mark and the checkpoint vouch for. What does not
//! touch anything that counts, such as a forged group in a page that is free, changes nothing at all.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::batch::BatchBuilder;
use storage::disk::Disk;
use storage::local::{LocalStore, Options};
use storage::{Append, Batch, Catalog, Durability, Error, Expected, Log, Read, StreamId, Trim};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::SimDisk;
use crate::random::mix;

const PAGE: usize = 4096;
const STREAMS: u64 = 3;
const GROUP: &[u8] = b"FBJ2\0\0\0\0";
const MARK: &str = "journal.mark";
const SLOT: usize = 32 * 1024;

/// Choices: the input's bytes first, and numbers that follow from it when they are used up.
struct Choices<'a> {
    data: &'a [u8],
    state: u64,
}

impl<'a> Choices<'a> {
    fn new(data: &'a [u8]) -> Self {
        let fold = |state, byte: &u8| mix(state ^ u64::from(*byte));
        let state = data.iter().fold(data.len() as u64, fold);
        Self { data, state }
    }

    fn below(&mut self, bound: usize) -> usize {
        let number = if let Some((bytes, rest)) = self.data.split_first_chunk() {
            self.data = rest;
            u64::from(u16::from_le_bytes(*bytes))
        } else {
            self.state = mix(self.state);
            self.state
        };
        usize::try_from(number % bound.max(1) as u64).unwrap_or(0)
    }

    fn one_of<'b, T>(&mut self, of: &'b [T]) -> Option<&'b T> {
        of.get(self.below(of.len()))
    }
}

/// What was done to the store, one journal group each.
enum Call {
    Append(Vec<(u64, Batch)>),
    Remove(u64),
    Put(String, Bytes),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Picture {
    streams: BTreeMap<u64, Vec<u8>>,
    documents: BTreeMap<String, Bytes>,
}

impl Picture {
    fn after(calls: &[Call]) -> Self {
        let mut picture = Self::default();
        for call in calls {
            match call {
                Call::Append(batches) => {
                    for (number, batch) in batches {
                        let stream = picture.streams.entry(*number).or_default();
                        stream.extend_from_slice(&batch.to_bytes());
                    }
                }
                Call::Remove(number) => drop(picture.streams.remove(number)),
                Call::Put(key, value) => {
                    picture.documents.insert(key.clone(), value.clone());
                }
            }
        }
        picture
    }

    async fn of(store: &LocalStore) -> Result<Self, Error> {
        let mut picture = Self::default();
        for number in 0..STREAMS {
            let Some(bounds) = store.bounds(stream(number)) else {
                continue;
            };
            let mut bytes = Vec::new();
            let mut at = bounds.start;
            while at < bounds.end {
                let chunk = match store.read(stream(number), at, u64::MAX, 1 << 20) {
                    Read::Ready(chunk) => chunk?,
                    Read::Disk(chunk) => chunk.await?,
                };
                assert!(chunk.next_offset > at, "a stream ends before its end");
                chunk
                    .pieces
                    .iter()
                    .for_each(|piece| bytes.extend_from_slice(piece));
                at = chunk.next_offset;
            }
            picture.streams.insert(number, bytes);
        }
        for (key, document) in store.list("").await? {
            picture.documents.insert(key, document.value);
        }
        Ok(picture)
    }
}

fn stream(number: u64) -> StreamId {
    StreamId {
        owner: Uuid::from_u128(u128::from(number)),
        part: 0,
    }
}

fn options(choices: &mut Choices<'_>) -> Options {
    const KIB: u64 = 1024;
    let often = choices.below(3) > 0;
    Options {
        flush_interval: Duration::from_millis(1),
        // Either the mark follows at once, or it stays where a file was taken into use.
        mark_interval: if often {
            Duration::from_millis(1)
        } else {
            Duration::from_hours(1)
        },
        journal_file_bytes_first: 16 * KIB,
        journal_file_bytes: 64 * KIB,
        journal_bytes_max: 256 * KIB,
        unflushed_bytes: 16 * KIB,
        tail_bytes: 4 * KIB,
        own_segment_bytes: 4 * KIB,
        // Never any changes, few of them, or no end of them.
        checkpoint_changes_bytes: [0, 8 * KIB, KIB * KIB][choices.below(3)],
        block_bytes: KIB,
        min_free_bytes: 0,
        ..Options::default()
    }
}

/// What a run of the store left behind.
struct Written {
    disk: SimDisk,
    calls: Vec<Call>,
    /// The same folder some time before the end.
    old: SimDisk,
}

async fn write(choices: &mut Choices<'_>, options: &Options) -> Result<Written, Error> {
    let disk = SimDisk::seeded(choices.below(1 << 16) as u64);
    let store = LocalStore::open(Arc::new(disk.clone()), options.clone())?;
    let mut calls: Vec<Call> = Vec::new();
    let mut ends = BTreeMap::new();
    let count = 8 + choices.below(60);
    let copied_at = choices.below(count);
    let mut old = disk.copy();
    for index in 0..count {
        if index == copied_at {
            old = disk.copy();
        }
        let number = choices.below(3) as u64;
        let call = match choices.below(16) {
            0 if ends.remove(&number).is_some() => Call::Remove(number),
            1 => Call::Put(
                format!("k{}", choices.below(3)),
                Bytes::from(vec![1; choices.below(300)]),
            ),
            one => {
                let batch = body(choices, 0, index as u64);
                // Sometimes the same records for all streams.
                let streams = if one < 5 {
                    0..STREAMS
                } else {
                    number..number + 1
                };
                let appends = streams.map(|number| {
                    let end = ends.entry(number).or_insert(0);
                    *end += 1;
                    (number, batch.clone().placed(*end - 1, 0, None))
                });
                Call::Append(appends.collect())
            }
        };
        done(&store, &call).await?;
        calls.push(call);
        if choices.below(30) == 0 {
            store.flush()?;
        }
    }
    match choices.below(3) {
        0 => disk.kill(),
        1 => {}
        _ => store.close()?,
    }
    drop(store);
    let disk = disk.next_life();
    Ok(Written { disk, calls, old })
}

async fn done(store: &LocalStore, call: &Call) -> Result<(), Error> {
    let lsn = match call {
        Call::Append(batches) => {
            let appends = batches.iter().map(|(number, batch)| Append {
                stream: stream(*number),
                batch: batch.clone(),
            });
            store.append(appends.collect(), Durability::Sync)?
        }
        Call::Remove(number) => store.trim(stream(*number), Trim::All)?,
        Call::Put(key, value) => {
            let put = store.put_if(key, Expected::Any, Some(value.clone()));
            return put.await.map(drop);
        }
    };
    let mut progress = store.progress();
    let reached = progress.wait_for(|at| at.durable >= lsn).await.is_ok();
    if reached { Ok(()) } else { Err(Error::Closed) }
}

/// A record, sometimes one that is full of what looks like groups.
fn body(choices: &mut Choices<'_>, base: u64, index: u64) -> Batch {
    let mut value = vec![choices.below(256).to_le_bytes()[0]; choices.below(3_000)];
    if choices.below(4) == 0 {
        value.resize(choices.below(PAGE), 0);
        for page in 0..=choices.below(4) as u64 {
            value.extend_from_slice(&forged(choices, 1 + page, index + page));
        }
    }
    let mut builder = BatchBuilder::new(0);
    builder.push(0, None, Some(&value), &[]);
    builder.build().placed(base, 0, None)
}

/// A group in which everything is right but the identity: it removes a stream, and says how much was durable.
fn forged(choices: &mut Choices<'_>, generation: u64, sequence: u64) -> Vec<u8> {
    let identity = [choices.below(256).to_le_bytes()[0]; 16];
    let durable = if choices.below(2) == 0 { 0 } else { u64::MAX };
    let seed = crc32c::crc32c(&identity);
    let seed = crc32c::crc32c_append(seed, &generation.to_le_bytes());
    let seed = crc32c::crc32c_append(seed, &sequence.to_le_bytes());
    let mut entry = vec![0, 0, 0, 0, 3, 0, 0, 0];
    entry.extend_from_slice(stream(choices.below(3) as u64).owner.as_bytes());
    entry.extend_from_slice(&[0; 4]);
    entry.extend_from_slice(&crc32c::crc32c_append(seed, &entry).to_le_bytes());
    let mut group = GROUP.to_vec();
    group.extend_from_slice(&generation.to_le_bytes());
    group.extend_from_slice(&identity);
    for number in [sequence, durable, 64 + entry.len() as u64] {
        group.extend_from_slice(&number.to_le_bytes());
    }
    group.extend_from_slice(&1_u32.to_le_bytes());
    group.extend_from_slice(&crc32c::crc32c(&group).to_le_bytes());
    group.extend_from_slice(&entry);
    group.resize(PAGE, 0);
    group
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..at + 8).and_then(|field| field.first_chunk());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

/// Groups before this sequence must be there, as the mark says that counts.
fn marked(disk: &SimDisk) -> u64 {
    let content = disk.content(MARK).unwrap_or_default();
    let slots = content.chunks_exact(SLOT).filter(|slot| {
        let files = slot[48..52]
            .first_chunk()
            .map_or(0, |count| u32::from_le_bytes(*count));
        let end = 56 + files as usize * 32;
        let Some(files) = slot.get(56..end) else {
            return false;
        };
        let crc = crc32c::crc32c_append(crc32c::crc32c(&slot[..52]), files);
        slot.starts_with(b"FBJM") && slot[52..56] == crc.to_le_bytes()
    });
    let newest = slots.max_by_key(|slot| number(slot, 8));
    newest.map_or(0, |slot| number(slot, 16))
}

/// The reach of the checkpoint's last whole part, in the same way.
fn reached(disk: &SimDisk) -> u64 {
    let content = disk.content("checkpoint").unwrap_or_default();
    let (mut at, mut reach) = (0, 0);
    while let Some(bytes) = part(&content, at) {
        reach = number(&content, at + 20);
        at += bytes.next_multiple_of(PAGE);
    }
    reach
}

/// Length of the whole part of a checkpoint at this place.
fn part(content: &[u8], at: usize) -> Option<usize> {
    const HEADER: usize = 56;
    let header = content.get(at..at + HEADER)?;
    let length = usize::try_from(number(header, 8)).ok()?;
    let body = content.get(at + HEADER..)?.get(..length)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[20..52]), body);
    let is_whole = header[16..20] == crc.to_le_bytes()
        && header[52..56] == crc32c::crc32c(&header[..52]).to_le_bytes()
        && header[28..44] == content[28..44];
    is_whole.then_some(HEADER + length)
}

fn journal(disk: &SimDisk) -> Vec<String> {
    let is_journal = |name: &String| name.starts_with("journal/");
    disk.names().into_iter().filter(is_journal).collect()
}

/// Whether a page of a journal file holds nothing of the file's present use.
fn is_free(disk: &SimDisk, name: &str, page: usize) -> bool {
    let content = disk.content(name).unwrap_or_default();
    let Some(own) = content.get(24..40) else {
        return false;
    };
    let mut at = PAGE;
    while at + PAGE <= content.len() {
        let is_own = content[at..].starts_with(GROUP) && content[at + 16..at + 32] == *own;
        let pages = if is_own {
            number(&content, at + 48).div_ceil(PAGE as u64)
        } else {
            1
        };
        let next = at + usize::try_from(pages).unwrap_or(1).max(1) * PAGE;
        if (at..next).contains(&(page * PAGE)) {
            return !is_own;
        }
        at = next;
    }
    false
}

fn overwrite(disk: &SimDisk, name: &str, at: usize, bytes: &[u8]) {
    if let Ok(file) = disk.open(name) {
        let _ = file.write_at(&[IoSlice::new(bytes)], at as u64);
    }
}

/// Puts a whole file of another disk in the place of this one's, or removes it where the other has none.
fn replace(disk: &SimDisk, name: &str, other: &SimDisk) {
    let _ = disk.remove(name);
    if let Some(content) = other.content(name)
        && disk.create(name).is_ok()
    {
        overwrite(disk, name, 0, &content);
    }
}

/// Puts a page with nothing that counts into a page that holds nothing that counts. Whether there was one.
fn harmless(
    choices: &mut Choices<'_>,
    disk: &SimDisk,
    written: &Written,
    foreign: &SimDisk,
) -> bool {
    let Some(name) = choices.one_of(&journal(disk)).cloned() else {
        return false;
    };
    let content = disk.content(&name).unwrap_or_default();
    let page = 1 + choices.below(content.len() / PAGE);
    if !is_free(disk, &name, page) {
        return false;
    }
    let source = match choices.below(3) {
        0 => foreign,
        _ => &written.old,
    };
    let generation = number(&content, 8);
    let sequence = written.calls.len() as u64 + 1;
    let from = choices
        .one_of(&journal(source))
        .and_then(|name| source.content(name));
    let bytes = match (choices.below(2), from) {
        (0, Some(from)) if from.get(24..40) != content.get(24..40) => {
            let at = choices.below(from.len() / PAGE) * PAGE;
            from.get(at..at + PAGE).unwrap_or_default().to_vec()
        }
        _ => forged(choices, generation, sequence),
    };
    overwrite(disk, &name, page * PAGE, &bytes);
    true
}

/// Zeroes the last group, or a few more, of the journal.
fn zero_last(choices: &mut Choices<'_>, disk: &SimDisk) {
    let mut groups = Vec::new();
    for name in journal(disk) {
        let content = disk.content(&name).unwrap_or_default();
        let Some(own) = content.get(24..40) else {
            continue;
        };
        for at in (PAGE..content.len()).step_by(PAGE) {
            let page = &content[at..];
            if page.starts_with(GROUP) && page.get(16..32) == Some(own) {
                groups.push((number(page, 32), name.clone(), at));
            }
        }
    }
    groups.sort_unstable();
    for (_, name, at) in groups.iter().rev().take(1 + choices.below(3) / 2 * 4) {
        overwrite(disk, name, *at, &[0; PAGE]);
    }
}

/// Damages something. Anything may follow, but nothing in silence.
fn harmful(choices: &mut Choices<'_>, disk: &SimDisk, old: &SimDisk) {
    let mut names = journal(disk);
    if choices.below(4) == 0 {
        names = [MARK, "checkpoint", "clean"].map(str::to_owned).to_vec();
    }
    let Some(name) = choices.one_of(&names).cloned() else {
        return;
    };
    let content = disk.content(&name).unwrap_or_default();
    if content.is_empty() {
        return;
    }
    let at = choices.below(content.len());
    let page = at / PAGE * PAGE;
    match choices.below(11) {
        0 => disk.flip(&name, at as u64, 3),
        // Where the fields are.
        1 => disk.flip(&name, (page + at % 64).min(content.len() - 1) as u64, 0),
        2 => drop(disk.open(&name).and_then(|file| file.set_len(at as u64))),
        3 => drop(disk.remove(&name)),
        4 => {
            let end = (page + PAGE * (1 + choices.below(8))).min(content.len());
            overwrite(disk, &name, page, &vec![0; end - page]);
        }
        5 => {
            // Two pages change places, or one of them is there twice.
            let other = choices.below(content.len()) / PAGE * PAGE;
            let of = |at: usize| &content[at..(at + PAGE).min(content.len())];
            overwrite(disk, &name, page, of(other));
            if choices.below(2) == 0 {
                overwrite(disk, &name, other, of(page));
            }
        }
        6 => replace(disk, &name, old),
        7..10 => zero_last(choices, disk),
        _ => {
            // Groups of another file of this disk.
            let other = choices
                .one_of(&journal(disk))
                .and_then(|name| disk.content(name));
            let other = other.unwrap_or_default();
            let from = choices.below(other.len()) / PAGE * PAGE;
            overwrite(
                disk,
                &name,
                page,
                &other[from..(from + PAGE).min(other.len())],
            );
        }
    }
}

fn image(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.names().into_iter();
    names
        .map(|name| (name.clone(), disk.content(&name).unwrap_or_default()))
        .collect()
}

/// What starts after damage came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Damaged {
    /// Everything was there.
    pub whole: u64,
    /// The end was missing, and nothing had vouched for it.
    pub cut: u64,
    /// Refused.
    pub refused: u64,
}

/// Writes a history, damages what it left, and starts again.
///
/// Panics when a start breaks the promise.
pub fn fuzz_journal(data: &[u8]) -> Damaged {
    let mut outcome = Damaged::default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .build()
        .expect("a runtime starts");
    let mut choices = Choices::new(data);
    let options = options(&mut choices);
    let written = runtime
        .block_on(write(&mut choices, &options))
        .expect("a sound disk");
    let foreign = foreign(&runtime, &written, &options);
    let whole = start(&runtime, &written.disk.copy(), &options);
    let all = Picture::after(&written.calls);
    assert_eq!(
        whole.expect("nothing was damaged"),
        all,
        "nothing was damaged"
    );
    for _ in 0..4 {
        let disk = written.disk.copy();
        for _ in 0..=choices.below(6) {
            harmless(&mut choices, &disk, &written, &foreign);
        }
        let found = start(&runtime, &disk, &options);
        assert_eq!(found.expect("nothing that counts was damaged"), all);
        let disk = written.disk.copy();
        for _ in 0..=choices.below(3) {
            harmless(&mut choices, &disk, &written, &foreign);
            harmful(&mut choices, &disk, &written.old);
        }
        match damaged(&runtime, &disk, &options, &written.calls) {
            None => outcome.refused += 1,
            Some(found) if found == all => outcome.whole += 1,
            Some(_) => outcome.cut += 1,
        }
    }
    outcome
}

/// The same history on a disk with other identities.
fn foreign(runtime: &Runtime, written: &Written, options: &Options) -> SimDisk {
    let disk = SimDisk::seeded(u64::MAX);
    runtime.block_on(async {
        let store =
            LocalStore::open(Arc::new(disk.clone()), options.clone()).expect("a sound disk");
        for call in &written.calls {
            done(&store, call).await.expect("a sound disk");
        }
    });
    disk
}

fn start(runtime: &Runtime, disk: &SimDisk, options: &Options) -> Result<Picture, Error> {
    let store = LocalStore::open(Arc::new(disk.clone()), options.clone())?;
    Ok(runtime
        .block_on(Picture::of(&store))
        .expect("what was accepted can be read"))
}

/// What is there after a start that is accepted.
fn damaged(
    runtime: &Runtime,
    disk: &SimDisk,
    options: &Options,
    calls: &[Call],
) -> Option<Picture> {
    let before = image(disk);
    let required = marked(disk).max(reached(disk)).saturating_sub(1);
    let found = match start(runtime, disk, options) {
        Ok(found) => found,
        Err(error) => {
            let is_stamped = matches!(error, Error::Corrupt { .. } | Error::Format { .. });
            assert!(is_stamped, "{error}");
            let now = image(disk);
            assert!(now == before, "refused, and something was changed: {error}");
            return None;
        }
    };
    let least = usize::try_from(required).unwrap_or(usize::MAX);
    let least = least.min(calls.len());
    let is_prefix = |count| Picture::after(&calls[..count]) == found;
    assert!(
        (least..=calls.len()).any(is_prefix),
        "less than the {least} of {} calls that are vouched for, or something else",
        calls.len()
    );
    Some(found)
}
