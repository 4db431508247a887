"""The C client, librabbitmq, through its commands: amqp-publish, -consume, -get, -declare-queue, -delete-queue."""

import contextlib
import os
import subprocess

from harness.cases import case, equal, eventually, fresh, main
from harness.debian import Unavailable, libraries, unpacked

PACKAGES = ("amqp-tools", "librabbitmq4", "libpopt0")
SECONDS = 30


class Tools:
    """The commands, bound to one broker."""

    def __init__(self, folder, address):
        self.folder = os.path.join(folder, "usr", "bin")
        self.environment = os.environ | {"LD_LIBRARY_PATH": libraries(folder)}
        self.url = f"amqp://guest:guest@{address}"

    def command(self, name, *arguments):
        return [os.path.join(self.folder, f"amqp-{name}"), "--url", self.url, *arguments]

    def run(self, name, *arguments, stdin=""):
        command = self.command(name, *arguments)
        return subprocess.run(
            command, input=stdin, env=self.environment, capture_output=True, text=True, timeout=SECONDS
        )

    def __call__(self, name, *arguments, stdin=""):
        done = self.run(name, *arguments, stdin=stdin)
        assert done.returncode == 0, f"{done.args} exited with {done.returncode}: {done.stderr}"
        return done.stdout

    def refused(self, text, name, *arguments):
        done = self.run(name, *arguments)
        assert done.returncode != 0 and text in done.stderr, done

    @contextlib.contextmanager
    def queue(self):
        name = fresh("queue")
        equal(self("declare-queue", "--queue", name, "--durable").strip(), name)
        try:
            yield name
        finally:
            self("delete-queue", "--queue", name)


@case
def a_message_through_the_shell(tools):
    with tools.queue() as queue:
        tools("publish", "--routing-key", queue, "--body", "wörd", "--persistent")
        equal(tools("get", "--queue", queue), "wörd")
        # Nothing is there any more: it says so with its exit code.
        equal(tools.run("get", "--queue", queue).returncode, 2)


@case
def standard_input_is_a_message(tools):
    with tools.queue() as queue:
        body = "line\n" * 40_000
        tools("publish", "--routing-key", queue, stdin=body)
        equal(tools("get", "--queue", queue), body)


@case
def every_line_is_a_message(tools):
    with tools.queue() as queue:
        lines = [f"{number}\n" for number in range(500)]
        tools("publish", "--routing-key", queue, "--line-buffered", stdin="".join(lines))
        equal(tools("consume", "--queue", queue, "--count", "500", "--prefetch-count", "50", "cat"), "".join(lines))


@case
def a_consumer_that_fails_leaves_its_message(tools):
    with tools.queue() as queue:
        tools("publish", "--routing-key", queue, "--body", "x")
        # It reads before it fails: the tool does not survive a pipe that nobody reads.
        done = tools.run("consume", "--queue", queue, "--count", "1", "sh", "-c", "cat >/dev/null; exit 1")
        assert done.returncode in (0, 1), done
        equal(tools("get", "--queue", queue), "x")


@case
def a_consumer_waits_behind_an_exchange(tools):
    key = fresh("key")
    command = tools.command("consume", "--exchange", "amq.topic", "--routing-key", f"{key}.#", "--count", "2", "cat")
    with subprocess.Popen(command, env=tools.environment, stdout=subprocess.PIPE, text=True) as consumer:

        def heard():
            tools("publish", "--exchange", "amq.topic", "--routing-key", f"{key}.a.b", "--body", "x")
            return consumer.poll() is not None

        # Its queue has no name that could be asked for.
        eventually(heard)
        equal((consumer.returncode, consumer.stdout.read()), (0, "xx"))


@case
def errors_are_shown(tools):
    queue = fresh("queue")
    tools.refused(f"404, message: NOT_FOUND - no queue '{queue}' in vhost '/'", "get", "--queue", queue)
    tools.refused("403, message: ACCESS_REFUSED - queue name", "declare-queue", "--queue", "amq.mine")
    with tools.queue() as queue:
        tools.refused(
            "406, message: PRECONDITION_FAILED - inequivalent arg 'durable'", "declare-queue", "--queue", queue
        )


if __name__ == "__main__":
    try:
        folder = unpacked(*PACKAGES)
    except Unavailable as why:
        print(f"skip all: {why}")
    else:
        main(lambda function, address: function(Tools(folder, address)), at_once=2)
