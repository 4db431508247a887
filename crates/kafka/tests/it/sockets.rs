//! What only real sockets show: memory per connection, and peers that never read.
//!
//! Each of these runs in a process of its own: memory is measured per process, and the other tests run in this
//! one at the same time. The server and both ends of every connection are in that one process, so 4,000
//! connections take 8,000 descriptors.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka::wire::{ApiKey, ApiVersionsRequest, Message as _};
use net::{Capacity, Connection, Limits, Listener, Shutdown};
use std::io::{Read as _, Write as _};
use uuid::Uuid;

use crate::client::{Server, body, request_frame};
use crate::kit::{Batch, fetch_from, fetch_request};

/// Set in the process that runs one test alone.
const ALONE: &str = "FOREBAY_TEST_ALONE";
const CONNECTIONS: usize = 4000;
/// Peers that ask and never read.
const PEERS: usize = 40;
/// What an idle connection may take of our memory, in a debug build.
const IDLE_BYTES_MAX: usize = 16 << 10;

/// Runs the named test of this binary in a process of its own. True in that process.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let binary = std::env::current_exe().expect("this binary has a path");
    let outcome = Command::new(binary)
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("it can be run again");
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned()
        + &String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{text}");
    false
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<usize>().ok())
        .expect("a number")
        << 10
}

/// Serves on a real socket until the shutdown begins.
async fn listen(server: &Server, write_stall: Duration) -> (SocketAddr, Shutdown) {
    let shutdown = Shutdown::new();
    let limits = Limits {
        connections_max: 2 * CONNECTIONS,
        write_stall,
        drain: Duration::from_secs(5),
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let total = Capacity::new(2 * CONNECTIONS);
    let listener = Listener::bind("kafka", any, limits, &total)
        .await
        .expect("a port is free");
    let address = listener.address();
    let (context, drain) = (Arc::clone(&server.context), shutdown.drain());
    let each = drain.clone();
    let serve =
        move |connection: Connection| kafka::serve(connection, Arc::clone(&context), each.clone());
    tokio::spawn(listener.serve(drain, serve));
    (address, shutdown)
}

fn hello() -> Bytes {
    let body = body(|w| ApiVersionsRequest::default().encode(w, 2));
    request_frame(ApiKey::ApiVersions, 2, 1, &body)
}

fn exchange(socket: &mut TcpStream, request: &[u8]) {
    socket.write_all(request).expect("the broker reads");
    let mut length = [0; 4];
    socket.read_exact(&mut length).expect("the broker answers");
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
    socket.read_exact(&mut answer).expect("the broker answers");
}

#[test]
fn idle_connections_take_little_memory() {
    if !is_alone("sockets::idle_connections_take_little_memory") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start());
    let (address, _shutdown) = runtime.block_on(listen(&server, Duration::from_secs(30)));
    let request = hello();
    let connect = |count: usize| -> Vec<TcpStream> {
        let one = |_| {
            let mut socket = TcpStream::connect(address).expect("the broker accepts");
            exchange(&mut socket, &request);
            socket
        };
        (0..count).map(one).collect()
    };
    // What is made once is made before the measurement.
    let mut open = connect(100);
    let before = resident_bytes();
    open.extend(connect(CONNECTIONS));
    let each = resident_bytes().saturating_sub(before) / CONNECTIONS;
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes per idle connection");
    for socket in open.iter_mut().step_by(500) {
        exchange(socket, &request);
    }
}

#[test]
fn peers_that_never_read_hold_little_memory_and_are_cut() {
    if !is_alone("sockets::peers_that_never_read_hold_little_memory_and_are_cut") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (server, address, _shutdown) = runtime.block_on(async {
        let server = Server::start().await;
        let mut client = server.connect();
        client.create("orders", 1, &[]).await;
        for _ in 0..20 {
            client.put("orders", 0, &Batch::sized(1_000_000)).await;
        }
        let (address, shutdown) = listen(&server, Duration::from_millis(500)).await;
        (server, address, shutdown)
    });
    let mut topic = fetch_from(("orders", Uuid::nil()), &[(0, 0)]);
    topic.partitions[0].partition_max_bytes = 20 << 20;
    let fetch = body(|w| fetch_request(vec![topic]).encode(w, 12));
    let fetch = request_frame(ApiKey::Fetch, 12, 1, &fetch);
    let before = resident_bytes();
    let mut peers: Vec<TcpStream> = (0..PEERS)
        .map(|_| TcpStream::connect(address).expect("the broker accepts"))
        .collect();
    // Ten answers of 20 MB each per peer, if anybody kept them.
    for peer in &mut peers {
        for _ in 0..10 {
            peer.write_all(&fetch)
                .expect("requests fit the socket's buffer");
        }
    }
    let mut most = 0;
    runtime.block_on(async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            most = most.max(resident_bytes().saturating_sub(before));
        }
    });
    assert!(most < 100 << 20, "{most} bytes more");
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(700)).await });
    for peer in &mut peers {
        peer.set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");
        let mut rest = Vec::new();
        // The end, or a reset: either way what was asked for did not come whole.
        let _ = peer.read_to_end(&mut rest);
        assert!(rest.len() < 19 << 20, "{} bytes came", rest.len());
    }
    runtime.block_on(async { crate::hostile::works(&mut server.connect()).await });
}
