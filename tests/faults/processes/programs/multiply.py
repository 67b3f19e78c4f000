"""Children of multiprocessing. Arguments: start method, kind of pool, durability, when to configure."""

import concurrent.futures
import multiprocessing
import os
import sys
import threading

import oracle

from otel_pg_exporter import configure

method, kind, durability, when = sys.argv[1:5]
oracle.break_exits()


def set_up() -> None:
    configure(dsn=os.environ["DSN"], durability=durability, batch_timeout_millis=60_000)


def work(number: int) -> None:
    if when == "late":
        set_up()
    oracle.both()
    if kind == "process":
        thread = threading.Thread(target=oracle.both)
        thread.start()
        thread.join()
        if number == 1:
            sys.exit(3)
        if number == 2:
            raise ValueError("a child that fails")


if when == "early":
    set_up()

if __name__ == "__main__":
    context = multiprocessing.get_context(method)
    if when == "early":
        oracle.both()
    if kind == "process":
        children = [context.Process(target=work, args=(number,)) for number in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        print([child.exitcode for child in children])
    elif kind == "pool":
        pool = context.Pool(2, maxtasksperchild=2)
        pool.map(work, range(8), chunksize=1)
        pool.close()
        pool.join()
    else:
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
            list(executor.map(work, range(8)))
