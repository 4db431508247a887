//! CPU time and memory of a broker that runs elsewhere, from its `/metrics`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Usage;

/// A scrape takes milliseconds; without an answer for this long there will be none.
const PATIENCE: Duration = Duration::from_secs(10);
/// Far more than any broker has to tell.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Scrapes once.
pub(super) fn read(address: SocketAddr) -> Result<Usage> {
    let answer = get(address).with_context(|| format!("cannot read the metrics at {address}"))?;
    parse(&answer)
}

fn get(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // HTTP/1.0: an answer without chunks, ended by the end of the connection.
    write!(
        stream,
        "GET /metrics HTTP/1.0\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status == "200", "HTTP status {status}");
    Ok(body.to_owned())
}

fn parse(text: &str) -> Result<Usage> {
    Ok(Usage {
        cpu_seconds: value(text, "process_cpu_seconds_total")?,
        resident_bytes: bytes(value(text, "process_resident_memory_bytes")?),
    })
}

fn value(text: &str, name: &str) -> Result<f64> {
    let mut values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.strip_prefix(' ')?.split(' ').next()
    });
    let found = values
        .next()
        .with_context(|| format!("the metrics lack {name}"))?;
    found
        .parse()
        .with_context(|| format!("{name} is no number"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of bytes; the cast saturates"
)]
fn bytes(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# HELP process_cpu_seconds_total CPU time\n\
        # TYPE process_cpu_seconds_total counter\n\
        process_cpu_seconds_total 12.5\n\
        process_resident_memory_bytes 2.097152e+07\n";

    #[test]
    fn the_two_numbers_are_found() {
        let usage = parse(METRICS).unwrap();
        let expected = Usage {
            cpu_seconds: 12.5,
            resident_bytes: 20 << 20,
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn a_missing_number_is_named() {
        let error = parse("process_cpu_seconds_totals 1\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the metrics lack process_cpu_seconds_total"
        );
    }
}
