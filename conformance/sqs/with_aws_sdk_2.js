// aws-sdk, version 2, which speaks the Query protocol or JSON as its model says. One line per case.

"use strict";

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = "1";
const AWS = require("aws-sdk");

const address = process.argv[process.argv.indexOf("--address") + 1];
const endpoint = `http://${address}`;
const client = new AWS.SQS({
  endpoint,
  region: "us-east-1",
  accessKeyId: "conformance",
  secretAccessKey: "conformance/secret+key",
  maxRetries: 0,
  // It checks what it gets.
  computeChecksums: true,
});
const fresh = (kind) => `${kind}-${randomUUID()}`;
const call = (action, input) => client[action](input).promise();

async function queue(Attributes = {}, suffix = "") {
  return (await call("createQueue", { QueueName: fresh("queue") + suffix, Attributes })).QueueUrl;
}

const cases = {
  async a_message_and_its_attributes() {
    const QueueUrl = await queue();
    const MessageAttributes = { shop: { DataType: "String", StringValue: "bär" } };
    const sent = await call("sendMessage", { QueueUrl, MessageBody: "wörd ☕", MessageAttributes });
    const wanted = { QueueUrl, MessageAttributeNames: ["All"], AttributeNames: ["All"], WaitTimeSeconds: 5 };
    const [message] = (await call("receiveMessage", wanted)).Messages;
    assert.equal(message.MessageId, sent.MessageId);
    assert.equal(message.Body, "wörd ☕");
    assert.equal(message.MessageAttributes.shop.StringValue, "bär");
    assert.equal(message.Attributes.ApproximateReceiveCount, "1");
    await call("deleteMessage", { QueueUrl, ReceiptHandle: message.ReceiptHandle });
  },

  async batches() {
    const QueueUrl = await queue();
    const Entries = ["a", "b", "c"].map((body) => ({ Id: body, MessageBody: body }));
    Entries[2].DelaySeconds = 901;
    const sent = await call("sendMessageBatch", { QueueUrl, Entries });
    assert.deepEqual(sent.Successful.map((entry) => entry.Id), ["a", "b"]);
    assert.deepEqual(sent.Failed.map((entry) => entry.Id), ["c"]);
    const { Messages } = await call("receiveMessage", { QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 5 });
    const handles = Messages.map(({ Body, ReceiptHandle }) => ({ Id: Body, ReceiptHandle }));
    const deleted = await call("deleteMessageBatch", { QueueUrl, Entries: handles });
    assert.equal(deleted.Successful.length, handles.length);
  },

  async a_fifo_queue() {
    const QueueUrl = await queue({ FifoQueue: "true", ContentBasedDeduplication: "true" }, ".fifo");
    for (const MessageBody of ["1", "2", "1"]) {
      await call("sendMessage", { QueueUrl, MessageBody, MessageGroupId: "g" });
    }
    const { Messages } = await call("receiveMessage", { QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 5 });
    assert.deepEqual(Messages.map((message) => message.Body), ["1", "2"]);
  },

  async errors_have_the_code_that_applications_know() {
    await assert.rejects(call("getQueueUrl", { QueueName: fresh("never") }), (error) => {
      assert.equal(error.code, "AWS.SimpleQueueService.NonExistentQueue");
      return true;
    });
  },
};

async function main() {
  for (const [name, run] of Object.entries(cases)) {
    try {
      await run();
      console.log(`ok ${name}`);
    } catch (error) {
      console.error(error);
      console.log(`not ok ${name}: ${String(error).replaceAll("\n", " ")}`);
    }
  }
}

main().then(() => process.exit(0));
