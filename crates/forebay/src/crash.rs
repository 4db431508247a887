//! The end of a process that cannot go on: why it ended goes to stderr and into a file in the data folder.
//!
//! Nothing is drained and nothing is closed. What was acknowledged is in the journal, what an owner that ended had
//! in hand may be half changed, and the next start folds the one out of the other.

use std::backtrace::Backtrace;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::panic::{self, PanicHookInfo};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use engine::Clock;
use storage::supervisor::message;

use crate::clock::Machine;

/// Crash files that are kept; older ones make room.
const FILES_MAX: usize = 10;
/// Panics remembered for a crash file.
const PANICS_MAX: usize = 8;
/// The disk may be what failed: the file is written within this time or not at all.
const WRITE_WITHIN: Duration = Duration::from_secs(2);

/// The last panics, oldest first.
static PANICS: Mutex<VecDeque<Panic>> = Mutex::new(VecDeque::new());

struct Panic {
    at_ms: u64,
    thread: String,
    message: String,
    location: String,
    backtrace: Backtrace,
}

/// From here on every panic is logged, and remembered for a crash file.
pub(crate) fn remember_panics() {
    panic::set_hook(Box::new(|info| {
        let panic = Panic::new(info);
        tracing::error!(
            thread = %panic.thread,
            location = %panic.location,
            message = %panic.message,
            "a panic"
        );
        let mut panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
        if panics.len() >= PANICS_MAX {
            panics.pop_front();
        }
        panics.push_back(panic);
    }));
}

impl Panic {
    fn new(info: &PanicHookInfo<'_>) -> Self {
        let location = info.location().map(ToString::to_string);
        Self {
            at_ms: Machine.wall_ms(),
            thread: thread::current().name().unwrap_or("unnamed").to_owned(),
            message: message(info.payload()).to_owned(),
            location: location.unwrap_or_else(|| "unknown".to_owned()),
            backtrace: Backtrace::force_capture(),
        }
    }
}

/// Leaves a crash file in the data folder; returns where, unless the disk does not let us.
pub(crate) fn leave_file(data: &Path, reasons: &[String]) -> Option<PathBuf> {
    let (data, reasons) = (data.to_owned(), reasons.to_vec());
    let (done, written) = channel();
    let write = move || {
        let outcome = write_file(&data, Machine.wall_ms(), &reasons);
        let _ = done.send(outcome);
    };
    let started = thread::Builder::new()
        .name("crash-file".to_owned())
        .spawn(write);
    if let Err(error) = started {
        tracing::warn!(%error, "no crash file");
        return None;
    }
    match written.recv_timeout(WRITE_WITHIN) {
        Ok(Ok(path)) => Some(path),
        Ok(Err(error)) => {
            tracing::warn!(%error, "no crash file");
            None
        }
        Err(_) => {
            tracing::warn!("no crash file: the disk does not answer");
            None
        }
    }
}

fn write_file(data: &Path, now_ms: u64, reasons: &[String]) -> io::Result<PathBuf> {
    let path = data.join(format!("crash-{now_ms}.txt"));
    let mut file = fs::File::create(&path)?;
    file.write_all(text(now_ms, reasons).as_bytes())?;
    file.sync_all()?;
    remove_old(data)?;
    Ok(path)
}

fn text(now_ms: u64, reasons: &[String]) -> String {
    let mut text = format!(
        "forebay {} stopped because it could not go on\ntime: {now_ms} ms since 1970-01-01 UTC\nprocess: {}\n",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
    );
    for reason in reasons {
        let _ = writeln!(text, "reason: {reason}");
    }
    let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    for panic in panics.iter().rev() {
        let _ = write!(
            text,
            "\npanic: {}\ntime: {} ms\nthread: {}\nlocation: {}\nbacktrace:\n{}\n",
            panic.message, panic.at_ms, panic.thread, panic.location, panic.backtrace
        );
    }
    text
}

/// Removes all crash files but the newest.
fn remove_old(data: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name();
        let stamp = name
            .to_str()
            .and_then(|name| name.strip_prefix("crash-")?.strip_suffix(".txt"))
            .and_then(|stamp| stamp.parse::<u64>().ok());
        files.extend(stamp.map(|stamp| (stamp, entry.path())));
    }
    files.sort_unstable();
    let surplus = files.len().saturating_sub(FILES_MAX);
    files
        .iter()
        .take(surplus)
        .try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{FILES_MAX, text, write_file};

    #[test]
    fn a_file_says_what_happened() {
        let text = text(
            1_780_000_000_000,
            &["controller stopped: it panicked: a name".into()],
        );
        for part in [
            "forebay 0.0.0 stopped because it could not go on\n",
            "time: 1780000000000 ms since 1970-01-01 UTC\n",
            "reason: controller stopped: it panicked: a name\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn only_the_newest_are_kept_and_nothing_else_goes() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("crash-course.txt"), "mine").unwrap();
        for stamp in 0..15 {
            write_file(data.path(), 1_000 + stamp, &[]).unwrap();
        }
        let there = |name: &str| data.path().join(name).exists();
        assert!(there("crash-course.txt"));
        assert!(!there("crash-1004.txt"));
        assert!(there("crash-1005.txt"));
        assert!(there("crash-1014.txt"));
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), FILES_MAX + 1);
    }
}
