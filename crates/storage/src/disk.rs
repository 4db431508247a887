//! The file system as storage needs it: a seam so that tests can lose power, tear writes and fill the disk.

use std::io;
use std::sync::Arc;

/// A directory of files, by name; `/` separates folders, which are made as needed.
pub trait Disk: Send + Sync + 'static {
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a new, empty file; fails when it exists.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
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
