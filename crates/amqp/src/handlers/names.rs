//! Names as clients give them: text, or empty for what was declared last.

use crate::error::{Fault, Outcome};
use crate::session::Session;

/// Names that begin with this are the broker's own.
const RESERVED: &str = "amq.";

/// A name as text. Names of queues and exchanges are; routing keys need not be.
pub(super) fn text(name: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(name).map_err(|_| Fault::precondition("a name is not valid UTF-8"))
}

/// Refuses a new thing with a name of the broker's own.
pub(super) fn check_reserved(kind: &str, name: &str) -> Outcome<()> {
    if name.starts_with(RESERVED) {
        return Err(Fault::refused(format!(
            "{kind} name '{name}' contains reserved prefix 'amq.*'"
        )));
    }
    Ok(())
}

/// Refuses what cannot be done to the exchange every queue is bound to.
pub(super) fn check_not_default(exchange: &str) -> Outcome<()> {
    if exchange.is_empty() {
        return Err(Fault::refused(
            "operation not permitted on the default exchange",
        ));
    }
    Ok(())
}

impl Session {
    /// A queue's name; empty stands for the one declared last on the channel.
    pub(super) fn queue_name(&self, number: u16, given: &[u8]) -> Outcome<String> {
        let given = text(given)?;
        if !given.is_empty() {
            return Ok(given.to_owned());
        }
        let last = self.open_channel(number).and_then(|c| c.last_queue.clone());
        last.ok_or_else(|| Fault::not_found("no previously declared queue"))
    }
}
