//! What a checkpoint is called, and which versions of it there are.

pub(crate) const NAME: &str = "checkpoint";
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"FBCP");
pub(super) const FORMAT_VERSION: u32 = 5;
/// The last version that was always a whole.
pub(super) const VERSION_WITHOUT_CHANGES: u32 = 4;
/// The last version without the folder's identity.
pub(super) const VERSION_WITHOUT_FOLDER: u32 = 3;
/// The last version before journal files had identities.
pub(super) const OLD_FORMAT_VERSION: u32 = 1;
