"""The application whose tasks the suite sends and its workers run."""

import os
import time

import celery
from kombu import Queue

app = celery.Celery("conformance", broker=f"amqp://guest:guest@{os.environ['AMQP_ADDRESS']}//", backend="rpc://")
app.conf.update(
    task_default_queue=os.environ["CELERY_QUEUE"],
    worker_hijack_root_logger=False,
    # One case at a time decides how much a worker takes.
    worker_prefetch_multiplier=int(os.environ.get("CELERY_PREFETCH", "4")),
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    result_expires=600,
)
if priorities := os.environ.get("CELERY_PRIORITIES"):
    app.conf.task_queue_max_priority = int(priorities)
if os.environ.get("CELERY_QUORUM"):
    app.conf.task_queues = [Queue(app.conf.task_default_queue, queue_arguments={"x-queue-type": "quorum"})]
    # What quorum queues need: prefetch per consumer, and delays made of topics, lifetimes and dead letters.
    app.conf.worker_detect_quorum_queues = True


def note(path, line):
    """Says what was run, in a file that all workers append to."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{line}\n")


@app.task
def double(number):
    return number * 2


@app.task(bind=True, max_retries=5)
def third_time_lucky(self, number):
    if self.request.retries < 2:
        raise self.retry(countdown=0.2)
    return number, self.request.retries


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def slow_at_first(self, path):
    """Its first run does not come to an end by itself."""
    again = os.path.exists(path)
    note(path, self.request.delivery_info["redelivered"])
    if not again:
        time.sleep(600)
    return "done"


@app.task
def when():
    return time.time()


@app.task(acks_late=True)
def in_turn(path, priority):
    note(path, priority)
    return priority


@app.task
def fail(words):
    raise ValueError(words)
