"""Celery over SQS: an application, its workers, every result, and a worker that dies."""

import contextlib
import importlib
import os
import subprocess
import sys
import tempfile
import time

from harness.cases import arguments, case, equal, eventually, fresh, main

HERE = os.path.dirname(os.path.abspath(__file__))
TASKS, TASKS_QUICK = 1_000, 100
SECONDS = 100
# How much later than asked for a task may run on a busy machine.
LATE_SECONDS = 10
VISIBILITY_SECONDS = 6


@contextlib.contextmanager
def application(address, **settings):
    """The application of a queue of its own, and a function that starts a worker of it."""
    with tempfile.TemporaryDirectory(prefix="forebay-celery-sqs-") as folder:
        variables = {"SQS_ADDRESS": address, "CELERY_QUEUE": fresh("celery"), "CELERY_RESULTS": os.path.join(folder, "results")}
        variables |= {f"CELERY_{name.upper()}": f"{value}" for name, value in settings.items()}
        os.mkdir(variables["CELERY_RESULTS"])
        os.environ.update(variables)
        sys.modules.pop("celery_sqs_app", None)
        tasks = importlib.import_module("celery_sqs_app")
        tasks.folder = folder
        processes = []

        def start(pool="solo", concurrency=1):
            name = f"worker{len(processes)}@{variables['CELERY_QUEUE']}"
            command = [sys.executable, "-m", "celery", "-A", "celery_sqs_app", "worker", "-n", name, "--loglevel", "WARNING"]
            command += ["--pool", pool, "--concurrency", f"{concurrency}", "--without-gossip", "--without-mingle"]
            with open(os.path.join(folder, f"log-{len(processes)}"), "wb") as log:
                processes.append(subprocess.Popen(
                    command, cwd=HERE, env=os.environ | variables | {"C_FORCE_ROOT": "1", "PYTHONDONTWRITEBYTECODE": "1"},
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                ))
            return processes[-1]

        try:
            yield tasks, start
        except BaseException:
            for name in sorted(os.listdir(folder)):
                if name.startswith("log-"):
                    with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                        print(f"{name}:\n{file.read()[-3000:]}")
            raise
        finally:
            for process in processes:
                process.kill()
                process.wait()
            tasks.app.close()


@case
def every_task_has_its_result(address):
    count = TASKS_QUICK if arguments().quick else TASKS
    with application(address) as (tasks, start):
        for _ in range(2):
            start()
        sent = [tasks.double.delay(number) for number in range(count)]
        equal([result.get(timeout=SECONDS) for result in sent], [number * 2 for number in range(count)])
        retried = [tasks.third_time_lucky.delay(number) for number in range(5)]
        equal([result.get(timeout=SECONDS) for result in retried], [[number, 2] for number in range(5)])
        began = time.time()
        later = [(delay, tasks.when.apply_async(countdown=delay)) for delay in (1, 3)]
        for delay, result in later:
            ran_after = result.get(timeout=SECONDS) - began
            assert delay <= ran_after <= delay + LATE_SECONDS, (delay, ran_after)


@case(full_only=True)
def a_task_outlives_its_worker(address):
    with application(address, prefetch=1, visibility=VISIBILITY_SECONDS) as (tasks, start):
        first = start()
        path = os.path.join(tasks.folder, "runs")
        result = tasks.slow_at_first.delay(path)
        eventually(lambda: lines(path) == ["first"], SECONDS)
        first.kill()
        start()
        equal(result.get(timeout=SECONDS), "done")
        equal(lines(path), ["first", "again"])


def lines(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().split()
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    main()
