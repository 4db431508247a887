"""Signature Version 4 written down once more, so that the broker is not only checked with itself and one client."""

import datetime
import hashlib
import hmac
import urllib.parse

from client import ACCESS_KEY, REGION, SECRET_KEY

ALGORITHM = "AWS4-HMAC-SHA256"


def _mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _escaped(pairs):
    return "&".join(f"{name}={value}" for name, value in sorted((_quote(n), _quote(v)) for n, v in pairs.items()))


def _quote(text):
    return urllib.parse.quote(text, safe="-._~")


class Signer:
    """Signs for one key, at a time that may differ from now by some seconds."""

    def __init__(self, access_key=ACCESS_KEY, secret_key=SECRET_KEY, skew=0, region=REGION):
        when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=skew)
        self.time = when.strftime("%Y%m%dT%H%M%SZ")
        self.scope = f"{self.time[:8]}/{region}/sqs/aws4_request"
        self.credential = f"{access_key}/{self.scope}"
        self.key = f"AWS4{secret_key}".encode()
        for part in self.scope.split("/"):
            self.key = _mac(self.key, part)

    def _signature(self, request, headers, payload_hash):
        method, path, query = request
        lines = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        canonical = "\n".join([method, path, query, lines, ";".join(sorted(headers)), payload_hash])
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        return _mac(self.key, "\n".join([ALGORITHM, self.time, self.scope, digest])).hex()

    def headers(self, host, body, **more):
        """Headers for a body that is posted to the root."""
        signed = {"host": host, "x-amz-date": self.time} | more
        signature = self._signature(("POST", "/", ""), signed, hashlib.sha256(body).hexdigest())
        names = ";".join(sorted(signed))
        value = f"{ALGORITHM} Credential={self.credential}, SignedHeaders={names}, Signature={signature}"
        return signed | {"authorization": value}

    def presigned(self, host, path, parameters, life=60):
        """The path and query of an address that is good for `life` seconds."""
        query = parameters | {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": self.credential,
            "X-Amz-Date": self.time,
            "X-Amz-Expires": str(life),
            "X-Amz-SignedHeaders": "host",
        }
        nothing = hashlib.sha256(b"").hexdigest()
        signature = self._signature(("GET", path, _escaped(query)), {"host": host}, nothing)
        return f"{path}?{_escaped(query)}&X-Amz-Signature={signature}"
