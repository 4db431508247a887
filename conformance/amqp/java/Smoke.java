// The Java client: what an application does, one line per case.

import com.rabbitmq.client.*;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;

class Smoke {
    static final long PATIENCE_MS = 20_000;
    static String host;
    static int port;

    interface Body {
        void run(Scene scene) throws Exception;
    }

    interface Ask {
        void of(Channel channel) throws Exception;
    }

    // What every case has: a connection, a channel that confirms, and a queue of its own.
    static class Scene implements AutoCloseable {
        final Connection connection = connect();
        final Channel channel = connection.createChannel();
        final String queue = fresh("queue");

        Scene() throws Exception {
            channel.confirmSelect();
            channel.queueDeclare(queue, false, true, false, null);
        }

        void publish(String exchange, String key, String body, AMQP.BasicProperties properties) throws Exception {
            channel.basicPublish(exchange, key, properties, octets(body));
            channel.waitForConfirmsOrDie(PATIENCE_MS);
        }

        void publish(String key, String body) throws Exception {
            publish("", key, body, MessageProperties.PERSISTENT_BASIC);
        }

        // A message that is there or comes soon.
        GetResponse await(String name) throws Exception {
            for (long began = System.currentTimeMillis(); System.currentTimeMillis() - began < PATIENCE_MS; Thread.sleep(20)) {
                GetResponse message = channel.basicGet(name, false);
                if (message != null) return message;
            }
            throw new TimeoutException("nothing came");
        }

        BlockingQueue<Delivery> consume() throws IOException {
            BlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
            channel.basicConsume(queue, false, (tag, delivery) -> deliveries.add(delivery), tag -> {});
            return deliveries;
        }

        // Asks on a channel of its own, which has to be closed with this code and words.
        void refused(int code, String words, Ask ask) throws Exception {
            try {
                ask.of(connection.createChannel());
            } catch (IOException error) {
                AMQP.Channel.Close close = (AMQP.Channel.Close) ((ShutdownSignalException) error.getCause()).getReason();
                equal(close.getReplyCode(), code);
                if (!close.getReplyText().contains(words)) throw new AssertionError(close.getReplyText());
                return;
            }
            throw new AssertionError("not refused");
        }

        @Override
        public void close() throws Exception {
            if (connection.isOpen()) connection.close();
        }
    }

    static ConnectionFactory factory() {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(host);
        factory.setPort(port);
        factory.setAutomaticRecoveryEnabled(false);
        return factory;
    }

    static Connection connect() throws Exception {
        return factory().newConnection();
    }

    static String fresh(String kind) {
        return kind + "-" + UUID.randomUUID();
    }

    static byte[] octets(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] octets) {
        return new String(octets, StandardCharsets.UTF_8);
    }

    static void equal(Object found, Object expected) {
        if (!Objects.equals(found, expected)) throw new AssertionError("found " + found + ", expected " + expected);
    }

    static <T> T within(BlockingQueue<T> from) throws Exception {
        T value = from.poll(PATIENCE_MS, TimeUnit.MILLISECONDS);
        if (value == null) throw new TimeoutException("nothing came");
        return value;
    }

    static void routedByABinding(Scene it) throws Exception {
        String exchange = fresh("exchange");
        it.channel.exchangeDeclare(exchange, "topic", false, true, null);
        it.channel.queueBind(it.queue, exchange, "a.*");
        Map<String, Object> headers = new HashMap<>(Map.of("number", 1L << 40, "flag", true, "list", List.of(1, 2)));
        headers.put("none", null);
        it.publish(exchange, "a.b", "x", new AMQP.BasicProperties.Builder().headers(headers).priority(3).build());
        GetResponse message = it.await(it.queue);
        equal(List.of(message.getEnvelope().getExchange(), message.getEnvelope().getRoutingKey()), List.of(exchange, "a.b"));
        equal(message.getProps().getHeaders(), headers);
        equal(message.getProps().getPriority(), 3);
        it.channel.queueUnbind(it.queue, exchange, "a.*");
    }

    static void aThousandConfirmedAndConsumed(Scene it) throws Exception {
        BlockingQueue<Delivery> deliveries = it.consume();
        for (int number = 0; number < 1000; number++) it.channel.basicPublish("", it.queue, null, octets("" + number));
        it.channel.waitForConfirmsOrDie(PATIENCE_MS);
        for (int number = 0; number < 1000; number++) {
            Delivery delivery = within(deliveries);
            equal(text(delivery.getBody()), "" + number);
            it.channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
        }
        equal(List.of(it.channel.messageCount(it.queue), it.channel.consumerCount(it.queue)), List.of(0L, 1L));
    }

    static void aLargeMessage(Scene it) throws Exception {
        String body = "abc".repeat(700_000);
        it.publish(it.queue, body);
        equal(text(it.await(it.queue).getBody()).equals(body), true);
    }

    static void givenBackItComesAgain(Scene it) throws Exception {
        it.publish(it.queue, "x");
        Envelope first = it.await(it.queue).getEnvelope();
        equal(first.isRedeliver(), false);
        it.channel.basicNack(first.getDeliveryTag(), false, true);
        equal(it.await(it.queue).getEnvelope().isRedeliver(), true);
        it.channel.basicRecover();
        equal(text(it.await(it.queue).getBody()), "x");
    }

    static void rejectedItIsDeadLettered(Scene it) throws Exception {
        String queue = fresh("queue");
        Map<String, Object> arguments = Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", it.queue);
        it.channel.queueDeclare(queue, false, true, false, arguments);
        it.publish(queue, "x");
        it.channel.basicReject(it.await(queue).getEnvelope().getDeliveryTag(), false);
        Map<String, Object> headers = it.await(it.queue).getProps().getHeaders();
        Map<?, ?> death = (Map<?, ?>) ((List<?>) headers.get("x-death")).get(0);
        equal(death.get("reason").toString(), "rejected");
        equal(death.get("queue").toString(), queue);
        equal(death.get("count"), 1L);
        equal(death.get("routing-keys").toString(), "[" + queue + "]");
        equal(death.get("time") instanceof Date, true);
    }

    static void nothingIsThere(Scene it) throws Exception {
        equal(it.channel.basicGet(it.queue, true), null);
    }

    static void unroutableItIsReturned(Scene it) throws Exception {
        BlockingQueue<Return> returned = new LinkedBlockingQueue<>();
        it.channel.addReturnListener(returned::add);
        it.channel.basicPublish("amq.direct", fresh("nowhere"), true, null, octets("back"));
        // It has come when the confirm has.
        it.channel.waitForConfirmsOrDie(PATIENCE_MS);
        Return message = returned.remove();
        equal(List.of(message.getReplyCode(), message.getReplyText(), text(message.getBody())), List.of(312, "NO_ROUTE", "back"));
    }

    static void aFullQueueRefuses(Scene it) throws Exception {
        String queue = fresh("queue");
        it.channel.queueDeclare(queue, false, true, false, Map.of("x-max-length", 1, "x-overflow", "reject-publish"));
        it.channel.basicPublish("", queue, null, octets("fits"));
        equal(it.channel.waitForConfirms(PATIENCE_MS), true);
        it.channel.basicPublish("", queue, null, octets("does not"));
        equal(it.channel.waitForConfirms(PATIENCE_MS), false);
    }

    static void prefetchHoldsBack(Scene it) throws Exception {
        it.channel.basicQos(2);
        BlockingQueue<Delivery> deliveries = it.consume();
        for (int number = 0; number < 3; number++) it.publish(it.queue, "x");
        within(deliveries);
        Delivery second = within(deliveries);
        equal(deliveries.poll(200, TimeUnit.MILLISECONDS), null);
        it.channel.basicAck(second.getEnvelope().getDeliveryTag(), true);
        within(deliveries);
    }

    static void transactionsHoldBack(Scene it) throws Exception {
        Channel channel = it.connection.createChannel();
        channel.txSelect();
        channel.basicPublish("", it.queue, null, octets("dropped"));
        channel.txRollback();
        channel.basicPublish("", it.queue, null, octets("kept"));
        channel.txCommit();
        equal(text(it.await(it.queue).getBody()), "kept");
        nothingIsThere(it);
    }

    static void exclusiveQueuesAreLocked(Scene it) throws Exception {
        try (Scene other = new Scene()) {
            other.refused(405, "cannot obtain exclusive access to locked queue", c -> c.queueDeclarePassive(it.queue));
        }
    }

    static void whatIsMissingIsNotFound(Scene it) throws Exception {
        String queue = fresh("queue");
        it.refused(404, "NOT_FOUND - no queue '" + queue + "' in vhost '/'", c -> c.queueDeclarePassive(queue));
        it.refused(404, "NOT_FOUND - no exchange", c -> c.exchangeDeclarePassive(queue));
    }

    static void whatDiffersIsRefused(Scene it) throws Exception {
        Map<String, Object> arguments = Map.of("x-message-ttl", 1);
        it.refused(406, "inequivalent arg 'x-message-ttl'", c -> c.queueDeclare(it.queue, false, true, false, arguments));
    }

    static void aConsumerIsToldThatItsQueueIsGone(Scene it) throws Exception {
        String queue = it.channel.queueDeclare().getQueue();
        BlockingQueue<String> told = new LinkedBlockingQueue<>();
        it.channel.basicConsume(queue, false, "mine", (tag, delivery) -> {}, told::add);
        it.channel.queueDelete(queue);
        equal(within(told), "mine");
    }

    static void aConsumerCancels(Scene it) throws Exception {
        String tag = it.channel.basicConsume(it.queue, (t, delivery) -> {}, t -> {});
        it.channel.basicCancel(tag);
        it.publish(it.queue, "x");
        equal(text(it.await(it.queue).getBody()), "x");
    }

    static void answersComeBackDirectly(Scene it) throws Exception {
        RpcClient client = new RpcClient(new RpcClientParams().channel(it.channel).exchange("").routingKey(it.queue).timeout(20_000));
        Channel serving = it.connection.createChannel();
        serving.basicConsume(it.queue, true, (tag, question) -> {
            String to = question.getProperties().getReplyTo();
            AMQP.BasicProperties same = new AMQP.BasicProperties.Builder().correlationId(question.getProperties().getCorrelationId()).build();
            serving.basicPublish("", to, same, question.getBody());
        }, tag -> {});
        equal(client.stringCall("question"), "question");
        client.close();
    }

    static void exchangesFeedExchanges(Scene it) throws Exception {
        String source = fresh("exchange"), target = fresh("exchange");
        for (String name : List.of(source, target)) it.channel.exchangeDeclare(name, "fanout", false, true, null);
        it.channel.queueBind(it.queue, target, "");
        it.channel.exchangeBind(target, source, "");
        it.publish(source, "k", "x", null);
        equal(text(it.await(it.queue).getBody()), "x");
    }

    static void heartbeatsKeepItOpen(Scene it) throws Exception {
        ConnectionFactory factory = factory();
        factory.setRequestedHeartbeat(1);
        try (Connection connection = factory.newConnection()) {
            Thread.sleep(3500);
            equal(connection.isOpen(), true);
            connection.createChannel().close();
        }
    }

    static void afterAnErrorThereIsAnotherChannel(Scene it) throws Exception {
        for (int round = 0; round < 5; round++) {
            it.refused(404, "NOT_FOUND", c -> c.queueDeclarePassive(fresh("queue")));
            try (Connection other = connect()) {
                other.createChannel().close();
            }
        }
    }

    static void whatIsLostIsMadeAgain(Scene it) throws Exception {
        ConnectionFactory factory = factory();
        factory.setAutomaticRecoveryEnabled(true);
        factory.setNetworkRecoveryInterval(100);
        BlockingQueue<Boolean> recovered = new LinkedBlockingQueue<>();
        try (Connection connection = factory.newConnection()) {
            Channel channel = connection.createChannel();
            String queue = channel.queueDeclare(fresh("queue"), false, false, true, null).getQueue();
            BlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
            channel.basicConsume(queue, true, (tag, delivery) -> deliveries.add(delivery), tag -> {});
            ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
                public void handleRecovery(Recoverable what) {
                    recovered.add(true);
                }

                public void handleRecoveryStarted(Recoverable what) {}
            });
            // A mistake that ends the connection is one to recover from only when it comes from the other side.
            channel.basicQos(1);
            try {
                channel.basicQos(1, 1, false);
            } catch (IOException expected) {
            }
            within(recovered);
            it.publish(queue, "x");
            equal(text(within(deliveries).getBody()), "x");
        }
    }

    static void whatIsNotThereEndsTheConnection(Scene it) throws Exception {
        try {
            it.channel.basicQos(1, 1, false);
            throw new AssertionError("not refused");
        } catch (IOException error) {
            Object close = ((ShutdownSignalException) error.getCause()).getReason();
            equal(((AMQP.Connection.Close) close).getReplyCode(), 540);
        }
    }

    static void aWrongPasswordIsRefused(Scene it) throws Exception {
        ConnectionFactory factory = factory();
        factory.setPassword("wrong");
        try {
            factory.newConnection();
            throw new AssertionError("not refused");
        } catch (AuthenticationFailureException expected) {
            equal(expected.getMessage().startsWith("ACCESS_REFUSED - Login was refused"), true);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String[] address = arguments[1].split(":");
        host = address[0];
        port = Integer.parseInt(address[1]);
        Map<String, Body> cases = new LinkedHashMap<>();
        cases.put("routed_by_a_binding", Smoke::routedByABinding);
        cases.put("a_thousand_confirmed_and_consumed", Smoke::aThousandConfirmedAndConsumed);
        cases.put("a_large_message", Smoke::aLargeMessage);
        cases.put("given_back_it_comes_again", Smoke::givenBackItComesAgain);
        cases.put("rejected_it_is_dead_lettered", Smoke::rejectedItIsDeadLettered);
        cases.put("nothing_is_there", Smoke::nothingIsThere);
        cases.put("unroutable_it_is_returned", Smoke::unroutableItIsReturned);
        cases.put("a_full_queue_refuses", Smoke::aFullQueueRefuses);
        cases.put("prefetch_holds_back", Smoke::prefetchHoldsBack);
        cases.put("transactions_hold_back", Smoke::transactionsHoldBack);
        cases.put("exclusive_queues_are_locked", Smoke::exclusiveQueuesAreLocked);
        cases.put("what_is_missing_is_not_found", Smoke::whatIsMissingIsNotFound);
        cases.put("what_differs_is_refused", Smoke::whatDiffersIsRefused);
        cases.put("a_consumer_is_told_that_its_queue_is_gone", Smoke::aConsumerIsToldThatItsQueueIsGone);
        cases.put("a_consumer_cancels", Smoke::aConsumerCancels);
        cases.put("answers_come_back_directly", Smoke::answersComeBackDirectly);
        cases.put("exchanges_feed_exchanges", Smoke::exchangesFeedExchanges);
        cases.put("heartbeats_keep_it_open", Smoke::heartbeatsKeepItOpen);
        cases.put("after_an_error_there_is_another_channel", Smoke::afterAnErrorThereIsAnotherChannel);
        cases.put("what_is_lost_is_made_again", Smoke::whatIsLostIsMadeAgain);
        cases.put("what_is_not_there_ends_the_connection", Smoke::whatIsNotThereEndsTheConnection);
        cases.put("a_wrong_password_is_refused", Smoke::aWrongPasswordIsRefused);
        for (Map.Entry<String, Body> one : cases.entrySet()) {
            try (Scene scene = new Scene()) {
                one.getValue().run(scene);
                System.out.println("ok " + one.getKey());
            } catch (Throwable error) {
                error.printStackTrace(System.out);
                System.out.println("not ok " + one.getKey() + ": " + error.toString().replace("\n", " "));
            }
        }
        // A case that failed may have left a thread running.
        System.exit(0);
    }
}
