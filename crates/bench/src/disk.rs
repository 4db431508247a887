//! The yardstick: what the disk under a folder gives to plain sequential writes, each made durable before the next.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::stopwatch::Stopwatch;

const BLOCK_BYTES: usize = 1 << 20;
/// Large enough that a recycled file is not all in the drive's own cache.
const FILE_BLOCKS: u64 = 256;

/// A pre-written file, so that writing allocates no blocks and changes no metadata.
#[derive(Debug)]
pub(crate) struct Disk {
    file: File,
    path: PathBuf,
    block: Vec<u8>,
}

impl Disk {
    /// Makes the file in `folder`.
    pub(crate) fn prepare(folder: &Path) -> Result<Self> {
        let path = folder.join("disk-speed");
        let file = File::create(&path)
            .with_context(|| format!("cannot create a file in {}", folder.display()))?;
        let disk = Self {
            file,
            path,
            block: (0..=u8::MAX).cycle().take(BLOCK_BYTES).collect(),
        };
        for index in 0..FILE_BLOCKS {
            disk.write(index)?;
        }
        disk.file.sync_all()?;
        Ok(disk)
    }

    /// Bytes per second of `pwrite` and `fdatasync` of one block after the other, for `duration`.
    pub(crate) fn measure(&self, duration: Duration) -> Result<f64> {
        let clock = Stopwatch::start();
        let mut blocks = 0;
        while clock.elapsed() < duration {
            self.write(blocks % FILE_BLOCKS)?;
            self.file.sync_data()?;
            blocks += 1;
        }
        let bytes = blocks * BLOCK_BYTES as u64;
        Ok(bytes as f64 / clock.elapsed().as_secs_f64())
    }

    fn write(&self, index: u64) -> Result<()> {
        let at = index * BLOCK_BYTES as u64;
        Ok(self.file.write_all_at(&self.block, at)?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The folder may be gone already, and with it the file.
        let _ = fs::remove_file(&self.path);
    }
}
