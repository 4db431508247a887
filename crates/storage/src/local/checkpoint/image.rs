//! What a checkpoint shows.

use super::super::documents;
use super::super::seams::{Digest, Folder, Position};
use super::super::segment::Extent;
use crate::StreamId;

/// A stream as the checkpoint knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamImage {
    pub(crate) id: StreamId,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) extents: Vec<Extent>,
}

/// The content of a checkpoint, or of changes to one, but for the documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Image {
    /// The data folder it belongs to.
    pub(crate) folder: Folder,
    pub(crate) position: Position,
    /// Sequence the journal must at least come to: what the image shows may be newer than the position.
    pub(crate) reach: u64,
    pub(crate) next_segment: u64,
    pub(crate) streams: Vec<StreamImage>,
    /// Streams that are gone, before the others came.
    pub(crate) removed: Vec<StreamId>,
}

/// A checkpoint as it was found.
pub(crate) struct Stored {
    pub(crate) image: Image,
    pub(crate) documents: documents::State,
    /// It is of the version before journal files had identities.
    pub(crate) is_old: bool,
    /// The first bytes of its last part, with length, checksum and reach.
    pub(crate) digest: Digest,
    /// Behind it are changes that were never finished.
    pub(crate) is_cut: bool,
}
