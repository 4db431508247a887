//! Opening: checkpoint, journal, clearing away what a crash left behind.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::checkpoint::Image;
use super::documents::{self, Documents};
use super::flush::MadeSegment;
use super::intake::Change;
use super::journal::{self, Position, Replayed};
use super::lock::lock;
use super::options::{Options, Stopwatch};
use super::segment;
use super::streams::{StreamState, Streams};
use crate::disk::Disk;
use crate::{Append, Durability, Error, Lsn, Result};

/// Exists exactly while the store is closed and the checkpoint covers everything.
const CLEAN: &str = "clean";

/// The number all replayed changes share: after the checkpoint's, before any of this run.
pub(super) const REPLAYED: Lsn = Lsn(1);

/// What opening a store came to.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// Whether the store had been closed in good order: nothing had to be replayed.
    pub clean: bool,
    /// Journal groups replayed.
    pub groups: u64,
    /// Journal bytes replayed.
    pub bytes: u64,
    /// Groups at the journal's end that were written but never durable, and given up.
    pub cut_groups: u64,
    /// Segment files removed because a crash left them unfinished or unneeded.
    pub orphans: u64,
    /// Streams that exist.
    pub streams: u64,
    /// How long it took; zero without a stopwatch.
    pub took: Duration,
}

/// The state of a store on disk.
pub(super) struct Opened {
    pub(super) streams: Streams,
    pub(super) documents: Documents,
    pub(super) replayed: Replayed,
    /// Where the checkpoint replays from.
    pub(super) checkpoint: Position,
    pub(super) segment_files: BTreeMap<u64, MadeSegment>,
    pub(super) next_segment: u64,
    pub(super) report: RecoveryReport,
}

/// Brings a store back from its disk.
pub(super) fn open(disk: &Arc<dyn Disk>, options: &Options) -> Result<Opened> {
    let from = options.stopwatch.as_ref().map(Stopwatch::elapsed);
    let stored = Image::load(&**disk)?;
    let clean = take_clean_mark(&**disk)?;
    if clean && stored.is_none() {
        return Err(Error::corrupt(
            "checkpoint",
            "it is missing after a clean end",
        ));
    }
    let has_checkpoint = stored.is_some();
    let (image, documents) = stored.unwrap_or_else(|| {
        let position = Position {
            sequence: 1,
            ..Position::default()
        };
        let image = Image {
            position,
            ..Image::default()
        };
        (image, documents::State::default())
    });
    let (segment_files, orphans) = segment_files(&**disk, &image)?;
    let (checkpoint, next_segment) = (image.position, image.next_segment);
    let (streams, documents) = (restore(image), Documents::new(documents));
    let mut apply = |change| apply(change, &streams, &documents);
    let replayed = if clean {
        journal::closed(disk, checkpoint)?
    } else {
        journal::replay(disk, checkpoint, &mut apply)?
    };
    let is_accounted_for = has_checkpoint || replayed.groups > 0;
    remove_orphans(&**disk, &orphans, is_accounted_for)?;
    let mut report = RecoveryReport {
        clean,
        groups: replayed.groups,
        bytes: replayed.bytes,
        cut_groups: replayed.cut_groups,
        orphans: orphans.len() as u64,
        streams: streams.count(),
        ..RecoveryReport::default()
    };
    if let (Some(watch), Some(from)) = (&options.stopwatch, from) {
        report.took = watch.elapsed().saturating_sub(from);
    }
    Ok(Opened {
        streams,
        documents,
        replayed,
        checkpoint,
        segment_files,
        next_segment,
        report,
    })
}

/// Marks the store as closed in good order.
pub(super) fn put_clean_mark(disk: &dyn Disk) -> Result<()> {
    let failed = |error| Error::io("mark the store as closed", error);
    disk.create(CLEAN).map_err(failed)?;
    disk.sync_names("").map_err(failed)
}

/// Whether the mark was there. It is gone durably afterwards: from here on the journal may hold news.
fn take_clean_mark(disk: &dyn Disk) -> Result<bool> {
    let failed = |error| Error::io("remove the mark of a clean end", error);
    match disk.remove(CLEAN) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(error)),
        Ok(()) => disk.sync_names("").map_err(failed).map(|()| true),
    }
}

/// The segments the checkpoint knows, and the ids of the others.
fn segment_files(
    disk: &dyn Disk,
    image: &Image,
) -> Result<(BTreeMap<u64, MadeSegment>, BTreeSet<u64>)> {
    let failed = |error| Error::io("list the segments", error);
    let found = disk.list(segment::FOLDER).map_err(failed)?;
    let mut extents: BTreeMap<u64, u64> = BTreeMap::new();
    for extent in image.streams.iter().flat_map(|stream| &stream.extents) {
        *extents.entry(extent.segment).or_default() += 1;
    }
    let mut files = BTreeMap::new();
    let mut orphans = BTreeSet::new();
    for id in found
        .iter()
        .filter_map(|name| u64::from_str_radix(name, 16).ok())
    {
        let Some(&count) = extents.get(&id) else {
            orphans.insert(id);
            continue;
        };
        let failed = |error| Error::io(format!("open {}", segment::name(id)), error);
        let bytes = disk.open(&segment::name(id)).and_then(|file| file.len());
        let made = MadeSegment {
            id,
            bytes: bytes.map_err(failed)?,
            is_pack: count > 1,
        };
        files.insert(id, made);
    }
    Ok((files, orphans))
}

/// Removes segments the checkpoint does not know. Without a checkpoint they can only be the work of a first flush,
/// and then the journal still holds everything; otherwise the checkpoint was lost and nothing may be removed.
fn remove_orphans(disk: &dyn Disk, orphans: &BTreeSet<u64>, is_accounted_for: bool) -> Result<()> {
    if !orphans.is_empty() && !is_accounted_for {
        return Err(Error::corrupt(
            "checkpoint",
            "it is missing although there are segments",
        ));
    }
    for &id in orphans {
        let failed = |error| Error::io(format!("remove {}", segment::name(id)), error);
        disk.remove(&segment::name(id)).map_err(failed)?;
    }
    Ok(())
}

fn restore(image: Image) -> Streams {
    let streams = Streams::default();
    for stream in image.streams {
        let extents = VecDeque::from(stream.extents);
        let state = StreamState::restored(stream.start, stream.end, extents);
        streams.restore(stream.id, state);
    }
    streams
}

fn apply(change: Change, streams: &Streams, documents: &Documents) -> Result<()> {
    match change {
        Change::Batches(appends) => {
            for append in &appends {
                apply_append(append, streams)?;
            }
        }
        // A stream may be unknown because the checkpoint already shows its removal, or never knew it.
        Change::Trim { stream, before } => match streams.trim(stream, before) {
            Ok(_) | Err(Error::Missing) => {}
            Err(error) => return Err(error),
        },
        Change::Remove { stream } => match streams.remove(stream) {
            Ok(()) | Err(Error::Missing) => {}
            Err(error) => return Err(error),
        },
        Change::Put {
            key,
            version,
            value,
        } => documents.restore(&key, version, Some(&value)),
        Change::Delete { key, version } => documents.restore(&key, version, None),
    }
    Ok(())
}

fn apply_append(append: &Append, streams: &Streams) -> Result<()> {
    let Err(expected) = streams.push(append, REPLAYED, Durability::Sync) else {
        return Ok(());
    };
    // The checkpoint was taken a little after the place it replays from, and what it shows as given up by then
    // need not come back.
    let known = streams.get(append.stream);
    let covered = known
        .is_some_and(|stream| append.batch.header.next_offset() <= lock(&stream.state).flushed);
    if covered {
        return Ok(());
    }
    let place = format!("stream {}/{}", append.stream.owner, append.stream.part);
    let why = format!(
        "the journal continues at {} where {expected} was expected",
        append.batch.header.base_offset
    );
    Err(Error::corrupt(place, why))
}
