// amqplib: what a Node.js application does, with the client of today and one of 2022, which asks for frames of 4096.

"use strict";

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");

const CASE_SECONDS = 60;

const address = process.argv[process.argv.indexOf("--address") + 1];
const fresh = (kind) => `${kind}-${randomUUID()}`;
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function eventually(get) {
  for (const began = Date.now(); Date.now() - began < 20_000; await pause(20)) {
    const found = await get();
    if (found) return found;
  }
  throw new Error(`still not so: ${get}`);
}

// The error that a channel was closed with. The client rejects what was asked, and says it to who listens.
async function refusal(connection, ask) {
  const channel = await connection.createChannel();
  const closed = new Promise((resolve) => channel.once("error", resolve));
  await Promise.resolve(ask(channel)).catch(() => {});
  return closed;
}

const cases = {
  async routed_by_a_binding({ channel, queue }) {
    const exchange = fresh("exchange");
    await channel.assertExchange(exchange, "direct", { durable: false, autoDelete: true });
    await channel.bindQueue(queue, exchange, "k");
    channel.publish(exchange, "k", Buffer.from("x"), { contentType: "text/plain", headers: { n: 1, list: ["a", true] } });
    channel.publish(exchange, "other", Buffer.from("lost"));
    await channel.waitForConfirms();
    const message = await channel.get(queue, { noAck: true });
    assert.equal(`${message.content}`, "x");
    assert.deepEqual([message.fields.exchange, message.fields.routingKey], [exchange, "k"]);
    assert.equal(message.properties.contentType, "text/plain");
    assert.deepEqual({ ...message.properties.headers }, { n: 1, list: ["a", true] });
    assert.equal(await channel.get(queue), false);
    await channel.unbindQueue(queue, exchange, "k");
  },

  async a_thousand_confirmed_and_consumed({ channel, queue }) {
    const got = [];
    const { consumerTag } = await channel.consume(queue, (message) => {
      got.push(Number(message.content));
      channel.ack(message);
    });
    for (let number = 0; number < 1000; number++) channel.sendToQueue(queue, Buffer.from(`${number}`), { persistent: true });
    await channel.waitForConfirms();
    await eventually(() => got.length === 1000);
    assert.deepEqual(got, [...Array(1000).keys()]);
    await channel.cancel(consumerTag);
    assert.deepEqual(await channel.checkQueue(queue), { queue, messageCount: 0, consumerCount: 0 });
  },

  async a_large_message({ channel, queue }) {
    const body = Buffer.alloc(1_000_000, "abc");
    channel.sendToQueue(queue, body);
    await channel.waitForConfirms();
    assert.ok((await channel.get(queue, { noAck: true })).content.equals(body));
  },

  async given_back_it_comes_again({ channel, queue }) {
    channel.sendToQueue(queue, Buffer.from("x"));
    await channel.waitForConfirms();
    const first = await channel.get(queue);
    assert.equal(first.fields.redelivered, false);
    channel.nack(first, false, true);
    const again = await eventually(() => channel.get(queue));
    assert.equal(again.fields.redelivered, true);
    channel.ack(again);
  },

  async rejected_it_is_dead_lettered({ channel, queue: dead }) {
    const queue = fresh("queue");
    await channel.assertQueue(queue, { exclusive: true, deadLetterExchange: "", deadLetterRoutingKey: dead });
    channel.sendToQueue(queue, Buffer.from("x"));
    await channel.waitForConfirms();
    channel.reject(await channel.get(queue), false);
    const message = await eventually(() => channel.get(dead, { noAck: true }));
    const [death] = message.properties.headers["x-death"];
    assert.deepEqual(
      [death.reason, death.queue, death.count, death.exchange, death["routing-keys"]],
      ["rejected", queue, 1, "", [queue]],
    );
    assert.equal(message.properties.headers["x-first-death-queue"], queue);
  },

  async unroutable_it_is_returned({ channel }) {
    const returned = new Promise((resolve) => channel.once("return", resolve));
    channel.publish("amq.direct", fresh("nowhere"), Buffer.from("back"), { mandatory: true });
    const message = await returned;
    assert.deepEqual([message.fields.replyCode, message.fields.replyText, `${message.content}`], [312, "NO_ROUTE", "back"]);
  },

  async a_full_queue_refuses({ channel }) {
    const queue = fresh("queue");
    await channel.assertQueue(queue, { exclusive: true, maxLength: 1, arguments: { "x-overflow": "reject-publish" } });
    const sent = (body) => new Promise((resolve) => channel.sendToQueue(queue, Buffer.from(body), {}, resolve));
    assert.equal(await sent("fits"), null);
    assert.ok((await sent("does not")) instanceof Error);
  },

  async prefetch_holds_back({ channel, queue }) {
    const got = [];
    await channel.prefetch(2);
    await channel.consume(queue, (message) => got.push(message));
    for (const body of "abc") channel.sendToQueue(queue, Buffer.from(body));
    await channel.waitForConfirms();
    await eventually(() => got.length === 2);
    await pause(100);
    assert.equal(got.length, 2);
    channel.ack(got[1], true);
    await eventually(() => got.length === 3);
  },

  async a_consumer_is_told_that_its_queue_is_gone({ channel }) {
    const { queue } = await channel.assertQueue("", { exclusive: true });
    assert.match(queue, /^amq\.gen-/);
    const told = new Promise((resolve) => channel.consume(queue, (message) => message === null && resolve()));
    await channel.checkQueue(queue);
    await channel.deleteQueue(queue);
    await told;
  },

  async what_is_missing_is_not_found({ connection }) {
    const queue = fresh("queue");
    const error = await refusal(connection, (channel) => channel.checkQueue(queue));
    assert.deepEqual([error.code, error.classId, error.methodId], [404, 50, 10]);
    assert.match(error.message, /404 \(NOT-FOUND\)/);
    assert.ok(error.message.includes(`NOT_FOUND - no queue '${queue}' in vhost '/'`), error.message);
    assert.equal((await refusal(connection, (channel) => channel.checkExchange(queue))).code, 404);
  },

  async what_differs_is_refused({ connection, queue }) {
    const error = await refusal(connection, (other) => other.assertQueue(queue, { exclusive: true, messageTtl: 1 }));
    assert.equal(error.code, 406);
    assert.ok(error.message.includes("inequivalent arg 'x-message-ttl'"), error.message);
  },

  async exclusive_queues_are_locked({ channel, connect }) {
    const { queue } = await channel.assertQueue("", { exclusive: true });
    const other = await connect();
    const error = await refusal(other, (theirs) => theirs.checkQueue(queue));
    assert.deepEqual([error.code, error.message.includes("cannot obtain exclusive access to locked queue")], [405, true]);
    await other.close();
  },

  async answers_come_back_directly({ channel, queue }) {
    const answered = new Promise((resolve) =>
      channel.consume("amq.rabbitmq.reply-to", (message) => resolve(message), { noAck: true }),
    );
    await channel.consume(queue, (message) =>
      channel.sendToQueue(message.properties.replyTo, Buffer.from("answer"), message.properties),
      { noAck: true },
    );
    channel.sendToQueue(queue, Buffer.from("question"), { replyTo: "amq.rabbitmq.reply-to", correlationId: "c" });
    const answer = await answered;
    assert.deepEqual([`${answer.content}`, answer.properties.correlationId], ["answer", "c"]);
  },

  async heartbeats_keep_it_open({ connect }) {
    const connection = await connect("?heartbeat=1");
    let failed = null;
    connection.on("error", (error) => (failed = error));
    await pause(3500);
    assert.equal(failed, null);
    await (await connection.createChannel()).close();
    await connection.close();
  },

  async after_an_error_there_is_another_channel({ connection, connect }) {
    for (let round = 0; round < 5; round++) await refusal(connection, (channel) => channel.checkQueue(fresh("queue")));
    await (await connection.createChannel()).close();
    for (let round = 0; round < 5; round++) await (await connect()).close();
  },

  async a_wrong_password_is_refused({ connect }) {
    await assert.rejects(connect("", "guest:wrong"), /ACCESS-REFUSED/);
  },
};

async function timed(run) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${CASE_SECONDS} s`)), CASE_SECONDS * 1000);
  });
  try {
    await Promise.race([run(), late]);
  } finally {
    clearTimeout(timer);
  }
}

// Every case has a connection, a channel that confirms and a queue of its own.
async function run(client, check) {
  const connect = (query = "", login = "guest:guest") => client.connect(`amqp://${login}@${address}${query}`);
  const connection = await connect();
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue(fresh("queue"), { exclusive: true });
  await check({ connect, connection, channel, queue });
  await connection.close();
}

async function main() {
  for (const name of ["amqplib", "amqplib-2022"]) {
    const client = require(name);
    for (const [title, check] of Object.entries(cases)) {
      const began = Date.now();
      try {
        await timed(() => run(client, check));
        console.log(`ok ${title}[${name}]`);
      } catch (error) {
        console.error(error);
        console.log(`not ok ${title}[${name}]: ${`${error}`.replaceAll("\n", " ")}`);
      }
      console.log(`# ${title}: ${((Date.now() - began) / 1000).toFixed(1)} s`);
    }
  }
  // A case that failed may have left a connection open.
  process.exit();
}

main();
