//! Names of queues in the forms clients use: plain, as a resource name, as an address; and whose they are.
//!
//! A queue belongs to an account and a region. What belongs to the home account in the home region goes by its plain
//! name, the same for every protocol. Every other pair has a vhost of its own, `sqs/<account>/<region>`, made when the
//! first queue is made in it.

use engine::vhost;

use crate::error::{Fault, INVALID_PARAMETER, Outcome};

/// Longest name.
const NAME_MAX: usize = 80;
pub(crate) const FIFO_SUFFIX: &str = ".fifo";
/// What names of vhosts of other accounts and regions begin with.
pub(crate) const VHOSTS: &str = "sqs/";
/// Longest name of a region.
const REGION_MAX: usize = 64;
const ACCOUNT_DIGITS: usize = 12;

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
            &INVALID_PARAMETER,
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.",
        ));
    }
    if !fifo && (is_fifo(name) || !is_name(name)) {
        return Err(Fault::new(
            &INVALID_PARAMETER,
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        ));
    }
    Ok(())
}

/// Whether a text is an account: twelve digits.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == ACCOUNT_DIGITS && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether queues can belong to a region of this name.
pub(crate) fn is_region(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=REGION_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// Whether a part of a host's name is certainly a region: `eu-west-1`, and not just any word in the name of a host.
fn is_region_of_host(text: &str) -> bool {
    let (before, number) = text.rsplit_once('-').unwrap_or_default();
    let words = before.split('-');
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    words.clone().count() >= 2
        && words.clone().all(word)
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// An account and a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) account: String,
    pub(crate) region: String,
}

/// Where a request or an address says that a queue is; what it does not say is the caller's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Located<'a> {
    pub(crate) account: Option<&'a str>,
    pub(crate) region: Option<&'a str>,
    pub(crate) name: &'a str,
}

impl Located<'_> {
    /// The account and the region, where `caller`'s hold if nothing else is said.
    pub(crate) fn namespace(&self, caller: &Namespace) -> Namespace {
        let said =
            |said: Option<&str>, else_: &String| said.map_or_else(|| else_.clone(), str::to_owned);
        Namespace {
            account: said(self.account, &caller.account),
            region: said(self.region, &caller.region),
        }
    }
}

/// The account and the region whose queues are known to every protocol by their plain names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home(pub(crate) Namespace);

impl Home {
    /// The vhost of another account or region; `None` at home.
    pub(crate) fn vhost(&self, of: &Namespace) -> Option<String> {
        (self.0 != *of).then(|| format!("{VHOSTS}{}/{}", of.account, of.region))
    }

    /// The name by which the broker knows a queue.
    pub(crate) fn qualify(&self, of: &Namespace, name: &str) -> String {
        match self.vhost(of) {
            Some(vhost) => vhost::qualify(&vhost, name),
            None => name.to_owned(),
        }
    }

    /// Whose a queue is that the broker knows by this name, and its plain name. What is in a vhost of another kind
    /// counts as being at home.
    pub(crate) fn split<'q>(&self, qualified: &'q str) -> (Namespace, &'q str) {
        let (vhost, name) = vhost::split(qualified);
        let pair = vhost
            .strip_prefix(VHOSTS)
            .and_then(|pair| pair.split_once('/'));
        let namespace = pair.map(|(account, region)| Namespace {
            account: account.to_owned(),
            region: region.to_owned(),
        });
        (namespace.unwrap_or_else(|| self.0.clone()), name)
    }

    /// A queue's resource name.
    pub(crate) fn arn(&self, qualified: &str) -> String {
        let (of, name) = self.split(qualified);
        format!("arn:aws:sqs:{}:{}:{name}", of.region, of.account)
    }

    /// The name by which the broker knows the queue of a resource name.
    pub(crate) fn name_in_arn(&self, arn: &str) -> Option<String> {
        let mut parts = arn.split(':');
        let sqs = parts.next() == Some("arn") && parts.nth(1) == Some("sqs");
        let (region, account) = (parts.next()?, parts.next()?);
        let name = parts.next().filter(|_| parts.next().is_none())?;
        let sound = sqs && is_name(name) && is_region(region) && is_account(account);
        let of = Namespace {
            account: account.to_owned(),
            region: region.to_owned(),
        };
        sound.then(|| self.qualify(&of, name))
    }
}

/// How addresses of queues say their region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UrlStyle {
    /// Not at all: the host the client asked, account and name.
    #[default]
    Host,
    /// `sqs.<region>.<host>`, as the service's own.
    Standard,
    /// `<region>.queue.<host>`, as the service's once were.
    Domain,
    /// `<host>/queue/<region>/<account>/<name>`.
    Path,
    /// As the client's request does.
    Dynamic,
}

/// The region that a host's name says, and the rest of the name.
pub(crate) fn region_in_host(host: &str) -> Option<(UrlStyle, &str, &str)> {
    let (first, rest) = host.split_once('.')?;
    if first == "sqs" {
        let (region, rest) = rest.split_once('.')?;
        return is_region_of_host(region).then_some((UrlStyle::Standard, region, rest));
    }
    let rest = rest.strip_prefix("queue.")?;
    is_region_of_host(first).then_some((UrlStyle::Domain, first, rest))
}

/// The address of a queue. `base` is scheme and host.
pub(crate) fn url(base: &str, style: UrlStyle, of: &Namespace, name: &str) -> String {
    let Namespace { account, region } = of;
    let (scheme, host) = base.split_once("://").unwrap_or(("http", base));
    let plain = region_in_host(host).map_or(host, |(_, _, rest)| rest);
    match style {
        UrlStyle::Host | UrlStyle::Dynamic => format!("{base}/{account}/{name}"),
        UrlStyle::Standard => format!("{scheme}://sqs.{region}.{plain}/{account}/{name}"),
        UrlStyle::Domain => format!("{scheme}://{region}.queue.{plain}/{account}/{name}"),
        UrlStyle::Path => format!("{base}/queue/{region}/{account}/{name}"),
    }
}

/// The queue of an address; a bare name is taken as such.
pub(crate) fn in_url(url: &str) -> Option<Located<'_>> {
    let (host, path) = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').unwrap_or((rest, "")),
        None => ("", url),
    };
    let bare = || Located {
        name: path,
        ..Located::default()
    };
    let found = in_path(path).or_else(|| is_name(path).then(bare));
    let mut found = found?;
    if found.region.is_none() {
        found.region = region_in_host(host).map(|(_, region, _)| region);
    }
    Some(found)
}

/// The queue of a request's path: `/<account>/<name>`, `/queue/<region>/<account>/<name>`, or `/queue/<name>`.
pub(crate) fn in_path(path: &str) -> Option<Located<'_>> {
    let (before, name) = path.trim_matches('/').rsplit_once('/')?;
    if before.is_empty() || !is_name(name) {
        return None;
    }
    let (before, account) = before.rsplit_once('/').unwrap_or(("", before));
    let region = before.strip_prefix("queue/").filter(|r| is_region(r));
    Some(Located {
        account: Some(account).filter(|a| is_account(a)),
        region,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(account: &str, region: &str) -> Namespace {
        Namespace {
            account: account.to_owned(),
            region: region.to_owned(),
        }
    }

    fn home() -> Home {
        Home(of("000000000000", "us-east-1"))
    }

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
        let (zero, one) = (Some("000000000000"), Some("123456789012"));
        let west = Some("eu-west-1");
        for (url, account, region) in [
            ("http://localhost:9324/000000000000/orders", zero, None),
            (
                "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
                one,
                west,
            ),
            (
                "http://eu-west-1.queue.localhost:9324/123456789012/orders",
                one,
                west,
            ),
            ("http://x:1/queue/eu-west-1/123456789012/orders", one, west),
            ("http://queue.amazonaws.com/123456789012/orders", one, None),
            ("http://sqs.example.com/123456789012/orders", one, None),
            ("http://x/queue/orders/", None, None),
            ("orders", None, None),
        ] {
            let name = "orders";
            let expected = Located {
                account,
                region,
                name,
            };
            assert_eq!(in_url(url), Some(expected), "{url}");
        }
        for url in ["", "http://localhost:9324", "http://localhost:9324/", "a b"] {
            assert_eq!(in_url(url), None, "{url}");
        }
    }

    #[test]
    fn addresses_are_read_as_they_were_written() {
        use UrlStyle::{Domain, Dynamic, Host, Path, Standard};
        let there = of("123456789012", "eu-west-1");
        for (style, base, expected) in [
            (Host, "http://h:1", "http://h:1/123456789012/q"),
            (Dynamic, "http://h:1", "http://h:1/123456789012/q"),
            (
                Standard,
                "https://h:1",
                "https://sqs.eu-west-1.h:1/123456789012/q",
            ),
            (
                Standard,
                "http://sqs.us-east-1.h:1",
                "http://sqs.eu-west-1.h:1/123456789012/q",
            ),
            (
                Domain,
                "http://h:1",
                "http://eu-west-1.queue.h:1/123456789012/q",
            ),
            (
                Path,
                "http://h:1",
                "http://h:1/queue/eu-west-1/123456789012/q",
            ),
        ] {
            let url = url(base, style, &there, "q");
            assert_eq!(url, expected);
            let found = in_url(&url).unwrap().namespace(&there);
            assert_eq!(found, there, "{url}");
        }
    }

    #[test]
    fn only_what_is_not_at_home_has_a_vhost() {
        let home = home();
        let there = of("123456789012", "eu-west-1");
        assert_eq!(home.qualify(&home.0, "q"), "q");
        let qualified = home.qualify(&there, "q");
        assert_eq!(
            vhost::split(&qualified),
            ("sqs/123456789012/eu-west-1", "q")
        );
        assert_eq!(home.split(&qualified), (there.clone(), "q"));
        assert_eq!(home.split("q"), (home.0.clone(), "q"));
        for name in ["q", qualified.as_str()] {
            let arn = home.arn(name);
            assert_eq!(home.name_in_arn(&arn).as_deref(), Some(name), "{arn}");
        }
        for bad in [
            "",
            "orders",
            "arn:aws:sns:us-east-1:000000000000:orders",
            "arn:aws:sqs:us-east-1:1:orders",
            "arn:aws:sqs::000000000000:orders",
            "arn:aws:sqs:r:a:b:c",
        ] {
            assert_eq!(home.name_in_arn(bad), None, "{bad}");
        }
    }
}
