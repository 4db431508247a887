//! What no single value decides: profiles, and limits that must fit each other.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{bail, ensure};

use super::{ByteSize, Listen, Profile, Settings, Signatures};

const JOURNAL_FILE_MIN: ByteSize = ByteSize(4 << 20);
/// Frames of an AMQP connection: what the specification demands, and what memory per connection allows.
const AMQP_FRAME_MIN: ByteSize = ByteSize(4 << 10);
const AMQP_FRAME_MAX: ByteSize = ByteSize(16 << 20);
/// A little less than the largest message of a queue, which counts headers too.
const AMQP_MESSAGE_MAX: ByteSize = ByteSize(63 << 20);
/// What two octets can say.
const HEARTBEAT_MAX: Duration = Duration::from_secs(65535);
/// The longest session a group's member may ask for.
const SESSION_MAX: Duration = Duration::from_mins(30);
/// Journal groups are padded to this, so a file must be a multiple of it.
const JOURNAL_BLOCK: u64 = 4 << 10;

impl Settings {
    /// Refuses combinations that cannot work, in words an operator can act on.
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        self.validate_profile()?;
        self.validate_listeners()?;
        self.validate_amqp()?;
        self.validate_sizes()
    }

    /// Every listener by its key.
    pub(crate) fn listen_keys(&self) -> [(&'static str, &Listen); 4] {
        [
            ("listeners.kafka", &self.listeners.kafka),
            ("listeners.amqp", &self.listeners.amqp),
            ("listeners.sqs", &self.listeners.sqs),
            ("listeners.http", &self.listeners.http),
        ]
    }

    fn validate_amqp(&self) -> anyhow::Result<()> {
        ensure!(
            AMQP_FRAME_MIN <= self.amqp.frame_max && self.amqp.frame_max <= AMQP_FRAME_MAX,
            "amqp.frame_max must be between 4KiB, the least every client has to accept, and 16MiB",
        );
        ensure!(
            ByteSize(1) <= self.amqp.message_bytes_max
                && self.amqp.message_bytes_max <= AMQP_MESSAGE_MAX,
            "amqp.message_bytes_max must be at least 1 byte and at most 63MiB: no queue takes larger messages",
        );
        let heartbeat = self.amqp.heartbeat.0;
        ensure!(
            heartbeat.subsec_nanos() == 0 && heartbeat <= HEARTBEAT_MAX,
            "amqp.heartbeat must be whole seconds, at most 65535",
        );
        Ok(())
    }

    fn validate_profile(&self) -> anyhow::Result<()> {
        if self.profile == Profile::Production {
            bail!(
                "the production profile requires authentication, TLS and an encryption key source, \
                 and this build has none of the three; only the dev profile (loopback, open) can be run"
            );
        }
        for (key, listen) in self.listen_keys() {
            let Listen::At(endpoints) = listen else {
                continue;
            };
            let public = endpoints.iter().find(|endpoint| !endpoint.is_loopback());
            let Some(address) = public else {
                continue;
            };
            let login = self.login_key(key);
            let asks = login.is_some_and(|(_, configured)| configured);
            if self.allow_open || asks {
                continue;
            }
            let or_login = login.map(|(how, _)| format!(", or require a login with {how}"));
            bail!(
                "{key} = \"{address}\" can be reached by other machines, and the dev profile lets everyone in: \
                 use a loopback address, or accept that with --allow-open (allow_open = true){}",
                or_login.unwrap_or_default()
            );
        }
        Ok(())
    }

    /// How a listener is made to ask for a login, where it can, and whether it is.
    fn login_key(&self, listener: &str) -> Option<(&'static str, bool)> {
        let signed = self.sqs.signatures == Signatures::Verify;
        match listener {
            "listeners.amqp" => Some((
                "amqp.credentials_file",
                self.amqp.credentials_file.is_some(),
            )),
            "listeners.sqs" => Some(("sqs.signatures = \"verify\"", signed)),
            _ => None,
        }
    }

    /// Listeners without logins: those that other machines reach, and those that this one alone does.
    pub(crate) fn listeners_without_login(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let (mut public, mut local) = (Vec::new(), Vec::new());
        for (key, listen) in self.listen_keys() {
            let asks = self
                .login_key(key)
                .is_some_and(|(_, configured)| configured);
            match listen {
                Listen::At(endpoints) if !asks => {
                    let is_local = endpoints.iter().all(|endpoint| endpoint.is_loopback());
                    let those = if is_local { &mut local } else { &mut public };
                    those.push(key);
                }
                Listen::At(_) | Listen::Off => {}
            }
        }
        (public, local)
    }

    fn validate_listeners(&self) -> anyhow::Result<()> {
        let keys = self.listen_keys();
        let mut on: Vec<(&str, SocketAddr)> = Vec::new();
        for (key, listen) in keys {
            if let Listen::At(endpoints) = listen {
                let addresses = endpoints.iter().flat_map(|endpoint| endpoint.addresses());
                on.extend(addresses.map(|address| (key, address)));
            }
        }
        let names = keys.map(|(key, _)| key).join(", ");
        ensure!(
            !on.is_empty(),
            "all listeners are off: set at least one of {names}"
        );
        for (place, (key, address)) in on.iter().enumerate() {
            for (other, taken) in &on[..place] {
                ensure!(
                    !overlap(*address, *taken),
                    "{other} = \"{taken}\" and {key} = \"{address}\" are the same address and port"
                );
            }
        }
        Ok(())
    }

    fn validate_sizes(&self) -> anyhow::Result<()> {
        ensure!(
            self.kafka.max_message_bytes <= self.kafka.max_request_bytes,
            "kafka.max_message_bytes must not exceed kafka.max_request_bytes: such a message could never arrive",
        );
        ensure!(
            self.kafka.max_request_bytes.0 <= u64::from(i32::MAX.unsigned_abs()),
            "kafka.max_request_bytes must be below 2GiB: the protocol cannot announce a larger request",
        );
        ensure!(
            self.kafka.group_min_session_timeout.0 <= SESSION_MAX,
            "kafka.group_min_session_timeout must be at most 30m, the longest session there is: \
             no member could ask for a session that fits"
        );
        ensure!(
            self.sqs.signatures == Signatures::Off || self.sqs.credentials_file.is_some(),
            "sqs.signatures = \"verify\" needs sqs.credentials_file: nobody could sign a request"
        );
        let journal = self.storage.journal_file_bytes;
        ensure!(
            journal >= JOURNAL_FILE_MIN && journal.0.is_multiple_of(JOURNAL_BLOCK),
            "storage.journal_file_bytes must be at least 4MiB and a multiple of 4KiB",
        );
        ensure!(
            !self.storage.flush_interval.0.is_zero(),
            "storage.flush_interval must be longer than 0"
        );
        Ok(())
    }
}

/// Whether two listeners cannot both have their address. An address of all interfaces takes every one of them, of
/// either family; port 0 is another one each time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (everywhere || one.ip() == other.ip())
}
