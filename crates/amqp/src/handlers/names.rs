//! Names as clients give them: text, or empty for what was declared last.

use std::borrow::Cow;

use crate::error::{Fault, Outcome};
use crate::session::Session;

/// Names that begin with this are the broker's own.
const RESERVED: &str = "amq.";
const LINE_ENDS: [char; 2] = ['\r', '\n'];

/// A name as text. Names of queues and exchanges are; routing keys need not be.
pub(super) fn text(name: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(name).map_err(|_| Fault::precondition("a name is not valid UTF-8"))
}

/// A name as text, without the ends of lines that scripts leave in it.
pub(super) fn plain(name: &[u8]) -> Outcome<Cow<'_, str>> {
    let name = text(name)?;
    if name.contains(LINE_ENDS) {
        return Ok(Cow::Owned(name.replace(LINE_ENDS, "")));
    }
    Ok(Cow::Borrowed(name))
}

/// Whether a name is one of the broker's own.
pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
}

/// Refuses a new thing with a name of the broker's own.
pub(super) fn check_reserved(kind: &str, name: &str) -> Outcome<()> {
    if is_reserved(name) {
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
        let given = plain(given)?;
        if !given.is_empty() {
            return Ok(given.into_owned());
        }
        let last = self.open_channel(number).and_then(|c| c.last_queue.clone());
        last.ok_or_else(|| Fault::not_found("no previously declared queue"))
    }
}
