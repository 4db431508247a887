//! The client's end of a connection, read and written by a test that blocks: a socket, or a connection in memory whose
//! other end is served by a frontend.

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use net::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

/// How long a client waits for what has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Bytes in both directions. A read that takes longer than the timeout fails.
pub trait Stream: Read + Write + Send + Debug {
    /// How long a read may take.
    fn set_read_timeout(&mut self, timeout: Duration) -> io::Result<()>;

    /// The client's own address.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A listener that a client connects to.
pub trait Peer {
    /// A new connection.
    fn connect(&self) -> Box<dyn Stream>;
}

impl<P: Peer> Peer for &P {
    fn connect(&self) -> Box<dyn Stream> {
        (*self).connect()
    }
}

impl Peer for SocketAddr {
    fn connect(&self) -> Box<dyn Stream> {
        let stream = TcpStream::connect(self).expect("the listener accepts");
        stream.set_nodelay(true).expect("a socket has this option");
        Box::new(stream)
    }
}

impl Stream for TcpStream {
    fn set_read_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        Self::set_read_timeout(self, Some(timeout))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

/// One end of a connection in memory. The other end is served by a runtime with threads of its own.
#[derive(Debug)]
pub struct MemoryStream {
    connection: Connection,
    runtime: Handle,
    read_timeout: Duration,
}

impl MemoryStream {
    /// The other end is served by this runtime.
    pub fn new(connection: Connection, runtime: Handle) -> Self {
        Self {
            connection,
            runtime,
            read_timeout: PATIENCE,
        }
    }
}

impl Stream for MemoryStream {
    fn set_read_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.read_timeout = timeout;
        Ok(())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.connection.local())
    }
}

impl Read for MemoryStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // The connection's timers are this runtime's.
        let _entered = self.runtime.enter();
        let mut buffer = ReadBuf::new(out);
        let mut connection = Pin::new(&mut self.connection);
        wait(self.read_timeout, |cx| {
            connection.as_mut().poll_read(cx, &mut buffer)
        })?;
        Ok(buffer.filled().len())
    }
}

impl Write for MemoryStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _entered = self.runtime.enter();
        let mut connection = Pin::new(&mut self.connection);
        wait(PATIENCE, |cx| connection.as_mut().poll_write(cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        let _entered = self.runtime.enter();
        let mut connection = Pin::new(&mut self.connection);
        wait(PATIENCE, |cx| connection.as_mut().poll_flush(cx))
    }
}

/// Wakes the thread of a test.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks until it is ready. Needs no runtime, so that a test in one may block too.
fn wait<T>(
    timeout: Duration,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
) -> io::Result<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        if let Poll::Ready(outcome) = poll(&mut context) {
            return outcome;
        }
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_connection_in_memory_is_read_and_written_by_a_blocking_test() {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        // Less than is written: both sides have to take turns.
        let (near, far) = Connection::pair(8);
        runtime.spawn(async move {
            let (mut reader, mut writer) = far.split();
            tokio::io::copy(&mut reader, &mut writer).await
        });
        let mut stream = MemoryStream::new(near, runtime.handle().clone());
        stream.write_all(b"0123456789").expect("it is read");
        let mut back = [0; 10];
        stream.read_exact(&mut back).expect("it comes back");
        assert_eq!(&back, b"0123456789");
        let soon = Duration::from_millis(10);
        stream.set_read_timeout(soon).expect("any timeout will do");
        let late = stream.read(&mut back).expect_err("nothing comes");
        assert_eq!(late.kind(), ErrorKind::TimedOut);
    }
}
