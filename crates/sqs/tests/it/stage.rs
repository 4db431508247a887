//! A broker with its frontend; every connection in memory is served as a listener's are.

use std::sync::Arc;

use clients::http::Http;
use clients::{MemoryStream, Peer, Stream};
use net::{Connection, Shutdown};
use sqs::{Context, Settings};
use testkit::TestBroker;
use tokio::runtime::{Builder, Runtime};

/// Bytes each direction of a connection in memory holds.
const BUFFER_BYTES: usize = 64 << 10;

/// The broker, on a runtime of its own: tests block.
pub(crate) struct Sqs {
    context: Arc<Context>,
    shutdown: Shutdown,
    _broker: TestBroker,
    // Last: the others end on it.
    runtime: Runtime,
}

impl Sqs {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let broker = runtime.block_on(TestBroker::start());
        Self {
            context: Arc::new(Context::new(broker.broker().clone(), Settings::default())),
            shutdown: Shutdown::new(),
            _broker: broker,
            runtime,
        }
    }

    /// A connection that speaks plain HTTP.
    pub(crate) fn http(&self) -> Http {
        Http::connect(self)
    }
}

impl Peer for Sqs {
    fn connect(&self) -> Box<dyn Stream> {
        let (near, far) = Connection::pair(BUFFER_BYTES);
        let router = sqs::router(Arc::clone(&self.context));
        let (limits, drain) = (self.context.limits(), self.shutdown.drain());
        let served = net::serve_http_connection(far, router, limits, drain);
        self.runtime.spawn(served);
        let runtime = self.runtime.handle().clone();
        Box::new(MemoryStream::new(near, runtime))
    }
}
