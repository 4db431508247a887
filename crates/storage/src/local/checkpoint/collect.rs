//! What a checkpoint shows, taken from the streams and documents in memory while they go on changing.
//!
//! Streams are looked at one by one. What changes of one that was looked at already, it keeps for the next checkpoint: the
//! change is in the journal, behind the place this one replays from.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::documents::{Changed, DocumentTable};
use super::super::lock::lock;
use super::super::seams::{Cut, Folder};
use super::super::streams::{Saved, Stream, StreamState, Streams};
use super::body;
use super::image::{Image, StreamImage};
use super::part::Part;
use crate::{Lsn, StreamId};

/// What is shown.
#[derive(Clone, Copy)]
pub(in super::super) struct Source<'s> {
    pub(in super::super) folder: Folder,
    pub(in super::super) streams: &'s Streams,
    pub(in super::super) documents: &'s DocumentTable,
    pub(in super::super) next_segment: &'s AtomicU64,
}

/// How much a checkpoint shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Scope {
    Whole,
    /// What changed since the last one.
    Changes,
}

/// The next checkpoint.
pub(in super::super) struct Collected {
    pub(in super::super) scope: Scope,
    pub(in super::super) part: Part,
    /// Segments that streams have: those that it names or earlier parts do, and those of streams that it leaves out.
    pub(in super::super) live: BTreeSet<u64>,
    pub(in super::super) unsaved: Unsaved,
}

/// What a checkpoint shows as changed, to be kept in case it is not written.
#[derive(Default)]
pub(in super::super) struct Unsaved {
    streams: Vec<Arc<Stream>>,
    removed: BTreeSet<StreamId>,
    documents: Changed,
}

impl Collected {
    /// A checkpoint that replays from this place. It is a whole if it is wanted, or if too much has changed for less.
    pub(in super::super) fn of(source: Source<'_>, cut: Cut, wanted: Scope) -> Self {
        // Documents that change from here on may show already, and do in the next checkpoint.
        let changed = source.documents.lock().take_changed();
        let (scope, keys) = match &changed {
            Changed::Keys(keys) if wanted == Scope::Changes => (Scope::Changes, Some(keys)),
            _ => (Scope::Whole, None),
        };
        let mut image = Image {
            folder: source.folder,
            position: cut.position,
            ..Image::default()
        };
        let mut unsaved = Unsaved::default();
        let live = collect_streams(source.streams, (cut.lsn, scope), &mut image, &mut unsaved);
        image.next_segment = source.next_segment.load(Ordering::Relaxed);
        let part = {
            let documents = source.documents.lock();
            Part::new(|out| body::encode(out, &image, &documents, keys))
        };
        unsaved.documents = changed;
        Self {
            scope,
            part,
            live,
            unsaved,
        }
    }
}

/// Adds what streams have to show; returns the segments they have.
fn collect_streams(
    streams: &Streams,
    (until, scope): (Lsn, Scope),
    image: &mut Image,
    unsaved: &mut Unsaved,
) -> BTreeSet<u64> {
    let mut live = BTreeSet::new();
    let all = streams.all();
    // Behind `all`: of those, what is removed later is seen to be, or shown as it was and left for the next checkpoint.
    unsaved.removed = streams.take_removed();
    for stream in all {
        let mut state = lock(&stream.state);
        if state.removed {
            unsaved.removed.insert(stream.id);
            continue;
        }
        live.extend(state.extents.iter().map(|extent| extent.segment));
        // What a later append made will be made again by replaying it.
        if state.created > until {
            continue;
        }
        let has_changed = state.saved != Saved::Current;
        if has_changed || scope == Scope::Whole {
            state.saved = Saved::Current;
            image.streams.push(image_of(&stream, &state));
        }
        drop(state);
        if has_changed {
            unsaved.streams.push(stream);
        }
    }
    if scope == Scope::Changes {
        image.removed = unsaved.removed.iter().copied().collect();
    }
    live
}

fn image_of(stream: &Stream, state: &StreamState) -> StreamImage {
    StreamImage {
        id: stream.id,
        start: state.start.min(state.flushed),
        end: state.flushed,
        extents: state.extents.iter().copied().collect(),
    }
}

impl Unsaved {
    /// Keeps it for the next checkpoint.
    pub(in super::super) fn put_back(self, source: Source<'_>) {
        for stream in &self.streams {
            lock(&stream.state).saved = Saved::Outdated;
        }
        source.streams.put_back_removed(self.removed);
        source.documents.lock().put_back_changed(self.documents);
    }
}
