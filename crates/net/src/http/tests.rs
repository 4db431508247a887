//! The HTTP server's limits and its drain, spoken to in plain bytes.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{HttpLimits, serve_http};
use crate::{Capacity, Limits, Listener, Served, Shutdown};

const PATIENCE: Duration = Duration::from_secs(5);

struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    running: JoinHandle<Served>,
}

async fn server(limits: HttpLimits) -> Server {
    let sockets = Limits {
        connections_max: 10,
        write_stall: PATIENCE,
        drain: PATIENCE,
    };
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind("http", address, sockets, &Capacity::new(10))
        .await
        .unwrap();
    let router = Router::new()
        .route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
        )
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                "slow"
            }),
        )
        .route("/echo", post(|body: Bytes| async move { body }));
    let shutdown = Shutdown::new();
    let address = listener.address();
    let running = tokio::spawn(serve_http(listener, router, limits, shutdown.drain()));
    Server {
        address,
        shutdown,
        running,
    }
}

/// Sends `request` and returns everything up to the server's close.
async fn talk(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    // A reset after an early answer is the client's loss, not the test's.
    let _ = tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the server never closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn handlers_see_the_peer() {
    let server = server(HttpLimits::default()).await;
    let answer = talk(
        server.address,
        b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn large_bodies_are_refused_whether_announced_or_chunked() {
    let server = server(HttpLimits {
        body_bytes_max: 8,
        ..HttpLimits::default()
    })
    .await;
    let announced = b"POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\n123456789";
    assert!(
        talk(server.address, announced)
            .await
            .starts_with("HTTP/1.1 413")
    );
    let chunked = b"POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
        5\r\n12345\r\n5\r\n12345\r\n0\r\n\r\n";
    assert!(
        talk(server.address, chunked)
            .await
            .starts_with("HTTP/1.1 413")
    );
    let fits =
        b"POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 8\r\n\r\n12345678";
    assert!(talk(server.address, fits).await.ends_with("12345678"));
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut() {
    let server = server(HttpLimits {
        body_read: Duration::from_millis(50),
        ..HttpLimits::default()
    })
    .await;
    let request = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\n123";
    assert!(
        talk(server.address, request)
            .await
            .starts_with("HTTP/1.1 400")
    );
}

#[tokio::test]
async fn slow_and_large_heads_are_refused() {
    let server = server(HttpLimits {
        header_read: Duration::from_millis(50),
        ..HttpLimits::default()
    })
    .await;
    let slow = talk(server.address, b"GET /peer HTTP/1.1\r\nhost:").await;
    assert!(!slow.contains("200 OK"), "{slow}");
    let mut large = b"GET /peer HTTP/1.1\r\nhost: x\r\nx: ".to_vec();
    large.extend(vec![b'a'; 64 << 10]);
    assert!(!talk(server.address, &large).await.contains("200 OK"));
    let mut many = b"GET /peer HTTP/1.1\r\nhost: x\r\n".to_vec();
    many.extend(b"a: b\r\n".repeat(200));
    many.extend(b"\r\n");
    assert!(!talk(server.address, &many).await.contains("200 OK"));
}

#[tokio::test]
async fn drain_answers_what_is_in_flight_and_closes_what_is_idle() {
    let server = server(HttpLimits::default()).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut some = [0; 16];
    assert!(idle.read(&mut some).await.unwrap() > 0);
    let address = server.address;
    let in_flight =
        tokio::spawn(async move { talk(address, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.begin();
    assert!(in_flight.await.unwrap().ends_with("slow"));
    assert_eq!(server.running.await.unwrap(), Served { cut: 0 });
}
