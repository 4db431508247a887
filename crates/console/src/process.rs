//! What the operating system says about this process, under the names every dashboard knows.

use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::samples::Samples;

/// Adds the `process_*` metrics; a number the system does not have is left out.
pub(crate) fn sample(samples: &mut Samples<'_>) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat")
        .ok()
        .as_deref()
        .and_then(Stat::parse)
    {
        samples.counter(
            "process_cpu_seconds",
            "User and system CPU time spent by the process",
            seconds(stat.cpu_ticks),
        );
        let page = rustix::param::page_size() as u64;
        samples.gauge(
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM",
            stat.resident_pages * page,
        );
        samples.gauge(
            "process_virtual_memory_bytes",
            "Virtual memory of the process",
            stat.virtual_bytes,
        );
        samples.gauge("process_threads", "Threads of the process", stat.threads);
        if let Some(boot) = boot_seconds() {
            samples.gauge(
                "process_start_time_seconds",
                "Start of the process, in seconds since the epoch",
                boot + seconds(stat.start_ticks),
            );
        }
    }
    if let Some(max) = getrlimit(Resource::Nofile).current {
        samples.gauge("process_max_fds", "File descriptors that may be open", max);
    }
    if let Some(max) = getrlimit(Resource::As).current {
        samples.gauge(
            "process_virtual_memory_max_bytes",
            "Virtual memory the process may have",
            max,
        );
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder being read.
        let count = open.count().saturating_sub(1);
        samples.gauge("process_open_fds", "File descriptors open", count);
    }
}

/// The fields of `/proc/self/stat` we read.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in brackets and may hold anything, spaces and brackets included.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |man_page_field: usize| fields.get(man_page_field - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: number(14)? + number(15)?,
            threads: number(20)?,
            start_ticks: number(22)?,
            virtual_bytes: number(23)?,
            resident_pages: number(24)?,
        })
    }
}

fn boot_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact for 285 million years of hundredths of a second"
)]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn a_hostile_program_name_does_not_shift_the_fields() {
        let text = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 30 12 13 14 15 16 17 18 99 20 55 22";
        let expected = Stat {
            cpu_ticks: 42,
            threads: 17,
            start_ticks: 99,
            virtual_bytes: 20,
            resident_pages: 55,
        };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }
}
