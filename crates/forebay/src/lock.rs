//! One process per data directory: two of them appending to one journal would destroy it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

const FILE_NAME: &str = "lock";

/// The right to use a data directory; given up when dropped, and by the system when the process dies.
#[derive(Debug)]
pub(crate) struct DataLock {
    #[expect(dead_code, reason = "the lock lives as long as the open file")]
    file: File,
}

impl DataLock {
    /// Takes the folder, which is made if need be, or says who has it.
    pub(crate) fn take(dir: &Path) -> anyhow::Result<Self> {
        let shown = dir.display();
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir);
        made.with_context(|| format!("cannot create the data directory {shown}"))?;
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(FILE_NAME));
        let mut file = opened.with_context(|| format!("cannot open the lock file in {shown}"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                bail!(
                    "the data directory {shown} is in use by {}",
                    owner(&mut file)
                )
            }
            Err(error) => return Err(error).with_context(|| format!("cannot lock {shown}")),
        }
        // For people and for the message above; the lock itself does not depend on it.
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { file })
    }
}

fn owner(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!("another forebay, process {}", text.trim()),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::DataLock;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("deep/data");
        let first = DataLock::take(&data).unwrap();
        let refused = DataLock::take(&data).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(first);
        DataLock::take(&data).unwrap();
    }
}
