"""RabbitMQ itself, from Debian's packages, as one node on free ports; and the recorder that asks both."""

import glob
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from harness.debian import Unavailable, unpacked

from kafka_side import free_ports

HERE = os.path.dirname(os.path.abspath(__file__))
CONFORMANCE = os.path.dirname(HERE)
ERLANG = (
    "base", "asn1", "crypto", "eldap", "ftp", "inets", "mnesia", "os-mon", "parsetools", "public-key", "runtime-tools",
    "snmp", "ssl", "syntax-tools", "tftp", "tools", "xmerl",
)
START_SECONDS, STOP_SECONDS, RECORD_SECONDS = 90, 30, 600
SETTINGS = {"FOREBAY__AMQP__CREDENTIALS_FILE": os.path.join(CONFORMANCE, "amqp", "credentials")}


def packages():
    """The folder that RabbitMQ and its runtime were unpacked into."""
    folder = unpacked("rabbitmq-server", *(f"erlang-{name}" for name in ERLANG))
    erl = os.path.join(folder, "usr", "lib", "erlang", "bin", "erl")
    with open(erl, encoding="utf-8") as file:
        script = file.read()
    # It knows only where it would have been installed.
    here = os.path.join(folder, "usr", "lib", "erlang")
    if f"ROOTDIR={here}" not in script:
        with open(erl, "w", encoding="utf-8") as file:
            file.write(script.replace("ROOTDIR=/usr/lib/erlang", f"ROOTDIR={here}"))
    return folder


def missing():
    """Why this cannot run here; nothing when it can."""
    try:
        packages()
    except Unavailable as why:
        return str(why)
    return None


class Rabbit:
    """One node of RabbitMQ, with a name server of its own."""

    def __init__(self):
        self.packages = packages()
        self.folder = tempfile.mkdtemp(prefix="forebay-differ-rabbit-")
        self.names = self.process = self.address = None

    def __enter__(self):
        port, distribution, names = free_ports(3)
        self.address = f"127.0.0.1:{port}"
        environment = self._environment(port, distribution, names)
        for folder in ("home", "db", "log"):
            os.mkdir(os.path.join(self.folder, folder))
        with open(os.path.join(self.folder, "plugins"), "w", encoding="utf-8") as file:
            file.write("[].")
        epmd = os.path.join(environment["ERL_ROOTDIR"], "bin", "epmd")
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.names = subprocess.Popen([epmd, "-address", "127.0.0.1", "-port", str(names)], env=environment, **quiet)
        script = glob.glob(os.path.join(self.packages, "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))[0]
        with open(os.path.join(self.folder, "out"), "wb") as out:
            self.process = subprocess.Popen(["bash", script], env=environment, cwd=self.folder, stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out, start_new_session=True)
        self._await(port)
        return self

    def _environment(self, port, distribution, names):
        root = os.path.join(self.packages, "usr", "lib", "erlang")
        here = lambda name: os.path.join(self.folder, name)  # noqa: E731
        return os.environ | {
            "ERL_ROOTDIR": root,
            "PATH": os.path.join(root, "bin") + os.pathsep + os.environ["PATH"],
            "HOME": here("home"),
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"differ{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": here("db"),
            "RABBITMQ_LOG_BASE": here("log"),
            "RABBITMQ_CONFIG_FILE": here("none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": here("plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }

    def _await(self, port):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                # The port is open a little before the node takes logins.
                time.sleep(2)
                return
            except OSError:
                time.sleep(0.3)
        with open(os.path.join(self.folder, "out"), encoding="utf-8", errors="replace") as out:
            raise RuntimeError(f"RabbitMQ did not start: {out.read()[-2000:]}")

    def __exit__(self, *_):
        # The shell, the runtime and its helpers: the group holds only those.
        os.killpg(self.process.pid, 15)
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        self.names.kill()
        self.names.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def record(address):
    """Everything the broker at this address answered, line by line."""
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, "amqp_recorder.py"), address],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([CONFORMANCE, os.path.join(CONFORMANCE, "amqp")])},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=RECORD_SECONDS,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the recorder failed: {done.stderr[-2000:]}")
    return done.stdout.splitlines()


real = Rabbit
