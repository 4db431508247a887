//! What no single value can tell: profiles, and limits that must fit each other.

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
            if let Some(public) = endpoints.iter().find(|endpoint| !endpoint.is_loopback()) {
                bail!(
                    "the dev profile is open to everyone and therefore listens on loopback only: \
                     {key} = \"{public}\" is not a loopback address",
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
