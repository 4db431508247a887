//! Opening: checkpoint, mark, journal, clearing away what a crash left behind.
//!
//! Everything that is read is checked against the rest before anything is changed: the clean mark, the checkpoint and
//! the journal's mark say of each other how far they must have come, so that none of them can go missing, or be
//! replaced by an older one, in silence.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use super::checkpoint::{self, Digest, Image, Stored};
use super::documents::{self, DocumentTable};
use super::flush::MadeSegment;
use super::intake::Change;
use super::journal::{
    self, Folder, MARK_NAME, Mark, MarkDigest, Marker, Position, Replayed, is_full,
};
use super::lock::lock;
use super::options::{Options, Stopwatch};
use super::seams::{Documents, Segments};
use super::segment;
use super::streams::{Body, StreamState, Streams};
use crate::disk::Disk;
use crate::{Append, Durability, Error, Lsn, Result};

/// Exists exactly while the store is closed and the checkpoint covers everything. It holds the digests of the checkpoint and of
/// the journal's mark; before folders had identities, only that of the checkpoint.
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
    pub(super) documents: DocumentTable,
    pub(super) replayed: Replayed,
    pub(super) marker: Marker,
    /// Where the checkpoint replays from.
    pub(super) checkpoint: Position,
    pub(super) segment_files: BTreeMap<u64, MadeSegment>,
    pub(super) next_segment: u64,
    pub(super) report: RecoveryReport,
}

/// Brings a store back from its disk.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    (kept, segments): (&dyn Documents, &dyn Segments),
    options: &Options,
) -> Result<Opened> {
    let from = options.stopwatch.as_ref().map(Stopwatch::elapsed);
    let Found {
        stored,
        marker,
        clean,
    } = find(&**disk, kept, segments)?;
    let has_checkpoint = stored.is_some();
    let (image, documents) = stored.unwrap_or_else(|| {
        let image = Image {
            position: BEGINNING,
            ..Image::default()
        };
        (image, documents::State::default())
    });
    let (segment_files, orphans) = segment_files(segments, &image)?;
    let (checkpoint, next_segment) = (image.position, image.next_segment);
    let reach = image.reach;
    let (streams, documents) = (restore(image), DocumentTable::new(documents));
    let mut apply = |change| apply(change, &streams, &documents);
    let mut replayed = if clean {
        journal::closed(disk, checkpoint, marker.mark())?
    } else {
        journal::replay(disk, checkpoint, marker.mark(), reach, &mut apply)?
    };
    let is_accounted_for = has_checkpoint || replayed.groups > 0;
    if !orphans.is_empty() && !is_accounted_for {
        return Err(without_checkpoint());
    }
    // From here on things are changed.
    remove_clean_mark(&**disk)?;
    replayed.settle()?;
    remove_orphans(segments, &orphans)?;
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
        marker,
        checkpoint,
        segment_files,
        next_segment,
        report,
    })
}

/// Where the journal of a new store begins.
const BEGINNING: Position = Position {
    sequence: 1,
    generation: 0,
    offset: 0,
};

/// What stands beside the journal.
struct Found {
    stored: Option<(Image, documents::State)>,
    marker: Marker,
    clean: bool,
}

/// Loads checkpoint and mark and holds them against each other. A new store gets its mark here, and one of the version
/// before journal files had identities is brought up to date if it was closed in good order.
fn find(disk: &dyn Disk, kept: &dyn Documents, segments: &dyn Segments) -> Result<Found> {
    let stored = Image::load(kept)?;
    let found = Marker::load(disk)?;
    let clean = is_clean(disk, stored.as_ref(), found.as_ref())?;
    if let Some(stored) = stored.as_ref().filter(|stored| stored.is_old) {
        let marker = update(disk, kept, stored, clean)?;
        // Read again, as any later start will find it.
        let stored = Image::load(kept)?.map(|stored| (stored.image, stored.documents));
        return Ok(Found {
            stored,
            marker,
            clean,
        });
    }
    let marker = if let Some(mut marker) = found {
        check_checkpoint(stored.as_ref(), marker.mark(), clean)?;
        check_folder(stored.as_ref(), &mut marker, disk)?;
        marker
    } else {
        check_is_new(disk, segments, stored.is_some())?;
        let mark = Mark {
            position: BEGINNING,
            ..Mark::default()
        };
        Marker::create(disk, mark)?
    };
    let stored = stored.map(|stored| (stored.image, stored.documents));
    Ok(Found {
        stored,
        marker,
        clean,
    })
}

/// The checkpoint must be at least as new as the mark says: what an older one needs is no longer in the journal.
fn check_checkpoint(stored: Option<&Stored>, mark: &Mark, clean: bool) -> Result<()> {
    let found = stored.map_or(0, |stored| stored.image.position.sequence);
    let expected = if clean {
        // Of a store closed in good order the checkpoint covers everything.
        mark.checkpoint.max(mark.position.sequence)
    } else {
        mark.checkpoint
    };
    if found >= expected {
        return Ok(());
    }
    let what = if found == 0 {
        "it is missing".to_owned()
    } else {
        format!("it is an old one that replays from group {found}")
    };
    let why = format!(
        "{what}, but {MARK_NAME} says that there is one that replays from group {expected}"
    );
    Err(Error::lost(checkpoint::NAME, why))
}

/// Checkpoint and mark must be of one data folder. One that was made before folders had identities gets that of the other.
fn check_folder(stored: Option<&Stored>, marker: &mut Marker, disk: &dyn Disk) -> Result<()> {
    const NONE: Folder = [0; 16];
    let of_checkpoint = stored.map_or(NONE, |stored| stored.image.folder);
    let of_mark = marker.mark().folder;
    if of_mark == NONE {
        let failed = |error| Error::io("make an identity for the data folder", error);
        marker.adopt(match of_checkpoint {
            NONE => disk.random().map_err(failed)?,
            folder => folder,
        });
        return Ok(());
    }
    if of_checkpoint == NONE || of_checkpoint == of_mark {
        return Ok(());
    }
    Err(Error::lost(
        MARK_NAME,
        "it and the journal are of another data folder than the checkpoint",
    ))
}

/// A store without a mark is a new one: it has nothing else either.
fn check_is_new(disk: &dyn Disk, segments: &dyn Segments, has_checkpoint: bool) -> Result<()> {
    if has_checkpoint || journal::has_files(disk)? {
        return Err(Error::lost(
            MARK_NAME,
            "it is missing although there is a checkpoint or a journal (if an earlier version wrote this folder, which \
             knows no such file: start that version once more, stop it in order, then start this one)",
        ));
    }
    let failed = |error| Error::io("list the segments", error);
    if !segments.list().map_err(failed)?.is_empty() {
        return Err(without_checkpoint());
    }
    Ok(())
}

fn without_checkpoint() -> Error {
    Error::lost(
        checkpoint::NAME,
        "it is missing although there are segments",
    )
}

/// Brings a store up to date whose journal has no identities. Its files are of no use and are made anew. Can be cut
/// short anywhere and begins again then, until the checkpoint is replaced: with that it is done.
fn update(disk: &dyn Disk, kept: &dyn Documents, stored: &Stored, clean: bool) -> Result<Marker> {
    if !clean {
        return Err(Error::Format {
            place: checkpoint::NAME.to_owned(),
            why: "an earlier version wrote this data folder and did not stop in order, so that its journal has to be \
                  read, which only that version can: start it once more, stop it in order, then start this one"
                .to_owned(),
        });
    }
    let position = Position {
        sequence: stored.image.position.sequence,
        ..BEGINNING
    };
    let mark = Mark {
        position,
        checkpoint: position.sequence,
        ..Mark::default()
    };
    let marker = Marker::create(disk, mark)?;
    let image = Image {
        folder: marker.mark().folder,
        position,
        ..stored.image.clone()
    };
    let mut bytes = image.encode(&stored.documents);
    checkpoint::seal(&mut bytes, position.sequence);
    let failed = |error| Error::io("write the checkpoint", error);
    kept.replace(&bytes).map_err(failed)?;
    Ok(marker)
}

/// Marks the store as closed in good order, with this checkpoint.
pub(super) fn put_clean_mark(disk: &dyn Disk, checkpoint: Digest) -> Result<()> {
    let marker = Marker::load(disk)?;
    let of_mark = marker.map_or_else(MarkDigest::default, |marker| marker.digest());
    let put = || {
        let file = disk.create(CLEAN)?;
        file.write_at(&[IoSlice::new(&checkpoint), IoSlice::new(&of_mark)], 0)?;
        file.sync()?;
        disk.sync_names("")
    };
    match put() {
        Err(error) if is_full(&error) => {
            // What is not whole does not count. The next start reads the journal, which costs time and nothing else.
            let _ = disk.remove(CLEAN);
            tracing::warn!(
                "no space to mark the store as closed, the next start replays the journal"
            );
            Ok(())
        }
        put => put.map_err(|error| Error::io("mark the store as closed", error)),
    }
}

/// Whether the store was closed in good order, with this checkpoint. A mark that is not whole was not finished: then
/// the journal is read, which is right as well.
fn is_clean(disk: &dyn Disk, stored: Option<&Stored>, marker: Option<&Marker>) -> Result<bool> {
    let failed = |error| Error::io("read the mark of a clean end", error);
    let file = match disk.open(CLEAN) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        file => file.map_err(failed)?,
    };
    let Some(stored) = stored else {
        return Err(Error::lost(
            checkpoint::NAME,
            "it is missing after a clean end",
        ));
    };
    if stored.is_old {
        return Ok(true);
    }
    let mut expected = stored.digest.to_vec();
    let length = file.len().map_err(failed)?;
    if let Some(marker) = marker
        && length > expected.len() as u64
    {
        expected.extend(marker.digest());
    }
    if length != expected.len() as u64 {
        return Ok(false);
    }
    let mut digests = expected.clone();
    file.read_at(&mut digests, 0).map_err(failed)?;
    if digests == expected {
        return Ok(true);
    }
    // After a power failure while it was made it may have its length and not its content.
    if digests.iter().all(|byte| *byte == 0) {
        return Ok(false);
    }
    let of_checkpoint = stored.digest.len();
    let what = if digests[..of_checkpoint] == expected[..of_checkpoint] {
        MARK_NAME
    } else {
        checkpoint::NAME
    };
    Err(Error::lost(
        what,
        "it is not the one that the store was closed with",
    ))
}

/// It is gone durably afterwards: from here on the journal may hold news.
fn remove_clean_mark(disk: &dyn Disk) -> Result<()> {
    let failed = |error| Error::io("remove the mark of a clean end", error);
    match disk.remove(CLEAN) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(()) => disk.sync_names("").map_err(failed),
    }
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
