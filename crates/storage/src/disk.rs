//! The file system as storage needs it: a seam so that tests can lose power, tear writes and fill the disk.

use std::io;
use std::sync::Arc;

/// Zeroes written at once.
pub(crate) const FILL_BYTES: usize = 1 << 20;

/// A directory of files, by name; `/` separates folders, which are made as needed.
pub trait Disk: Send + Sync + 'static {
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a new, empty file; fails when it exists.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a file of so many zeroes, all of them written and durable: to overwrite them later is cheap to sync. Fails
    /// when the file exists; one that could not be filled is left behind.
    fn create_filled(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.create(name)?;
        write_zeroes(&*file, 0, bytes)?;
        file.sync()?;
        Ok(file)
    }
    /// Renames atomically, replacing the target. Durable after [`Disk::sync_names`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync_names`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Bare names (without the folder) of all files in `folder`, in no order; none when there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Makes creations, renames and removals in `folder` durable.
    fn sync_names(&self, folder: &str) -> io::Result<()>;
    /// Bytes that may still be written.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Sixteen random bytes that no peer can guess: the identity of one use of a file.
    fn random(&self) -> io::Result<[u8; 16]>;
}

/// Whether there was no space for what was to be written.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Writes zeroes from one position up to another.
pub(crate) fn write_zeroes(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let most = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    let zeroes = vec![0; FILL_BYTES.min(most)];
    let mut position = from;
    while position < to {
        let left = usize::try_from(to - position).unwrap_or(usize::MAX);
        let count = zeroes.len().min(left);
        file.write_at(&[io::IoSlice::new(&zeroes[..count])], position)?;
        position += count as u64;
    }
    Ok(())
}

/// One open file. Reads and writes name their position; there is no cursor.
pub trait DiskFile: Send + Sync {
    /// Writes all of `pieces`, one after the other, from `position`.
    fn write_at(&self, pieces: &[io::IoSlice<'_>], position: u64) -> io::Result<()>;
    /// Fills `buffer` from `position`; fails with `UnexpectedEof` when the file is shorter.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;
    /// Like [`DiskFile::read_at`], into memory of its own: saves an implementation the work of clearing it first.
    fn read(&self, length: usize, position: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_at(&mut bytes, position)?;
        Ok(bytes)
    }
    /// Makes everything written so far durable (`fdatasync`). A failure means written data may be lost for good.
    fn sync(&self) -> io::Result<()>;
    /// Lets the system give up the memory it caches the file in: nobody is expected to read it soon.
    fn uncache(&self) {}
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeroes) to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
}
