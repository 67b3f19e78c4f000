"""For each lock that this library has made: another thread holds it at a fork, and the child must do its work."""

import os
import signal
import sys
import threading
import time
import weakref

PACKAGES = (f"{os.sep}otel_pg_exporter{os.sep}", f"{os.sep}instrumentation{os.sep}")
HANG_SECONDS = float(os.environ.get("HANG_SECONDS", "15"))
made: dict[str, list] = {}


def recording(make):
    """A factory of locks that notes who asks for one."""

    def recorded(*given):
        lock, frame = make(*given), sys._getframe(1)
        while frame is not None and frame.f_code.co_filename == threading.__file__:
            frame = frame.f_back
        if frame is not None and any(package in frame.f_code.co_filename for package in PACKAGES):
            where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
            site = f"{where}:{frame.f_code.co_name}"
            made.setdefault(site, []).append(weakref.ref(lock))
        return lock

    return recorded


threading.Lock, threading.RLock = recording(threading.Lock), recording(threading.RLock)

import oracle  # noqa: E402
from harness.patience import wait_for_tables  # noqa: E402

from instrumentation import task  # noqa: E402
from otel_pg_exporter import EventIntegration, EventStore, configure  # noqa: E402

wait_for_tables()
telemetry = configure(dsn=os.environ["DSN"], durability=sys.argv[1], batch_timeout_millis=20, health_monitoring=True)
store, events = EventStore(), EventIntegration()


@task
def decorated() -> None:
    oracle.both()


def use_everything() -> None:
    decorated()
    with task("block"):
        pass
    configure(dsn=os.environ["DSN"], durability=sys.argv[1], batch_timeout_millis=20, health_monitoring=True)
    events.emit("task:started", {"task_id": "1"})
    events.emit("task:completed", {"task_id": "1"})
    store.log_system_event(event_name="outright", wait=True)
    store.log_system_event(event_name="queued")
    telemetry.query.counts()
    store.get_health_status()
    if not (events.force_flush(10_000) and telemetry.force_flush(10_000)):
        raise SystemExit("not stored")


def hold(lock, is_held: threading.Event, let_go: threading.Event) -> None:
    if lock.acquire(timeout=1):
        is_held.set()
        let_go.wait()
        lock.release()
    else:
        is_held.set()


def fork_with(lock) -> int:
    is_held, let_go = threading.Event(), threading.Event()
    holder = threading.Thread(target=hold, args=(lock, is_held, let_go))
    holder.start()
    is_held.wait()
    child = os.fork()
    if not child:
        use_everything()
        sys.exit()
    let_go.set()
    holder.join()
    return child


def outcome(child: int) -> str:
    ends_at = time.monotonic() + HANG_SECONDS
    while time.monotonic() < ends_at:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return str(os.waitstatus_to_exitcode(status))
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hang"


use_everything()
oracle.break_forks()
sites = {site: lock for site, locks in made.items() for lock in [each() for each in locks] if lock is not None}
only = os.environ.get("ONLY", "")
running = []
for site, lock in sites.items():
    if only in site:
        running.append((site, fork_with(lock)))
        if len(running) == 4:
            for done_site, child in running:
                oracle.tell("lock", f"{done_site} {outcome(child)}")
            running.clear()
for done_site, child in running:
    oracle.tell("lock", f"{done_site} {outcome(child)}")
use_everything()
