//! What the frontend knows of the process around it: where its records lie, and how it logs.

use std::sync::Arc;

/// How many bytes a folder's disk has, and how many of them are left; -1: unknown.
type Space = dyn Fn() -> (i64, i64) + Send + Sync;

/// The folder of the broker's records.
#[derive(Clone)]
pub struct LogDir {
    path: String,
    space: Arc<Space>,
}

impl LogDir {
    /// At `path`; `space` says how many bytes its disk has, and how many are left.
    pub fn new(path: String, space: Arc<Space>) -> Self {
        Self { path, space }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn space(&self) -> (i64, i64) {
        (self.space)()
    }
}

impl Default for LogDir {
    fn default() -> Self {
        Self::new("/forebay".to_owned(), Arc::new(|| (-1, -1)))
    }
}

impl std::fmt::Debug for LogDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LogDir").field(&self.path).finish()
    }
}

/// The loggers of the process.
pub trait Loggers: std::fmt::Debug + Send + Sync {
    /// Names and levels.
    fn levels(&self) -> Vec<(String, String)>;

    /// Gives a logger a level, or the one it began with; or says why not.
    fn set(&self, logger: &str, level: Option<&str>) -> Result<(), String>;
}

/// Where nothing is logged.
#[derive(Debug)]
pub(crate) struct NoLoggers;

impl Loggers for NoLoggers {
    fn levels(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn set(&self, _: &str, _: Option<&str>) -> Result<(), String> {
        Ok(())
    }
}
