//! Planted bugs: what the crash tests must be able to find, or they prove nothing.
//!
//! Exists only with the feature `failpoints`, which no release is built with, and does nothing unless the hidden
//! flag `--planted-bug` names a bug.

mod owners;
mod wall;

pub(crate) use owners::{wrap_engine, wrap_stopwatch};
pub(crate) use wall::{set_folder, wall_ahead_ms};

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use storage::disk::{Disk, DiskFile};

/// How long a write stays in memory although it was reported as durable.
const DELAY: Duration = Duration::from_millis(250);

static PLANTED: OnceLock<PlantedBug> = OnceLock::new();

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlantedBug {
    /// The disk says "durable" while the data is still in this process's memory: a kill loses it.
    AckBeforeSync,
    /// Making something whose name holds `planted-bug` makes the controller panic.
    ControllerPanics,
    /// The same keeps it waiting for ever.
    ControllerHangs,
    /// A message whose body holds `planted-bug` makes the owner of its queue panic.
    OwnerPanics,
    /// The same keeps its thread busy for ever.
    OwnerHangs,
    /// The same makes the journal's thread panic at its next sync.
    JournalPanics,
    /// A request about something whose name holds `planted-bug` makes its connection's task panic.
    ConnectionPanics,
    /// The wall clock is ahead by as many milliseconds as the file `wall` in the data folder says, and nothing is known of
    /// the machine's uptime.
    WallClock,
}

/// Plants a bug for the rest of the process.
pub(crate) fn plant(bug: PlantedBug) {
    let _ = PLANTED.set(bug);
}

/// The disk as the planted bug wants it; `disk` itself when none is planted.
pub(crate) fn wrap(disk: Arc<dyn Disk>) -> anyhow::Result<Arc<dyn Disk>> {
    match PLANTED.get() {
        Some(PlantedBug::AckBeforeSync) => {
            tracing::warn!("planted bug: the disk lies about syncs");
            Ok(Arc::new(LyingDisk::new(disk)?))
        }
        _ => Ok(disk),
    }
}

/// A disk whose writes reach the real one late, in order, while its syncs succeed at once.
///
/// Everything else first lets all writes through, so that what a kill leaves behind is always a state the disk
/// once had: acknowledged data is missing, and nothing is damaged.
struct LyingDisk {
    disk: Arc<dyn Disk>,
    late: Arc<Late>,
}

#[derive(Default)]
struct Late {
    writes: Mutex<VecDeque<LateWrite>>,
}

struct LateWrite {
    file: Arc<dyn DiskFile>,
    position: u64,
    bytes: Vec<u8>,
}

impl Late {
    fn lock(&self) -> MutexGuard<'_, VecDeque<LateWrite>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everything through; held locked meanwhile, so that nothing overtakes.
    fn settle(&self) -> io::Result<()> {
        let mut writes = self.lock();
        while let Some(write) = writes.pop_front() {
            write
                .file
                .write_at(&[IoSlice::new(&write.bytes)], write.position)?;
        }
        Ok(())
    }
}

impl LyingDisk {
    fn new(disk: Arc<dyn Disk>) -> anyhow::Result<Self> {
        let late = Arc::new(Late::default());
        let weak = Arc::downgrade(&late);
        thread::Builder::new()
            .name("lying-disk".to_owned())
            .spawn(move || settle_now_and_then(&weak))
            .context("cannot start the lying disk")?;
        Ok(Self { disk, late })
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(LyingFile {
            file,
            late: Arc::clone(&self.late),
        })
    }
}

fn settle_now_and_then(late: &Weak<Late>) {
    loop {
        // May return early, which only makes a lie shorter.
        thread::park_timeout(DELAY);
        let Some(late) = late.upgrade() else { return };
        if let Err(error) = late.settle() {
            tracing::error!(%error, "a late write failed");
        }
    }
}

impl Disk for LyingDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.late.settle()?;
        Ok(self.file(self.disk.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.late.settle()?;
        Ok(self.file(self.disk.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.late.settle()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.late.settle()?;
        self.disk.remove(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn sync_names(&self, folder: &str) -> io::Result<()> {
        self.late.settle()?;
        self.disk.sync_names(folder)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.disk.random()
    }
}

struct LyingFile {
    file: Arc<dyn DiskFile>,
    late: Arc<Late>,
}

impl DiskFile for LyingFile {
    fn write_at(&self, pieces: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let write = LateWrite {
            file: Arc::clone(&self.file),
            position,
            bytes: pieces
                .iter()
                .flat_map(|piece| piece.iter().copied())
                .collect(),
        };
        self.late.lock().push_back(write);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.late.settle()?;
        self.file.read_at(buffer, position)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.late.settle()?;
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.late.settle()?;
        self.file.set_len(len)
    }
}
