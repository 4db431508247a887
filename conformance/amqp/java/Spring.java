// Spring AMQP: what an application does with it, one line per case.

import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import org.springframework.amqp.core.*;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.AmqpRejectAndDontRequeueException;
import org.springframework.amqp.rabbit.annotation.EnableRabbit;
import org.springframework.amqp.rabbit.annotation.RabbitListener;
import org.springframework.amqp.rabbit.config.SimpleRabbitListenerContainerFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.DirectMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.adapter.MessageListenerAdapter;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

class Spring {
    static final long PATIENCE_MS = 20_000;
    static String host;
    static int port;

    interface Case {
        void run(Scene scene) throws Exception;
    }

    // A connection of its own, with everything that confirms and returns.
    static class Scene implements AutoCloseable {
        final CachingConnectionFactory connections = connect("guest");
        final RabbitAdmin admin = new RabbitAdmin(connections);
        final RabbitTemplate template = new RabbitTemplate(connections);
        final List<AutoCloseable> closing = new ArrayList<>();

        Scene() {
            template.setMandatory(true);
            template.setReceiveTimeout(PATIENCE_MS);
            template.setReplyTimeout(PATIENCE_MS);
        }

        String queue() {
            return queue(Map.of());
        }

        String queue(Map<String, Object> arguments) {
            String name = "spring-" + UUID.randomUUID();
            admin.declareQueue(new Queue(name, false, true, false, arguments));
            return name;
        }

        SimpleMessageListenerContainer listen(String queue, MessageListener listener) {
            SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(connections);
            container.setQueueNames(queue);
            container.setMessageListener(listener);
            container.setReceiveTimeout(100);
            closing.add(container::stop);
            return container;
        }

        @Override
        public void close() throws Exception {
            for (AutoCloseable one : closing) one.close();
            connections.destroy();
        }
    }

    static CachingConnectionFactory connect(String password) {
        CachingConnectionFactory connections = new CachingConnectionFactory(host, port);
        connections.setUsername("guest");
        connections.setPassword(password);
        connections.setPublisherConfirmType(ConfirmType.CORRELATED);
        connections.setPublisherReturns(true);
        return connections;
    }

    static void equal(Object found, Object expected) {
        if (!Objects.equals(found, expected)) throw new AssertionError("found " + found + ", expected " + expected);
    }

    static String text(Message message) {
        return message == null ? null : new String(message.getBody());
    }

    static <T> T taken(BlockingQueue<T> queue) throws Exception {
        T taken = queue.poll(PATIENCE_MS, TimeUnit.MILLISECONDS);
        if (taken == null) throw new TimeoutException("nothing came");
        return taken;
    }

    static void until(Callable<Boolean> condition) throws Exception {
        for (long began = System.currentTimeMillis(); !condition.call(); Thread.sleep(20)) {
            if (System.currentTimeMillis() - began > PATIENCE_MS) throw new TimeoutException("it never came to be");
        }
    }

    // --- cases ----------------------------------------------------------------------------------------------------

    static void sent_and_received(Scene it) {
        String queue = it.queue();
        it.template.convertAndSend(queue, "hello");
        equal(it.template.receiveAndConvert(queue), "hello");
        it.template.convertAndSend("", queue, "with headers", message -> {
            message.getMessageProperties().setHeader("number", 7);
            message.getMessageProperties().setHeader("list", List.of("a", 1L));
            message.getMessageProperties().setPriority(3);
            message.getMessageProperties().setExpiration("60000");
            return message;
        });
        Message message = it.template.receive(queue);
        equal(message.getMessageProperties().getHeaders().get("number"), 7);
        equal(message.getMessageProperties().getHeaders().get("list"), List.of("a", 1L));
        equal(message.getMessageProperties().getPriority(), 3);
        equal(message.getMessageProperties().getExpiration(), "60000");
    }

    static void confirmed_one_by_one(Scene it) throws Exception {
        String queue = it.queue();
        List<CorrelationData> all = new ArrayList<>();
        for (int number = 0; number < 500; number++) {
            CorrelationData data = new CorrelationData("" + number);
            it.template.convertAndSend("", queue, "m" + number, data);
            all.add(data);
        }
        for (CorrelationData data : all) equal(data.getFuture().get(PATIENCE_MS, TimeUnit.MILLISECONDS).isAck(), true);
        equal(it.admin.getQueueInfo(queue).getMessageCount(), 500);
    }

    static void returned_before_it_is_confirmed(Scene it) throws Exception {
        CorrelationData data = new CorrelationData("lost");
        it.template.convertAndSend("", "nobody-" + UUID.randomUUID(), "m", data);
        equal(data.getFuture().get(PATIENCE_MS, TimeUnit.MILLISECONDS).isAck(), true);
        equal(data.getReturned().getReplyCode(), 312);
        equal(data.getReturned().getReplyText(), "NO_ROUTE");
    }

    static void refused_by_a_full_queue(Scene it) throws Exception {
        String queue = it.queue(Map.of("x-max-length", 1, "x-overflow", "reject-publish"));
        List<Boolean> outcomes = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            CorrelationData data = new CorrelationData("" + number);
            it.template.convertAndSend("", queue, "m", data);
            outcomes.add(data.getFuture().get(PATIENCE_MS, TimeUnit.MILLISECONDS).isAck());
        }
        equal(outcomes, List.of(true, false, false));
    }

    static void sent_to_an_exchange_that_is_missing(Scene it) throws Exception {
        CorrelationData data = new CorrelationData("x");
        it.template.convertAndSend("nowhere-" + UUID.randomUUID(), "k", "m", data);
        CorrelationData.Confirm confirm = data.getFuture().get(PATIENCE_MS, TimeUnit.MILLISECONDS);
        equal(confirm.isAck(), false);
        if (!confirm.getReason().contains("NOT_FOUND - no exchange")) throw new AssertionError(confirm.getReason());
    }

    static void confirmed_in_a_scope(Scene it) throws Exception {
        CachingConnectionFactory simple = connect("guest");
        simple.setPublisherConfirmType(ConfirmType.SIMPLE);
        String queue = it.queue();
        boolean done = new RabbitTemplate(simple).invoke(operations -> {
            for (int number = 0; number < 100; number++) operations.convertAndSend(queue, "m");
            return operations.waitForConfirms(PATIENCE_MS);
        });
        equal(done, true);
        equal(it.admin.getQueueInfo(queue).getMessageCount(), 100);
        simple.destroy();
    }

    static void listened_to_by_several(Scene it) throws Exception {
        String queue = it.queue();
        Set<String> seen = ConcurrentHashMap.newKeySet();
        SimpleMessageListenerContainer container = it.listen(queue, message -> seen.add(text(message)));
        container.setConcurrentConsumers(4);
        container.setPrefetchCount(10);
        container.start();
        for (int number = 0; number < 1000; number++) it.template.convertAndSend(queue, "m" + number);
        until(() -> seen.size() == 1000);
        equal(it.admin.getQueueInfo(queue).getConsumerCount(), 4);
    }

    static void listened_to_directly(Scene it) throws Exception {
        String queue = it.queue();
        BlockingQueue<String> seen = new LinkedBlockingQueue<>();
        DirectMessageListenerContainer container = new DirectMessageListenerContainer(it.connections);
        container.setQueueNames(queue);
        container.setConsumersPerQueue(2);
        container.setMessageListener(message -> seen.add(text(message)));
        it.closing.add(container::stop);
        container.start();
        it.template.convertAndSend(queue, "direct");
        equal(taken(seen), "direct");
    }

    static void tried_again_and_then_dead_lettered(Scene it) throws Exception {
        String dead = it.queue();
        String queue = it.queue(Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", dead));
        AtomicInteger tries = new AtomicInteger();
        SimpleMessageListenerContainer container = it.listen(queue, message -> {
            if (tries.incrementAndGet() == 3) throw new AmqpRejectAndDontRequeueException("enough");
            throw new IllegalStateException("once more");
        });
        container.start();
        it.template.convertAndSend(queue, "poison");
        Message letter = it.template.receive(dead);
        equal(text(letter), "poison");
        equal(tries.get(), 3);
        Map<String, ?> death = letter.getMessageProperties().getXDeathHeader().get(0);
        equal(death.get("reason"), "rejected");
        equal(death.get("queue"), queue);
        equal(death.get("count"), 1L);
    }

    static void retried_over_a_queue_that_waits(Scene it) throws Exception {
        String work = it.queue();
        String wait = it.queue(Map.of("x-message-ttl", 200, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", work));
        BlockingQueue<Long> counts = new LinkedBlockingQueue<>();
        SimpleMessageListenerContainer container = it.listen(work, message -> {
            List<Map<String, ?>> deaths = message.getMessageProperties().getXDeathHeader();
            long count = deaths == null ? 0 : (Long) deaths.get(0).get("count");
            counts.add(count);
            if (count < 1) it.template.send("", wait, message);
        });
        container.start();
        it.template.convertAndSend(work, "m");
        equal(taken(counts), 0L);
        equal(taken(counts), 1L);
    }

    static void acknowledged_by_hand(Scene it) throws Exception {
        String queue = it.queue();
        BlockingQueue<Boolean> redelivered = new LinkedBlockingQueue<>();
        SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(it.connections);
        container.setQueueNames(queue);
        container.setAcknowledgeMode(AcknowledgeMode.MANUAL);
        container.setMessageListener((org.springframework.amqp.rabbit.listener.api.ChannelAwareMessageListener) (message, channel) -> {
            boolean again = message.getMessageProperties().isRedelivered();
            redelivered.add(again);
            long tag = message.getMessageProperties().getDeliveryTag();
            if (again) channel.basicAck(tag, false);
            else channel.basicNack(tag, false, true);
        });
        it.closing.add(container::stop);
        container.start();
        it.template.convertAndSend(queue, "m");
        equal(taken(redelivered), false);
        equal(taken(redelivered), true);
    }

    static void asked_and_answered_directly(Scene it) {
        String queue = it.queue();
        it.listen(queue, new MessageListenerAdapter(new Object() {
            @SuppressWarnings("unused")
            public String handleMessage(String question) {
                return question.toUpperCase(Locale.ROOT);
            }
        })).start();
        for (int number = 0; number < 50; number++) equal(it.template.convertSendAndReceive(queue, "q" + number), "Q" + number);
    }

    static void asked_and_answered_over_a_temporary_queue(Scene it) {
        String queue = it.queue();
        it.template.setUseTemporaryReplyQueues(true);
        it.listen(queue, new MessageListenerAdapter(new Object() {
            @SuppressWarnings("unused")
            public String handleMessage(String question) {
                return question + "!";
            }
        })).start();
        equal(it.template.convertSendAndReceive(queue, "temporary"), "temporary!");
    }

    static void declared_and_removed(Scene it) {
        String name = "spring-" + UUID.randomUUID();
        TopicExchange exchange = ExchangeBuilder.topicExchange(name).durable(false).autoDelete().build();
        Queue queue = QueueBuilder.nonDurable(name).autoDelete().maxLength(10).ttl(60_000).deadLetterExchange("amq.fanout").build();
        it.admin.declareExchange(exchange);
        it.admin.declareQueue(queue);
        it.admin.declareQueue(queue);
        it.admin.declareBinding(BindingBuilder.bind(queue).to(exchange).with("a.#"));
        it.template.convertAndSend(name, "a.b", "routed");
        equal(it.admin.getQueueInfo(name).getMessageCount(), 1);
        it.admin.purgeQueue(name);
        equal(it.admin.getQueueInfo(name).getMessageCount(), 0);
        equal(it.admin.deleteQueue(name), true);
        equal(it.admin.getQueueInfo(name), null);
        equal(it.admin.getQueueInfo("amq.nothing"), null);
    }

    static void quorum_queues_and_streams_are_declared(Scene it) {
        for (Queue queue : List.of(QueueBuilder.durable("spring-" + UUID.randomUUID()).quorum().deliveryLimit(3).build(),
                QueueBuilder.durable("spring-" + UUID.randomUUID()).stream().build(),
                QueueBuilder.durable("spring-" + UUID.randomUUID()).singleActiveConsumer().lazy().maxPriority(5).build())) {
            it.admin.declareQueue(queue);
            it.template.convertAndSend(queue.getName(), "m");
            it.admin.deleteQueue(queue.getName());
        }
    }

    static void declared_differently(Scene it) {
        String name = it.queue();
        try {
            it.template.execute(channel -> channel.queueDeclare(name, true, false, false, null));
        } catch (org.springframework.amqp.AmqpIOException error) {
            String words = String.valueOf(error.getCause().getCause());
            if (!words.contains("reply-code=405") && !words.contains("reply-code=406")) throw new AssertionError(words);
            return;
        }
        throw new AssertionError("not refused");
    }

    static void committed_or_rolled_back(Scene it) {
        String queue = it.queue();
        CachingConnectionFactory plain = new CachingConnectionFactory(host, port);
        RabbitTemplate template = new RabbitTemplate(plain);
        template.setChannelTransacted(true);
        var manager = new org.springframework.amqp.rabbit.transaction.RabbitTransactionManager(plain);
        var transaction = new org.springframework.transaction.support.TransactionTemplate(manager);
        transaction.executeWithoutResult(status -> {
            template.convertAndSend(queue, "rolled back");
            status.setRollbackOnly();
        });
        equal(it.admin.getQueueInfo(queue).getMessageCount(), 0);
        transaction.executeWithoutResult(status -> template.convertAndSend(queue, "committed"));
        equal(it.template.receiveAndConvert(queue), "committed");
        plain.destroy();
    }

    static void published_later(Scene it) throws Exception {
        String name = "spring-" + UUID.randomUUID();
        DirectExchange exchange = ExchangeBuilder.directExchange(name).durable(false).autoDelete().delayed().build();
        String queue = it.queue();
        it.admin.declareExchange(exchange);
        it.admin.declareBinding(new Binding(queue, Binding.DestinationType.QUEUE, name, "k", null));
        long began = System.currentTimeMillis();
        it.template.setMandatory(false);
        it.template.convertAndSend(name, "k", "later", message -> {
            message.getMessageProperties().setDelayLong(400L);
            return message;
        });
        equal(it.template.receiveAndConvert(queue), "later");
        if (System.currentTimeMillis() - began < 390) throw new AssertionError("too early");
    }

    static void received_in_batches(Scene it) throws Exception {
        String queue = it.queue();
        BlockingQueue<Integer> sizes = new LinkedBlockingQueue<>();
        SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(it.connections);
        container.setQueueNames(queue);
        container.setConsumerBatchEnabled(true);
        container.setBatchSize(10);
        container.setReceiveTimeout(500);
        container.setMessageListener((BatchMessageListener) messages -> sizes.add(messages.size()));
        it.closing.add(container::stop);
        for (int number = 0; number < 20; number++) it.template.convertAndSend(queue, "m");
        container.start();
        equal(taken(sizes), 10);
        equal(taken(sizes), 10);
    }

    static void annotated_listeners(Scene it) throws Exception {
        try (var context = new AnnotationConfigApplicationContext(Application.class)) {
            String answer = (String) context.getBean(RabbitTemplate.class).convertSendAndReceive("spring-annotated", "k", "ask");
            equal(answer, "answer to ask");
        }
    }

    static void consumers_survive_their_queue(Scene it) throws Exception {
        String queue = it.queue();
        BlockingQueue<String> seen = new LinkedBlockingQueue<>();
        SimpleMessageListenerContainer container = it.listen(queue, message -> seen.add(text(message)));
        container.setMissingQueuesFatal(false);
        container.setRecoveryInterval(200);
        container.setFailedDeclarationRetryInterval(200);
        container.start();
        it.template.convertAndSend(queue, "before");
        equal(taken(seen), "before");
        it.admin.deleteQueue(queue);
        it.admin.declareQueue(new Queue(queue, false, true, false));
        until(() -> it.admin.getQueueInfo(queue).getConsumerCount() == 1);
        it.template.convertAndSend(queue, "after");
        equal(taken(seen), "after");
    }

    static void a_wrong_password(Scene it) {
        CachingConnectionFactory wrong = connect("wrong");
        try {
            wrong.createConnection();
        } catch (org.springframework.amqp.AmqpAuthenticationException error) {
            if (!String.valueOf(error.getCause()).contains("ACCESS_REFUSED")) throw new AssertionError(error);
            return;
        } finally {
            wrong.destroy();
        }
        throw new AssertionError("let in");
    }

    @Configuration
    @EnableRabbit
    static class Application {
        @Bean
        CachingConnectionFactory connections() {
            return new CachingConnectionFactory(host, port);
        }

        @Bean
        RabbitTemplate template(CachingConnectionFactory connections) {
            RabbitTemplate template = new RabbitTemplate(connections);
            template.setReplyTimeout(PATIENCE_MS);
            return template;
        }

        @Bean
        RabbitAdmin admin(CachingConnectionFactory connections) {
            return new RabbitAdmin(connections);
        }

        @Bean
        Declarables declarables() {
            Queue queue = new Queue("spring-annotated", false, true, true);
            DirectExchange exchange = new DirectExchange("spring-annotated", false, true);
            return new Declarables(queue, exchange, BindingBuilder.bind(queue).to(exchange).with("k"));
        }

        @Bean
        SimpleRabbitListenerContainerFactory rabbitListenerContainerFactory(CachingConnectionFactory connections) {
            SimpleRabbitListenerContainerFactory factory = new SimpleRabbitListenerContainerFactory();
            factory.setConnectionFactory(connections);
            factory.setReceiveTimeout(100L);
            return factory;
        }

        @RabbitListener(queues = "spring-annotated")
        String answer(String question) {
            return "answer to " + question;
        }
    }

    public static void main(String[] arguments) throws Exception {
        host = arguments[0].replaceAll(":.*", "");
        port = Integer.parseInt(arguments[0].replaceAll(".*:", ""));
        for (var method : Spring.class.getDeclaredMethods()) {
            if (method.getParameterCount() != 1 || method.getParameterTypes()[0] != Scene.class) continue;
            try (Scene scene = new Scene()) {
                method.invoke(null, scene);
                System.out.println("ok " + method.getName());
            } catch (Throwable error) {
                Throwable cause = error.getCause() == null ? error : error.getCause();
                System.out.println("not ok " + method.getName() + ": " + cause.toString().replaceAll("\\s+", " "));
            }
        }
        System.exit(0);
    }
}
