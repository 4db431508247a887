"""Requests without a client, and what comes back."""

import http.client
import json
import re
import urllib.parse

FORM = "application/x-www-form-urlencoded; charset=utf-8"
JSON = "application/x-amz-json-1.0"
SECONDS = 30


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    def json(self):
        return json.loads(self.text)

    def element(self, name):
        """The text of the first element of this name, as it stands."""
        found = re.search(f"<{name}>(.*?)</{name}>", self.text, re.DOTALL)
        assert found, self.text
        return found[1]


class Plain:
    """One connection, kept open as clients do."""

    def __init__(self, address):
        self.address = address
        self.connection = http.client.HTTPConnection(address, timeout=SECONDS)

    def send(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body, headers or {})
        return Answer(self.connection.getresponse())

    def get(self, path, **parameters):
        return self.send("GET", f"{path}?{urllib.parse.urlencode(parameters)}")

    def form(self, action, path="/", headers=None, **parameters):
        body = urllib.parse.urlencode({"Action": action, "Version": "2012-11-05"} | parameters)
        return self.send("POST", path, body.encode(), {"Content-Type": FORM} | (headers or {}))

    def json(self, action, body, path="/", headers=None):
        given = {"Content-Type": JSON, "X-Amz-Target": f"AmazonSQS.{action}"} | (headers or {})
        return self.send("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), given)
