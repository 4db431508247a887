"""A pytest plugin that says one line per case, as `cases.py` does."""


def pytest_runtest_logreport(report):
    name = report.nodeid.split("/")[-1]
    if report.failed:
        reason = str(report.longrepr.reprcrash.message if hasattr(report.longrepr, "reprcrash") else report.longrepr)
        print(f"\nnot ok {name}: {' '.join(reason.split())[:300]}", flush=True)
    elif report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        print(f"\nskip {name}: {reason}", flush=True)
    elif report.when == "call":
        print(f"\nok {name}", flush=True)
