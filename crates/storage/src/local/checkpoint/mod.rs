//! The checkpoint: everything start needs besides the journal's end, as a whole and the changes since.
//!
//! ```text
//! part       0  magic "FBCP"          u32
//!            4  format version        u32
//!            8  body length           u64
//!           16  checksum              u32   CRC-32C of bytes 20..52 and the body
//!           20  reach                 u64   every journal group before this sequence was synced when this was written
//!           28  identity              16 random bytes: of the whole, repeated by its changes
//!           44  serial                u64   0 for the whole, +1 from changes to changes
//!           52  header checksum       u32   CRC-32C of bytes 0..52
//!           56  body, then zeroes up to the next 4 KiB
//!
//! body       journal sequence, generation, offset      3 x u64   where replay begins
//!            next segment id                           u64
//!            version floor of documents                u64
//!            stream count                              u64
//!              stream 16 + 4, start u64, end u64, extent count u32
//!                extent: segment, base, end, bytes u64, max timestamp i64, index position u64, blocks, crc u32
//!            document count                            u64
//!              version u64, key and value each behind a u32 length
//!            count of streams that are gone            u64
//!              stream 16 + 4
//!            count of documents that are gone          u64
//!              key behind a u32 length
//!            identity of the data folder               16 bytes, as the journal's mark has it
//! ```
//!
//! The first part is the whole: all streams and documents. Each part behind it has those that changed since the part
//! before, complete, and names those that are gone; these count before the ones that are there, as a stream may have been
//! made again. When the changes have outgrown the whole, it is written again (`write`), so that over time no more is
//! written than a few times what changed.
//!
//! A checkpoint may show more than the replay position stands for (a trim, a document put later): replaying those changes
//! again leads to the same state. It never shows what is not durable yet, which is why a part is written after a sync
//! of everything handed over before it was taken. Only when a part is durable are journal files used again and segments
//! removed that it made unnecessary.
//!
//! # Where it ends
//!
//! Changes that were on their way when the power failed are torn. Nothing depends on them yet, and they are left out as if
//! they had not been begun: the part before says where to replay from, and the journal still has everything since. Whatever
//! the last part is, the journal's mark says how new it must be once files were used again. A part that is damaged with
//! another one behind it was finished; such a checkpoint is refused. The identity is random and nowhere else, so that no
//! document's value passes for a part. The first checkpoint of every run is a whole in a new file: nothing is added behind
//! torn changes, or behind ones that an earlier run could not sync.
//!
//! # Earlier versions
//!
//! Version 4 is one part, whose header ends with the reach, and has neither what is gone nor zeroes behind it. Version 3
//! has no identity of the folder. Version 2 is the same, and the segments it names have no stubs. Version 1 is that without
//! the reach; what came with it is a journal without identities, which is of no use unless the store was closed in good
//! order and the journal need not be read.

mod body;
mod collect;
mod file;
mod format;
mod frame;
mod image;
mod load;
mod part;
mod write;

pub(super) use collect::{Collected, Scope, Source};
pub(super) use file::CheckpointFile;
pub(super) use format::NAME;
pub(super) use image::Image;
pub(super) use load::load;
pub(super) use write::Checkpoints;
