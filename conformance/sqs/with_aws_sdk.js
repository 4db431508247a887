// @aws-sdk/client-sqs: every action once, and the checksums it checks itself. One line per case.

"use strict";

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const sdk = require("@aws-sdk/client-sqs");

const CASE_SECONDS = 60;

const address = process.argv[process.argv.indexOf("--address") + 1];
const endpoint = `http://${address}`;
const client = new sdk.SQSClient({
  endpoint,
  region: "us-east-1",
  credentials: { accessKeyId: "conformance", secretAccessKey: "conformance/secret+key" },
  maxAttempts: 1,
});
const fresh = (kind) => `${kind}-${randomUUID()}`;
const call = (action, input) => client.send(new sdk[`${action}Command`](input));

async function queue(attributes = {}, suffix = "") {
  const { QueueUrl } = await call("CreateQueue", { QueueName: fresh("queue") + suffix, Attributes: attributes });
  return QueueUrl;
}

async function arn(QueueUrl) {
  const { Attributes } = await call("GetQueueAttributes", { QueueUrl, AttributeNames: ["QueueArn"] });
  return Attributes.QueueArn;
}

async function eventually(holds, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  while (!(await holds())) {
    assert(Date.now() < deadline, `still not so after ${seconds} s: ${holds}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

const cases = {
  async a_queue_is_made_found_listed_and_removed() {
    const name = fresh("queue");
    const made = await call("CreateQueue", { QueueName: name, tags: { team: "shop" } });
    const QueueUrl = `${endpoint}/000000000000/${name}`;
    assert.equal(made.QueueUrl, QueueUrl);
    assert.equal((await call("GetQueueUrl", { QueueName: name })).QueueUrl, QueueUrl);
    assert.deepEqual((await call("ListQueues", { QueueNamePrefix: name })).QueueUrls, [QueueUrl]);
    await call("TagQueue", { QueueUrl, Tags: { shop: "bar" } });
    await call("UntagQueue", { QueueUrl, TagKeys: ["team"] });
    assert.deepEqual((await call("ListQueueTags", { QueueUrl })).Tags, { shop: "bar" });
    await call("SetQueueAttributes", { QueueUrl, Attributes: { DelaySeconds: "5" } });
    const { Attributes } = await call("GetQueueAttributes", { QueueUrl, AttributeNames: ["DelaySeconds"] });
    assert.deepEqual(Attributes, { DelaySeconds: "5" });
    const shared = { Label: "one", AWSAccountIds: ["111111111111"], Actions: ["SendMessage"] };
    await call("AddPermission", { QueueUrl, ...shared });
    await call("RemovePermission", { QueueUrl, Label: "one" });
    await call("PurgeQueue", { QueueUrl });
    await call("DeleteQueue", { QueueUrl });
    assert.equal((await call("ListQueues", { QueueNamePrefix: name })).QueueUrls, undefined);
  },

  async messages_and_their_checksums() {
    const QueueUrl = await queue();
    const MessageAttributes = {
      text: { DataType: "String", StringValue: "wörd" },
      bytes: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255]) },
    };
    const sent = await call("SendMessage", { QueueUrl, MessageBody: "wörd ☕", MessageAttributes });
    const wanted = { QueueUrl, MessageAttributeNames: ["All"], MessageSystemAttributeNames: ["All"] };
    const [message] = (await call("ReceiveMessage", { ...wanted, WaitTimeSeconds: 5 })).Messages;
    assert.equal(message.MessageId, sent.MessageId);
    assert.equal(message.Body, "wörd ☕");
    assert.equal(message.MD5OfMessageAttributes, sent.MD5OfMessageAttributes);
    assert.deepEqual(message.MessageAttributes, MessageAttributes);
    assert.equal(message.Attributes.ApproximateReceiveCount, "1");
    const { ReceiptHandle } = message;
    await call("ChangeMessageVisibility", { QueueUrl, ReceiptHandle, VisibilityTimeout: 60 });
    await call("DeleteMessage", { QueueUrl, ReceiptHandle });
    assert.equal((await call("ReceiveMessage", { QueueUrl })).Messages, undefined);
  },

  async batches() {
    const QueueUrl = await queue();
    const bodies = ["a", "b", "c"];
    const Entries = bodies.map((body) => ({ Id: body, MessageBody: body }));
    Entries[2].DelaySeconds = 901;
    const sent = await call("SendMessageBatch", { QueueUrl, Entries });
    assert.deepEqual(sent.Successful.map((entry) => entry.Id), ["a", "b"]);
    assert.deepEqual(sent.Failed.map((entry) => [entry.Id, entry.SenderFault]), [["c", true]]);
    const { Messages } = await call("ReceiveMessage", { QueueUrl, MaxNumberOfMessages: 10 });
    const handles = Messages.map(({ Body, ReceiptHandle }) => ({ Id: Body, ReceiptHandle }));
    const hidden = handles.map((handle) => ({ ...handle, VisibilityTimeout: 60 }));
    const changed = await call("ChangeMessageVisibilityBatch", { QueueUrl, Entries: hidden });
    assert.equal(changed.Failed, undefined);
    const deleted = await call("DeleteMessageBatch", { QueueUrl, Entries: handles });
    assert.deepEqual(deleted.Successful.map((entry) => entry.Id).sort(), ["a", "b"]);
  },

  async a_fifo_queue() {
    const QueueUrl = await queue({ FifoQueue: "true", ContentBasedDeduplication: "true" }, ".fifo");
    for (const MessageBody of ["1", "2", "1"]) {
      const sent = await call("SendMessage", { QueueUrl, MessageBody, MessageGroupId: "g" });
      assert.equal(sent.SequenceNumber.length, 20);
    }
    const { Messages } = await call("ReceiveMessage", { QueueUrl, MaxNumberOfMessages: 10 });
    assert.deepEqual(Messages.map((message) => message.Body), ["1", "2"]);
  },

  async dead_letters_and_their_way_back() {
    const dead = await queue();
    const SourceArn = await arn(dead);
    const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: SourceArn, maxReceiveCount: "1" });
    const QueueUrl = await queue({ RedrivePolicy });
    assert.deepEqual((await call("ListDeadLetterSourceQueues", { QueueUrl: dead })).queueUrls, [QueueUrl]);
    const Entries = [..."abc"].map((body) => ({ Id: body, MessageBody: body }));
    await call("SendMessageBatch", { QueueUrl, Entries });
    const all = { QueueUrl, MaxNumberOfMessages: 10, VisibilityTimeout: 0 };
    await call("ReceiveMessage", all);
    await eventually(async () => {
      await call("ReceiveMessage", all);
      const names = ["ApproximateNumberOfMessages"];
      const { Attributes } = await call("GetQueueAttributes", { QueueUrl: dead, AttributeNames: names });
      return Attributes.ApproximateNumberOfMessages === "3";
    });
    const slowly = { SourceArn, MaxNumberOfMessagesPerSecond: 1 };
    const { TaskHandle } = await call("StartMessageMoveTask", slowly);
    const [task] = (await call("ListMessageMoveTasks", { SourceArn })).Results;
    assert.deepEqual([task.Status, task.TaskHandle], ["RUNNING", TaskHandle]);
    const { ApproximateNumberOfMessagesMoved } = await call("CancelMessageMoveTask", { TaskHandle });
    assert(ApproximateNumberOfMessagesMoved < 3);
  },

  async errors_have_the_new_name_and_the_old_code() {
    const missing = { QueueUrl: `${endpoint}/000000000000/${fresh("never")}` };
    await assert.rejects(call("PurgeQueue", missing), (error) => {
      assert(error instanceof sdk.QueueDoesNotExist);
      assert.equal(error.Code, "AWS.SimpleQueueService.NonExistentQueue");
      assert.equal(error.message, "The specified queue does not exist.");
      return true;
    });
  },

  async the_queue_url_alone_leads_to_the_queue() {
    const QueueUrl = await queue();
    // No endpoint: the client goes where the address of the queue says.
    const { region, credentials } = { region: "us-east-1", credentials: client.config.credentials };
    const other = new sdk.SQSClient({ region, credentials, maxAttempts: 1 });
    await other.send(new sdk.SendMessageCommand({ QueueUrl, MessageBody: "x" }));
    other.destroy();
    const { Messages } = await call("ReceiveMessage", { QueueUrl, WaitTimeSeconds: 5 });
    assert.equal(Messages[0].Body, "x");
  },
};

function limited(promise) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`still busy after ${CASE_SECONDS} s`)), CASE_SECONDS * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function main() {
  for (const [name, run] of Object.entries(cases)) {
    try {
      await limited(run());
      console.log(`ok ${name}`);
    } catch (error) {
      console.error(error);
      console.log(`not ok ${name}: ${String(error).replaceAll("\n", " ")}`);
    }
  }
  client.destroy();
}

main().then(() => process.exit(0));
