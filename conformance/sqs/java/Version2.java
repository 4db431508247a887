// What an application does with version 2 of the Java client, which checks the checksums of what it gets.

import java.net.URI;
import java.util.List;
import java.util.Map;
import java.util.UUID;

import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.sqs.SqsClient;
import software.amazon.awssdk.services.sqs.model.Message;
import software.amazon.awssdk.services.sqs.model.MessageAttributeValue;
import software.amazon.awssdk.services.sqs.model.MessageSystemAttributeName;
import software.amazon.awssdk.services.sqs.model.QueueAttributeName;
import software.amazon.awssdk.services.sqs.model.QueueDoesNotExistException;
import software.amazon.awssdk.services.sqs.model.SendMessageBatchRequestEntry;
import software.amazon.awssdk.services.sqs.model.SendMessageBatchResponse;

public class Version2 {
    interface Case {
        void run() throws Exception;
    }

    private static SqsClient client;

    public static void main(String[] arguments) {
        client = SqsClient.builder().endpointOverride(URI.create(arguments[0])).region(Region.US_EAST_1)
            .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("conformance", "conformance/secret+key")))
            .build();
        check("a message and its attributes", Version2::aMessage);
        check("batches", Version2::batches);
        check("a FIFO queue", Version2::fifo);
        check("what is missing", Version2::missing);
        System.exit(0);
    }

    private static void check(String name, Case one) {
        try {
            one.run();
            System.out.println("ok version 2 " + name);
        } catch (Throwable error) {
            System.out.println("not ok version 2 " + name + ": " + String.valueOf(error).replace("\n", " "));
        }
    }

    private static void equal(Object found, Object expected) {
        if (!found.equals(expected)) {
            throw new AssertionError("found " + found + ", expected " + expected);
        }
    }

    private static String queue(String suffix, Map<QueueAttributeName, String> attributes) {
        return client.createQueue(r -> r.queueName("queue-" + UUID.randomUUID() + suffix).attributes(attributes)).queueUrl();
    }

    private static List<Message> receive(String url) {
        return client.receiveMessage(r -> r.queueUrl(url).maxNumberOfMessages(10).waitTimeSeconds(5)
            .messageAttributeNames("All").messageSystemAttributeNames(MessageSystemAttributeName.ALL)).messages();
    }

    private static void aMessage() {
        String url = queue("", Map.of());
        MessageAttributeValue shop = MessageAttributeValue.builder().dataType("String").stringValue("bär").build();
        String id = client.sendMessage(r -> r.queueUrl(url).messageBody("wörd ☕").messageAttributes(Map.of("shop", shop))).messageId();
        Message message = receive(url).get(0);
        equal(List.of(message.messageId(), message.body(), message.messageAttributes().get("shop").stringValue(),
            message.attributes().get(MessageSystemAttributeName.APPROXIMATE_RECEIVE_COUNT)), List.of(id, "wörd ☕", "bär", "1"));
        client.changeMessageVisibility(r -> r.queueUrl(url).receiptHandle(message.receiptHandle()).visibilityTimeout(0));
        Message again = receive(url).get(0);
        client.deleteMessage(r -> r.queueUrl(url).receiptHandle(again.receiptHandle()));
    }

    private static void batches() {
        String url = queue("", Map.of());
        SendMessageBatchResponse sent = client.sendMessageBatch(r -> r.queueUrl(url).entries(
            SendMessageBatchRequestEntry.builder().id("a").messageBody("a").build(),
            SendMessageBatchRequestEntry.builder().id("b").messageBody("b").delaySeconds(901).build()));
        equal(sent.successful().size() + " " + sent.failed().get(0).id(), "1 b");
    }

    private static void fifo() {
        String url = queue(".fifo", Map.of(QueueAttributeName.FIFO_QUEUE, "true", QueueAttributeName.CONTENT_BASED_DEDUPLICATION, "true"));
        for (String body : List.of("1", "2", "1")) {
            client.sendMessage(r -> r.queueUrl(url).messageBody(body).messageGroupId("g"));
        }
        equal(receive(url).stream().map(Message::body).toList(), List.of("1", "2"));
    }

    private static void missing() {
        try {
            client.getQueueUrl(r -> r.queueName("never-" + UUID.randomUUID()));
        } catch (QueueDoesNotExistException expected) {
            equal(expected.statusCode(), 400);
            return;
        }
        throw new AssertionError("found");
    }
}
