//! Class `channel`: the conversations within a connection.

class! {
    20 "channel" <'a>;
    /// A channel begins.
    10 "open" Open [] {} [short]
    /// It may be used.
    11 "open-ok" OpenOk [] {} [long]
    /// Whether messages should flow.
    20 "flow" Flow [] { active: bit } []
    /// Whether they do.
    21 "flow-ok" FlowOk [] { active: bit } []
    /// A channel ends, from either side.
    40 "close" Close<'a> [] { reply_code: u16, reply_text: short, class_id: u16, method_id: u16 } []
    /// It has ended.
    41 "close-ok" CloseOk [] {} []
}
