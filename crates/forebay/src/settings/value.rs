//! The types a setting may have: how each is written, read and shown.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use engine::vhost;
use tracing_subscriber::EnvFilter;

use super::suggest::closest;

/// The parts of the process that log, by the name their lines have.
pub(crate) const PARTS: [&str; 8] = [
    "amqp", "console", "engine", "forebay", "kafka", "net", "sqs", "storage",
];

/// A type a setting may have.
pub(crate) trait Setting: Sized {
    /// A list: in a settings file it may also be an array.
    const LIST: bool = false;
    /// A path: a relative one in a settings file counts from that file's folder.
    const PATH: bool = false;
    /// What may be written, with its unit.
    fn kind() -> String;
    /// Reads what an operator wrote; the error says what was expected.
    fn parse(text: &str) -> Result<Self, String>;
    /// The canonical spelling; parses back to the same value.
    fn show(&self) -> String;
}

/// Empty means not set.
impl<T: Setting> Setting for Option<T> {
    const PATH: bool = T::PATH;

    fn kind() -> String {
        format!("{}, or empty", T::kind())
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Ok(None)
        } else {
            T::parse(text).map(Some)
        }
    }

    fn show(&self) -> String {
        self.as_ref().map(Setting::show).unwrap_or_default()
    }
}

impl Setting for bool {
    fn kind() -> String {
        "`true` or `false`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| "expected `true` or `false`".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for PathBuf {
    const PATH: bool = true;

    fn kind() -> String {
        "path".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Err("expected a path".to_owned())
        } else {
            Ok(Self::from(text))
        }
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> Setting for Count<MIN, MAX> {
    fn kind() -> String {
        format!("number, {MIN} to {MAX}")
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(format!("expected a whole number from {MIN} to {MAX}")),
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// A number of bytes, written plain or with a unit: powers of 1024 (`KiB`) or of 1000 (`KB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

const BYTE_UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];
const DECIMAL_UNITS: [(&str, u64); 4] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
];

impl Setting for ByteSize {
    fn kind() -> String {
        "bytes, as `64MiB`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim();
        let units = BYTE_UNITS.iter().chain(&DECIMAL_UNITS).chain(&[("B", 1)]);
        let factor = match unit {
            "" => Some(1),
            unit => units
                .clone()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, factor)| *factor),
        };
        let number = number.parse::<u64>().ok();
        number
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| {
                "expected a number of bytes, plain or with a unit: `64MiB` (KiB, MiB, GiB, TiB) or `64MB` (KB, MB, \
                 GB, TB)"
                    .to_owned()
            })
    }

    fn show(&self) -> String {
        let exact = BYTE_UNITS
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        exact.map_or_else(
            || self.0.to_string(),
            |(unit, factor)| format!("{}{unit}", self.0 / factor),
        )
    }
}

/// A length of time, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

/// Longest first, and `ms` before `s`, so that the suffixes are tried in the right order.
const TIME_UNITS_MS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("ms", 1),
    ("s", 1000),
];

impl Setting for Span {
    fn kind() -> String {
        "duration, as `500ms`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let unit = TIME_UNITS_MS
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
        unit.and_then(|(number, factor)| number.trim().parse::<u64>().ok()?.checked_mul(factor))
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| "expected a duration in ms, s, m, h or d".to_owned())
    }

    fn show(&self) -> String {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let exact = TIME_UNITS_MS
            .iter()
            .filter(|(_, factor)| ms >= *factor && ms.is_multiple_of(*factor));
        let largest = exact.max_by_key(|(_, factor)| *factor);
        largest.map_or_else(
            || format!("{ms}ms"),
            |(unit, factor)| format!("{}{unit}", ms / factor),
        )
    }
}

/// Where to listen, if at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    Off,
    At(Vec<Endpoint>),
}

/// One of the addresses of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// This machine alone, by IPv4 and, where there is one, by IPv6.
    Localhost(u16),
    At(SocketAddr),
}

impl Endpoint {
    /// Whether only this machine reaches it.
    pub(crate) fn is_loopback(self) -> bool {
        match self {
            Self::Localhost(_) => true,
            Self::At(address) => address.ip().is_loopback(),
        }
    }

    /// Every address it stands for.
    pub(crate) fn addresses(self) -> Vec<SocketAddr> {
        match self {
            Self::Localhost(port) => vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            ],
            Self::At(address) => vec![address],
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let local = text.strip_prefix("localhost:");
        match local {
            Some(port) => port.parse().ok().map(Self::Localhost),
            None => text.parse().ok().map(Self::At),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// Addresses a listener may have.
const ENDPOINTS_MAX: usize = 64;

impl Setting for Listen {
    const LIST: bool = true;

    fn kind() -> String {
        "`address:port`, several separated by commas, or `off`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let expected = || "expected `address:port` as in `127.0.0.1:9092`, or `off`".to_owned();
        let mut endpoints = Vec::new();
        for each in text.split(',') {
            let endpoint = Endpoint::parse(each.trim());
            let endpoint = endpoint.ok_or_else(|| named(each.trim()).unwrap_or_else(expected))?;
            if endpoints.contains(&endpoint) {
                return Err(format!("{endpoint} is given twice"));
            }
            endpoints.push(endpoint);
        }
        if endpoints.len() > ENDPOINTS_MAX {
            return Err(format!("at most {ENDPOINTS_MAX} addresses"));
        }
        Ok(Self::At(endpoints))
    }

    fn show(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::At(endpoints) => {
                let each: Vec<String> = endpoints.iter().map(Endpoint::to_string).collect();
                each.join(",")
            }
        }
    }
}

/// What is said of a listener that has a name for an address.
fn named(text: &str) -> Option<String> {
    let HostPort { host, port } = HostPort::parse(text).ok()?;
    host.chars().any(char::is_alphabetic).then(|| {
        format!(
            "expected `address:port`, and `{host}` is a name, which is not looked up: `0.0.0.0:{port}` is all addresses \
             of this machine; what Kafka clients are told is kafka.advertised_address"
        )
    })
}

/// An address as clients resolve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    /// Name or address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Setting for HostPort {
    fn kind() -> String {
        "`host:port`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected `host:port` as in `broker.example:9092`".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let port = port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(expected)?;
        let host = match host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(ipv6) if ipv6.parse::<Ipv6Addr>().is_ok() => ipv6,
            None if is_host_name(host) => host,
            _ => return Err(expected()),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }

    fn show(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn is_host_name(host: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=255).contains(&host.len()) && host.chars().all(plain)
}

/// A name for the whole cluster, shown to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterId(pub(crate) String);

impl Setting for ClusterId {
    fn kind() -> String {
        "1 to 64 of `A-Z a-z 0-9 _ -`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if (1..=64).contains(&text.len()) && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected 1 to 64 letters, digits, `_` or `-`".to_owned())
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Names of vhosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vhosts(pub(crate) Vec<String>);

impl Setting for Vhosts {
    const LIST: bool = true;

    fn kind() -> String {
        "names, separated by commas, or empty".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim);
        let names: Vec<String> = names.filter(|n| !n.is_empty()).map(str::to_owned).collect();
        match names.iter().find_map(|name| vhost::check_name(name).err()) {
            None => Ok(Self(names)),
            Some(error) => Err(format!("expected names of vhosts, but {error}")),
        }
    }

    fn show(&self) -> String {
        self.0.join(",")
    }
}

/// Twelve digits that stand for whose the queues are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account(pub(crate) String);

impl Setting for Account {
    fn kind() -> String {
        "twelve digits".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected twelve digits".to_owned())
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Where a service says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region(pub(crate) String);

impl Setting for Region {
    fn kind() -> String {
        "1 to 64 of `a-z 0-9 -`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected 1 to 64 lower-case letters, digits or `-`".to_owned())
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// What addresses begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url(pub(crate) String);

impl Setting for Url {
    fn kind() -> String {
        "`http://host:port` or `https://host:port`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let host = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        if host.is_some_and(|host| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic())) {
            Ok(Self(text.trim_end_matches('/').to_owned()))
        } else {
            Err("expected an address as `https://queues.example`".to_owned())
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFilter(pub(crate) String);

impl Setting for LogFilter {
    fn kind() -> String {
        "log level, or levels per part".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let expected =
            || "expected a level, or levels per part as in `info,kafka=debug`".to_owned();
        // A bare word that is no level would be taken for a part's name and switch everything else off.
        let level =
            |word: &str| matches!(word, "off" | "error" | "warn" | "info" | "debug" | "trace");
        let words: Vec<&str> = text.split(',').collect();
        if !words.iter().all(|word| word.contains('=') || level(word)) {
            return Err(expected());
        }
        EnvFilter::try_new(text).map_err(|_| expected())?;
        // A directive with brackets is about spans and fields, whose names are not known.
        let plain = words.iter().filter(|word| !word.contains(['[', '{']));
        for (target, _) in plain.filter_map(|word| word.split_once('=')) {
            let part = target.split("::").next().unwrap_or_default().trim();
            if !PARTS.contains(&part) {
                let parts = PARTS.join(", ");
                return Err(match closest(part, PARTS) {
                    Some(meant) => format!("there is no part `{part}`, did you mean `{meant}`?"),
                    None => format!("there is no part `{part}`: there are {parts}"),
                });
            }
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Declares an enum of words.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $( $(#[doc = $help:literal])+ $variant:ident = $word:literal, )+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $( $(#[doc = $help])+ $variant, )+ }

        impl $name {
            /// The word an operator writes.
            pub(crate) fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl Setting for $name {
            fn kind() -> String {
                [$( concat!("`", $word, "`") ),+].join(" or ")
            }

            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $( $word => Ok(Self::$variant), )+
                    _ => Err(format!("expected {}", Self::kind())),
                }
            }

            fn show(&self) -> String {
                self.word().to_owned()
            }
        }
    };
}

words! {
    /// How strict the broker is about who may connect.
    Profile {
        /// Loopback only, open.
        Dev = "dev",
        /// Authentication, TLS and a key source required.
        Production = "production",
    }
}

words! {
    /// Whether requests have to be signed.
    Signatures {
        /// Signatures are not looked at.
        Off = "off",
        /// Every request has to be signed with a known key.
        Verify = "verify",
    }
}

words! {
    /// How addresses of queues say their region.
    EndpointStrategy {
        /// Not at all.
        Off = "off",
        /// In the host, behind `sqs.`.
        Standard = "standard",
        /// In the host, before `.queue`.
        Domain = "domain",
        /// In the path.
        Path = "path",
        /// As the request did.
        Dynamic = "dynamic",
    }
}

words! {
    /// The form of a log line.
    LogFormat {
        /// For people.
        Text = "text",
        /// For machines.
        Json = "json",
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
