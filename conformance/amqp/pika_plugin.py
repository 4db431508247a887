"""A pytest plugin that points pika's acceptance suite, which only knows the usual port, at the broker under test."""

import os
import socket

USUAL = 5672
HOST, _, PORT = os.environ["AMQP_ADDRESS"].rpartition(":")


class Redirected(socket.socket):
    """Every adapter of pika connects with one of these."""

    def connect(self, address):
        return super().connect(elsewhere(address))

    def connect_ex(self, address):
        return super().connect_ex(elsewhere(address))


def elsewhere(address):
    return (HOST, int(PORT)) if address[1:2] == (USUAL,) else address


socket.socket = Redirected


def pytest_collection_finish():
    """The suite's proxy is a new process without this plugin: it has to be told where to go."""
    from tests.misc.forward_server import ForwardServer

    make = ForwardServer.__init__

    def make_elsewhere(self, remote_addr, *args, **kwargs):
        make(self, remote_addr and elsewhere(remote_addr), *args, **kwargs)

    ForwardServer.__init__ = make_elsewhere
