"""The application whose tasks travel over SQS."""

import os
import time

import celery

# The host in the address is the endpoint; the client signs with what stands before it.
app = celery.Celery("conformance", broker=f"sqs://conformance:conformance@{os.environ['SQS_ADDRESS']}//")
app.conf.update(
    task_default_queue=os.environ["CELERY_QUEUE"],
    broker_transport_options={
        "region": "us-east-1",
        "is_secure": False,
        "visibility_timeout": int(os.environ.get("CELERY_VISIBILITY", "60")),
        "polling_interval": 0.05,
        "wait_time_seconds": 2,
    },
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=int(os.environ.get("CELERY_PREFETCH", "4")),
    broker_connection_retry_on_startup=True,
    # SQS carries no remote control and no events.
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    result_backend=f"file://{os.environ['CELERY_RESULTS']}",
)


def note(path, line):
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


@app.task
def when():
    return time.time()


@app.task(acks_late=True)
def slow_at_first(path):
    """Its first run does not come to an end by itself."""
    again = os.path.exists(path)
    note(path, "again" if again else "first")
    if not again:
        time.sleep(600)
    return "done"
