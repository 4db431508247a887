//! CPU time and memory of a process on this machine, from `/proc`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Usage;

/// Fields of `stat` between the command's closing parenthesis and user time.
const FIELDS_BEFORE_UTIME: usize = 11;

/// Reads `/proc/<process>`; `process` may be `self`.
pub(super) fn read(process: &str) -> Result<Usage> {
    let folder = Path::new("/proc").join(process);
    let ticks = cpu_ticks(&read_text(&folder.join("stat"))?)?;
    let resident_bytes = resident_bytes(&read_text(&folder.join("status"))?)?;
    Ok(Usage {
        cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        resident_bytes,
    })
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// User plus system time of a `stat` line. The command's name may contain anything, parentheses and spaces included.
fn cpu_ticks(stat: &str) -> Result<u64> {
    let (_, fields) = stat.rsplit_once(") ").context("no command in stat")?;
    let mut fields = fields.split(' ').skip(FIELDS_BEFORE_UTIME);
    let mut ticks = || -> Result<u64> {
        let field = fields.next().context("stat is cut short")?;
        field.parse().context("stat holds no number")
    };
    Ok(ticks()? + ticks()?)
}

/// The `VmRSS` line of `status`, in bytes.
fn resident_bytes(status: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let amount = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = amount.context("status has no VmRSS")?.trim().parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "4242 (a ) name) S 1 4242 4242 0 -1 4194560 1893 0 5 0 731 269 0 0 20 0 5 0 88 1 2 3\n";

    #[test]
    fn cpu_time_is_user_plus_system() {
        assert_eq!(cpu_ticks(STAT).unwrap(), 1000);
    }

    #[test]
    fn a_line_cut_short_is_an_error() {
        assert!(cpu_ticks("1 (x) S 1 2").is_err());
        assert!(cpu_ticks("").is_err());
    }

    #[test]
    fn memory_is_in_kib() {
        let status = "Name:\tforebay\nVmPeak:\t  999 kB\nVmRSS:\t   20480 kB\n";
        assert_eq!(resident_bytes(status).unwrap(), 20 << 20);
        assert!(resident_bytes("Name:\tforebay\n").is_err());
    }

    #[test]
    fn we_have_numbers_ourselves() {
        let usage = read("self").unwrap();
        assert!(usage.resident_bytes > 0);
    }
}
