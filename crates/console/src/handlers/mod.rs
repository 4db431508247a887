//! One file per resource.

pub(crate) mod health;
pub(crate) mod messages;
pub(crate) mod metrics;
pub(crate) mod policies;
pub(crate) mod queues;
pub(crate) mod redrive;
mod rules;
pub(crate) mod vhosts;

use axum::http::Uri;
use security::Principal;

use crate::error::{NO_ROUTE, NOT_ALLOWED, Problem};

/// Who asks. Nobody can say who they are yet; the door decides what that allows.
fn principal() -> Principal {
    Principal::anonymous()
}

/// A path below `/api/v1` that leads nowhere.
pub(crate) async fn no_route(uri: Uri) -> Problem {
    Problem::new(&NO_ROUTE, format!("there is nothing at {}", uri.path()))
}

/// A method that a path does not have.
pub(crate) async fn not_allowed(uri: Uri) -> Problem {
    let why = format!("{} does not have this method", uri.path());
    Problem::new(&NOT_ALLOWED, why)
}
