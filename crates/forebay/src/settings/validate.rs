//! What no single value can tell: profiles, what this build lacks, and limits that must fit each other.

use std::time::Duration;

use anyhow::{bail, ensure};

use super::{ByteSize, Listen, Profile, Settings, Signatures};

const JOURNAL_FILE_MIN: ByteSize = ByteSize(4 << 20);
/// The longest session a group's member may ask for.
const SESSION_MAX: Duration = Duration::from_mins(30);
/// Journal groups are padded to this, so a file must be a multiple of it.
const JOURNAL_BLOCK: u64 = 4 << 10;

impl Settings {
    /// Refuses combinations that cannot work, in words an operator can act on.
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        self.validate_absent()?;
        self.validate_profile()?;
        self.validate_sizes()
    }

    /// Every listener by its key.
    pub(crate) fn listen_keys(&self) -> [(&'static str, Listen); 4] {
        [
            ("listeners.kafka", self.listeners.kafka),
            ("listeners.amqp", self.listeners.amqp),
            ("listeners.sqs", self.listeners.sqs),
            ("listeners.http", self.listeners.http),
        ]
    }

    fn validate_absent(&self) -> anyhow::Result<()> {
        ensure!(
            self.listeners.amqp == Listen::Off,
            "AMQP is not available in this build: leave listeners.amqp at `off`",
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
            if let Listen::At(address) = listen {
                ensure!(
                    address.ip().is_loopback(),
                    "the dev profile is open to everyone and therefore listens on loopback only: \
                     {key} = \"{address}\" is not a loopback address",
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
