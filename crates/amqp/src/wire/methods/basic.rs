//! Class `basic`: messages on their way in and out, and what becomes of them.

class! {
    60 "basic" <'a>;
    /// How much a consumer may hold unacknowledged.
    10 "qos" Qos [] { prefetch_size: u32, prefetch_count: u16, global: bit } []
    /// It is so.
    11 "qos-ok" QosOk [] {} []
    /// A consumer begins.
    20 "consume" Consume<'a> [u16] {
        queue: short, consumer_tag: short, no_local: bit, no_ack: bit, exclusive: bit, nowait: bit, arguments: table,
    } []
    /// It has begun.
    21 "consume-ok" ConsumeOk<'a> [] { consumer_tag: short } []
    /// A consumer ends, from either side.
    30 "cancel" Cancel<'a> [] { consumer_tag: short, nowait: bit } []
    /// It has ended.
    31 "cancel-ok" CancelOk<'a> [] { consumer_tag: short } []
    /// A message follows, from a producer.
    40 "publish" Publish<'a> [u16] { exchange: short, routing_key: short, mandatory: bit, immediate: bit } []
    /// A message follows, back to its producer.
    50 "return" Return<'a> [] { reply_code: u16, reply_text: short, exchange: short, routing_key: short } []
    /// A message follows, to a consumer.
    60 "deliver" Deliver<'a> [] {
        consumer_tag: short, delivery_tag: u64, redelivered: bit, exchange: short, routing_key: short,
    } []
    /// Asks for one message.
    70 "get" Get<'a> [u16] { queue: short, no_ack: bit } []
    /// It follows.
    71 "get-ok" GetOk<'a> [] {
        delivery_tag: u64, redelivered: bit, exchange: short, routing_key: short, message_count: u32,
    } []
    /// There is none.
    72 "get-empty" GetEmpty [] {} [short]
    /// Messages are done with; to a producer, safe.
    80 "ack" Ack [] { delivery_tag: u64, multiple: bit } []
    /// A message is refused.
    90 "reject" Reject [] { delivery_tag: u64, requeue: bit } []
    /// Puts back what is unacknowledged, without an answer.
    100 "recover-async" RecoverAsync [] { requeue: bit } []
    /// Puts back what is unacknowledged.
    110 "recover" Recover [] { requeue: bit } []
    /// It was put back.
    111 "recover-ok" RecoverOk [] {} []
    /// Messages are refused; to a producer, lost.
    120 "nack" Nack [] { delivery_tag: u64, multiple: bit, requeue: bit } []
}
