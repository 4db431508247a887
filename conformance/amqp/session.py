"""A pika connection with one confirming channel, and what the cases about features do with it."""

import pika
from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker, NackError, UnroutableError

from harness.cases import case, eventually, fresh

SECONDS = 20
PAUSE = 0.02


class Message:
    def __init__(self, method, properties, body):
        self.method, self.properties, self.body = method, properties, body.decode()
        self.headers = properties.headers or {}

    @property
    def deaths(self):
        return self.headers.get("x-death", [])

    @property
    def tag(self):
        return self.method.delivery_tag


class Consumer:
    """Collects what is delivered to it while the session listens."""

    def __init__(self, session, queue, ack, settings):
        self.session, self.queue, self.ack = session, queue, ack
        self.messages, self.cancelled = [], False
        self.tag = session.channel.basic_consume(queue, self._deliver, auto_ack=ack is None, **settings)

    def _deliver(self, channel, method, properties, body):
        self.messages.append(Message(method, properties, body))
        if self.ack:
            channel.basic_ack(method.delivery_tag)

    @property
    def bodies(self):
        return [message.body for message in self.messages]

    def cancel(self):
        self.session.channel.basic_cancel(self.tag)


class Session:
    def __init__(self, peer):
        self.peer = peer
        host, port = peer.host_and_port()
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(host, port, heartbeat=0))
        self.open_channel()
        self.lasting = []

    def open_channel(self):
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def close(self):
        """Takes away what would outlive the connection."""
        for name in self.lasting:
            channel = self.connection.channel()
            channel.queue_delete(name)
            channel.close()
        self.connection.close()

    def queue(self, arguments=None, **flags):
        """A queue of this connection's own."""
        given = {"exclusive": True} | flags
        return self.channel.queue_declare(fresh("queue"), arguments=arguments, **given).method.queue

    def lasting_queue(self, arguments=None):
        """A queue that others may use too."""
        name = self.queue(arguments, exclusive=False, durable=True)
        self.lasting.append(name)
        return name

    def quorum(self, arguments=None):
        return self.lasting_queue({"x-queue-type": "quorum"} | (arguments or {}))

    def exchange(self, kind, arguments=None, **flags):
        """An exchange that goes with the last that is bound to it."""
        name = fresh("exchange")
        self.channel.exchange_declare(name, kind, arguments=arguments, **({"auto_delete": True} | flags))
        return name

    def bind(self, queue, exchange, key="", arguments=None):
        self.channel.queue_bind(queue, exchange, key, arguments)

    def publish(self, key, body, exchange="", mandatory=False, **properties):
        """Returns when the broker has taken it."""
        self.channel.basic_publish(exchange, key, body, pika.BasicProperties(**properties), mandatory)

    def refused(self, key, body, exchange="", **properties):
        try:
            self.publish(key, body, exchange, **properties)
        except NackError:
            return True
        return False

    def unroutable(self, key, body, exchange="", **properties):
        try:
            self.publish(key, body, exchange, mandatory=True, **properties)
        except UnroutableError:
            return True
        return False

    def get(self, queue, ack=True):
        """A message if there is one."""
        method, properties, body = self.channel.basic_get(queue, auto_ack=ack)
        return Message(method, properties, body) if method else None

    def wait(self, queue, ack=True):
        """A message that is there or comes soon."""
        return eventually(lambda: self.get(queue, ack), SECONDS, PAUSE)

    def drain(self, queue):
        """The bodies of all that is there."""
        found = []
        while message := self.get(queue):
            found.append(message.body)
        return found

    def count(self, queue):
        return self.channel.queue_declare(queue, passive=True).method.message_count

    def settled(self, queue, count):
        """Waits until so many messages are ready."""
        eventually(lambda: self.count(queue) == count, SECONDS, PAUSE)

    def exists(self, queue):
        """Asked on a channel of its own, which the broker closes when the answer is no."""
        channel = self.connection.channel()
        try:
            channel.queue_declare(queue, passive=True)
        except ChannelClosedByBroker as error:
            assert error.reply_code == 404, error
            return False
        channel.close()
        return True

    def consume(self, queue, ack=True, **settings):
        """`ack`: acknowledge each; False leaves that to the case; None asks for none."""
        return Consumer(self, queue, ack, settings)

    def listen(self, seconds=0.3):
        """Lets deliveries come in for a while."""
        self.connection.process_data_events(seconds)

    def until(self, holds):
        """Lets deliveries come in until it is so."""

        def now():
            self.connection.process_data_events(0.05)
            return holds()

        now.__name__ = f"{holds.__qualname__}"
        return eventually(now, SECONDS, 0)


def feature(check=None, **options):
    """A case that gets a session."""

    def register(check):
        def with_session(peer):
            session = Session(peer)
            try:
                check(session)
            finally:
                try:
                    session.close()
                except AMQPConnectionError:
                    # The case was about that.
                    pass

        with_session.__name__ = check.__name__
        return case(with_session, **options)

    return register(check) if check else register
