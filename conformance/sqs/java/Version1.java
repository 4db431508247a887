// What an application does with version 1 of the Java client, which checks the checksums of what it gets.

import java.util.List;
import java.util.Map;
import java.util.UUID;

import com.amazonaws.auth.AWSStaticCredentialsProvider;
import com.amazonaws.auth.BasicAWSCredentials;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.sqs.AmazonSQS;
import com.amazonaws.services.sqs.AmazonSQSClientBuilder;
import com.amazonaws.services.sqs.model.CreateQueueRequest;
import com.amazonaws.services.sqs.model.Message;
import com.amazonaws.services.sqs.model.MessageAttributeValue;
import com.amazonaws.services.sqs.model.QueueDoesNotExistException;
import com.amazonaws.services.sqs.model.ReceiveMessageRequest;
import com.amazonaws.services.sqs.model.SendMessageBatchRequestEntry;
import com.amazonaws.services.sqs.model.SendMessageBatchResult;
import com.amazonaws.services.sqs.model.SendMessageRequest;

public class Version1 {
    interface Case {
        void run() throws Exception;
    }

    private static AmazonSQS client;

    public static void main(String[] arguments) {
        client = AmazonSQSClientBuilder.standard().withEndpointConfiguration(new EndpointConfiguration(arguments[0], "us-east-1"))
            .withCredentials(new AWSStaticCredentialsProvider(new BasicAWSCredentials("conformance", "conformance/secret+key")))
            .build();
        check("a message and its attributes", Version1::aMessage);
        check("batches", Version1::batches);
        check("a FIFO queue", Version1::fifo);
        check("what is missing", Version1::missing);
        System.exit(0);
    }

    private static void check(String name, Case one) {
        try {
            one.run();
            System.out.println("ok version 1 " + name);
        } catch (Throwable error) {
            System.out.println("not ok version 1 " + name + ": " + String.valueOf(error).replace("\n", " "));
        }
    }

    private static void equal(Object found, Object expected) {
        if (!found.equals(expected)) {
            throw new AssertionError("found " + found + ", expected " + expected);
        }
    }

    private static String queue(String suffix, Map<String, String> attributes) {
        return client.createQueue(new CreateQueueRequest("queue-" + UUID.randomUUID() + suffix).withAttributes(attributes)).getQueueUrl();
    }

    private static List<Message> receive(String url) {
        return client.receiveMessage(new ReceiveMessageRequest(url).withMaxNumberOfMessages(10).withWaitTimeSeconds(5)
            .withMessageAttributeNames("All").withAttributeNames("All")).getMessages();
    }

    private static void aMessage() {
        String url = queue("", Map.of());
        MessageAttributeValue shop = new MessageAttributeValue().withDataType("String").withStringValue("bär");
        String id = client.sendMessage(new SendMessageRequest(url, "wörd ☕").withMessageAttributes(Map.of("shop", shop))).getMessageId();
        Message message = receive(url).get(0);
        equal(List.of(message.getMessageId(), message.getBody(), message.getMessageAttributes().get("shop").getStringValue(),
            message.getAttributes().get("ApproximateReceiveCount")), List.of(id, "wörd ☕", "bär", "1"));
        client.changeMessageVisibility(url, message.getReceiptHandle(), 0);
        client.deleteMessage(url, receive(url).get(0).getReceiptHandle());
    }

    private static void batches() {
        String url = queue("", Map.of());
        SendMessageBatchResult sent = client.sendMessageBatch(url, List.of(new SendMessageBatchRequestEntry("a", "a"),
            new SendMessageBatchRequestEntry("b", "b").withDelaySeconds(901)));
        equal(sent.getSuccessful().size() + " " + sent.getFailed().get(0).getId(), "1 b");
    }

    private static void fifo() {
        String url = queue(".fifo", Map.of("FifoQueue", "true", "ContentBasedDeduplication", "true"));
        for (String body : List.of("1", "2", "1")) {
            client.sendMessage(new SendMessageRequest(url, body).withMessageGroupId("g"));
        }
        equal(receive(url).stream().map(Message::getBody).toList(), List.of("1", "2"));
    }

    private static void missing() {
        try {
            client.getQueueUrl("never-" + UUID.randomUUID());
        } catch (QueueDoesNotExistException expected) {
            equal(expected.getErrorCode(), "AWS.SimpleQueueService.NonExistentQueue");
            return;
        }
        throw new AssertionError("found");
    }
}
