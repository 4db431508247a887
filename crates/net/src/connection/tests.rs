//! Partial writes, many segments, empty segments, and a peer that never reads.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Connection;

/// Sends `segments` through `ours` and reads them back from `theirs`.
#[track_caller]
fn check(segments: Vec<Bytes>, buffer_bytes: usize) {
    let expected: Vec<u8> = segments.concat();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let received = runtime.block_on(async {
        let (mut ours, mut theirs) = Connection::pair(buffer_bytes);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            all
        });
        let mut queue = VecDeque::from(segments);
        ours.write_segments(&mut queue).await.unwrap();
        assert!(queue.is_empty());
        drop(ours);
        reading.await.unwrap()
    });
    assert_eq!(received, expected);
}

#[test]
fn segments_arrive_in_order_whatever_the_buffer() {
    let segments = |count: u16| {
        (0..count).map(|i| Bytes::from(i.to_be_bytes().repeat(1 + usize::from(i) % 7)))
    };
    check(Vec::new(), 64);
    check(vec![Bytes::new(), Bytes::new()], 64);
    check(segments(5).collect(), 1);
    check(segments(1000).collect(), 64);
    check(segments(3000).collect(), 1 << 20);
    check(
        vec![
            Bytes::new(),
            Bytes::from_static(b"a"),
            Bytes::new(),
            Bytes::from_static(b"b"),
            Bytes::new(),
        ],
        1,
    );
}

#[tokio::test]
async fn a_peer_that_never_reads_is_given_up_on() {
    let (ours, _theirs) = Connection::pair(16);
    let mut ours = ours.with_write_stall(Duration::from_millis(30));
    let mut queue = VecDeque::from([Bytes::from_static(&[7; 64])]);
    let error = ours.write_segments(&mut queue).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(queue.iter().map(Bytes::len).sum::<usize>(), 48);
}

#[tokio::test]
async fn a_slow_reader_is_not_given_up_on() {
    let (ours, mut theirs) = Connection::pair(1);
    let mut ours = ours.with_write_stall(Duration::from_millis(200));
    let reading = tokio::spawn(async move {
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            theirs.read_u8().await.unwrap();
        }
    });
    let mut queue = VecDeque::from([Bytes::from_static(b"abcdef")]);
    ours.write_segments(&mut queue).await.unwrap();
    reading.await.unwrap();
}

#[tokio::test]
async fn halves_of_a_tcp_connection_work_on_their_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let connection = Connection::tcp(stream).unwrap();
    assert_eq!(connection.peer(), client.local_addr().unwrap());
    assert_eq!(connection.local(), client.peer_addr().unwrap());

    let (mut reader, mut writer) = connection.split();
    client.write_all(b"ping").await.unwrap();
    let mut four = [0; 4];
    reader.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"ping");
    // Larger than any socket buffer, so that writes are partial.
    let mut queue: VecDeque<Bytes> = (0..2000).map(|_| Bytes::from_static(&[1; 4096])).collect();
    let sending = tokio::spawn(async move { writer.write_segments(&mut queue).await.unwrap() });
    let mut received = vec![0; 2000 * 4096];
    client.read_exact(&mut received).await.unwrap();
    sending.await.unwrap();
    assert!(received.iter().all(|byte| *byte == 1));
}
