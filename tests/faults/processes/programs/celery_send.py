"""Sends tasks. Argument: how many."""

import sys

from celery_app import record

for _ in range(int(sys.argv[1])):
    record.delay()
