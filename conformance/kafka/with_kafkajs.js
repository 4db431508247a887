// kafkajs: produce, consume, groups and administration as its documentation shows them, one line per case.

"use strict";

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require("kafkajs");

const CASE_SECONDS = 60;

const bootstrap = process.argv[process.argv.indexOf("--address") + 1];
const kafka = new Kafka({
  clientId: "kafkajs",
  brokers: [bootstrap],
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 50, retries: 5 },
});
const admin = kafka.admin();
const fresh = (kind) => `${kind}-${randomUUID()}`;

// Cases write records that look years old; retention must not take them away while they are read.
const KEEP = [{ name: "retention.ms", value: "-1" }];

async function topicWith(numPartitions, configEntries = KEEP) {
  const topic = fresh("topic");
  assert.equal(await admin.createTopics({ topics: [{ topic, numPartitions, configEntries }] }), true);
  return topic;
}

async function send(topic, messages, settings = {}, options = {}) {
  const producer = kafka.producer(settings);
  await producer.connect();
  try {
    return await producer.send({ topic, messages, ...options });
  } finally {
    await producer.disconnect();
  }
}

const numbered = (count) => Array.from({ length: count }, (_, number) => ({ value: `${number}`, partition: 0 }));

// Runs a group's member until `enough` says so, and returns what it got.
async function consume(groupId, topic, enough, { stopBy = "disconnect" } = {}) {
  const consumer = kafka.consumer({ groupId, heartbeatInterval: 300, maxWaitTimeInMs: 300 });
  const messages = [];
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer
      .run({
        eachMessage: async ({ partition, message }) => {
          messages.push({ partition, ...message });
          if (enough(messages)) resolve();
        },
      })
      .catch(reject);
  });
  await consumer[stopBy]();
  if (stopBy !== "disconnect") await consumer.disconnect();
  return messages;
}

const cases = {
  async key_headers_and_timestamp() {
    const topic = await topicWith(1);
    const sent = { key: "k", value: "v", headers: { trace: Buffer.from([0, 255]) }, timestamp: "1700000000123" };
    const [report] = await send(topic, [sent, { key: "gone", value: null }], {}, { acks: -1 });
    assert.deepEqual([report.errorCode, report.baseOffset], [0, "0"]);
    const [first, second] = await consume(fresh("group"), topic, (messages) => messages.length === 2);
    assert.deepEqual([`${first.key}`, `${first.value}`, first.timestamp], ["k", "v", "1700000000123"]);
    assert.deepEqual(first.headers.trace, Buffer.from([0, 255]));
    assert.equal(second.value, null);
  },

  async gzip_and_no_codec() {
    const topic = await topicWith(1);
    for (const compression of [CompressionTypes.None, CompressionTypes.GZIP]) {
      await send(topic, numbered(100), {}, { compression });
    }
    const messages = await consume(fresh("group"), topic, (all) => all.length === 200);
    assert.deepEqual(messages.map(({ offset }) => Number(offset)), [...Array(200).keys()]);
  },

  async idempotent_producer() {
    const topic = await topicWith(1);
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    for (const message of numbered(20)) await producer.send({ topic, messages: [message] });
    await producer.disconnect();
    const messages = await consume(fresh("group"), topic, (all) => all.length === 20);
    assert.deepEqual(messages.map(({ value }) => Number(value)), [...Array(20).keys()]);
  },

  async a_group_resumes_where_it_stopped() {
    const [topic, group] = [await topicWith(1), fresh("group")];
    await send(topic, numbered(10));
    await consume(group, topic, (messages) => messages.length === 10, { stopBy: "stop" });
    await send(topic, [{ value: "next" }]);
    const messages = await consume(group, topic, () => true);
    assert.equal(`${messages[0].value}`, "next");
    assert.equal(messages[0].offset, "10");
  },

  async a_group_spreads_over_its_members() {
    const [topic, groupId] = [await topicWith(4), fresh("group")];
    const owned = new Map();
    const members = [0, 1].map(() => kafka.consumer({ groupId, heartbeatInterval: 300, maxWaitTimeInMs: 300 }));
    const spread = new Promise((resolve) => {
      for (const member of members) {
        member.on(member.events.GROUP_JOIN, ({ payload }) => {
          owned.set(member, payload.memberAssignment[topic] ?? []);
          const all = [...owned.values()];
          if (all.length === 2 && all.every((some) => some.length === 2)) resolve();
        });
      }
    });
    for (const member of members) {
      await member.connect();
      await member.subscribe({ topics: [topic] });
      await member.run({ eachMessage: async () => {} });
    }
    await spread;
    const { groups } = await admin.describeGroups([groupId]);
    assert.deepEqual([groups[0].state, groups[0].members.length], ["Stable", 2]);
    assert.deepEqual([...owned.values()].flat().sort(), [0, 1, 2, 3]);
    for (const member of members) await member.disconnect();
    await admin.deleteGroups([groupId]);
    assert.ok(!(await admin.listGroups()).groups.some((group) => group.groupId === groupId));
  },

  async topics_and_partitions_are_administered() {
    const topic = await topicWith(1);
    assert.equal(await admin.createTopics({ topics: [{ topic }] }), false);
    await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    assert.deepEqual(topics[0].partitions.map(({ partitionId }) => partitionId).sort(), [0, 1, 2]);
    const { brokers, controller } = await admin.describeCluster();
    assert.deepEqual(brokers.map(({ nodeId }) => nodeId), [controller]);
    await admin.deleteTopics({ topics: [topic] });
    assert.ok(!(await admin.listTopics()).includes(topic));
  },

  async settings_are_described_and_altered() {
    const topic = await topicWith(1, [{ name: "retention.ms", value: "100000" }]);
    const retention = async () => {
      const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic }];
      const { resources: found } = await admin.describeConfigs({ resources, includeSynonyms: false });
      return found[0].configEntries.find(({ configName }) => configName === "retention.ms").configValue;
    };
    assert.equal(await retention(), "100000");
    const configEntries = [{ name: "retention.ms", value: "7000" }];
    await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }] });
    assert.equal(await retention(), "7000");
  },

  async offsets_are_fetched_set_and_found_by_time() {
    const [topic, groupId] = [await topicWith(1), fresh("group")];
    const began = Date.now();
    await send(topic, numbered(10).map((message, number) => ({ ...message, timestamp: `${began + number}` })));
    assert.deepEqual(await admin.fetchTopicOffsets(topic), [{ partition: 0, offset: "10", high: "10", low: "0" }]);
    assert.deepEqual(await admin.fetchTopicOffsetsByTimestamp(topic, began + 4), [{ partition: 0, offset: "4" }]);
    await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: "7" }] });
    const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] });
    assert.equal(partitions[0].offset, "7");
    const [message] = await consume(groupId, topic, () => true);
    assert.equal(message.offset, "7");
  },

  async deleted_records_are_gone() {
    const topic = await topicWith(1);
    await send(topic, numbered(10));
    // Only a topic that this client has asked about has a leader for it.
    assert.equal((await admin.fetchTopicOffsets(topic))[0].low, "0");
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "4" }] });
    assert.equal((await admin.fetchTopicOffsets(topic))[0].low, "4");
  },

  async transactions_are_refused_and_not_pretended() {
    const transactionalId = fresh("transaction");
    const producer = kafka.producer({ transactionalId, maxInFlightRequests: 1, idempotent: true });
    await producer.connect();
    await assert.rejects(async () => producer.transaction());
    await producer.disconnect();
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

async function main() {
  await admin.connect();
  for (const [name, run] of Object.entries(cases)) {
    const began = Date.now();
    try {
      await timed(run);
      console.log(`ok ${name}`);
    } catch (error) {
      console.error(error);
      console.log(`not ok ${name}: ${`${error}`.replaceAll("\n", " ")}`);
    }
    console.log(`# ${name}: ${((Date.now() - began) / 1000).toFixed(1)} s`);
  }
  await admin.disconnect();
  // A case that failed may have left a client running.
  process.exit();
}

main();
