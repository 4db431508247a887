//! One process per data directory: two of them appending to one journal would destroy it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

const FILE_NAME: &str = "lock";
/// Where storage is, in the data folder.
pub(crate) const STORE: &str = "store";

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

/// The data folder as it was found; tells when it is not there any more.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// What must be there, with its device and number, unless it could not be looked at.
    parts: Vec<(PathBuf, Option<(u64, u64)>)>,
}

impl Place {
    /// The folder as it is now, in use.
    pub(crate) fn of(dir: &Path) -> Self {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let parts = [FILE_NAME, STORE].map(|name| dir.join(name));
        let parts = parts.map(|path| {
            let found = identity(&path).ok();
            (path, found)
        });
        Self {
            parts: parts.into(),
        }
    }

    /// What is missing. It asks the disk, and may take as long as that does.
    pub(crate) fn missing(&self) -> Option<String> {
        let mut missing = self.parts.iter().filter_map(|(path, before)| {
            let shown = path.display();
            match identity(path) {
                Ok(now) if before.is_none_or(|before| before == now) => None,
                Ok(_) => Some(format!("{shown} was replaced")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Some(format!("{shown} is gone"))
                }
                Err(error) => Some(format!("{shown}: {error}")),
            }
        });
        missing.next()
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
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
    use std::fs;

    use super::{DataLock, Place, STORE};

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

    #[test]
    fn what_goes_away_under_it_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let _lock = DataLock::take(&data).unwrap();
        fs::create_dir(data.join(STORE)).unwrap();
        let place = Place::of(&data);
        let missing = || place.missing().unwrap_or_default();
        assert_eq!(missing(), "");
        let (store, away) = (data.join(STORE), data.join("away"));
        fs::rename(&store, &away).unwrap();
        assert_eq!(missing(), format!("{} is gone", store.display()));
        fs::create_dir(&store).unwrap();
        assert_eq!(missing(), format!("{} was replaced", store.display()));
        fs::remove_dir(&store).unwrap();
        fs::rename(&away, &store).unwrap();
        assert_eq!(missing(), "");
        fs::remove_dir_all(&data).unwrap();
        let lock = data.join("lock");
        assert_eq!(missing(), format!("{} is gone", lock.display()));
    }
}
