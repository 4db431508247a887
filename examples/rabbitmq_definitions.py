"""Declares the exchanges, queues and bindings of a RabbitMQ definitions file on a broker, over AMQP 0-9-1.

    python3 rabbitmq_definitions.py definitions.json --amqp amqp://guest:guest@127.0.0.1:5672

Vhosts have to be there; policies are set by other means. What exists already and is the same stays as it is, so that it
can be run again. Says what it declared and what was refused; exits 1 when anything was.
"""

import argparse
import json
import sys
import urllib.parse

import pika
import pika.exceptions

# What a definitions file has beside them, and is not declared here.
NOT_DECLARED = ["users", "permissions", "topic_permissions", "parameters", "global_parameters"]


class Vhost:
    """One connection to a vhost, with a channel that is opened anew whenever the broker closes it."""

    def __init__(self, url, name):
        url = f"{url.rstrip('/')}/{urllib.parse.quote(name, safe='')}"
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = None
        self.declared = 0
        self.refused = []

    def declare(self, what, call):
        if self.channel is None or self.channel.is_closed:
            self.channel = self.connection.channel()
        try:
            call(self.channel)
            self.declared += 1
        except pika.exceptions.ChannelClosedByBroker as refusal:
            self.refused.append(f"{what}: {refusal.reply_code} {refusal.reply_text}")


def exchange(given):
    return lambda channel: channel.exchange_declare(
        given["name"],
        exchange_type=given["type"],
        durable=given["durable"],
        auto_delete=given["auto_delete"],
        internal=given["internal"],
        arguments=given["arguments"],
    )


def queue(given):
    arguments = dict(given["arguments"])
    # Newer files name the type beside the arguments.
    if given.get("type", "classic") != "classic":
        arguments.setdefault("x-queue-type", given["type"])
    return lambda channel: channel.queue_declare(
        given["name"], durable=given["durable"], auto_delete=given["auto_delete"], arguments=arguments
    )


def binding(given):
    def bind(channel):
        call = channel.queue_bind if given["destination_type"] == "queue" else channel.exchange_bind
        call(given["destination"], given["source"], given["routing_key"], arguments=given["arguments"])

    return bind


def is_standard(name):
    """Every vhost has these, and nobody may declare them."""
    return name == "" or name.startswith("amq.")


def declare(definitions, url, default_vhost):
    """Declares everything, vhost by vhost; returns the vhosts."""
    # Exchanges and queues first: bindings name them.
    steps = [("exchanges", exchange), ("queues", queue), ("bindings", binding)]
    vhosts = {}
    for member, make in steps:
        for given in definitions.get(member, []):
            name = given.get("vhost", default_vhost)
            if is_standard(given.get("name", given.get("source", ""))) and member != "bindings":
                continue
            if member == "bindings" and given["source"] == "":
                continue
            if name not in vhosts:
                vhosts[name] = Vhost(url, name)
            label = given.get("name") or f"{given['source']} to {given['destination']}"
            vhosts[name].declare(f"{member[:-1]} {label}", make(given))
    return vhosts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="the definitions file")
    parser.add_argument("--amqp", default="amqp://guest:guest@127.0.0.1:5672", help="the broker, without a vhost")
    parser.add_argument("--vhost", default="/", help="where things are whose vhost is not named, as in a file of one vhost")
    options = parser.parse_args()
    with open(options.file, encoding="utf-8") as text:
        definitions = json.load(text)
    vhosts = declare(definitions, options.amqp, options.vhost)
    for name, vhost in sorted(vhosts.items()):
        print(f"vhost {name}: {vhost.declared} declared, {len(vhost.refused)} refused")
        for refusal in vhost.refused:
            print(f"  {refusal}")
        vhost.connection.close()
    for member in NOT_DECLARED:
        if definitions.get(member):
            print(f"not declared: {member} ({len(definitions[member])})")
    sys.exit(1 if any(vhost.refused for vhost in vhosts.values()) else 0)


if __name__ == "__main__":
    main()
