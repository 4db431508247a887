//! Where queues are in the API.

use crate::cli::api::escape;
use crate::cli::remote::Context;

/// Where a queue, or something of it, is in the API; more can be asked for behind it.
pub(super) fn path(context: &Context, name: &str, what: &str) -> String {
    let (name, vhost) = (escape(name), escape(&context.vhost));
    format!("/queues/{name}{what}?vhost={vhost}")
}
