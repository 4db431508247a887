//! Limits, real ports, accept errors and the drain deadline, over real sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{ConnectionNumbers, Limits, Listener, Observer, Served, concerns_one_peer};
use crate::{Capacity, Shutdown};

const PATIENCE: Duration = Duration::from_secs(5);

/// A listener that answers each byte with the same byte, until its peer closes.
struct Echo {
    address: SocketAddr,
    observer: Observer,
    shutdown: Shutdown,
    running: JoinHandle<Served>,
}

async fn echo(connections_max: usize, total: &Capacity, drain: Duration) -> Echo {
    let limits = Limits {
        connections_max,
        write_stall: PATIENCE,
        drain,
    };
    let listener = Listener::bind("echo", "127.0.0.1:0".parse().unwrap(), limits, total)
        .await
        .unwrap();
    let shutdown = Shutdown::new();
    let (address, observer, token) = (listener.address(), listener.observer(), shutdown.drain());
    let running = tokio::spawn(listener.serve(token, |mut connection| async move {
        while let Ok(byte) = connection.read_u8().await {
            connection.write_u8(byte).await.unwrap();
        }
    }));
    Echo {
        address,
        observer,
        shutdown,
        running,
    }
}

async fn client(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// True when the listener answers on this connection; false when it closed it.
async fn answers(client: &mut TcpStream) -> bool {
    let talk = async {
        client.write_u8(9).await?;
        client.read_u8().await
    };
    matches!(tokio::time::timeout(PATIENCE, talk).await, Ok(Ok(9)))
}

#[tokio::test]
async fn over_the_limit_is_closed_at_once_and_counted() {
    let echo = echo(1, &Capacity::new(10), PATIENCE).await;
    let mut first = client(echo.address).await;
    assert!(answers(&mut first).await);
    let mut second = client(echo.address).await;
    assert!(!answers(&mut second).await);
    let expected = ConnectionNumbers {
        open: 1,
        accepted_total: 1,
        refused_total: 1,
        accept_errors_total: 0,
        panics_total: 0,
    };
    assert_eq!(echo.observer.numbers(), expected);

    drop(first);
    while echo.observer.numbers().open > 0 {
        tokio::task::yield_now().await;
    }
    let mut third = client(echo.address).await;
    assert!(answers(&mut third).await);
}

#[tokio::test]
async fn the_total_is_shared_and_a_refusal_costs_no_slot() {
    let total = Capacity::new(1);
    let (one, other) = (
        echo(5, &total, PATIENCE).await,
        echo(5, &total, PATIENCE).await,
    );
    let mut first = client(one.address).await;
    assert!(answers(&mut first).await);
    let mut second = client(other.address).await;
    assert!(!answers(&mut second).await);
    assert_eq!((total.used(), total.max()), (1, 1));
    assert_eq!(other.observer.numbers().open, 0);
}

#[tokio::test]
async fn drain_stops_accepting_and_cuts_at_the_deadline() {
    let echo = echo(5, &Capacity::new(5), Duration::from_millis(50)).await;
    let mut stays = client(echo.address).await;
    assert!(answers(&mut stays).await);
    echo.shutdown.begin();
    assert_eq!(echo.running.await.unwrap(), Served { cut: 1 });
    assert!(TcpStream::connect(echo.address).await.is_err());
}

#[tokio::test]
async fn drain_awaits_connections_that_end() {
    let echo = echo(5, &Capacity::new(5), PATIENCE).await;
    let mut ends = client(echo.address).await;
    assert!(answers(&mut ends).await);
    echo.shutdown.begin();
    drop(ends);
    assert_eq!(echo.running.await.unwrap(), Served { cut: 0 });
}

#[tokio::test]
async fn running_out_of_descriptors_pauses_but_does_not_end_the_loop() {
    let limits = Limits {
        connections_max: 1,
        write_stall: PATIENCE,
        drain: PATIENCE,
    };
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind("echo", address, limits, &Capacity::new(1))
        .await
        .unwrap();
    let full = io::Error::from_raw_os_error(24);
    let mut pause = Duration::from_millis(1);
    pause = listener.endure(&full, pause).await;
    pause = listener.endure(&full, pause).await;
    assert_eq!(pause, Duration::from_millis(4));
    assert!(concerns_one_peer(&io::ErrorKind::ConnectionAborted.into()));
    assert!(!concerns_one_peer(&full));
    assert_eq!(listener.observer().numbers().accept_errors_total, 2);
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_and_is_counted() {
    let limits = Limits {
        connections_max: 10,
        write_stall: PATIENCE,
        drain: PATIENCE,
    };
    let listener = Listener::bind(
        "panicky",
        "127.0.0.1:0".parse().unwrap(),
        limits,
        &Capacity::new(10),
    )
    .await
    .unwrap();
    let shutdown = Shutdown::new();
    let (address, observer, token) = (listener.address(), listener.observer(), shutdown.drain());
    let running = tokio::spawn(listener.serve(token, |mut connection| async move {
        while let Ok(byte) = connection.read_u8().await {
            assert_ne!(byte, 0, "on purpose");
            connection.write_u8(byte).await.unwrap();
        }
    }));
    let (mut good, mut bad) = (client(address).await, client(address).await);
    assert!(answers(&mut good).await);
    bad.write_u8(0).await.unwrap();
    assert!(bad.read_u8().await.is_err());
    assert!(answers(&mut good).await);
    let numbers = observer.numbers();
    assert_eq!((numbers.panics_total, numbers.accepted_total), (1, 2));
    drop(good);
    shutdown.begin();
    assert_eq!(running.await.unwrap(), Served { cut: 0 });
    assert_eq!(observer.numbers().open, 0, "its slot is free again");
}
