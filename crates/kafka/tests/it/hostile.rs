//! Peers that break the rules: each loses its own connection, and nobody else notices.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka::wire::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, Message as _, MetadataRequest,
    MetadataResponse, frame,
};
use net::Budget;
use testkit::HeldTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, advance, timeout};
use uuid::Uuid;

use crate::client::{Client, Server, body, request_frame};
use crate::kit::{Batch, PRODUCE_BY_NAME, fetch_from, fetch_request, produce_request, produce_to};

/// Everything is as it should be for another client.
pub(crate) async fn works(client: &mut Client) {
    let answer: ApiVersionsResponse<'_> = client.ask(2, &ApiVersionsRequest::default()).await;
    assert_eq!(answer.error_code, 0);
    client.put("orders", 0, &Batch::of(&["still here"])).await;
}

async fn ready() -> (Server, Client) {
    let server = Server::start().await;
    let mut client = server.connect();
    client.create("orders", 1, &[]).await;
    (server, client)
}

fn framed(content: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(i32::try_from(content.len()).unwrap());
    out.put_slice(content);
    out.freeze()
}

fn header(key: ApiKey, version: i16) -> Vec<u8> {
    let header = frame::encode_request_header(key, version, 1, None);
    let header = header
        .and_then(kafka::wire::Writer::finish)
        .expect("a header");
    header.into_bytes()[4..].to_vec()
}

/// Every key and version that is carried out.
fn carried_out(advertised: &ApiVersionsResponse<'_>) -> Vec<(ApiKey, i16)> {
    let ranges = advertised.api_keys.iter().map(|range| {
        let key = ApiKey::try_from(range.api_key).expect("a known key");
        (range.min_version..=range.max_version).map(move |version| (key, version))
    });
    ranges
        .flatten()
        .filter(|(key, version)| key.supports(*version))
        .collect()
}

async fn all_requests(client: &mut Client) -> Vec<(ApiKey, i16)> {
    carried_out(&client.ask(2, &ApiVersionsRequest::default()).await)
}

#[tokio::test]
async fn impossible_lengths_end_the_connection() {
    let (server, mut bystander) = ready().await;
    for length in [0, -1, i32::MIN, i32::MAX, (100 << 20) + 1] {
        let mut client = server.connect();
        client.write(&length.to_be_bytes()).await;
        client.expect_closed().await;
        works(&mut bystander).await;
    }
}

#[tokio::test]
async fn frames_without_room_for_a_header_end_the_connection() {
    let (server, mut bystander) = ready().await;
    for bytes in 1..9 {
        let mut client = server.connect();
        client
            .write(&framed(&[0, 18, 0, 0, 0, 0, 0, 1][..bytes.min(8)]))
            .await;
        if bytes < 8 {
            client.expect_closed().await;
        }
    }
    works(&mut bystander).await;
}

#[tokio::test]
async fn huge_counts_buy_no_memory() {
    let (server, mut bystander) = ready().await;
    for (key, version) in all_requests(&mut bystander).await {
        for bomb in [
            [0x7f, 0xff, 0xff, 0xff].as_slice(),
            &[0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0xff, 0xff, 0xff, 0x7f],
            &[0x00, 0x0f, 0x42, 0x41],
        ] {
            // At every depth a request begins with: after nothing, a null, a few numbers.
            for lead in [0, 1, 2, 4, 6, 8, 10, 15, 20] {
                let mut content = header(key, version);
                content.resize(content.len() + lead, 0);
                content.extend_from_slice(bomb);
                content.extend_from_slice(&[0; 8]);
                let mut client = server.connect();
                client.write(&framed(&content)).await;
                drop(client);
            }
        }
    }
    works(&mut bystander).await;
}

#[tokio::test]
async fn tagged_fields_are_counted() {
    let (server, mut bystander) = ready().await;
    let tags = |count: u32, given: u32| {
        let mut content = vec![0, 3, 0, 12, 0, 0, 0, 1, 0xff, 0xff];
        put_uvarint(&mut content, count);
        for tag in 0..given {
            put_uvarint(&mut content, tag + 100);
            content.push(0);
        }
        let request = MetadataRequest {
            topics: Some(Vec::new()),
            ..MetadataRequest::default()
        };
        content.extend_from_slice(&body(|w| request.encode(w, 12)));
        framed(&content)
    };
    let mut client = server.connect();
    client.write(&tags(50, 50)).await;
    assert!(client.frame().await.is_some(), "unknown tags are skipped");
    for (count, given) in [(u32::MAX, 0), (1 << 30, 10), (10_001, 10_001), (3, 2)] {
        let mut client = server.connect();
        client.write(&tags(count, given)).await;
        client.expect_closed().await;
    }
    works(&mut bystander).await;
}

fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

#[tokio::test]
async fn half_a_frame_ends_with_the_patience_for_it() {
    let (server, mut bystander) = ready().await;
    let _held = HeldTime::pause();
    for part in [
        &[0][..],
        &[0, 0, 0],
        &[0, 0, 0, 50, 0, 18],
        &[0x05, 0, 0, 0, 1],
    ] {
        let mut client = server.connect();
        client.write(part).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        for _ in 0..29 {
            advance(Duration::from_secs(1)).await;
        }
        assert!(
            !client.served.is_finished(),
            "{part:?}: 30 seconds are allowed"
        );
        advance(Duration::from_secs(3)).await;
        client.expect_closed().await;
        works(&mut bystander).await;
    }
}

#[tokio::test]
async fn one_byte_at_a_time_is_too_slow() {
    let (server, _bystander) = ready().await;
    let _held = HeldTime::pause();
    let mut client = server.connect();
    client.write(&1_000_000_i32.to_be_bytes()).await;
    let began = Instant::now();
    while !client.served.is_finished() {
        let _ = client.connection.write_all(&[0]).await;
        advance(Duration::from_secs(10)).await;
    }
    assert!(
        began.elapsed() <= Duration::from_mins(1),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_silent_connection_ends_after_a_while() {
    let (server, mut bystander) = ready().await;
    let _held = HeldTime::pause();
    let mut client = server.connect();
    works(&mut bystander).await;
    advance(Duration::from_secs(599)).await;
    works(&mut bystander).await;
    assert!(!client.served.is_finished());
    advance(Duration::from_secs(2)).await;
    client.expect_closed().await;
    works(&mut bystander).await;
}

#[tokio::test]
async fn claimed_lengths_keep_nobody_else_from_producing() {
    let server = Server::start().await.within(Budget::new(60 << 20));
    let mut honest = server.connect();
    honest.create("orders", 1, &[]).await;
    let mut claims = Vec::new();
    for _ in 0..50 {
        let mut client = server.connect();
        client.write(&(100_i32 << 20).to_be_bytes()).await;
        client.write(&[0; 5000]).await;
        claims.push(client);
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let batch = Batch::sized(500_000);
    let put = honest.put("orders", 0, &batch);
    timeout(Duration::from_secs(10), put)
        .await
        .expect("there is room");
}

#[tokio::test]
async fn a_client_that_never_reads_is_slowed_down_and_then_cut() {
    let (server, mut bystander) = ready().await;
    for _ in 0..8 {
        bystander.put("orders", 0, &Batch::sized(900_000)).await;
    }
    let _held = HeldTime::pause();
    let mut greedy = server.connect();
    let mut topic = fetch_from(("orders", Uuid::nil()), &[(0, 0)]);
    topic.partitions[0].partition_max_bytes = 50 << 20;
    let fetch = body(|w| fetch_request(vec![topic]).encode(w, 12));
    let fetch = request_frame(ApiKey::Fetch, 12, 1, &fetch);
    let sent = send_until_refused(&mut greedy, &fetch).await;
    assert!(
        sent < 4000,
        "{sent} requests were taken in without an answer read"
    );
    works(&mut bystander).await;
    advance(Duration::from_secs(31)).await;
    until_served(&mut greedy).await;
    works(&mut bystander).await;
}

#[tokio::test]
async fn a_producer_that_never_reads_is_slowed_down_and_then_cut() {
    let (server, mut bystander) = ready().await;
    let _held = HeldTime::pause();
    let mut greedy = server.connect();
    let topic = produce_to(("orders", Uuid::nil()), vec![(0, Batch::sized(20).bytes())]);
    let produce = body(|w| produce_request(-1, topic).encode(w, PRODUCE_BY_NAME));
    let produce = request_frame(ApiKey::Produce, PRODUCE_BY_NAME, 1, &produce);
    let sent = send_until_refused(&mut greedy, &produce).await;
    assert!(
        sent < 10_000,
        "{sent} requests were taken in without an answer read"
    );
    works(&mut bystander).await;
    advance(Duration::from_secs(31)).await;
    until_served(&mut greedy).await;
    works(&mut bystander).await;
}

/// Sends a request over and over until the broker takes no more; answers with how often it did.
async fn send_until_refused(client: &mut Client, request: &[u8]) -> usize {
    for sent in 0..20_000 {
        let write = client.connection.write_all(request);
        tokio::pin!(write);
        let mut patience = 100;
        while poll_once(write.as_mut()).await.is_pending() {
            if patience == 0 {
                return sent;
            }
            patience -= 1;
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            // Real time: the store's threads do not know of the paused one.
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    20_000
}

async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx))).await
}

async fn until_served(client: &mut Client) {
    for _ in 0..100_000 {
        if client.served.is_finished() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the connection of a client that never reads is still served");
}

/// Repeatable noise (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

/// How long noise is sent.
const NOISE_TIME: Duration = Duration::from_secs(2);

#[tokio::test]
async fn garbage_and_damaged_requests_disturb_nobody() {
    let (server, mut bystander) = ready().await;
    let known = all_requests(&mut bystander).await;
    let mut noise = Noise(0x5eed);
    let sound = sound_requests();
    let (began, mut rounds) = (Instant::now(), 0);
    while began.elapsed() < NOISE_TIME {
        let mut client = server.connect();
        let bytes = match rounds % 3 {
            0 => (0..noise.below(300))
                .map(|_| noise.byte())
                .collect::<Vec<u8>>(),
            1 => {
                let (key, version) = known[noise.below(known.len())];
                let mut content = header(key, version);
                content.extend((0..noise.below(100)).map(|_| noise.byte() & 0x83));
                framed(&content).to_vec()
            }
            _ => damaged(&sound[noise.below(sound.len())], &mut noise),
        };
        let _ = client.connection.write_all(&bytes).await;
        // Whatever comes back, or nothing.
        let mut sink = [0; 512];
        let _ = timeout(Duration::from_millis(1), client.connection.read(&mut sink)).await;
        rounds += 1;
        if rounds % 50 == 0 {
            works(&mut bystander).await;
        }
    }
    works(&mut bystander).await;
    assert!(rounds > 100, "only {rounds} rounds");
}

fn sound_requests() -> Vec<Bytes> {
    let produce = |codec| {
        let batch = Batch::packed(codec, &["first", &"second".repeat(30)]).bytes();
        let topic = produce_to(("orders", Uuid::nil()), vec![(0, batch)]);
        let body = body(|w| produce_request(-1, topic).encode(w, PRODUCE_BY_NAME));
        request_frame(ApiKey::Produce, PRODUCE_BY_NAME, 1, &body)
    };
    let fetch = body(|w| {
        let topic = fetch_from(("orders", Uuid::nil()), &[(0, 0)]);
        fetch_request(vec![topic]).encode(w, 12)
    });
    let join = body(|w| crate::groups::join_request("noise", "").encode(w, 7));
    let metadata = body(|w| {
        MetadataRequest {
            topics: None,
            ..MetadataRequest::default()
        }
        .encode(w, 12)
    });
    vec![
        produce(0),
        produce(3),
        request_frame(ApiKey::Fetch, 12, 1, &fetch),
        request_frame(ApiKey::JoinGroup, 7, 1, &join),
        request_frame(ApiKey::Metadata, 12, 1, &metadata),
    ]
}

fn damaged(sound: &Bytes, noise: &mut Noise) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for _ in 0..=noise.below(4) {
        let at = 4 + noise.below(bytes.len() - 4);
        match noise.below(3) {
            0 => bytes[at] ^= 1 << noise.below(8),
            1 => bytes[at] = noise.byte(),
            _ => bytes.truncate(at.max(20)),
        }
    }
    bytes
}

#[tokio::test]
async fn many_connections_ask_at_once() {
    let (server, _bystander) = ready().await;
    let mut clients: Vec<Client> = (0..500).map(|_| server.connect()).collect();
    for client in &mut clients {
        client
            .send(
                12,
                &MetadataRequest {
                    topics: None,
                    ..MetadataRequest::default()
                },
            )
            .await;
    }
    for client in &mut clients {
        let answer: MetadataResponse<'_> = client.answer().await;
        assert_eq!(answer.topics.len(), 1);
    }
}
