//! Opening: checkpoint, journal, segments, clearing away what a crash left behind.
//!
//! Everything that is read is checked against the rest before anything is changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::body::Body;
use super::change::Change;
use super::checkpoint::{self, Checkpoints, Image};
use super::documents::{self, DocumentTable};
use super::lock::lock;
use super::options::{Options, Stopwatch};
use super::seams::{BEGINNING, Begun, Documents, JournalReader, Position, Seen, Segments};
use super::segment::{self, MadeSegment};
use super::streams::{StreamState, Streams};
use crate::{Append, Durability, Error, Lsn, Result};

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

/// What a store is made of.
pub(super) struct Parts {
    pub(super) journal: Box<dyn JournalReader>,
    pub(super) segments: Arc<dyn Segments>,
    pub(super) documents: Box<dyn Documents>,
}

/// The state of a store that was found in order.
pub(super) struct Opened {
    pub(super) streams: Streams,
    pub(super) documents: DocumentTable,
    pub(super) begun: Begun,
    pub(super) segments: Arc<dyn Segments>,
    pub(super) checkpoints: Checkpoints,
    /// Where the log goes on.
    pub(super) end: Position,
    /// Where the checkpoint replays from.
    pub(super) checkpoint: Position,
    pub(super) segment_files: BTreeMap<u64, MadeSegment>,
    pub(super) next_segment: u64,
    pub(super) report: RecoveryReport,
}

/// Brings a store back from what it is made of.
pub(super) fn open(parts: Parts, options: &Options) -> Result<Opened> {
    let from = options.stopwatch.as_ref().map(Stopwatch::elapsed);
    let Parts {
        mut journal,
        segments,
        documents: kept,
    } = parts;
    let mut checkpoints = Checkpoints::new(kept, options.checkpoint_changes_bytes);
    let found = find(&mut *journal, &mut checkpoints)?;
    let (segment_files, orphans) = segment_files(&*segments, &found.image)?;
    let (checkpoint, next_segment) = (found.image.position, found.image.next_segment);
    let (streams, documents) = (restore(found.image), DocumentTable::new(found.documents));
    let replayed = journal.replay(&mut |change| apply(change, &streams, &documents))?;
    if !orphans.is_empty() && !found.has_checkpoint && replayed.groups == 0 {
        return Err(without_checkpoint());
    }
    // From here on things are changed.
    let begun = journal.begin()?;
    remove_orphans(&*segments, &orphans)?;
    let report = RecoveryReport {
        clean: found.clean,
        groups: replayed.groups,
        bytes: replayed.bytes,
        cut_groups: replayed.cut_groups,
        orphans: orphans.len() as u64,
        streams: streams.count(),
        took: took(options, from),
    };
    Ok(Opened {
        streams,
        documents,
        begun,
        segments,
        checkpoints,
        end: replayed.end,
        checkpoint,
        segment_files,
        next_segment,
        report,
    })
}

fn took(options: &Options, from: Option<Duration>) -> Duration {
    match (&options.stopwatch, from) {
        (Some(watch), Some(from)) => watch.elapsed().saturating_sub(from),
        _ => Duration::ZERO,
    }
}

/// What the checkpoint shows.
struct Found {
    image: Image,
    documents: documents::State,
    /// There is none in a new store, and before the first flush.
    has_checkpoint: bool,
    /// The store was closed in good order.
    clean: bool,
}

/// Loads the checkpoint and holds the journal against it. One of an earlier version is brought up to date.
fn find(journal: &mut dyn JournalReader, checkpoints: &mut Checkpoints) -> Result<Found> {
    let Some(mut stored) = checkpoint::load(checkpoints.kept())? else {
        return Ok(Found {
            image: Image {
                position: BEGINNING,
                ..Image::default()
            },
            documents: documents::State::default(),
            has_checkpoint: false,
            clean: journal.check(None)?.clean,
        });
    };
    let start = journal.check(Some(&Seen {
        folder: stored.image.folder,
        position: stored.image.position,
        reach: stored.image.reach,
        digest: stored.digest,
        is_old: stored.is_old,
    }))?;
    if let Some((folder, position)) = start.moved {
        stored.image.folder = folder;
        stored.image.position = position;
        checkpoints.write_whole(stored.whole(), position.sequence)?;
    }
    if stored.is_cut {
        tracing::info!("the last changes of the checkpoint were never finished and are left out");
    }
    Ok(Found {
        image: stored.image,
        documents: stored.documents,
        has_checkpoint: true,
        clean: start.clean,
    })
}

fn without_checkpoint() -> Error {
    Error::lost(
        checkpoint::NAME,
        "it is missing although there are segments",
    )
}

/// The segments the checkpoint knows, and the ids of the others.
fn segment_files(
    segments: &dyn Segments,
    image: &Image,
) -> Result<(BTreeMap<u64, MadeSegment>, BTreeSet<u64>)> {
    let failed = |error| Error::io("list the segments", error);
    let found = segments.list().map_err(failed)?;
    let mut extents: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for extent in image.streams.iter().flat_map(|stream| &stream.extents) {
        let (count, held) = extents.entry(extent.segment).or_default();
        *count += 1;
        *held += extent.bytes;
    }
    let mut files = BTreeMap::new();
    let mut orphans = BTreeSet::new();
    for (id, bytes) in found {
        let Some(&(count, held)) = extents.get(&id) else {
            orphans.insert(id);
            continue;
        };
        let made = MadeSegment {
            id,
            bytes,
            held: held.max(bytes),
            is_pack: count > 1,
        };
        files.insert(id, made);
    }
    // A segment that is missing fails its readers. Together with ones that are unknown it means that the checkpoint is
    // an older one, and what it does not know must not be taken for the rest of a crash.
    if let Some(missing) = extents.keys().find(|id| !files.contains_key(id))
        && let Some(unknown) = orphans.first()
    {
        let why = format!(
            "it names {}, which is missing, and does not know {}: it is an old one",
            segment::name(*missing),
            segment::name(*unknown)
        );
        return Err(Error::lost(checkpoint::NAME, why));
    }
    Ok((files, orphans))
}

/// Removes segments the checkpoint does not know. Without a checkpoint they can only be the work of a first flush,
/// and then the journal still holds everything; otherwise the checkpoint was lost, which was checked before.
fn remove_orphans(segments: &dyn Segments, orphans: &BTreeSet<u64>) -> Result<()> {
    for &id in orphans {
        let failed = |error| Error::io(format!("remove {}", segment::name(id)), error);
        segments.delete(id).map_err(failed)?;
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

fn apply(change: Change, streams: &Streams, documents: &DocumentTable) -> Result<()> {
    match change {
        Change::Batches(batches) => {
            for append in batches.with_bodies() {
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

fn apply_append((append, body): (&Append, Option<Arc<Body>>), streams: &Streams) -> Result<()> {
    let Err(expected) = streams.push((append, body), REPLAYED, Durability::Sync) else {
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
