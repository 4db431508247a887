/* librabbitmq, the C client: what an application does, one line per case. */

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_MAX = 131072, PATIENCE_SECONDS = 20 };

static const char *host;
static int port;
static jmp_buf failed;
static char reason[1024];

/* What every case has: a connection, a channel that confirms, and a queue of its own. */
static amqp_connection_state_t it;
static char queue[64];

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  longjmp(failed, 1);
}

static amqp_bytes_t bytes(const char *text) { return amqp_cstring_bytes(text); }

static void equal(amqp_bytes_t found, const char *expected) {
  if (found.len != strlen(expected) || memcmp(found.bytes, expected, found.len) != 0)
    fail("found %.*s, expected %s", (int)found.len, (char *)found.bytes, expected);
}

static void fresh(char *name, const char *kind) {
  static int count;
  snprintf(name, 64, "%s-c-%ld-%d-%d", kind, (long)time(NULL), (int)getpid(), count++);
}

static amqp_rpc_reply_t log_in(amqp_connection_state_t *to, const char *password, int heartbeat) {
  /* What the client does not say of itself. */
  amqp_field_value_t yes = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1};
  amqp_table_entry_t told = {bytes("consumer_cancel_notify"), yes};
  amqp_field_value_t capable = {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {1, &told}};
  amqp_table_entry_t capabilities = {bytes("capabilities"), capable};
  amqp_table_t properties = {1, &capabilities};
  *to = amqp_new_connection();
  if (amqp_socket_open(amqp_tcp_socket_new(*to), host, port)) fail("cannot connect");
  return amqp_login_with_properties(
      *to, "/", 0, FRAME_MAX, heartbeat, &properties, AMQP_SASL_METHOD_PLAIN, "guest", password);
}

static void normal(amqp_rpc_reply_t reply, const char *what) {
  if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION) {
    amqp_channel_close_t *close = reply.reply.decoded;
    fail("%s: %.*s", what, (int)close->reply_text.len, (char *)close->reply_text.bytes);
  }
  if (reply.reply_type != AMQP_RESPONSE_NORMAL) fail("%s: %s", what, amqp_error_string2(reply.library_error));
}

static void done(const char *what) { normal(amqp_get_rpc_reply(it), what); }

/* The channel has to be closed with this code and these words. */
static void refused(amqp_connection_state_t by, int code, const char *words) {
  amqp_rpc_reply_t reply = amqp_get_rpc_reply(by);
  if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION || reply.reply.id != AMQP_CHANNEL_CLOSE_METHOD)
    fail("not refused");
  amqp_channel_close_t *close = reply.reply.decoded;
  char text[256] = "";
  memcpy(text, close->reply_text.bytes, close->reply_text.len);
  if (close->reply_code != code || !strstr(text, words)) fail("%d %s", close->reply_code, text);
}

static void declare(const char *name, amqp_table_t arguments) {
  amqp_queue_declare(it, 1, bytes(name), 0, 0, 1, 0, arguments);
  done("queue.declare");
}

static void publish(const char *exchange, const char *key, const char *body, bool mandatory) {
  amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = 2};
  if (amqp_basic_publish(it, 1, bytes(exchange), bytes(key), mandatory, 0, &properties, bytes(body)))
    fail("cannot publish");
}

/* The next method of the broker's own accord, as its number. */
static amqp_frame_t heard(void) {
  amqp_frame_t frame;
  struct timeval patience = {PATIENCE_SECONDS, 0};
  if (amqp_simple_wait_frame_noblock(it, &frame, &patience) || frame.frame_type != AMQP_FRAME_METHOD)
    fail("nothing came");
  return frame;
}

static void confirmed(amqp_method_number_t how) {
  amqp_frame_t frame = heard();
  if (frame.payload.method.id != how) fail("found %s", amqp_method_name(frame.payload.method.id));
}

static void sent(const char *key, const char *body) {
  publish("", key, body, false);
  confirmed(AMQP_BASIC_ACK_METHOD);
}

/* Gets a message that is there or comes soon; its body has to be this one. */
static amqp_basic_get_ok_t get(const char *name, const char *body, amqp_message_t *message) {
  for (time_t began = time(NULL); time(NULL) - began < PATIENCE_SECONDS; usleep(20000)) {
    amqp_rpc_reply_t reply = amqp_basic_get(it, 1, bytes(name), 0);
    normal(reply, "basic.get");
    if (reply.reply.id == AMQP_BASIC_GET_EMPTY_METHOD) continue;
    amqp_basic_get_ok_t got = *(amqp_basic_get_ok_t *)reply.reply.decoded;
    normal(amqp_read_message(it, 1, message, 0), "message");
    equal(message->body, body);
    return got;
  }
  fail("nothing came");
  return (amqp_basic_get_ok_t){0};
}

static void empty(const char *name) {
  amqp_rpc_reply_t reply = amqp_basic_get(it, 1, bytes(name), 1);
  normal(reply, "basic.get");
  if (reply.reply.id != AMQP_BASIC_GET_EMPTY_METHOD) fail("something is there");
}

static amqp_bytes_t consume(const char *name) {
  amqp_basic_consume_ok_t *ok = amqp_basic_consume(it, 1, bytes(name), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  done("basic.consume");
  return amqp_bytes_malloc_dup(ok->consumer_tag);
}

static bool deliver(amqp_envelope_t *envelope, int milliseconds) {
  struct timeval patience = {milliseconds / 1000, milliseconds % 1000 * 1000};
  amqp_maybe_release_buffers(it);
  return amqp_consume_message(it, envelope, &patience, 0).reply_type == AMQP_RESPONSE_NORMAL;
}

static amqp_table_t table(amqp_table_entry_t *entries, int count) { return (amqp_table_t){count, entries}; }

static amqp_table_entry_t text(const char *key, const char *value) {
  amqp_field_value_t field = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes(value)};
  return (amqp_table_entry_t){bytes(key), field};
}

static amqp_table_entry_t number(const char *key, int value) {
  amqp_field_value_t field = {.kind = AMQP_FIELD_KIND_I32, .value.i32 = value};
  return (amqp_table_entry_t){bytes(key), field};
}

static amqp_field_value_t field(amqp_table_t in, const char *key) {
  for (int i = 0; i < in.num_entries; i++) {
    amqp_bytes_t name = in.entries[i].key;
    if (name.len == strlen(key) && memcmp(name.bytes, key, name.len) == 0) return in.entries[i].value;
  }
  fail("no field %s", key);
  return (amqp_field_value_t){0};
}

static void routed_by_a_binding(void) {
  char exchange[64];
  amqp_message_t message;
  fresh(exchange, "exchange");
  amqp_exchange_declare(it, 1, bytes(exchange), bytes("topic"), 0, 0, 1, 0, amqp_empty_table);
  done("exchange.declare");
  amqp_queue_bind(it, 1, bytes(queue), bytes(exchange), bytes("a.*"), amqp_empty_table);
  done("queue.bind");
  publish(exchange, "a.b", "x", false);
  confirmed(AMQP_BASIC_ACK_METHOD);
  amqp_basic_get_ok_t got = get(queue, "x", &message);
  equal(got.exchange, exchange);
  equal(got.routing_key, "a.b");
  amqp_queue_unbind(it, 1, bytes(queue), bytes(exchange), bytes("a.*"), amqp_empty_table);
  done("queue.unbind");
}

static void five_hundred_confirmed_and_consumed(void) {
  char body[16];
  amqp_envelope_t envelope;
  for (int i = 0; i < 500; i++) {
    snprintf(body, sizeof body, "%d", i);
    sent(queue, body);
  }
  consume(queue);
  for (int i = 0; i < 500; i++) {
    if (!deliver(&envelope, PATIENCE_SECONDS * 1000)) fail("nothing came");
    snprintf(body, sizeof body, "%d", i);
    equal(envelope.message.body, body);
    amqp_basic_ack(it, 1, envelope.delivery_tag, 0);
    amqp_destroy_envelope(&envelope);
  }
}

static void given_back_it_comes_again(void) {
  amqp_message_t message;
  sent(queue, "x");
  amqp_basic_get_ok_t got = get(queue, "x", &message);
  if (got.redelivered) fail("it is new");
  amqp_basic_nack(it, 1, got.delivery_tag, 0, 1);
  if (!get(queue, "x", &message).redelivered) fail("it is not new");
}

static void rejected_it_is_dead_lettered(void) {
  char source[64];
  amqp_message_t message;
  amqp_table_entry_t to[] = {text("x-dead-letter-exchange", ""), text("x-dead-letter-routing-key", queue)};
  fresh(source, "queue");
  declare(source, table(to, 2));
  sent(source, "x");
  amqp_basic_reject(it, 1, get(source, "x", &message).delivery_tag, 0);
  get(queue, "x", &message);
  amqp_field_value_t deaths = field(message.properties.headers, "x-death");
  if (deaths.kind != AMQP_FIELD_KIND_ARRAY || deaths.value.array.num_entries != 1) fail("not one death");
  amqp_table_t death = deaths.value.array.entries[0].value.table;
  equal(field(death, "reason").value.bytes, "rejected");
  equal(field(death, "queue").value.bytes, source);
  if (field(death, "count").value.i64 != 1) fail("not once");
  if (field(death, "time").kind != AMQP_FIELD_KIND_TIMESTAMP) fail("not a time");
}

static void nothing_is_there(void) { empty(queue); }

static void unroutable_it_is_returned(void) {
  char key[64];
  amqp_message_t message;
  fresh(key, "nowhere");
  publish("amq.direct", key, "back", true);
  amqp_frame_t frame = heard();
  if (frame.payload.method.id != AMQP_BASIC_RETURN_METHOD) fail("not returned");
  amqp_basic_return_t *returned = frame.payload.method.decoded;
  if (returned->reply_code != 312) fail("%d", returned->reply_code);
  equal(returned->reply_text, "NO_ROUTE");
  normal(amqp_read_message(it, 1, &message, 0), "message");
  equal(message.body, "back");
  confirmed(AMQP_BASIC_ACK_METHOD);
}

static void a_full_queue_refuses(void) {
  char full[64];
  amqp_table_entry_t limits[] = {number("x-max-length", 1), text("x-overflow", "reject-publish")};
  fresh(full, "queue");
  declare(full, table(limits, 2));
  sent(full, "fits");
  publish("", full, "does not", false);
  confirmed(AMQP_BASIC_NACK_METHOD);
}

static void prefetch_holds_back(void) {
  amqp_envelope_t envelope;
  amqp_basic_qos(it, 1, 0, 2, 0);
  done("basic.qos");
  for (int i = 0; i < 3; i++) sent(queue, "x");
  consume(queue);
  for (int i = 0; i < 2; i++)
    if (!deliver(&envelope, PATIENCE_SECONDS * 1000)) fail("nothing came");
  amqp_envelope_t third;
  if (deliver(&third, 200)) fail("more than was asked for");
  amqp_basic_ack(it, 1, envelope.delivery_tag, 1);
  if (!deliver(&third, PATIENCE_SECONDS * 1000)) fail("nothing came");
}

static void transactions_hold_back(void) {
  amqp_message_t message;
  amqp_basic_properties_t none = {0};
  amqp_channel_open(it, 2);
  amqp_tx_select(it, 2);
  done("tx.select");
  amqp_basic_publish(it, 2, amqp_empty_bytes, bytes(queue), 0, 0, &none, bytes("dropped"));
  amqp_tx_rollback(it, 2);
  done("tx.rollback");
  amqp_basic_publish(it, 2, amqp_empty_bytes, bytes(queue), 0, 0, &none, bytes("kept"));
  amqp_tx_commit(it, 2);
  done("tx.commit");
  get(queue, "kept", &message);
  empty(queue);
}

static void exclusive_queues_are_locked(void) {
  amqp_connection_state_t other;
  normal(log_in(&other, "guest", 0), "login");
  amqp_channel_open(other, 1);
  amqp_queue_declare(other, 1, bytes(queue), 1, 0, 0, 0, amqp_empty_table);
  refused(other, 405, "cannot obtain exclusive access to locked queue");
  amqp_destroy_connection(other);
}

static void what_is_missing_is_not_found(void) {
  char missing[64], words[128];
  fresh(missing, "queue");
  snprintf(words, sizeof words, "NOT_FOUND - no queue '%s' in vhost '/'", missing);
  amqp_queue_declare(it, 1, bytes(missing), 1, 0, 0, 0, amqp_empty_table);
  refused(it, 404, words);
}

static void what_differs_is_refused(void) {
  amqp_table_entry_t ttl = number("x-message-ttl", 1);
  amqp_queue_declare(it, 1, bytes(queue), 0, 0, 1, 0, table(&ttl, 1));
  refused(it, 406, "inequivalent arg 'x-message-ttl'");
}

static void a_consumer_cancels(void) {
  amqp_message_t message;
  amqp_basic_cancel(it, 1, consume(queue));
  done("basic.cancel");
  sent(queue, "x");
  get(queue, "x", &message);
}

static void a_consumer_is_told_that_its_queue_is_gone(void) {
  char gone[64];
  fresh(gone, "queue");
  declare(gone, amqp_empty_table);
  consume(gone);
  amqp_channel_open(it, 2);
  amqp_queue_delete(it, 2, bytes(gone), 0, 0);
  done("queue.delete");
  confirmed(AMQP_BASIC_CANCEL_METHOD);
}

static void heartbeats_keep_it_open(void) {
  amqp_frame_t frame;
  amqp_connection_state_t beating;
  struct timeval wait = {4, 0};
  normal(log_in(&beating, "guest", 1), "login");
  amqp_channel_open(beating, 1);
  /* It beats while it waits. */
  if (amqp_simple_wait_frame_noblock(beating, &frame, &wait) != AMQP_STATUS_TIMEOUT) fail("it was closed");
  amqp_channel_open(beating, 2);
  normal(amqp_get_rpc_reply(beating), "channel.open");
  amqp_destroy_connection(beating);
}

static void after_an_error_there_is_another_channel(void) {
  for (int i = 2; i < 7; i++) {
    amqp_channel_open(it, i);
    done("channel.open");
    amqp_queue_declare(it, i, bytes("no such queue"), 1, 0, 0, 0, amqp_empty_table);
    refused(it, 404, "NOT_FOUND");
    amqp_channel_close_ok_t ok;
    amqp_send_method(it, i, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
  }
  empty(queue);
}

static void a_wrong_password_is_refused(void) {
  amqp_connection_state_t other;
  amqp_rpc_reply_t reply = log_in(&other, "wrong", 0);
  if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION || reply.reply.id != AMQP_CONNECTION_CLOSE_METHOD)
    fail("not refused");
  if (((amqp_connection_close_t *)reply.reply.decoded)->reply_code != 403) fail("another code");
  amqp_destroy_connection(other);
}

static void run(const char *name, void (*check)(void)) {
  if (setjmp(failed) == 0) {
    normal(log_in(&it, "guest", 0), "login");
    amqp_channel_open(it, 1);
    amqp_confirm_select(it, 1);
    done("confirm.select");
    fresh(queue, "queue");
    declare(queue, amqp_empty_table);
    check();
    amqp_connection_close(it, AMQP_REPLY_SUCCESS);
    printf("ok %s\n", name);
  } else {
    printf("not ok %s: %s\n", name, reason);
  }
  amqp_destroy_connection(it);
}

#define CASE(name) {#name, name}

int main(int count, char **arguments) {
  static const struct {
    const char *name;
    void (*check)(void);
  } cases[] = {
      CASE(routed_by_a_binding),
      CASE(five_hundred_confirmed_and_consumed),
      CASE(given_back_it_comes_again),
      CASE(rejected_it_is_dead_lettered),
      CASE(nothing_is_there),
      CASE(unroutable_it_is_returned),
      CASE(a_full_queue_refuses),
      CASE(prefetch_holds_back),
      CASE(transactions_hold_back),
      CASE(exclusive_queues_are_locked),
      CASE(what_is_missing_is_not_found),
      CASE(what_differs_is_refused),
      CASE(a_consumer_cancels),
      CASE(a_consumer_is_told_that_its_queue_is_gone),
      CASE(heartbeats_keep_it_open),
      CASE(after_an_error_there_is_another_channel),
      CASE(a_wrong_password_is_refused),
  };
  if (count < 3) return 2;
  char *colon = strrchr(arguments[2], ':');
  *colon = 0;
  host = arguments[2];
  port = atoi(colon + 1);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) run(cases[i].name, cases[i].check);
  return 0;
}
