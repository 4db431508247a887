//! Class `queue`: where messages wait.

class! {
    50 "queue" <'a>;
    /// Makes a queue, or checks that it is there.
    10 "declare" Declare<'a> [u16] {
        queue: short, passive: bit, durable: bit, exclusive: bit, auto_delete: bit, nowait: bit, arguments: table,
    } []
    /// It is there.
    11 "declare-ok" DeclareOk<'a> [] { queue: short, message_count: u32, consumer_count: u32 } []
    /// Routes from an exchange to a queue.
    20 "bind" Bind<'a> [u16] { queue: short, exchange: short, routing_key: short, nowait: bit, arguments: table } []
    /// They are bound.
    21 "bind-ok" BindOk [] {} []
    /// Discards what waits in a queue.
    30 "purge" Purge<'a> [u16] { queue: short, nowait: bit } []
    /// How much was discarded.
    31 "purge-ok" PurgeOk [] { message_count: u32 } []
    /// Deletes a queue.
    40 "delete" Delete<'a> [u16] { queue: short, if_unused: bit, if_empty: bit, nowait: bit } []
    /// It is gone.
    41 "delete-ok" DeleteOk [] { message_count: u32 } []
    /// Routes no longer.
    50 "unbind" Unbind<'a> [u16] { queue: short, exchange: short, routing_key: short, arguments: table } []
    /// They are not bound.
    51 "unbind-ok" UnbindOk [] {} []
}
