//! The HTTP/1.1 server: an `axum::Router` on a [`Listener`], with every limit a hostile client would look for.

mod body;
mod collect;
mod limits;
mod members;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use hyper::body::Incoming;
use hyper::header::USER_AGENT;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tower::ServiceExt;

pub use collect::{Uncollected, collect};
pub use limits::HttpLimits;
pub use members::{MEMBER_BYTES, json_members};

use crate::{Account, Budget, Connection, Drain, Listener, Served};
use body::Bounded;

/// The account of the connection a request came by, as its extensions have it.
pub fn account_of(extensions: &hyper::http::Extensions) -> Account {
    let found = extensions.get::<Account>().cloned();
    found.unwrap_or_else(|| {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Budget::unlimited().account("http", nowhere)
    })
}

/// Serves `router` until `drain` begins; requests in flight are answered, kept-alive connections then close.
///
/// Handlers find the peer's address as [`ConnectInfo`]`<SocketAddr>`, and the connection's [`crate::Account`] among the
/// extensions.
pub async fn serve_http(
    listener: Listener,
    router: Router,
    limits: HttpLimits,
    drain: Drain,
) -> Served {
    let router = router.layer(DefaultBodyLimit::max(limits.body_bytes_max));
    let each = drain.clone();
    listener
        .serve(drain, move |connection| {
            serve_connection(connection, router.clone(), limits, each.clone())
        })
        .await
}

/// Serves `router` on one connection, as [`serve_http`] does on each that its listener accepts.
pub async fn serve_http_connection(
    connection: Connection,
    router: Router,
    limits: HttpLimits,
    drain: Drain,
) {
    let router = router.layer(DefaultBodyLimit::max(limits.body_bytes_max));
    serve_connection(connection, router, limits, drain).await;
}

async fn serve_connection(
    connection: Connection,
    router: Router,
    limits: HttpLimits,
    drain: Drain,
) {
    let peer = connection.peer();
    let entry = Arc::clone(connection.entry());
    let named = AtomicBool::new(false);
    let known = Arc::clone(&entry);
    let account = connection.account().clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        if !named.swap(true, Ordering::Relaxed)
            && let Some(agent) = request.headers().get(USER_AGENT)
        {
            known.set_client(&String::from_utf8_lossy(agent.as_bytes()));
        }
        let mut request = request.map(|body| Bounded::body(body, limits));
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(account.clone());
        router.clone().oneshot(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.header_bytes_max.max(8 << 10))
        .max_headers(limits.headers_max)
        .serve_connection(TokioIo::new(connection), service);
    tokio::pin!(serving);
    let closing = async {
        tokio::select! {
            () = drain.draining() => {}
            () = entry.closing() => {}
        }
    };
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = closing => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "http connection failed");
    }
}
