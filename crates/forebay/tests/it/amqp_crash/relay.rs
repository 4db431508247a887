//! A way to the broker that can be cut: the client's connection ends without a word.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One connection on its way through; cut when dropped.
pub(crate) struct Relay {
    at: SocketAddr,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(broker: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let at = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let Ok((mut near, _)) = listener.accept().await else {
                return;
            };
            let Ok(mut far) = TcpStream::connect(broker).await else {
                return;
            };
            let _ = copy_bidirectional(&mut near, &mut far).await;
        });
        Ok(Self { at, task })
    }

    /// Where the client connects to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
