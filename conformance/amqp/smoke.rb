# Bunny, the Ruby client: what an application does, one line per case.

require "bunny"
require "securerandom"

PATIENCE_SECONDS = 20
HOST, PORT = ARGV[ARGV.index("--address") + 1].split(":")

def connect(**settings)
  given = { host: HOST, port: PORT.to_i, automatically_recover: false, logger: Logger.new(IO::NULL) }
  Bunny.new(given.merge(settings)).start
end

def fresh(kind)
  "#{kind}-#{SecureRandom.hex(8)}"
end

def equal(found, expected)
  raise "found #{found.inspect}, expected #{expected.inspect}" unless found == expected
end

def eventually
  began = Time.now
  until (found = yield)
    raise "still not so" if Time.now - began > PATIENCE_SECONDS
    sleep 0.02
  end
  found
end

# What every case has: a connection, a channel that confirms, and a queue of its own.
class Scene
  attr_reader :connection, :channel, :queue

  def initialize
    @connection = connect
    @channel = connection.create_channel
    channel.confirm_select
    @queue = channel.queue(fresh("queue"), exclusive: true)
  end

  def publish(body, queue: @queue, **properties)
    queue.publish(body, **properties)
    channel.wait_for_confirms
  end

  # A message that is there or comes soon.
  def await(queue = @queue)
    eventually do
      info, properties, body = queue.pop(manual_ack: true)
      [info, properties, body] if info
    end
  end

  # Asks on a channel of its own, which has to be closed with this error and these words.
  def refused(error, words)
    yield connection.create_channel
    raise "not refused"
  rescue error => refusal
    raise refusal.message unless refusal.message.include?(words)
  end
end

CASES = {
  "routed_by_a_binding" => lambda do |it|
    exchange = it.channel.topic(fresh("exchange"), auto_delete: true)
    it.queue.bind(exchange, routing_key: "a.*")
    headers = { "text" => "x", "number" => 1 << 40, "list" => ["a", "b"], "none" => nil }
    exchange.publish("x", routing_key: "a.b", headers: headers, persistent: true)
    it.channel.wait_for_confirms
    info, properties, body = it.await
    equal [info.exchange, info.routing_key, body], [exchange.name, "a.b", "x"]
    equal properties.headers, headers
  end,

  "a_thousand_confirmed_and_consumed" => lambda do |it|
    got = []
    it.queue.subscribe(manual_ack: true) do |info, _, body|
      got << body.to_i
      it.channel.ack(info.delivery_tag)
    end
    1000.times { |number| it.queue.publish(number.to_s) }
    equal it.channel.wait_for_confirms, true
    eventually { got.size == 1000 }
    equal got, (0...1000).to_a
    equal [it.queue.message_count, it.queue.consumer_count], [0, 1]
  end,

  "a_large_message" => lambda do |it|
    body = "abc" * 700_000
    it.publish(body)
    equal it.await[2] == body, true
  end,

  "given_back_it_comes_again" => lambda do |it|
    it.publish("x")
    info, = it.await
    equal info.redelivered?, false
    it.channel.nack(info.delivery_tag, false, true)
    equal it.await[0].redelivered?, true
  end,

  "rejected_it_is_dead_lettered" => lambda do |it|
    arguments = { "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => it.queue.name }
    queue = it.channel.queue(fresh("queue"), exclusive: true, arguments: arguments)
    it.publish("x", queue: queue)
    info, = it.await(queue)
    it.channel.reject(info.delivery_tag, false)
    _, properties, = it.await
    death = properties.headers["x-death"].first
    equal death.values_at("reason", "queue", "count", "exchange", "routing-keys"),
          ["rejected", queue.name, 1, "", [queue.name]]
    equal death["time"].class, Time
  end,

  "nothing_is_there" => ->(it) { equal it.queue.pop, [nil, nil, nil] },

  "unroutable_it_is_returned" => lambda do |it|
    returned = nil
    exchange = it.channel.direct("amq.direct", durable: true)
    exchange.on_return { |info, _, body| returned = [info.reply_code, info.reply_text, body] }
    exchange.publish("back", routing_key: fresh("nowhere"), mandatory: true)
    eventually { returned }
    equal returned, [312, "NO_ROUTE", "back"]
  end,

  "a_full_queue_refuses" => lambda do |it|
    arguments = { "x-max-length" => 1, "x-overflow" => "reject-publish" }
    queue = it.channel.queue(fresh("queue"), exclusive: true, arguments: arguments)
    equal it.publish("fits", queue: queue), true
    equal it.publish("does not", queue: queue), false
  end,

  "prefetch_holds_back" => lambda do |it|
    got = []
    it.channel.prefetch(2)
    it.queue.subscribe(manual_ack: true) { |info, *| got << info }
    3.times { it.publish("x") }
    eventually { got.size == 2 }
    sleep 0.2
    equal got.size, 2
    it.channel.ack(got[1].delivery_tag, true)
    eventually { got.size == 3 }
  end,

  "transactions_hold_back" => lambda do |it|
    channel = it.connection.create_channel
    channel.tx_select
    channel.default_exchange.publish("dropped", routing_key: it.queue.name)
    channel.tx_rollback
    channel.default_exchange.publish("kept", routing_key: it.queue.name)
    channel.tx_commit
    equal it.await[2], "kept"
    equal it.queue.pop, [nil, nil, nil]
  end,

  "exclusive_queues_are_locked" => lambda do |it|
    other = Scene.new
    other.refused(Bunny::ResourceLocked, "cannot obtain exclusive access to locked queue") do |channel|
      channel.queue(it.queue.name, passive: true)
    end
    other.connection.close
  end,

  "what_is_missing_is_not_found" => lambda do |it|
    name = fresh("queue")
    it.refused(Bunny::NotFound, "NOT_FOUND - no queue '#{name}' in vhost '/'") { |c| c.queue(name, passive: true) }
    it.refused(Bunny::NotFound, "no exchange") { |c| c.exchange(name, passive: true) }
  end,

  "what_differs_is_refused" => lambda do |it|
    it.refused(Bunny::PreconditionFailed, "inequivalent arg 'x-message-ttl'") do |channel|
      channel.queue(it.queue.name, exclusive: true, arguments: { "x-message-ttl" => 1 })
    end
  end,

  "an_unknown_tag_is_named" => lambda do |it|
    closed = nil
    it.channel.on_error { |_, close| closed = close }
    it.channel.ack(82)
    eventually { closed }
    # The client knows this error by its words.
    equal closed.reply_text, "PRECONDITION_FAILED - unknown delivery tag 82"
  end,

  "a_consumer_is_told_that_its_queue_is_gone" => lambda do |it|
    told = nil
    queue = it.channel.queue(fresh("queue"), exclusive: true)
    queue.subscribe(on_cancellation: ->(cancel) { told = cancel.consumer_tag }, consumer_tag: "mine") {}
    it.connection.create_channel.queue_delete(queue.name)
    equal eventually { told }, "mine"
  end,

  "a_consumer_cancels" => lambda do |it|
    it.queue.subscribe {}.cancel
    it.publish("x")
    equal it.await[2], "x"
  end,

  "exchanges_feed_exchanges" => lambda do |it|
    source, target = Array.new(2) { it.channel.fanout(fresh("exchange"), auto_delete: true) }
    it.queue.bind(target)
    target.bind(source)
    source.publish("x")
    equal it.await[2], "x"
  end,

  "heartbeats_keep_it_open" => lambda do |_it|
    connection = connect(heartbeat: 1)
    sleep 3.5
    equal connection.open?, true
    connection.create_channel.close
    connection.close
  end,

  "after_an_error_there_is_another_channel" => lambda do |it|
    5.times do
      it.refused(Bunny::NotFound, "NOT_FOUND") { |channel| channel.queue(fresh("queue"), passive: true) }
      other = connect
      other.create_channel.close
      other.close
    end
  end,

  "a_wrong_password_is_refused" => lambda do |_it|
    connect(password: "wrong")
    raise "not refused"
  rescue Bunny::AuthenticationFailureError
    nil
  end,
}.freeze

$stdout.sync = true
CASES.each do |name, check|
  it = Scene.new
  check.call(it)
  it.connection.close if it.connection.open?
  puts "ok #{name}"
rescue Exception => error
  puts error.full_message(highlight: false)
  puts "not ok #{name}: #{error.class}: #{error.message.tr("\n", " ")}"
end
# A case that failed may have left a thread running.
exit!(0)
