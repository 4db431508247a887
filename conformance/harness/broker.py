"""The broker under test: started on its own data and free ports, killed, started again, and its log judged."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading

PATIENCE_SECONDS = 40
SETTINGS = {
    # Clients in these suites wait for their groups; the usual three seconds per group would be most of the run.
    "FOREBAY__KAFKA__GROUP_INITIAL_REBALANCE_DELAY": "0s",
    # kafka-python's suite asks for sessions of three seconds.
    "FOREBAY__KAFKA__GROUP_MIN_SESSION_TIMEOUT": "3s",
}
# What must never be in the log of a broker that is fine.
ALARMS = (" ERROR ", "panicked at")


class Broker:
    """One data folder and the process that serves it."""

    def __init__(self, binary, settings=None, amqp="off"):
        self.binary = os.path.abspath(binary)
        self.folder = tempfile.mkdtemp(prefix="forebay-conformance-")
        self.settings = SETTINGS | (settings or {})
        # The first start chooses; later ones take the same again, as a restarted broker would.
        self.listeners = {"kafka": "127.0.0.1:0", "amqp": amqp, "sqs": "127.0.0.1:0", "http": "127.0.0.1:0"}
        self.process = None

    @property
    def bootstrap(self):
        return self.listeners["kafka"]

    def start(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY__")}
        flags = [part for name, address in self.listeners.items() for part in (f"--{name}", address)]
        with open(self._log_path(), "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--data", os.path.join(self.folder, "data"), *flags],
                env=environment | self.settings,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        watchdog = threading.Timer(PATIENCE_SECONDS, self.process.kill)
        watchdog.start()
        try:
            self._await_ready()
        finally:
            watchdog.cancel()
        # Nothing may fill the pipe later on.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        return self

    def _await_ready(self):
        for line in self.process.stdout:
            if line.strip() == "forebay ready":
                return
            name, _, address = line.strip().partition(" listening on ")
            if name in self.listeners:
                self.listeners[name] = address
        raise RuntimeError(f"the broker never became ready; its log:\n{self.log()}")

    def kill(self):
        """SIGKILL: no chance to write anything."""
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.kill()
        return self.start()

    def stop(self):
        """Asks it to stop; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError("the broker did not stop when asked to") from None

    def log(self):
        with open(self._log_path(), encoding="utf-8", errors="replace") as log:
            return log.read()

    def alarms(self):
        """The lines of the log that an operator would have to act upon."""
        return [line for line in self.log().splitlines() if any(alarm in line for alarm in ALARMS)]

    def _log_path(self):
        return os.path.join(self.folder, "stderr")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
