//! How a connection begins: the protocol header, the login, the limits both sides keep to, and the vhost.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::vhost::Vhost;
use net::Entry;
use security::Principal;
use tokio::time::{sleep, timeout};

use crate::context::{Context, Settings};
use crate::error::{Fault, Outcome};
use crate::link::{FrameReader, FrameWriter};
use crate::wire::{
    Arguments, Error, Frame, FrameKind, Frames, Greeting, Method, ReplyCode, Table, TableBuilder,
    Value, connection,
};

/// How long all of it may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long a client whose login failed waits for the end, where it would not understand a reason.
const SILENCE: Duration = Duration::from_secs(1);
/// Largest frame before the two sides agreed on one.
pub(crate) const FRAME_MAX_BEFORE: u32 = 8192;
/// Least size of frames a client may ask for, as the specification has it.
const FRAME_MAX_MIN: u32 = 4096;
/// Clients tell brokers apart by these two, and some leave out what an older version would not do right.
const PRODUCT: &str = "RabbitMQ";
const VERSION: &str = "4.3.0";
/// What clients may rely on.
const CAPABILITIES: &[&[u8]] = &[
    b"publisher_confirms",
    b"exchange_exchange_bindings",
    b"basic.nack",
    b"consumer_cancel_notify",
    b"connection.blocked",
    b"consumer_priorities",
    b"authentication_failure_close",
    b"per_consumer_qos",
    b"direct_reply_to",
];

/// What a client understands beyond the specification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) consumer_cancel_notify: bool,
    pub(crate) connection_blocked: bool,
    pub(crate) authentication_failure_close: bool,
}

/// Who is at the other end, and what was agreed on.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) principal: Principal,
    pub(crate) vhost: String,
    /// The vhost itself: one made again under its name is another one.
    pub(crate) space: Arc<Vhost>,
    pub(crate) capabilities: Capabilities,
    pub(crate) channel_max: u16,
    /// Seconds; 0 is none.
    pub(crate) heartbeat: u16,
}

/// Frames that have arrived, some of which are served.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) frames: Frames,
    pub(crate) served: usize,
}

/// What came of a handshake.
pub(crate) enum Shaken {
    /// The connection is open; some frames may have arrived already.
    Open(Box<Peer>, Held),
    /// The peer gets the reason, with the numbers of the method that failed.
    Refused(Fault, (u16, u16)),
    /// The peer knows as much as it can understand.
    Over,
}

/// Why there is no connection.
enum Stop {
    /// The peer is gone, or gets no answer.
    Gone,
    Io(io::Error),
    /// The peer gets the reason, with the numbers of the method that failed.
    Fault(Fault, (u16, u16)),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A connection that is beginning.
pub(crate) struct Handshake<'a> {
    context: &'a Context,
    entry: &'a Entry,
    frame_reader: &'a mut FrameReader,
    frame_writer: &'a mut FrameWriter,
    held: Held,
    capabilities: Capabilities,
}

impl<'a> Handshake<'a> {
    pub(crate) fn new(
        context: &'a Context,
        entry: &'a Entry,
        (frame_reader, frame_writer): (&'a mut FrameReader, &'a mut FrameWriter),
    ) -> Self {
        Self {
            context,
            entry,
            frame_reader,
            frame_writer,
            held: Held::default(),
            capabilities: Capabilities::default(),
        }
    }

    /// Agrees with the peer, or not.
    pub(crate) async fn shake(mut self) -> io::Result<Shaken> {
        let Ok(outcome) = timeout(HANDSHAKE_TIME, self.steps()).await else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        match outcome {
            Ok(peer) => Ok(Shaken::Open(Box::new(peer), self.held)),
            Err(Stop::Gone) => Ok(Shaken::Over),
            Err(Stop::Io(error)) => Err(error),
            Err(Stop::Fault(fault, numbers)) => {
                // A refused login has its own line.
                if fault.code != ReplyCode::AccessRefused || numbers != (0, 0) {
                    self.context.log_fault(self.entry, &fault.text());
                }
                Ok(Shaken::Refused(fault, numbers))
            }
        }
    }

    async fn steps(&mut self) -> Result<Peer, Stop> {
        self.greet().await?;
        let principal = self.log_in().await?;
        let tune = self.tune().await?;
        let space = self.open(&principal).await?;
        Ok(Peer {
            principal,
            vhost: space.name().to_owned(),
            space,
            capabilities: self.capabilities,
            channel_max: tune.channel_max,
            heartbeat: tune.heartbeat,
        })
    }

    async fn greet(&mut self) -> Result<(), Stop> {
        let greeting = loop {
            match Greeting::decode(self.frame_reader.received()) {
                Ok(greeting) => break greeting,
                Err(Error::Incomplete) => self.read().await?,
                Err(_) => return Err(Stop::Gone),
            }
        };
        match greeting {
            Greeting::Spoken => {
                let _ = self.frame_reader.received().split_to(8);
                Ok(())
            }
            Greeting::Refused { answer, is_tls } => {
                if is_tls {
                    tracing::debug!("TLS handshake on the plain AMQP port");
                }
                self.frame_writer.push(&answer);
                self.frame_writer.send().await?;
                Err(Stop::Gone)
            }
        }
    }

    async fn log_in(&mut self) -> Result<Principal, Stop> {
        let logins = &self.context.settings.logins;
        let properties = server_properties(self.context.broker.cluster_id());
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: properties.as_table(),
            mechanisms: logins.mechanisms(),
            locales: b"en_US",
        };
        self.say(&start).await?;
        let payload = self.method().await?;
        let Ok(Method::Connection(connection::Method::StartOk(answer))) = Method::decode(&payload)
        else {
            return Err(out_of_turn(&payload, "starting"));
        };
        self.capabilities = capabilities(&answer.client_properties);
        if let Some(client) = client_name(&answer.client_properties) {
            self.entry.set_client(&client);
        }
        let user = match answer.mechanism {
            b"PLAIN" => plain(answer.response).map(|(user, _)| user),
            b"AMQPLAIN" => table_login(answer.response).map(|(user, _)| user),
            _ => None,
        };
        let principal = match answer.mechanism {
            b"PLAIN" => plain(answer.response).map(|(user, password)| logins.check(user, password)),
            b"AMQPLAIN" => {
                table_login(answer.response).map(|(user, password)| logins.check(user, password))
            }
            b"ANONYMOUS" => Some(logins.anonymous()),
            other => {
                let text = format!(
                    "unknown authentication mechanism '{}'",
                    String::from_utf8_lossy(other)
                );
                if !self.capabilities.authentication_failure_close {
                    return Err(Stop::Gone);
                }
                let fault = Fault::new(ReplyCode::CommandInvalid, text);
                return Err(Stop::Fault(fault, numbers::<connection::StartOk<'_>>()));
            }
        };
        match principal.flatten() {
            Some(principal) => {
                self.entry.set_user(&principal.name);
                Ok(principal)
            }
            None => Err(self.refuse_login(answer.mechanism, user).await),
        }
    }

    async fn refuse_login(&self, mechanism: &[u8], user: Option<&[u8]>) -> Stop {
        crate::Metrics::one(&self.context.metrics.logins_refused);
        let context = self.context;
        if let Some(suppressed) = context.refused_logins.admit(context.broker.now_ms()) {
            let reason = user.map(|user| context.settings.logins.refusal(user));
            let user = String::from_utf8_lossy(user.unwrap_or_default());
            tracing::warn!(
                peer = %self.entry.peer(),
                user = %user.escape_debug(),
                mechanism = %String::from_utf8_lossy(mechanism).escape_debug(),
                reason = reason.unwrap_or("the mechanism is not allowed, or its response cannot be read"),
                suppressed = NonZeroU64::new(suppressed),
                "login refused"
            );
        }
        if !self.capabilities.authentication_failure_close {
            sleep(SILENCE).await;
            return Stop::Gone;
        }
        let fault = Fault::refused(format!(
            "Login was refused using authentication mechanism {}. For details see the broker logfile.",
            String::from_utf8_lossy(mechanism)
        ));
        Stop::Fault(fault, (0, 0))
    }

    async fn tune(&mut self) -> Result<connection::TuneOk, Stop> {
        let settings = &self.context.settings;
        let tune = connection::Tune {
            channel_max: settings.channel_max,
            frame_max: settings.frame_max,
            heartbeat: settings.heartbeat,
        };
        self.say(&tune).await?;
        let payload = self.method().await?;
        let Ok(Method::Connection(connection::Method::TuneOk(agreed))) = Method::decode(&payload)
        else {
            return Err(out_of_turn(&payload, "tuning"));
        };
        check_limits(settings, agreed)
            .map_err(|fault| Stop::Fault(fault, numbers::<connection::TuneOk>()))?;
        self.frame_reader.set_frame_max(agreed.frame_max);
        self.frame_writer.frames.set_frame_max(agreed.frame_max);
        Ok(agreed)
    }

    async fn open(&mut self, principal: &Principal) -> Result<Arc<Vhost>, Stop> {
        let payload = self.method().await?;
        let Ok(Method::Connection(connection::Method::Open(open))) = Method::decode(&payload)
        else {
            return Err(out_of_turn(&payload, "opening"));
        };
        let name = String::from_utf8_lossy(open.virtual_host);
        let vhost = check_vhost(self.context, principal, &name)
            .map_err(|fault| Stop::Fault(fault, numbers::<connection::Open<'_>>()))?;
        self.say(&connection::OpenOk {}).await?;
        self.entry.set_vhost(vhost.name());
        Ok(vhost)
    }

    async fn read(&mut self) -> Result<(), Stop> {
        match self.frame_reader.read().await? {
            0 => Err(Stop::Gone),
            _ => Ok(()),
        }
    }

    /// The payload of the next method. A peer that closes is answered and not read any more.
    async fn method(&mut self) -> Result<Bytes, Stop> {
        loop {
            while let Some(frame) = self.held.frames.iter().nth(self.held.served) {
                self.held.served += 1;
                if frame.kind == FrameKind::Heartbeat {
                    continue;
                }
                check_frame(frame).map_err(|fault| Stop::Fault(fault, (0, 0)))?;
                let payload = self.held.frames.share(frame.payload);
                if let Ok(Method::Connection(connection::Method::Close(_))) =
                    Method::decode(&payload)
                {
                    self.say(&connection::CloseOk {}).await?;
                    return Err(Stop::Gone);
                }
                return Ok(payload);
            }
            let frames = self.frame_reader.frames();
            self.held = Held {
                frames: frames.map_err(|fault| Stop::Fault(fault, (0, 0)))?,
                served: 0,
            };
            if self.held.frames.is_empty() {
                self.read().await?;
            }
        }
    }

    async fn say<'m>(&mut self, method: &impl Arguments<'m>) -> Result<(), Stop> {
        let queued = self.frame_writer.frames.method(0, method);
        queued.map_err(|error| Stop::Fault(error.into(), (0, 0)))?;
        Ok(self.frame_writer.send().await?)
    }
}

/// The numbers that name a method.
fn numbers<'a, M: Arguments<'a>>() -> (u16, u16) {
    (M::CLASS, M::METHOD)
}

fn check_frame(frame: Frame<'_>) -> Outcome<()> {
    if frame.kind == FrameKind::Method && frame.channel == 0 {
        return Ok(());
    }
    Err(Fault::new(
        ReplyCode::ChannelError,
        format!(
            "a frame on channel {} while the connection is not open",
            frame.channel
        ),
    ))
}

/// The peer did not say what it was to say.
fn out_of_turn(payload: &[u8], state: &str) -> Stop {
    match Method::decode(payload) {
        Ok(method) => Stop::Fault(
            Fault::new(
                ReplyCode::ChannelError,
                format!("unexpected method in connection state {state}"),
            ),
            method.numbers(),
        ),
        Err(error) => Stop::Fault(error.into(), (0, 0)),
    }
}

fn server_properties(cluster: &str) -> TableBuilder {
    let mut flags = TableBuilder::new();
    for name in CAPABILITIES {
        let _ = flags.push(name, Value::Bool(true));
    }
    let mut properties = TableBuilder::new();
    let _ = properties.push(b"capabilities", Value::Table(flags.as_table()));
    for (name, text) in [
        ("cluster_name", cluster),
        ("copyright", "The authors of Forebay"),
        ("information", "Licensed under the Apache License 2.0"),
        ("platform", concat!("Forebay ", env!("CARGO_PKG_VERSION"))),
        ("product", PRODUCT),
        ("version", VERSION),
    ] {
        // These names and texts fit.
        let _ = properties.push(name.as_bytes(), Value::Long(text.as_bytes()));
    }
    properties
}

/// What a client calls itself: the name of its connection, or its product and version.
fn client_name(client_properties: &Table<'_>) -> Option<String> {
    let text = |name: &[u8]| {
        let value = client_properties.find(name)?;
        let text = String::from_utf8_lossy(value.string()?).into_owned();
        Some(text).filter(|text| !text.is_empty())
    };
    text(b"connection_name").or_else(|| {
        let (product, version) = (text(b"product")?, text(b"version"));
        Some(
            format!("{product} {}", version.unwrap_or_default())
                .trim_end()
                .to_owned(),
        )
    })
}

fn capabilities(client_properties: &Table<'_>) -> Capabilities {
    let Some(Value::Table(flags)) = client_properties.find(b"capabilities") else {
        return Capabilities::default();
    };
    let has = |name: &[u8]| flags.find(name) == Some(Value::Bool(true));
    Capabilities {
        consumer_cancel_notify: has(b"consumer_cancel_notify"),
        connection_blocked: has(b"connection.blocked"),
        authentication_failure_close: has(b"authentication_failure_close"),
    }
}

/// User and password of a `PLAIN` login; whom to act for, in front of them, is not looked at.
pub(crate) fn plain(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (_, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    Some((user, password))
}

/// User and password of an `AMQPLAIN` login: a table without its length.
fn table_login(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let table = Table::decode(response).ok()?;
    let text = |name: &[u8]| table.find(name).and_then(|value| value.string());
    Some((text(b"LOGIN")?, text(b"PASSWORD")?))
}

fn check_limits(settings: &Settings, agreed: connection::TuneOk) -> Outcome<()> {
    let refuse = |name, asked, how, which, limit| {
        Err(Fault::not_allowed(format!(
            "negotiated {name} = {asked} is {how} than the {which} allowed value ({limit})"
        )))
    };
    for (name, asked, least, most) in [
        (
            "frame_max",
            agreed.frame_max,
            FRAME_MAX_MIN,
            settings.frame_max,
        ),
        (
            "channel_max",
            agreed.channel_max.into(),
            1,
            settings.channel_max.into(),
        ),
    ] {
        // Zero asks for no limit, which is more than there is.
        if asked == 0 || asked > most {
            return refuse(name, asked, "higher", "maximum", most);
        }
        if asked < least {
            return refuse(name, asked, "lower", "minimum", least);
        }
    }
    Ok(())
}

/// The vhost, if it exists and the principal may use it.
pub(crate) fn check_vhost(
    context: &Context,
    principal: &Principal,
    vhost: &str,
) -> Outcome<Arc<Vhost>> {
    context
        .broker
        .on_behalf_of(principal)
        .vhost(vhost)
        .map_err(|error| match error {
            engine::Error::Denied => Fault::not_allowed(format!(
                "access to vhost '{vhost}' refused for user '{}'",
                principal.name
            )),
            _ => Fault::not_allowed(format!("vhost {vhost} not found")),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_read() {
        assert_eq!(
            plain(b"\0guest\0secret"),
            Some((&b"guest"[..], &b"secret"[..]))
        );
        assert_eq!(
            plain(b"me\0guest\0a\0b"),
            Some((&b"guest"[..], &b"a\0b"[..]))
        );
        assert_eq!(plain(b"guest"), None);
        let mut table = TableBuilder::new();
        table.push(b"LOGIN", Value::Long(b"u")).unwrap();
        table.push(b"PASSWORD", Value::Long(b"p")).unwrap();
        let bytes = table.as_table().as_bytes();
        assert_eq!(table_login(bytes), Some((&b"u"[..], &b"p"[..])));
        assert_eq!(table_login(b"\x01"), None);
    }

    #[track_caller]
    fn check(frame_max: u32, channel_max: u16, expected: Option<&str>) {
        let agreed = connection::TuneOk {
            channel_max,
            frame_max,
            heartbeat: 60,
        };
        let outcome = check_limits(&Settings::default(), agreed);
        assert_eq!(outcome.err().map(|fault| fault.text()).as_deref(), expected);
    }

    #[test]
    fn limits_may_be_lowered_and_not_raised() {
        check(131_072, 2047, None);
        check(4096, 1, None);
        check(
            131_073,
            2047,
            Some(
                "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
            ),
        );
        check(
            0,
            2047,
            Some(
                "NOT_ALLOWED - negotiated frame_max = 0 is higher than the maximum allowed value (131072)",
            ),
        );
        check(
            4095,
            2047,
            Some(
                "NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value (4096)",
            ),
        );
        check(
            131_072,
            0,
            Some(
                "NOT_ALLOWED - negotiated channel_max = 0 is higher than the maximum allowed value (2047)",
            ),
        );
    }
}
