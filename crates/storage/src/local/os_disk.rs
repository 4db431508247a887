//! A directory of the operating system as a [`Disk`], locked against a second process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::FlockOperation;

use crate::disk::{Disk, DiskFile, FILL_BYTES, write_zeroes};

const LOCK_NAME: &str = "lock";
/// Most pieces one `pwritev` takes (`IOV_MAX` on Linux and macOS).
const PIECES_MAX: usize = 1024;

/// A directory on a local file system.
#[derive(Debug)]
pub struct OsDisk {
    root: PathBuf,
    /// Held for its lock, which the operating system releases when the process ends in whatever way.
    _lock: File,
}

impl OsDisk {
    /// Opens (and makes, where needed) a directory. Fails with `WouldBlock` when another process, or another
    /// disk of this one, has it open.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join(LOCK_NAME))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { root, _lock: lock })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn make_folder_of(&self, path: &Path) -> io::Result<()> {
        let Some(folder) = path.parent().filter(|folder| !folder.exists()) else {
            return Ok(());
        };
        fs::create_dir_all(folder)?;
        File::open(&self.root)?.sync_all()
    }
}

impl Disk for OsDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(name))?;
        Ok(Arc::new(OsFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(name);
        self.make_folder_of(&path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn create_filled(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.create(name)?;
        let filled = fill_directly(&self.path(name), bytes)?;
        write_zeroes(&*file, filled, bytes)?;
        file.sync()?;
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    }

    fn sync_names(&self, folder: &str) -> io::Result<()> {
        match File::open(self.path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            folder => folder?.sync_all(),
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Fills a file with zeroes past the system's cache, which would copy each of them and keep them in memory; returns how
/// far that went. Where a file system does not allow it, or at what is left of a page, it ends early and all is well.
#[cfg(target_os = "linux")]
fn fill_directly(path: &Path, bytes: u64) -> io::Result<u64> {
    use std::os::unix::fs::OpenOptionsExt;
    /// What is written has to begin and end at multiples of this, bytes: no disk has larger sectors.
    const ALIGN: usize = 4096;
    let is_refusal = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
        )
    };
    let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(path);
    let file = match opened {
        Err(error) if is_refusal(&error) => return Ok(0),
        opened => opened?,
    };
    // Where what is written begins must be aligned in memory too.
    let memory = vec![0; FILL_BYTES + ALIGN];
    let zeroes = &memory[memory.as_ptr().align_offset(ALIGN)..][..FILL_BYTES];
    let whole = bytes - bytes % ALIGN as u64;
    let mut position = 0;
    while position < whole {
        let left = usize::try_from(whole - position).unwrap_or(usize::MAX);
        let piece = &zeroes[..FILL_BYTES.min(left)];
        match file.write_all_at(piece, position) {
            Err(error) if is_refusal(&error) => break,
            written => written?,
        }
        position += piece.len() as u64;
    }
    Ok(position)
}

/// Elsewhere there is no such way.
#[cfg(not(target_os = "linux"))]
fn fill_directly(_: &Path, _: u64) -> io::Result<u64> {
    Ok(0)
}

struct OsFile(File);

impl DiskFile for OsFile {
    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut at = position;
        for some in pieces.chunks(PIECES_MAX) {
            let total: usize = some.iter().map(|piece| piece.len()).sum();
            let written = write_once(&self.0, some, at)?;
            if written < total {
                write_rest(&self.0, some, written, at)?;
            }
            at += total as u64;
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, position)
    }

    fn read(&self, length: usize, position: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = position + bytes.len() as u64;
            match rustix::io::pread(&self.0, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The allocator may have given more room than asked for, and the file may go on.
        bytes.truncate(length);
        Ok(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn uncache(&self) {
        // Only a hint: a system that ignores it loses nothing but memory.
        let _ = rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed);
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

fn write_once(file: &File, pieces: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
    loop {
        match rustix::io::pwritev(file, pieces, at) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// A short write is rare (a signal, a nearly full disk): what is left goes out piece by piece.
fn write_rest(file: &File, pieces: &[IoSlice<'_>], written: usize, at: u64) -> io::Result<()> {
    let mut skip = written;
    let mut from = at;
    for piece in pieces {
        let skipped = skip.min(piece.len());
        if skipped < piece.len() {
            file.write_all_at(&piece[skipped..], from + skipped as u64)?;
        }
        skip -= skipped;
        from += piece.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_file_has_its_length_and_nothing_but_zeroes() {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        for bytes in [0, 1, 4096, 4097, 1 << 20, (3 << 20) + 4096 + 5] {
            let name = format!("files/{bytes}");
            let file = disk.create_filled(&name, bytes).unwrap();
            assert_eq!(file.len().unwrap(), bytes);
            let length = usize::try_from(bytes).unwrap();
            let read = file.read(length, 0).unwrap();
            assert!(read.iter().all(|byte| *byte == 0));
            // What is written through the cache is what is read.
            if bytes > 0 {
                file.write_at(&[IoSlice::new(b"x")], bytes - 1).unwrap();
                assert_eq!(file.read(1, bytes - 1).unwrap(), b"x");
            }
            let again = disk.create_filled(&name, bytes).map(drop);
            assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
    }
}
