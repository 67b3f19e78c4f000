"""Forks again and again at random moments while threads are busy. Arguments: how often, the seed, durability."""

import os
import random
import signal
import sys
import threading
import time

import oracle

from otel_pg_exporter import EventIntegration, configure

HANG_SECONDS = 60  # who waits for a lock for ever does so for that too; a server that is slow, with its flush, takes 15
AT_ONCE = 4

count, seed, durability = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
chance = random.Random(seed)
telemetry = configure(dsn=os.environ["DSN"], durability=durability, batch_size=64, batch_timeout_millis=20)
events = EventIntegration()
is_over = threading.Event()


def keep_busy(number: int) -> None:
    own = random.Random(number)
    while not is_over.is_set():
        for _ in range(own.randrange(20)):
            oracle.both()
        events.emit("system:event", {"data": {"number": number}})
        if own.random() < 0.1:
            telemetry.force_flush(200)
        if own.random() < 0.05:
            telemetry.query.counts()
        time.sleep(own.random() / 50)


def be_a_child() -> None:
    oracle.both()
    if chance.random() < 0.25:
        events.emit("system:event", {"data": {"child": os.getpid()}})
    if chance.random() < 0.5:
        oracle.both()
        if telemetry.force_flush(10_000):  # else what there was no time for would be lost with the process
            os._exit(0)
    sys.exit()


def look_after(children: dict[int, float], most: int) -> None:
    while len(children) > most:
        for pid, begun in list(children.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del children[pid]
                oracle.tell("seconds", str(time.monotonic() - begun))
            elif time.monotonic() - begun > HANG_SECONDS:
                oracle.tell("hang", str(pid))
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                del children[pid]
        time.sleep(0.002)


telemetry.force_flush()
oracle.break_forks()
threads = [threading.Thread(target=keep_busy, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
children: dict[int, float] = {}
for _ in range(count):
    time.sleep(chance.random() / 50)
    oracle.both()  # is in the queue when the fork comes
    child = os.fork()
    if not child:
        be_a_child()
    children[child] = time.monotonic()
    look_after(children, AT_ONCE)
look_after(children, 0)
is_over.set()
for thread in threads:
    thread.join()
print(telemetry.force_flush())
