"""Celery: an application, two workers, thousands of tasks, and every result."""

import contextlib
import importlib
import os
import subprocess
import sys
import tempfile
import time

from harness.cases import arguments, case, equal, eventually, fresh, main

HERE = os.path.dirname(os.path.abspath(__file__))
TASKS, TASKS_QUICK = 10_000, 500
SECONDS = 100
# How much later than asked for a task may run on a busy machine.
LATE_SECONDS = 8


class Workers:
    """Workers of one queue, and an application that sends to it."""

    def __init__(self, address, **settings):
        self.folder = tempfile.TemporaryDirectory(prefix="forebay-celery-")
        self.processes = []
        self.settings = {"AMQP_ADDRESS": address, "CELERY_QUEUE": fresh("celery")}
        self.settings |= {f"CELERY_{name.upper()}": f"{value}" for name, value in settings.items()}
        self.app, self.tasks = self._application()

    def _application(self):
        """A module of its own for every queue: Celery keeps what it was told first."""
        os.environ.update(self.settings)
        sys.modules.pop("celery_app", None)
        module = importlib.import_module("celery_app")
        for name in self.settings:
            os.environ.pop(name)
        return module.app, module

    def start(self, count=1, pool="prefork", concurrency=2):
        for _ in range(count):
            name = f"worker{len(self.processes)}@{self.settings['CELERY_QUEUE']}"
            command = [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-n", name]
            command += ["--loglevel", "WARNING", "--pool", pool, "--concurrency", f"{concurrency}"]
            environment = os.environ | self.settings | {"C_FORCE_ROOT": "1", "PYTHONDONTWRITEBYTECODE": "1"}
            with open(self.path(f"{name}.log"), "wb") as log:
                made = subprocess.Popen(
                    command, cwd=HERE, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            self.processes.append(made)
        return self

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def lines(self, name):
        try:
            with open(self.path(name), encoding="utf-8") as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    def show(self):
        """What the workers have said."""
        for name in sorted(os.listdir(self.folder.name)):
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                print(f"{name}:\n{file.read()[-3000:]}")

    def kill(self):
        """SIGKILL for the last one, which has no children."""
        process = self.processes.pop()
        process.kill()
        process.wait()

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            equal(process.wait(timeout=SECONDS), 0)
        with self.app.connection() as connection:
            connection.default_channel.queue_delete(self.settings["CELERY_QUEUE"])
        self.app.close()
        self.folder.cleanup()


@contextlib.contextmanager
def workers(address, **settings):
    made = Workers(address, **settings)
    try:
        yield made
        made.stop()
    except BaseException:
        made.show()
        raise
    finally:
        for process in made.processes:
            if process.poll() is None:
                process.kill()


@case
def every_task_has_its_result(address):
    count = TASKS_QUICK if arguments().quick else TASKS
    with workers(address) as two:
        two.start(2)
        eventually(lambda: len(two.app.control.ping(timeout=1)) == 2, SECONDS)
        with two.app.producer_pool.acquire(block=True) as producer:
            sent = [two.tasks.double.apply_async((number,), producer=producer) for number in range(count)]
        found = [result.get(timeout=SECONDS) for result in sent]
        equal(found, [number * 2 for number in range(count)])
        ran = [sum(stats["total"].values()) for stats in two.app.control.inspect(timeout=3).stats().values()]
        equal((sum(ran), len(ran)), (count, 2))
        assert min(ran) > 0, ran

        retried = [two.tasks.third_time_lucky.delay(number) for number in range(20)]
        equal([result.get(timeout=SECONDS) for result in retried], [[number, 2] for number in range(20)])

        began = time.time()
        later = [(delay, two.tasks.when.apply_async(countdown=delay)) for delay in (1, 2, 3) for _ in range(5)]
        for delay, result in later:
            ran_after = result.get(timeout=SECONDS) - began
            assert delay <= ran_after <= delay + LATE_SECONDS, (delay, ran_after)

        equal((two.tasks.double.s(1) | two.tasks.double.s() | two.tasks.double.s()).delay().get(timeout=SECONDS), 8)
        error = two.tasks.fail.delay("on purpose").get(timeout=SECONDS, propagate=False)
        equal((type(error), f"{error}"), (ValueError, "on purpose"))


@case
def a_task_outlives_its_worker(address):
    with workers(address, prefetch=1) as late:
        late.start(pool="solo", concurrency=1)
        path = late.path("runs")
        result = late.tasks.slow_at_first.delay(path)
        eventually(lambda: late.lines("runs") == ["False"], SECONDS)
        late.kill()
        late.start(pool="solo", concurrency=1)
        equal(result.get(timeout=SECONDS), "done")
        equal(late.lines("runs"), ["False", "True"])


@case
def important_tasks_come_first(address):
    with workers(address, prefetch=1, priorities=10) as some:
        # Declares the queue, as the first worker would.
        with some.app.connection() as connection:
            some.app.amqp.queues[some.settings["CELERY_QUEUE"]].bind(connection.default_channel).declare()
        priorities = [number * 7 % 10 for number in range(30)]
        sent = [
            some.tasks.in_turn.apply_async((some.path("turns"), priority), priority=priority) for priority in priorities
        ]
        some.start(pool="solo", concurrency=1)
        equal([result.get(timeout=SECONDS) for result in sent], priorities)
        equal(some.lines("turns"), [f"{priority}" for priority in sorted(priorities, reverse=True)])


@case(full_only=True)
def quorum_queues_with_delays_of_their_own(address):
    with workers(address, quorum=1) as some:
        some.start(2)
        sent = [some.tasks.double.delay(number) for number in range(200)]
        equal([result.get(timeout=SECONDS) for result in sent], [number * 2 for number in range(200)])
        began = time.time()
        later = [(delay, some.tasks.when.apply_async(countdown=delay)) for delay in (2, 3, 5)]
        for delay, result in later:
            ran_after = result.get(timeout=SECONDS) - began
            # Delays are made of whole seconds.
            assert delay - 1 <= ran_after <= delay + LATE_SECONDS, (delay, ran_after)


if __name__ == "__main__":
    main()
