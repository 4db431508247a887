//! Names of queues in the three forms clients use: plain, as a resource name, as an address.

use crate::error::{Fault, Outcome};

/// Longest name.
const NAME_MAX: usize = 80;
pub(crate) const FIFO_SUFFIX: &str = ".fifo";

/// Whether a queue of this name is one in order.
pub(crate) fn is_fifo(name: &str) -> bool {
    name.ends_with(FIFO_SUFFIX)
}

/// Whether the service could have a queue of this name.
pub(crate) fn is_name(name: &str) -> bool {
    let stem = name.strip_suffix(FIFO_SUFFIX).unwrap_or(name);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !stem.is_empty() && name.len() <= NAME_MAX && stem.bytes().all(plain)
}

/// Checks the name of a queue to be made.
pub(crate) fn check_name(name: &str, fifo: bool) -> Outcome<()> {
    if fifo && !(is_fifo(name) && is_name(name)) {
        return Err(Fault::new(
            &crate::error::INVALID_PARAMETER,
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.",
        ));
    }
    if !fifo && (is_fifo(name) || !is_name(name)) {
        return Err(Fault::new(
            &crate::error::INVALID_PARAMETER,
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    Ok(())
}

/// A queue's resource name.
pub(crate) fn arn(region: &str, account: &str, name: &str) -> String {
    format!("arn:aws:sqs:{region}:{account}:{name}")
}

/// The queue's name in a resource name.
pub(crate) fn name_in_arn(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':');
    let sqs = parts.next() == Some("arn") && parts.nth(1) == Some("sqs");
    let name = parts.nth(2).filter(|_| parts.next().is_none())?;
    (sqs && is_name(name)).then_some(name)
}

/// The queue's name in an address, whatever the address's host; a bare name is taken as such.
pub(crate) fn name_in_url(url: &str) -> Option<&str> {
    let path = url.split_once("://").map_or(url, |(_, rest)| {
        rest.split_once('/').map_or("", |(_, path)| path)
    });
    name_in_path(path).or_else(|| Some(path).filter(|name| is_name(name)))
}

/// The queue's name in a request's path: `/<account>/<name>`, or `/queue/<name>`.
pub(crate) fn name_in_path(path: &str) -> Option<&str> {
    let (before, name) = path.trim_matches('/').rsplit_once('/')?;
    (!before.is_empty() && is_name(name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_rules() {
        for good in ["a", "Orders_1-x", &"n".repeat(80)] {
            check_name(good, false).unwrap();
        }
        for bad in ["", "a b", "a.b", "x.fifo", ".fifo", &"n".repeat(81)] {
            check_name(bad, false).unwrap_err();
        }
        check_name("x.fifo", true).unwrap();
        check_name(&format!("{}.fifo", "n".repeat(75)), true).unwrap();
        for bad in ["x", ".fifo", &format!("{}.fifo", "n".repeat(76))] {
            check_name(bad, true).unwrap_err();
        }
    }

    #[test]
    fn a_queue_is_found_in_every_form_of_its_address() {
        for url in [
            "http://localhost:9324/000000000000/orders",
            "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
            "http://x/queue/orders/",
            "orders",
        ] {
            assert_eq!(name_in_url(url), Some("orders"), "{url}");
        }
        for url in ["", "http://localhost:9324", "http://localhost:9324/", "a b"] {
            assert_eq!(name_in_url(url), None, "{url}");
        }
        assert_eq!(
            name_in_arn("arn:aws:sqs:us-east-1:000000000000:orders"),
            Some("orders")
        );
        for bad in [
            "",
            "orders",
            "arn:aws:sns:us-east-1:1:orders",
            "arn:aws:sqs:r:a:b:c",
        ] {
            assert_eq!(name_in_arn(bad), None, "{bad}");
        }
    }
}
