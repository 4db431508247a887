//! One connection with one channel: frames out, frames in. What is to be sent gathers and leaves in large writes, and
//! whatever came in one read is dealt with together.

use std::net::SocketAddr;

use amqp::wire::{
    Arguments, Frame, FrameKind, Frames, Method, PROTOCOL_HEADER, Splitter, Table, TableBuilder,
    Value, Writer, channel, connection,
};
use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The only channel of a connection that carries messages.
pub(super) const CHANNEL: u16 = 1;
/// What brokers of this protocol usually offer; every body of ours fits into one frame of it.
const FRAME_BYTES_MAX: u32 = 128 << 10;
/// More than this is not gathered before it is written, so that the age of what waits here stays small.
const OUTPUT_BYTES: usize = 64 << 10;
/// Room for reading.
const READ_BYTES: usize = 128 << 10;
/// What our connections are called in a broker's logs.
const PRODUCT: &[u8] = b"forebay-bench";

/// Who we say we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// A connection to a broker, logged in, with an open channel.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    splitter: Splitter,
    input: BytesMut,
    output: BytesMut,
    product: String,
}

impl Link {
    /// Connects, logs in and opens the channel.
    pub(super) async fn open(address: SocketAddr, login: &Login) -> Result<Self> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let mut link = Self {
            stream,
            splitter: Splitter::new(FRAME_BYTES_MAX),
            input: BytesMut::new(),
            output: BytesMut::new(),
            product: String::new(),
        };
        let opened = link.log_in(login).await;
        opened.with_context(|| format!("no AMQP connection to {address}"))?;
        Ok(link)
    }

    /// Name and version of the broker, as it calls itself.
    pub(super) fn product(&self) -> &str {
        &self.product
    }

    async fn log_in(&mut self, login: &Login) -> Result<()> {
        self.put(&PROTOCOL_HEADER);
        let start = self.answer("connection.start").await?;
        if let Method::Connection(connection::Method::Start(start)) = start.method()? {
            self.product = product(&start.server_properties);
        }
        let mut capabilities = TableBuilder::new();
        for name in [&b"publisher_confirms"[..], b"basic.nack"] {
            capabilities.push(name, Value::Bool(true))?;
        }
        let mut properties = TableBuilder::new();
        properties.push(b"product", Value::Long(PRODUCT))?;
        properties.push(b"capabilities", Value::Table(capabilities.as_table()))?;
        let response = format!("\0{}\0{}", login.user, login.password);
        let start_ok = connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: b"PLAIN",
            response: response.as_bytes(),
            locale: b"en_US",
        };
        self.put_method(0, &start_ok)?;
        let tune = self.answer("connection.tune").await?;
        let Method::Connection(connection::Method::Tune(tune)) = tune.method()? else {
            bail!("connection.tune is none");
        };
        let frame_max = match tune.frame_max {
            0 => FRAME_BYTES_MAX,
            offered => offered.min(FRAME_BYTES_MAX),
        };
        self.splitter = Splitter::new(frame_max);
        let tune_ok = connection::TuneOk {
            channel_max: tune.channel_max,
            frame_max,
            heartbeat: 0,
        };
        self.put_method(0, &tune_ok)?;
        let open = connection::Open { virtual_host: b"/" };
        self.put_method(0, &open)?;
        self.answer("connection.open-ok").await?;
        self.call(&channel::Open {}, "channel.open-ok").await?;
        Ok(())
    }

    /// Sends a method and awaits its answer. Nothing else may be on its way.
    pub(super) async fn call<'a>(
        &mut self,
        request: &impl Arguments<'a>,
        answer: &str,
    ) -> Result<Answer> {
        self.put_method(CHANNEL, request)?;
        self.answer(answer).await
    }

    /// The next method, which must be the one named.
    async fn answer(&mut self, name: &str) -> Result<Answer> {
        loop {
            let frames = self.turn().await?;
            if !frames.is_empty() {
                return Answer::check(frames, name);
            }
        }
    }

    /// Queues a method.
    pub(super) fn put_method<'a>(
        &mut self,
        channel: u16,
        arguments: &impl Arguments<'a>,
    ) -> Result<()> {
        let mut writer = Writer::new(FRAME_BYTES_MAX);
        writer.method(channel, arguments)?;
        self.put(&writer.take_bytes());
        Ok(())
    }

    /// Queues bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Whether more should be queued before something is written.
    pub(super) fn has_room(&self) -> bool {
        self.output.len() < OUTPUT_BYTES
    }

    /// Writes something if anything is queued and can be written, and reads otherwise; hands over the frames that
    /// have come whole, often none. Nothing is lost when it is dropped halfway.
    pub(super) async fn turn(&mut self) -> Result<Frames> {
        self.input.reserve(READ_BYTES);
        let (mut reader, mut writer) = self.stream.split();
        tokio::select! {
            biased;
            wrote = writer.write(&self.output), if !self.output.is_empty() => {
                self.output.advance(wrote?);
                return Ok(Frames::default());
            }
            read = reader.read_buf(&mut self.input) => {
                ensure!(read? > 0, "the broker closed the connection");
            }
        }
        Ok(self.splitter.split(&mut self.input)?)
    }

    /// Writes everything that is queued; for when nothing needs to be read.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    /// Leaves as a client should.
    pub(super) async fn close(mut self) -> Result<()> {
        let close = connection::Close {
            reply_code: 200,
            ..connection::Close::default()
        };
        self.put_method(0, &close)?;
        self.answer("connection.close-ok").await.map(drop)
    }
}

/// Name and version among a broker's properties. One of ours calls its product by the name of the broker whose dialect
/// it speaks, which clients look at, and says what it is where others tell what they run on.
fn product(properties: &Table<'_>) -> String {
    let text = |name: &[u8]| {
        let found = properties.find(name);
        let found = found.and_then(|value| value.string().map(String::from_utf8_lossy));
        found.unwrap_or_default().into_owned()
    };
    let platform = text(b"platform");
    if platform.starts_with("Forebay") {
        return platform;
    }
    let name = format!("{} {}", text(b"product"), text(b"version"));
    name.trim().to_owned()
}

/// Frames that hold one method.
#[derive(Debug)]
pub(super) struct Answer(Frames);

impl Answer {
    fn check(frames: Frames, name: &str) -> Result<Self> {
        let answer = Self(frames);
        let method = answer.method()?;
        ensure!(
            method.name() == name,
            "{} came where {name} was due",
            explain(&method)
        );
        let more = answer.0.iter().filter(|f| f.kind != FrameKind::Heartbeat);
        ensure!(more.count() == 1, "something came behind {name}");
        Ok(answer)
    }

    /// It.
    pub(super) fn method(&self) -> Result<Method<'_>> {
        let frame = self.0.iter().find(|f| f.kind != FrameKind::Heartbeat);
        let frame = frame.filter(|frame| frame.kind == FrameKind::Method);
        let frame = frame.context("the broker sent no method")?;
        Ok(Method::decode(frame.payload)?)
    }
}

/// The method in a frame that must hold one.
pub(super) fn method<'a>(frame: &Frame<'a>) -> Result<Method<'a>> {
    ensure!(
        frame.kind == FrameKind::Method,
        "a piece of a message came on its own"
    );
    Ok(Method::decode(frame.payload)?)
}

/// The name of a method that was not expected, with the broker's words if it closes something.
pub(super) fn explain(method: &Method<'_>) -> String {
    let text = match method {
        Method::Connection(connection::Method::Close(close)) => close.reply_text,
        Method::Channel(channel::Method::Close(close)) => close.reply_text,
        _ => return method.name().to_owned(),
    };
    format!("{} ({})", method.name(), String::from_utf8_lossy(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_called_by_their_names() {
        let keys = ["product", "version", "platform"];
        let cases = [
            (["RabbitMQ", "3.10.8", "Erlang/OTP 25"], "RabbitMQ 3.10.8"),
            (["RabbitMQ", "4.3.0", "Forebay 1.0"], "Forebay 1.0"),
            (["", "", ""], ""),
        ];
        for (properties, name) in cases {
            let mut table = TableBuilder::new();
            for (key, value) in keys.iter().zip(properties) {
                let value = Value::Long(value.as_bytes());
                table.push(key.as_bytes(), value).unwrap();
            }
            assert_eq!(product(&table.as_table()), name);
        }
    }
}
