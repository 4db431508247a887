//! One client connection: its bytes, its two addresses, and how long we wait for a peer that does not read.
//!
//! A connection is made of two independent halves, so that a frontend can await the next request while
//! responses are still leaving. The socket may be a TCP stream or a pair in memory; TLS will be a third kind.

mod stall;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::{Account, Budget, Entry};
use stall::Stall;

/// How long a peer may refuse to read before we give up, unless a listener says otherwise.
const WRITE_STALL_DEFAULT: Duration = Duration::from_secs(30);

/// A connected peer.
#[derive(Debug)]
pub struct Connection {
    reader: Reader,
    writer: Writer,
    peer: SocketAddr,
    local: SocketAddr,
    entry: Arc<Entry>,
    account: Account,
}

/// The half that receives.
#[derive(Debug)]
pub struct Reader {
    side: ReadSide,
    account: Account,
}

#[derive(Debug)]
enum ReadSide {
    Tcp(OwnedReadHalf),
    Memory(ReadHalf<DuplexStream>),
}

/// The half that sends; fails with `TimedOut` when the peer accepts nothing for too long.
#[derive(Debug)]
pub struct Writer {
    side: WriteSide,
    stall: Stall,
    account: Account,
}

#[derive(Debug)]
enum WriteSide {
    Tcp(OwnedWriteHalf),
    Memory(WriteHalf<DuplexStream>),
}

impl Connection {
    /// Wraps a connected TCP stream and switches Nagle's algorithm off: we write whole responses.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
        let (reader, writer) = stream.into_split();
        let sides = (ReadSide::Tcp(reader), WriteSide::Tcp(writer));
        Ok(Self::of(sides, peer, local))
    }

    /// Two connected ends in memory, `buffer_bytes` in each direction: a frontend under test needs no socket.
    pub fn pair(buffer_bytes: usize) -> (Self, Self) {
        let (a, b) = tokio::io::duplex(buffer_bytes);
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        (
            Self::memory(a, address(2), address(1)),
            Self::memory(b, address(1), address(2)),
        )
    }

    fn memory(stream: DuplexStream, peer: SocketAddr, local: SocketAddr) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let sides = (ReadSide::Memory(reader), WriteSide::Memory(writer));
        Self::of(sides, peer, local)
    }

    fn of(sides: (ReadSide, WriteSide), peer: SocketAddr, local: SocketAddr) -> Self {
        let account = Budget::unlimited().account("", peer);
        let (reader, writer) = sides;
        Self {
            reader: Reader {
                side: reader,
                account: account.clone(),
            },
            writer: Writer {
                side: writer,
                stall: Stall::new(WRITE_STALL_DEFAULT),
                account: account.clone(),
            },
            peer,
            local,
            entry: Entry::alone(peer),
            account,
        }
    }

    /// Gives up on a peer that has accepted no byte for `patience`.
    #[must_use]
    pub fn with_write_stall(mut self, patience: Duration) -> Self {
        self.writer.stall = Stall::new(patience);
        self
    }

    #[must_use]
    pub(crate) fn with_entry(mut self, entry: Arc<Entry>) -> Self {
        self.entry = entry;
        self
    }

    /// Where it is entered among all connections.
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// What it holds counts against this account.
    #[must_use]
    pub fn with_account(mut self, account: Account) -> Self {
        self.reader.account = account.clone();
        self.writer.account = account.clone();
        self.account = account;
        self
    }

    /// What it holds counts against this account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The other end's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our own address, as the client sees it.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The two halves, to be used by two tasks or in one `select!`.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl Reader {
    /// Whose room what is read takes.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Ready when there is something to read, or probably so: room for it is waited for only then, because a peer that
    /// is silent waits for nothing.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.side {
            // What is wrong is said by the read.
            ReadSide::Tcp(side) => side.as_ref().poll_read_ready(cx).map(drop),
            ReadSide::Memory(_) => Poll::Ready(()),
        }
    }
}

impl Writer {
    /// Whose room what is written takes.
    pub fn account(&self) -> &Account {
        &self.account
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.side {
            ReadSide::Tcp(side) => Pin::new(side).poll_read(cx, buf),
            ReadSide::Memory(side) => Pin::new(side).poll_read(cx, buf),
        };
        self.account.note_received(buf.filled().len() - before);
        read
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}
