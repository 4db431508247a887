//! File descriptors: as many as the system allows, and no more connections than they suffice for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept free of connections: journal files, segments, the listeners themselves.
const RESERVED: u64 = 256;
/// Below this the broker would be of no use to anyone.
const CONNECTIONS_MIN: u64 = 64;

/// Raises the limit as far as allowed and returns how many connections may be open at once.
pub(crate) fn connections_max() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    // Without the right to raise it we live with what there is.
    let allowed = if setrlimit(Resource::Nofile, wanted).is_ok() {
        maximum
    } else {
        current
    };
    let connections = allowed.map_or(u64::MAX, |files| {
        files.saturating_sub(RESERVED).max(CONNECTIONS_MIN)
    });
    usize::try_from(connections).unwrap_or(usize::MAX)
}
