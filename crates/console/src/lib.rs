//! Translates HTTP for people and for the tools that watch over them: health, metrics, and the JSON API `/api/v1`.
//!
//! It owns no truth: health is set by the binary, numbers are read from [`Source`]s when asked for, and what the
//! API does is done by the engine.

mod accept;
mod error;
mod exposition;
mod handlers;
mod health;
mod message;
mod metrics;
mod process;
mod request;
mod samples;
mod settings;
mod state;
#[cfg(test)]
mod tests;

use axum::extract::FromRef;
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use engine::{Access, Broker};
use net::{Connections, HttpLimits};
use security::Principal;

pub use health::{Health, Probe};
pub use metrics::{BuildInfo, Metrics, Prepare};
pub use samples::{Histogram, Samples, Source, Value};
pub use state::{Overview, State};

/// HTTP limits that let every legal request through.
pub fn limits() -> HttpLimits {
    HttpLimits {
        body_bytes_max: request::REQUEST_BYTES_MAX,
        ..HttpLimits::default()
    }
}

/// What the JSON API works on.
#[derive(Clone, Debug)]
struct Served {
    broker: Access,
    connections: Connections,
}

impl FromRef<Served> for Access {
    fn from_ref(served: &Served) -> Self {
        served.broker.clone()
    }
}

impl FromRef<Served> for Connections {
    fn from_ref(served: &Served) -> Self {
        served.connections.clone()
    }
}

/// The JSON API over a broker and the connections to it, to be merged with [`router`].
pub fn api(broker: &Broker, connections: Connections) -> Router {
    // There are no logins yet: everybody is the same principal, and the engine decides what that allows.
    let broker = broker.on_behalf_of(&Principal::anonymous());
    let routes = Router::new()
        .route("/", get(handlers::index))
        .merge(queue_routes())
        .merge(topic_routes())
        .fallback(handlers::no_route)
        .method_not_allowed_fallback(handlers::not_allowed)
        .layer(middleware::from_fn(request::guard))
        .with_state(Served {
            broker,
            connections,
        });
    Router::new().nest("/api/v1", routes)
}

fn queue_routes() -> Router<Served> {
    use handlers::{exchanges, messages, policies, queues, redrive, vhosts};
    let queue = get(queues::describe)
        .patch(queues::change)
        .delete(queues::delete);
    Router::new()
        .route("/queues", get(queues::list).post(queues::create))
        .route("/queues/{name}", queue)
        .route("/queues/{name}/purge", post(queues::purge))
        .route(
            "/queues/{name}/messages",
            get(messages::peek).post(messages::send),
        )
        .route("/queues/{name}/receive", post(messages::receive))
        .route("/queues/{name}/settle", post(messages::settle))
        .route("/queues/{name}/replay", post(messages::replay))
        .route(
            "/queues/{name}/redrive",
            get(redrive::list).post(redrive::start),
        )
        .route("/queues/{name}/redrive/{task}", delete(redrive::cancel))
        .route("/vhosts", get(vhosts::list).post(vhosts::create))
        .route(
            "/vhosts/{name}",
            get(vhosts::describe)
                .patch(vhosts::change)
                .delete(vhosts::delete),
        )
        .route("/policies", get(policies::list).post(policies::put))
        .route("/policies/{name}", delete(policies::remove))
        .route("/exchanges", get(exchanges::list))
        .route("/bindings", get(exchanges::bindings))
}

fn topic_routes() -> Router<Served> {
    use handlers::{connections, groups, topics};
    let topic = get(topics::describe)
        .patch(topics::change)
        .delete(topics::delete);
    Router::new()
        .route("/topics", get(topics::list).post(topics::create))
        .route("/topics/{name}", topic)
        .route(
            "/topics/{name}/records",
            get(topics::read).post(topics::append),
        )
        .route("/groups", get(groups::list))
        .route(
            "/groups/{name}",
            get(groups::describe).delete(groups::delete),
        )
        .route("/groups/{name}/seek", post(groups::seek))
        .route("/connections", get(connections::list))
        .route("/connections/{id}", delete(connections::close))
        .route("/consumers", get(connections::consumers))
}

/// The start page, health and metrics, which need no broker that works.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(handlers::root::show))
        .route("/livez", get(handlers::health::live))
        .route("/readyz", get(handlers::health::ready))
        .route("/metrics", get(handlers::metrics::scrape))
        .fallback(handlers::root::nowhere)
        .with_state(state)
}
