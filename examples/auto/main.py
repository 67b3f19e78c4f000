"""The help desk as a program."""

from __future__ import annotations

import sys

from helpdesk.agent import Helpdesk

if __name__ == "__main__":
    print(Helpdesk().answer(sys.argv[1]))
