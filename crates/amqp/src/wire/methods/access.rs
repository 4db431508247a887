//! Class `access`: tickets, which mean nothing any more and which old clients still ask for.

class! {
    30 "access" <'a>;
    /// Asks for a ticket.
    10 "request" Request<'a> [] { realm: short, exclusive: bit, passive: bit, active: bit, write: bit, read: bit } []
    /// The ticket.
    11 "request-ok" RequestOk [] { ticket: u16 } []
}
