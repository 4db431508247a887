"""The broker at the other end: where it is, and which words it uses."""

import functools

from harness.cases import Skipped
from wire import Wire


class Peer:
    def __init__(self, address):
        self.address = address

    @functools.cached_property
    def properties(self):
        with Wire(self.address) as wire:
            return wire.start().server_properties

    @property
    def version(self):
        return self.properties["version"]

    @property
    def old(self):
        """RabbitMQ before 4.0, which the cases are compared with: it lacks some things and words others differently."""
        return int(self.version.split(".")[0]) < 4

    def needs(self, what):
        """For cases about what an old RabbitMQ does not have."""
        if self.old:
            raise Skipped(f"{self.version} has no {what}")

    def connect(self):
        return Wire(self.address)

    def open(self, **values):
        return Wire(self.address).open(**values)

    def host_and_port(self):
        host, port = self.address.rsplit(":", 1)
        return host, int(port)


# One peer for all cases of a suite: its version is asked for once.
peer_at = functools.cache(Peer)
