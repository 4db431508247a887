<?php
// php-amqplib: what an application does, one line per case.

require_once "PhpAmqpLib/autoload.php";

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

const PATIENCE_SECONDS = 20;

[$host, $port] = explode(":", $argv[array_search("--address", $argv) + 1]);

function connect(string $password = "guest", int $heartbeat = 0): AMQPStreamConnection
{
    global $host, $port;
    $timeout = $heartbeat ? 2 * $heartbeat : PATIENCE_SECONDS;
    return new AMQPStreamConnection(
        $host, $port, "guest", $password, "/", false, "AMQPLAIN", null, "en_US", 3.0, $timeout, null, false, $heartbeat
    );
}

function fresh(string $kind): string
{
    return $kind . "-" . bin2hex(random_bytes(8));
}

function equal(mixed $found, mixed $expected): void
{
    if ($found !== $expected) {
        throw new Exception("found " . json_encode($found) . ", expected " . json_encode($expected));
    }
}

// What every case has: a connection, a channel that confirms, and a queue of its own.
class Scene
{
    public $connection;
    public $channel;
    public string $queue;

    public function __construct()
    {
        $this->connection = connect();
        $this->channel = $this->connection->channel();
        $this->channel->confirm_select();
        $this->queue = $this->queue();
    }

    public function queue(array $arguments = []): string
    {
        return $this->channel->queue_declare(
            fresh("queue"), false, false, true, false, false, new AMQPTable($arguments)
        )[0];
    }

    public function publish(string $key, string $body, string $exchange = "", array $properties = []): void
    {
        $this->channel->basic_publish(new AMQPMessage($body, $properties), $exchange, $key);
        $this->channel->wait_for_pending_acks(PATIENCE_SECONDS);
    }

    // A message that is there or comes soon.
    public function await(string $queue): AMQPMessage
    {
        for ($began = microtime(true); microtime(true) - $began < PATIENCE_SECONDS; usleep(20_000)) {
            if ($message = $this->channel->basic_get($queue)) {
                return $message;
            }
        }
        throw new Exception("nothing came");
    }

    // Lets deliveries come in until it is so.
    public function until(callable $holds): void
    {
        for ($began = microtime(true); !$holds(); ) {
            if (microtime(true) - $began > PATIENCE_SECONDS) {
                throw new Exception("still not so");
            }
            try {
                $this->channel->wait(null, false, 0.2);
            } catch (AMQPTimeoutException) {
                continue;
            }
        }
    }

    // Asks on a channel of its own, which has to be closed with this code and words.
    public function refused(int $code, string $words, callable $ask): void
    {
        try {
            $ask($this->connection->channel());
        } catch (AMQPProtocolChannelException $error) {
            equal($error->amqp_reply_code, $code);
            equal(str_contains($error->amqp_reply_text, $words), true);
            return;
        }
        throw new Exception("not refused");
    }
}

$cases = [
    "routed_by_a_binding" => function (Scene $it) {
        $exchange = fresh("exchange");
        $it->channel->exchange_declare($exchange, "topic", false, false, true);
        $it->channel->queue_bind($it->queue, $exchange, "a.*");
        $headers = ["text" => "x", "number" => 7, "list" => ["a", "b"], "flag" => true];
        $it->publish("a.b", "x", $exchange, ["application_headers" => new AMQPTable($headers), "delivery_mode" => 2]);
        $message = $it->await($it->queue);
        equal([$message->getExchange(), $message->getRoutingKey(), $message->getBody()], [$exchange, "a.b", "x"]);
        equal($message->get("application_headers")->getNativeData(), $headers);
    },
    "a_thousand_confirmed_and_consumed" => function (Scene $it) {
        $got = [];
        $it->channel->basic_consume($it->queue, "", false, false, false, false, function ($message) use (&$got) {
            $got[] = (int) $message->getBody();
            $message->ack();
        });
        for ($number = 0; $number < 1000; $number++) {
            $it->channel->basic_publish(new AMQPMessage("$number"), "", $it->queue);
        }
        $it->until(function () use (&$got) { return count($got) === 1000; });
        $it->channel->wait_for_pending_acks(PATIENCE_SECONDS);
        equal($got, range(0, 999));
    },
    "a_large_message" => function (Scene $it) {
        $body = str_repeat("abc", 700_000);
        $it->publish($it->queue, $body);
        equal($it->await($it->queue)->getBody() === $body, true);
    },
    "given_back_it_comes_again" => function (Scene $it) {
        $it->publish($it->queue, "x");
        $first = $it->await($it->queue);
        equal($first->isRedelivered(), false);
        $first->nack(true);
        equal($it->await($it->queue)->isRedelivered(), true);
    },
    "rejected_it_is_dead_lettered" => function (Scene $it) {
        $queue = $it->queue(["x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => $it->queue]);
        $it->publish($queue, "x");
        $it->await($queue)->reject(false);
        $headers = $it->await($it->queue)->get("application_headers")->getNativeData();
        $death = $headers["x-death"][0];
        equal(
            [$death["reason"], $death["queue"], $death["count"], $death["exchange"], $death["routing-keys"]],
            ["rejected", $queue, 1, "", [$queue]]
        );
        equal($headers["x-first-death-queue"], $queue);
    },
    "nothing_is_there" => fn(Scene $it) => equal($it->channel->basic_get($it->queue), null),
    "unroutable_it_is_returned" => function (Scene $it) {
        $returned = null;
        $it->channel->set_return_listener(function ($code, $text, $exchange, $key, $message) use (&$returned) {
            $returned = [$code, $text, $exchange, $message->getBody()];
        });
        $it->channel->basic_publish(new AMQPMessage("back"), "amq.direct", fresh("nowhere"), true);
        $it->channel->wait_for_pending_acks_returns(PATIENCE_SECONDS);
        equal($returned, [312, "NO_ROUTE", "amq.direct", "back"]);
    },
    "a_full_queue_refuses" => function (Scene $it) {
        $refused = 0;
        $it->channel->set_nack_handler(function () use (&$refused) {
            $refused++;
        });
        $queue = $it->queue(["x-max-length" => 1, "x-overflow" => "reject-publish"]);
        $it->publish($queue, "fits");
        equal($refused, 0);
        $it->publish($queue, "does not");
        equal($refused, 1);
    },
    "prefetch_holds_back" => function (Scene $it) {
        $got = [];
        $it->channel->basic_qos(0, 2, false);
        $it->channel->basic_consume($it->queue, "", false, false, false, false, function ($message) use (&$got) {
            $got[] = $message;
        });
        foreach (["a", "b", "c"] as $body) {
            $it->publish($it->queue, $body);
        }
        $it->until(function () use (&$got) { return count($got) === 2; });
        try {
            $it->channel->wait(null, false, 0.2);
        } catch (AMQPTimeoutException) {
            equal(count($got), 2);
        }
        $got[1]->ack(true);
        $it->until(function () use (&$got) { return count($got) === 3; });
    },
    "transactions_hold_back" => function (Scene $it) {
        $channel = $it->connection->channel();
        $channel->tx_select();
        $channel->basic_publish(new AMQPMessage("dropped"), "", $it->queue);
        $channel->tx_rollback();
        $channel->basic_publish(new AMQPMessage("kept"), "", $it->queue);
        $channel->tx_commit();
        equal($it->await($it->queue)->getBody(), "kept");
        equal($it->channel->basic_get($it->queue), null);
    },
    "exclusive_queues_are_locked" => function (Scene $it) {
        $other = new Scene();
        $words = "cannot obtain exclusive access to locked queue";
        $other->refused(405, $words, fn($channel) => $channel->queue_declare($it->queue, true));
        $other->connection->close();
    },
    "what_is_missing_is_not_found" => function (Scene $it) {
        $queue = fresh("queue");
        $words = "NOT_FOUND - no queue '$queue' in vhost '/'";
        $it->refused(404, $words, fn($channel) => $channel->queue_declare($queue, true));
        $it->refused(404, "no exchange", fn($channel) => $channel->exchange_declare($queue, "direct", true));
    },
    "what_differs_is_refused" => function (Scene $it) {
        $arguments = new AMQPTable(["x-message-ttl" => 1]);
        $ask = fn($channel) => $channel->queue_declare($it->queue, false, false, true, false, false, $arguments);
        $it->refused(406, "inequivalent arg 'x-message-ttl'", $ask);
    },
    "a_consumer_is_told_that_its_queue_is_gone" => function (Scene $it) {
        $queue = $it->queue();
        $tag = $it->channel->basic_consume($queue, "mine", false, false, false, false, fn() => null);
        $it->connection->channel()->queue_delete($queue);
        try {
            $it->until(fn() => !$it->channel->is_consuming());
        } catch (PhpAmqpLib\Exception\AMQPBasicCancelException $told) {
            equal($told->consumerTag, $tag);
        }
    },
    "a_consumer_cancels" => function (Scene $it) {
        $tag = $it->channel->basic_consume($it->queue, "", false, false, false, false, fn() => null);
        $it->channel->basic_cancel($tag);
        $it->publish($it->queue, "x");
        equal($it->await($it->queue)->getBody(), "x");
    },
    "exchanges_feed_exchanges" => function (Scene $it) {
        [$source, $target] = [fresh("exchange"), fresh("exchange")];
        foreach ([$source, $target] as $name) {
            $it->channel->exchange_declare($name, "fanout", false, false, true);
        }
        $it->channel->queue_bind($it->queue, $target);
        $it->channel->exchange_bind($target, $source);
        $it->publish("k", "x", $source);
        equal($it->await($it->queue)->getBody(), "x");
    },
    "heartbeats_keep_it_open" => function (Scene $it) {
        $connection = connect(heartbeat: 1);
        $channel = $connection->channel();
        for ($tick = 0; $tick < 7; $tick++) {
            usleep(500_000);
            $connection->checkHeartBeat();
        }
        equal($channel->queue_declare($fresh = fresh("queue"), false, false, true)[0], $fresh);
        $connection->close();
    },
    "after_an_error_there_is_another_channel" => function (Scene $it) {
        for ($round = 0; $round < 5; $round++) {
            $it->refused(404, "NOT_FOUND", fn($channel) => $channel->queue_declare(fresh("queue"), true));
            $it->connection->reconnect();
            $it->connection->channel()->close();
        }
    },
    "what_is_not_there_ends_the_connection" => function (Scene $it) {
        try {
            $it->channel->basic_qos(1, 1, false);
        } catch (AMQPConnectionClosedException $error) {
            equal($error->getCode(), 540);
            return;
        }
        throw new Exception("not refused");
    },
    "a_wrong_password_is_refused" => function (Scene $it) {
        try {
            connect("wrong");
        } catch (AMQPConnectionClosedException $error) {
            equal($error->getCode(), 403);
            return;
        }
        throw new Exception("not refused");
    },
];

foreach ($cases as $name => $check) {
    try {
        $it = new Scene();
        $check($it);
        if ($it->connection->isConnected()) {
            $it->connection->close();
        }
        echo "ok $name\n";
    } catch (Throwable $error) {
        echo "$error\n";
        echo "not ok $name: ", get_class($error), ": ", str_replace("\n", " ", $error->getMessage()), "\n";
    }
}
