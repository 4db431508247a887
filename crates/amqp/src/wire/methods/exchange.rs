//! Class `exchange`: where messages are published to.

class! {
    40 "exchange" <'a>;
    /// Makes an exchange, or checks that it is there.
    10 "declare" Declare<'a> [u16] {
        exchange: short, kind: short, passive: bit, durable: bit, auto_delete: bit, internal: bit, nowait: bit,
        arguments: table,
    } []
    /// It is there.
    11 "declare-ok" DeclareOk [] {} []
    /// Deletes an exchange.
    20 "delete" Delete<'a> [u16] { exchange: short, if_unused: bit, nowait: bit } []
    /// It is gone.
    21 "delete-ok" DeleteOk [] {} []
    /// Routes from one exchange to another.
    30 "bind" Bind<'a> [u16] { destination: short, source: short, routing_key: short, nowait: bit, arguments: table } []
    /// They are bound.
    31 "bind-ok" BindOk [] {} []
    /// Routes no longer.
    40 "unbind" Unbind<'a> [u16] {
        destination: short, source: short, routing_key: short, nowait: bit, arguments: table,
    } []
    /// They are not bound. The number is out of line with all others, and what clients expect.
    51 "unbind-ok" UnbindOk [] {} []
}
