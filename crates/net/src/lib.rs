//! Listeners, connection limits, graceful drain, and the HTTP server.
//!
//! A leaf: it moves bytes and counts connections, and knows neither what the bytes mean nor who sent them.
//! Timers are allowed here (a peer that never reads must be given up on); the wall clock is not.

mod budget;
mod capacity;
mod connection;
mod connections;
mod drain;
mod http;
mod listener;
mod log_limit;

pub use budget::{Account, Budget, BudgetNumbers, HeldBytes, Owed, Permit, SharedPermit};
pub use capacity::Capacity;
pub use connection::{Connection, Reader, Writer};
pub use connections::{Connections, Entry, Facts, Now};
pub use drain::{Drain, Shutdown, Tasks};
pub use http::{
    HttpLimits, MEMBER_BYTES, Uncollected, account_of, collect, json_members, serve_http,
    serve_http_connection,
};
pub use listener::{ConnectionNumbers, Limits, Listener, Observer, Served};
pub use log_limit::LogLimit;
