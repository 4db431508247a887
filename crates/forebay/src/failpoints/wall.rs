//! A wall clock that is set from outside: a test writes into a file how far it is ahead.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{PLANTED, PlantedBug};

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Where the file is looked for.
pub(crate) fn set_folder(data: &Path) {
    let _ = FOLDER.set(data.to_owned());
}

/// How far the wall clock is ahead, ms; `None` when it is the machine's own.
pub(crate) fn wall_ahead_ms() -> Option<i64> {
    if PLANTED.get() != Some(&PlantedBug::WallClock) {
        return None;
    }
    let text = fs::read_to_string(FOLDER.get()?.join("wall")).unwrap_or_default();
    Some(text.trim().parse().unwrap_or(0))
}
