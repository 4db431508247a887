//! What all connections share: settings, who may log in, numbers, and where answers to direct requests go.

use std::num::NonZeroU64;
use std::sync::Arc;

use engine::Broker;
use net::LogLimit;
use security::Principal;
use subtle::ConstantTimeEq;

use crate::metrics::Metrics;
use crate::replies::Replies;

/// A user with a password.
#[derive(Clone)]
pub struct Login {
    /// Name, which is also the principal's.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Who may log in.
#[derive(Debug, Clone, Default)]
pub enum Logins {
    /// Every client, under the name it gives.
    #[default]
    Open,
    /// These, with their passwords.
    Known(Vec<Login>),
}

impl Logins {
    /// Ways to log in, in the order a client should try them.
    pub(crate) fn mechanisms(&self) -> &'static [u8] {
        match self {
            Self::Open => b"PLAIN AMQPLAIN ANONYMOUS",
            Self::Known(_) => b"PLAIN AMQPLAIN",
        }
    }

    /// The principal that logs in so, if it may.
    pub(crate) fn check(&self, user: &[u8], password: &[u8]) -> Option<Principal> {
        let user = std::str::from_utf8(user).ok()?;
        match self {
            Self::Open => Some(Principal {
                name: Arc::from(user),
            }),
            Self::Known(logins) => {
                let login = logins.iter().find(|login| login.user == user)?;
                let is_right = login.password.as_bytes().ct_eq(password);
                bool::from(is_right).then(|| Principal {
                    name: Arc::from(user),
                })
            }
        }
    }

    /// Why a login was refused; for the log alone, never for the peer.
    pub(crate) fn refusal(&self, user: &[u8]) -> &'static str {
        match self {
            Self::Open => "the user name is not UTF-8",
            Self::Known(logins) if logins.iter().any(|login| login.user.as_bytes() == user) => {
                "wrong password"
            }
            Self::Known(_) => "unknown user",
        }
    }

    /// The principal that logs in without a name, if it may.
    pub(crate) fn anonymous(&self) -> Option<Principal> {
        matches!(self, Self::Open).then(Principal::anonymous)
    }
}

/// Plain data with units and limits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Largest frame, bytes.
    pub frame_max: u32,
    /// Channels a connection may have open.
    pub channel_max: u16,
    /// Seconds between signs of life, proposed to clients; 0 is none.
    pub heartbeat: u16,
    /// Largest body of a message, bytes.
    pub message_bytes_max: usize,
    /// Who may log in.
    pub logins: Logins,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            frame_max: 128 << 10,
            channel_max: 2047,
            heartbeat: 60,
            message_bytes_max: 16 << 20,
            logins: Logins::Open,
        }
    }
}

/// Says whether the broker refuses publishes for want of disk space.
pub type DiskAlarm = Box<dyn Fn() -> bool + Send + Sync>;

/// What all connections share.
pub struct Context {
    pub(crate) broker: Broker,
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) replies: Replies,
    alarm: DiskAlarm,
    /// Of lines about logins that were refused.
    pub(crate) refused_logins: LogLimit,
    /// Of lines about connections that were closed for what the peer did.
    pub(crate) faults: LogLimit,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Ready to serve connections to `broker`.
    pub fn new(broker: Broker, settings: Settings, alarm: DiskAlarm) -> Self {
        Self {
            broker,
            settings,
            metrics: Arc::default(),
            replies: Replies::default(),
            alarm,
            refused_logins: LogLimit::default(),
            faults: LogLimit::default(),
        }
    }

    /// The frontend's numbers.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Logs that a connection is closed for what its peer did.
    pub(crate) fn log_fault(&self, entry: &net::Entry, reason: &str) {
        let Some(suppressed) = self.faults.admit(self.broker.now_ms()) else {
            return;
        };
        let facts = entry.facts();
        tracing::info!(
            peer = %entry.peer(),
            user = facts.user.as_deref(),
            client = facts.client.as_deref(),
            reason,
            suppressed = NonZeroU64::new(suppressed),
            "connection closed: protocol error"
        );
    }

    /// Whether publishes are to wait for disk space.
    pub(crate) fn is_disk_low(&self) -> bool {
        (self.alarm)()
    }

    /// A unique name: the prefix, and 22 letters and digits.
    pub(crate) fn fresh_name(&self, prefix: &str) -> String {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let mut name = prefix.to_owned();
        URL_SAFE_NO_PAD.encode_string(self.broker.fresh_id().as_bytes(), &mut name);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_users_with_their_password_get_in() {
        let known = Logins::Known(vec![Login {
            user: "shop".into(),
            password: "s1".into(),
        }]);
        let name = |principal: Option<Principal>| principal.map(|p| p.name.to_string());
        assert_eq!(name(known.check(b"shop", b"s1")), Some("shop".into()));
        assert_eq!(known.check(b"shop", b"s2"), None);
        assert_eq!(known.check(b"shop", b""), None);
        assert_eq!(known.check(b"other", b"s1"), None);
        assert_eq!(known.anonymous(), None);
        assert_eq!(name(Logins::Open.check(b"any", b"x")), Some("any".into()));
        assert!(Logins::Open.anonymous().is_some());
    }
}
