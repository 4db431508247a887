//! The mark of a clean end: a file that exists exactly while the store is closed and the checkpoint covers everything. It
//! holds the digests of the checkpoint and of the journal's mark; before folders had identities, only that of the
//! checkpoint.

use std::io::{ErrorKind, IoSlice};

use super::super::checkpoint;
use super::super::seams::{Digest, Seen};
use super::mark::{self, MarkDigest, Marker};
use crate::disk::{Disk, is_full};
use crate::{Error, Result};

const NAME: &str = "clean";

/// Marks the store as closed in good order, with this checkpoint.
pub(super) fn put(disk: &dyn Disk, checkpoint: &Digest) -> Result<()> {
    let marker = Marker::load(disk)?;
    let of_mark = marker.map_or_else(MarkDigest::default, |marker| marker.digest());
    let put = || {
        let file = disk.create(NAME)?;
        file.write_at(&[IoSlice::new(checkpoint), IoSlice::new(&of_mark)], 0)?;
        file.sync()?;
        disk.sync_names("")
    };
    match put() {
        Err(error) if is_full(&error) => {
            // What is not whole does not count. The next start reads the journal, which costs time and nothing else.
            let _ = disk.remove(NAME);
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
pub(super) fn is_there(
    disk: &dyn Disk,
    checkpoint: Option<&Seen>,
    marker: Option<&Marker>,
) -> Result<bool> {
    let failed = |error| Error::io("read the mark of a clean end", error);
    let file = match disk.open(NAME) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        file => file.map_err(failed)?,
    };
    let Some(checkpoint) = checkpoint else {
        let why = "it is missing after a clean end";
        return Err(Error::lost(checkpoint::NAME, why));
    };
    if checkpoint.is_old {
        return Ok(true);
    }
    let mut expected = checkpoint.digest.to_vec();
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
    let of_checkpoint = checkpoint.digest.len();
    let what = if digests[..of_checkpoint] == expected[..of_checkpoint] {
        mark::NAME
    } else {
        checkpoint::NAME
    };
    let why = "it is not the one that the store was closed with";
    Err(Error::lost(what, why))
}

/// It is gone durably afterwards: from here on the journal may hold news.
pub(super) fn remove(disk: &dyn Disk) -> Result<()> {
    let failed = |error| Error::io("remove the mark of a clean end", error);
    match disk.remove(NAME) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(()) => disk.sync_names("").map_err(failed),
    }
}
