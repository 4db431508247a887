//! How much memory the process may use, and for what: one budget, divided once at the start.

use std::fs;
use std::path::Path;

use anyhow::ensure;

use crate::settings::{ByteSize, Settings};

const MIB: u64 = 1 << 20;
/// Below this the broker would be of no use to anyone.
const BUDGET_MIN: u64 = 32 * MIB;
/// What is assumed where the system does not say how much memory there is.
const MEMORY_UNKNOWN: u64 = 1024 * MIB;
/// The part of the budget that each of storage's two kinds of memory gets, and the cache of records, and the most each
/// of them can use.
const PART: u64 = 16;
const UNFLUSHED_MAX: u64 = 32 * MIB;
const TAIL_MAX: u64 = 32 * MIB;
const CACHE_MAX: u64 = 16 * MIB;

/// The part of the budget for the state of queues.
const QUEUE_STATE_PART: u64 = 8;

/// The part of the budget for the state of consumer groups.
const GROUP_STATE_PART: u64 = 16;
/// The part of the budget that connections have at least.
const CONNECTIONS_PART: u64 = 8;

/// What the budget is divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All of it.
    pub(crate) total: u64,
    /// Batches that are in no segment yet; while they are flushed there may be twice as much.
    pub(crate) unflushed: u64,
    /// Batches kept for readers near the end of their stream.
    pub(crate) tail: u64,
    /// Records kept for receivers that come for their neighbours.
    pub(crate) cache: u64,
    /// What the state of queues may take.
    pub(crate) queue_state: u64,
    /// What the state of consumer groups may take.
    pub(crate) group_state: u64,
    /// What connections may hold together.
    pub(crate) connections: u64,
}

/// Parts whose size is set.
#[derive(Debug, Clone, Copy, Default)]
struct Own {
    unflushed: Option<u64>,
    queue_state: Option<u64>,
    group_state: Option<u64>,
}

impl Memory {
    /// Divides what the settings say, or half of what there is.
    pub(crate) fn of(settings: &Settings) -> anyhow::Result<Self> {
        let half = || there_is(Path::new("/")) / 2;
        let total = settings.memory.budget_bytes.map_or_else(half, |b| b.0);
        let own = Own {
            unflushed: settings.storage.unflushed_bytes.map(|bytes| bytes.0),
            queue_state: settings.memory.queue_state_bytes.map(|bytes| bytes.0),
            group_state: settings.memory.group_state_bytes.map(|bytes| bytes.0),
        };
        Self::divide(total, own)
    }

    fn divide(total: u64, own: Own) -> anyhow::Result<Self> {
        let shown = |bytes: u64| crate::settings::Setting::show(&ByteSize(bytes));
        ensure!(
            total >= BUDGET_MIN,
            "memory.budget_bytes is {}: at least {} are needed",
            shown(total),
            shown(BUDGET_MIN)
        );
        let part = |most: u64| (total / PART).min(most);
        let unflushed = own.unflushed.unwrap_or_else(|| part(UNFLUSHED_MAX));
        let (tail, cache) = (part(TAIL_MAX), part(CACHE_MAX));
        let fixed = unflushed.saturating_mul(2).saturating_add(tail + cache);
        ensure!(
            fixed <= total / 2,
            "storage.unflushed_bytes is {}: that does not fit into memory.budget_bytes, which is {}",
            shown(unflushed),
            shown(total)
        );
        let state = |name: &str, own: Option<u64>, part: u64| {
            let bytes = own.unwrap_or(total / part);
            ensure!(
                bytes <= total / 4,
                "memory.{name} is {}: that is more than a quarter of memory.budget_bytes, which is {}",
                shown(bytes),
                shown(total)
            );
            Ok(bytes)
        };
        let queue_state = state("queue_state_bytes", own.queue_state, QUEUE_STATE_PART)?;
        let group_state = state("group_state_bytes", own.group_state, GROUP_STATE_PART)?;
        let connections = total - fixed - queue_state - group_state;
        ensure!(
            connections >= total / CONNECTIONS_PART,
            "storage.unflushed_bytes is {}, memory.queue_state_bytes {}, memory.group_state_bytes {}: that leaves \
             connections less than an eighth of memory.budget_bytes, which is {}",
            shown(unflushed),
            shown(queue_state),
            shown(group_state),
            shown(total)
        );
        Ok(Self {
            total,
            unflushed,
            tail,
            cache,
            queue_state,
            group_state,
            connections,
        })
    }
}

/// The memory of the machine, or of the control group the process is in, whichever is less. `root` is `/` but for tests.
fn there_is(root: &Path) -> u64 {
    let machine = read(&root.join("proc/meminfo")).and_then(|text| {
        let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    let machine = machine.and_then(|kib| kib.checked_mul(1 << 10));
    let group = group_limit(root);
    match (machine, group) {
        (Some(machine), Some(group)) => machine.min(group),
        (machine, group) => machine.or(group).unwrap_or(MEMORY_UNKNOWN),
    }
}

/// The least limit among the group the process is in and those above it, in either version of the hierarchy.
fn group_limit(root: &Path) -> Option<u64> {
    let groups = read(&root.join("proc/self/cgroup"))?;
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let (mount, file) = if controllers.is_empty() {
            ("sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return None;
        };
        let mount = root.join(mount);
        let own = mount.join(path.trim_start_matches('/'));
        // In a container its own group may be mounted as the root.
        let above = own.ancestors().take_while(|at| at.starts_with(&mount));
        let limits = above.filter_map(|at| read(&at.join(file))?.trim().parse::<u64>().ok());
        limits.min()
    });
    limits.min()
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn root(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:  1048576 kB\nMemFree: 1 kB\n");

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: u64) {
        let root = root(files);
        assert_eq!(there_is(root.path()), expected);
    }

    #[test]
    fn the_least_limit_counts() {
        check(&[], MEMORY_UNKNOWN);
        check(&[MACHINE], 1 << 30);
        let group = ("proc/self/cgroup", "0::/a/b\n");
        let none = ("sys/fs/cgroup/a/b/memory.max", "max\n");
        check(&[MACHINE, group, none], 1 << 30);
        let own = ("sys/fs/cgroup/a/b/memory.max", "268435456\n");
        check(&[MACHINE, group, own], 256 << 20);
        let above = ("sys/fs/cgroup/a/memory.max", "134217728\n");
        check(&[MACHINE, group, own, above], 128 << 20);
        let container = ("sys/fs/cgroup/memory.max", "134217728\n");
        check(&[MACHINE, group, container], 128 << 20);
        let old = ("proc/self/cgroup", "5:cpu:/\n4:memory:/x\n");
        let limit = ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "67108864\n");
        let unlimited = (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        check(&[MACHINE, old, limit, unlimited], 64 << 20);
        check(&[MACHINE, old, unlimited], 1 << 30);
    }

    #[test]
    fn parts_fit_into_the_whole() {
        let small = Memory::divide(128 * MIB, Own::default()).unwrap();
        assert_eq!((small.unflushed, small.tail), (8 * MIB, 8 * MIB));
        assert_eq!((small.queue_state, small.group_state), (16 * MIB, 8 * MIB));
        assert_eq!(small.connections, 72 * MIB);
        let large = Memory::divide(16 << 30, Own::default()).unwrap();
        assert_eq!((large.unflushed, large.cache), (32 * MIB, 16 * MIB));
        assert_eq!(large.connections, (13 << 30) - 112 * MIB);
        let own = Own {
            unflushed: Some(4 * MIB),
            queue_state: Some(MIB),
            group_state: Some(2 * MIB),
        };
        let own = Memory::divide(256 * MIB, own).unwrap();
        assert_eq!((own.unflushed, own.queue_state), (4 * MIB, MIB));
        assert_eq!(own.group_state, 2 * MIB);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let unflushed = |bytes| Own {
            unflushed: Some(bytes),
            ..Own::default()
        };
        let error = Memory::divide(64 * MIB, unflushed(32 * MIB)).unwrap_err();
        let text = "storage.unflushed_bytes is 32MiB: that does not fit into memory.budget_bytes, which is 64MiB";
        assert_eq!(error.to_string(), text);
        let group_state = Own {
            group_state: Some(17 * MIB),
            ..Own::default()
        };
        let error = Memory::divide(64 * MIB, group_state).unwrap_err();
        let text = "memory.group_state_bytes is 17MiB: that is more than a quarter of memory.budget_bytes, which is 64MiB";
        assert_eq!(error.to_string(), text);
        let too_little_left = Own {
            unflushed: Some(12 * MIB),
            queue_state: Some(16 * MIB),
            group_state: Some(16 * MIB),
        };
        let error = Memory::divide(64 * MIB, too_little_left).unwrap_err();
        let text = "storage.unflushed_bytes is 12MiB, memory.queue_state_bytes 16MiB, memory.group_state_bytes 16MiB: that \
                    leaves connections less than an eighth of memory.budget_bytes, which is 64MiB";
        assert_eq!(error.to_string(), text);
        let error = Memory::divide(MIB, Own::default()).unwrap_err();
        let text = "memory.budget_bytes is 1MiB: at least 32MiB are needed";
        assert_eq!(error.to_string(), text);
    }
}
