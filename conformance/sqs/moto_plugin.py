"""A pytest plugin that points moto's SQS suite at a broker that already runs."""

import os
import re
import sys
import types
import urllib.error
import urllib.parse
import urllib.request

import pytest

ENDPOINT = os.environ["TEST_SERVER_MODE_ENDPOINT"]


class Answer:
    """What its cases read of an answer."""

    def __init__(self, response):
        self.status_code = response.status
        self.data = response.read()


class Client:
    """The calls its cases make of a server in their own process, made to the broker."""

    def get(self, path, headers=None):
        return self._send("GET", path, headers)

    def post(self, path="/", headers=None, data=None):
        return self._send("POST", path, headers, (data or "").encode())

    def _send(self, method, path, headers, data=None):
        request = urllib.request.Request(ENDPOINT + path, data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response)
        except urllib.error.HTTPError as error:
            return Answer(error)


def provide_server():
    """Some cases make a server in their own process, which would not be ours."""
    server = types.ModuleType("moto.server")
    server.create_backend_app = lambda service: types.SimpleNamespace(test_client=Client)
    sys.modules["moto.server"] = server


def call(action, **parameters):
    form = urllib.parse.urlencode({"Action": action} | parameters).encode()
    with urllib.request.urlopen(urllib.request.Request(ENDPOINT, form), timeout=30) as response:
        return response.read().decode()


@pytest.fixture(autouse=True)
def clean_broker():
    """Each case finds no queues, as with a server that was just told to forget everything."""
    for url in re.findall("<QueueUrl>(.*?)</QueueUrl>", call("ListQueues")):
        call("DeleteQueue", QueueUrl=url)


provide_server()
