//! A broker with its frontend; every connection in memory is served by the real `serve`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amqp::{Context, Settings};
use clients::{MemoryStream, Peer, Stream};
use net::{Connection, Shutdown};
use testkit::TestBroker;
use tokio::runtime::{Builder, Runtime};

/// Bytes each direction of a connection in memory holds.
const BUFFER_BYTES: usize = 64 << 10;

/// The broker, on a runtime of its own: tests block.
pub(crate) struct Amqp {
    context: Arc<Context>,
    is_low: Arc<AtomicBool>,
    shutdown: Shutdown,
    broker: TestBroker,
    // Last: the others end on it.
    runtime: Runtime,
}

impl Amqp {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let settings = engine::Settings {
            internal_exchanges: vec![amqp::TRACE_EXCHANGE.to_owned()],
            ..engine::Settings::default()
        };
        let broker = runtime.block_on(TestBroker::with(settings));
        let is_low = Arc::new(AtomicBool::new(false));
        let alarm = Arc::clone(&is_low);
        let context = Arc::new(Context::new(
            broker.broker().clone(),
            Settings::default(),
            Box::new(move || alarm.load(Ordering::Relaxed)),
        ));
        Self {
            context,
            is_low,
            shutdown: Shutdown::new(),
            broker,
            runtime,
        }
    }

    /// Whether the disk is low.
    pub(crate) fn set_low(&self, is_low: bool) {
        self.is_low.store(is_low, Ordering::Relaxed);
    }

    /// Whether what is published and delivered is copied.
    pub(crate) fn trace(&self, is_traced: bool) {
        let anyone = security::Principal::anonymous();
        let traced = self
            .broker
            .broker()
            .on_behalf_of(&anyone)
            .trace_vhost("/", is_traced);
        traced.expect("there is a vhost");
    }

    /// How many messages of a queue are ready, and how many in flight.
    pub(crate) fn depth(&self, queue: &str) -> (u64, u64) {
        let anyone = security::Principal::anonymous();
        let access = self.broker.broker().on_behalf_of(&anyone);
        let depth = access.queue_depth(queue);
        let depth = self.runtime.block_on(depth).expect("there is a queue");
        (depth.ready, depth.in_flight)
    }
}

impl Peer for Amqp {
    fn connect(&self) -> Box<dyn Stream> {
        let (near, far) = Connection::pair(BUFFER_BYTES);
        let (context, drain) = (Arc::clone(&self.context), self.shutdown.drain());
        self.runtime.spawn(amqp::serve(far, context, drain));
        let runtime = self.runtime.handle().clone();
        Box::new(MemoryStream::new(near, runtime))
    }
}
