//! What a process has used up to one time.

/// Numbers of one process at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system CPU time since its start.
    pub(crate) cpu_seconds: f64,
    /// Memory in RAM.
    pub(crate) resident_bytes: u64,
}
