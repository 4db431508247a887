"""Moving from RabbitMQ, as its guide tells it: the commands there, word for word, with the example's definitions file."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import pika
from harness import cases
from harness.broker import Broker
from harness.readme import ROOT, examples

EXAMPLES = os.path.join(ROOT, "examples")
SECONDS = 60


class Move:
    """A broker, and a folder as the guide asks for it."""

    def __init__(self, broker, folder):
        self.broker = broker
        self.folder = folder
        shutil.copy(os.path.join(EXAMPLES, "rabbitmq_definitions.py"), folder)
        shutil.copy(
            os.path.join(EXAMPLES, "rabbitmq_definitions.json"), os.path.join(folder, "definitions.json")
        )

    def run(self, text):
        """Runs commands of the page; returns what they printed."""
        listeners = self.broker.listeners
        text = text.replace("127.0.0.1:8080", listeners["http"]).replace("127.0.0.1:5672", listeners["amqp"])
        places = [os.path.dirname(sys.executable), os.path.dirname(self.broker.binary), os.environ["PATH"]]
        environment = os.environ | {"PATH": os.pathsep.join(places), "FOREBAY_HTTP": listeners["http"]}
        done = subprocess.run(
            ["sh", "-e", "-c", text],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def api(self, path):
        with urllib.request.urlopen(f"http://{self.broker.listeners['http']}/api/v1{path}") as answer:
            return json.load(answer)


def everything_is_there(move):
    vhosts, policies, rest = examples("sh", "docs/guides/moving-from-rabbitmq.md")
    # Each step can be repeated.
    for _ in range(2):
        move.run(vhosts)
        said = move.run(policies)
        assert "`ha-mode` has no effect" in said, said
        said = move.run(rest).splitlines()
        cases.equal(said[0], "vhost shop: 11 declared, 0 refused")
        assert "not declared: users (1)" in said, said
    queues = {queue["name"]: queue["type"] for queue in move.api("/queues?vhost=shop")["queues"]}
    expected = {"dead": "classic", "orders.log": "stream", "orders.mail": "classic", "orders.new": "quorum"}
    cases.equal(queues, expected)
    cases.equal(len(move.api("/bindings?vhost=shop")["bindings"]), 4)
    new = move.api("/queues/orders.new?vhost=shop")
    cases.equal(new["policies"], {"user": "retries", "operator": None})
    cases.equal(new["limits"]["delivery_limit"], 5)
    cases.equal(new["dead_letter_exchange"], {"exchange": "dead", "key": None})
    mail = move.api("/queues/orders.mail?vhost=shop")
    cases.equal((mail["limits"]["message_ttl_ms"], mail["limits"]["messages_max"]), (60_000, 100_000))
    log = move.api("/queues/orders.log?vhost=shop")
    cases.equal(log["settings"]["retention_ms"], 7 * 24 * 3_600_000)


def a_message_goes_its_way(move):
    url = f"amqp://guest:guest@{move.broker.listeners['amqp']}/shop"
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("orders", "new.book", b"one book", mandatory=True)
    _, _, body = channel.basic_get("orders.new", auto_ack=True)
    cases.equal(body, b"one book")
    connection.close()


def what_differs_is_refused_and_said(move):
    path = os.path.join(move.folder, "other.json")
    queues = [{"name": "dead", "durable": True, "auto_delete": False, "arguments": {"x-queue-type": "quorum"}}]
    with open(path, "w", encoding="utf-8") as text:
        json.dump({"queues": queues}, text)
    listener = move.broker.listeners["amqp"]
    command = [sys.executable, "rabbitmq_definitions.py", "other.json", "--vhost", "shop", "--amqp", f"amqp://{listener}"]
    done = subprocess.run(command, cwd=move.folder, capture_output=True, text=True, timeout=SECONDS)
    cases.equal(done.returncode, 1)
    assert "queue dead: 406 PRECONDITION_FAILED" in done.stdout, done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    options = parser.parse_args()
    if not (shutil.which("jq") and shutil.which("curl")):
        print("skip all: needs jq and curl")
        return 0
    with Broker(options.binary, amqp="127.0.0.1:0") as broker, tempfile.TemporaryDirectory() as folder:
        move = Move(broker, folder)
        for function in [everything_is_there, a_message_goes_its_way, what_differs_is_refused_and_said]:
            try:
                function(move)
                print(f"ok {function.__name__}")
            except Exception as error:  # Whatever it is, it is said of this case.
                print(f"not ok {function.__name__}: {error!r}")
        cases.equal(broker.stop(), 0)
        cases.equal(broker.alarms(), [])
    return 0


if __name__ == "__main__":
    sys.exit(main())
