//! Writing checkpoints: changes behind the whole, and the whole again when they have outgrown it.

use std::io;

use super::super::seams::{Digest, Documents};
use super::frame::Identity;
use super::part::Part;
use crate::disk::is_full;
use crate::{Error, Result};

/// The checkpoint that this run of the store has written.
struct Current {
    identity: Identity,
    /// Of the next changes.
    serial: u64,
    whole_bytes: u64,
    /// Where the next changes begin.
    end: u64,
    /// Bytes of changes from which the whole is written again.
    changes_bytes_max: u64,
    digest: Digest,
}

/// Writes checkpoints to where they are kept.
pub(in super::super) struct Checkpoints {
    kept: Box<dyn Documents>,
    changes_bytes_min: u64,
    /// `None` until the first one, which is a whole in any case: nothing is ever built on what an earlier run may have
    /// left unfinished, or failed to sync.
    current: Option<Current>,
    /// A write failed for another reason than a lack of space, so that nothing is known of what is there.
    failed: Option<Error>,
}

impl Checkpoints {
    /// Changes are added to a checkpoint until they are larger than the whole, and than this. With 0 they never are.
    pub(in super::super) fn new(kept: Box<dyn Documents>, changes_bytes_min: u64) -> Self {
        Self {
            kept,
            changes_bytes_min,
            current: None,
            failed: None,
        }
    }

    /// Where checkpoints are kept.
    pub(in super::super) fn kept(&mut self) -> &mut dyn Documents {
        &mut *self.kept
    }

    /// Whether the next one must be a whole.
    pub(in super::super) fn wants_whole(&self) -> bool {
        self.current.as_ref().is_none_or(|current| {
            current.end - current.whole_bytes > current.changes_bytes_max
                || self.changes_bytes_min == 0
        })
    }

    /// Whether changes may take the place of a whole for which there is no space. They may grow to twice what they are
    /// before that is tried again.
    pub(in super::super) fn put_off_whole(&mut self) -> bool {
        let Some(current) = &mut self.current else {
            return false;
        };
        let changes_bytes = current.end - current.whole_bytes;
        current.changes_bytes_max = changes_bytes.saturating_mul(2);
        self.changes_bytes_min > 0
    }

    /// The last one that was written.
    pub(in super::super) fn digest(&self) -> Option<Digest> {
        self.current.as_ref().map(|current| current.digest)
    }

    /// Replaces the checkpoint by this one; every group before `reach` is durable. Its size.
    pub(in super::super) fn write_whole(&mut self, part: Part, reach: u64) -> Result<u64> {
        let identity = self.attempt(|kept| kept.identity())?;
        let part = part.sealed(identity, 0, reach);
        self.attempt(|kept| kept.replace(&part))?;
        let bytes = part.len() as u64;
        self.current = Some(Current {
            identity,
            serial: 1,
            whole_bytes: bytes,
            end: bytes,
            changes_bytes_max: bytes.max(self.changes_bytes_min),
            digest: digest(&part),
        });
        Ok(bytes)
    }

    /// Adds changes to the last checkpoint of this run; every group before `reach` is durable. Their size.
    pub(in super::super) fn write_changes(&mut self, part: Part, reach: u64) -> Result<u64> {
        let current = self.current.as_ref().expect("a whole was written");
        let (end, part) = (
            current.end,
            part.sealed(current.identity, current.serial, reach),
        );
        self.attempt(|kept| kept.add(end, &part))?;
        let bytes = part.len() as u64;
        let current = self.current.as_mut().expect("it was there a moment ago");
        current.serial += 1;
        current.end += bytes;
        current.digest = digest(&part);
        Ok(bytes)
    }

    /// Does something that may fail, unless that has happened.
    fn attempt<T>(
        &mut self,
        attempt: impl FnOnce(&mut dyn Documents) -> io::Result<T>,
    ) -> Result<T> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        attempt(&mut *self.kept).map_err(|error| {
            if is_full(&error) {
                return Error::DiskFull;
            }
            let error = Error::io("write the checkpoint", error);
            self.failed.insert(error).clone()
        })
    }
}

fn digest(part: &[u8]) -> Digest {
    *part.first_chunk().expect("a part has a header")
}
