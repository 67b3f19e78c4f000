"""The judge: sets of ids, kept outside of what is killed, and what they say about a run.

    issued        the span was begun
    accepted      its end() returned
    acknowledged  the product said that it is durable
    stored        rows in the tables: a bag, for there may be too many
    spooled       in a file, to be stored later
    dead          set aside with a reason
    dropped       given up, and said so: by id where the test knows it, else by count

No two counters are ever compared: one span lost and another stored twice is two faults, not none.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import evidence, journal
from .payload import Id

__all__ = ["Judge", "Verdict", "VoidRunError"]


class VoidRunError(AssertionError):
    """The fault that the run is about did not happen, so that the run shows nothing."""


@dataclass(frozen=True)
class Verdict:
    """What became of all spans of a run."""

    seed: int
    sizes: dict[str, int]
    """How many ids each set has."""
    faults: dict[str, int]
    """What was done to the product, how often."""
    lost_acknowledged: set[Id]
    """Durable, said the product; nowhere to be found."""
    missing: set[Id]
    """Accepted, and nowhere to be found, whether that was said or not."""
    lost_silently: int
    """Missing beyond what the product declared as dropped."""
    duplicated: dict[Id, int]
    """Stored more than once: how often."""
    spurious: set[Id]
    """Stored, but never issued."""
    corrupted: set[Id]
    """Stored, but not with what the id says."""
    reordered: int
    """Neighbours of one producer that are the wrong way round, by the ledger's sequence."""
    orphans: int
    """Rows that no row of the ledger covers."""
    raised: list[str] = field(default_factory=list)
    """What the product raised into the program."""

    @property
    def is_clean(self) -> bool:
        """Nothing lost, unless it was declared; nothing twice, nothing false."""
        return not self.wrongs

    @property
    def wrongs(self) -> dict[str, Any]:
        """What went wrong, by name; no entry for what did not."""
        found = {
            "lost_acknowledged": len(self.lost_acknowledged),
            "lost_silently": self.lost_silently,
            "duplicated": sum(self.duplicated.values()) - len(self.duplicated),
            "spurious": len(self.spurious),
            "corrupted": len(self.corrupted),
            "reordered": self.reordered,
            "orphans": self.orphans,
            "raised": self.raised,
        }
        return {name: value for name, value in found.items() if value}

    def __str__(self) -> str:
        sizes = ", ".join(f"{number} {name}" for name, number in self.sizes.items())
        faults = ", ".join(f"{number} {name}" for name, number in self.faults.items())
        wrongs = ", ".join(f"{name}: {value}" for name, value in self.wrongs.items()) or "nothing lost, nothing twice"
        return f"seed {self.seed} | {sizes} | faults: {faults or 'none'} | {wrongs}"


class Judge:
    """Takes evidence, and gives a verdict. `seed` is the run's, so that it can be run again."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.issued: set[Id] = set()
        self.accepted: set[Id] = set()
        self.acknowledged: set[Id] = set()
        self.dropped: set[Id] = set()
        self.declared = 0
        """Records that the product says it dropped, without saying which."""
        self.faults: Counter[str] = Counter()
        self.reports: list[dict[str, Any]] = []
        """What programs said at their end."""
        self._raised: list[str] = []

    def saw(self, fault: str, times: int = 1) -> None:
        """A fault happened."""
        self.faults[fault] += times

    def accept(self, identities: Iterable[Id]) -> None:
        """Spans that were begun here, and whose end() returned."""
        ended = set(identities)
        self.issued |= ended
        self.accepted |= ended

    def read_journal(self, path: Path) -> None:
        """Take what a program wrote."""
        trace_id = 0
        for kind, content in journal.lines(path):
            if kind == "trace":
                trace_id = int(content, 16)
            elif kind == "i":
                self.issued.add((trace_id, int(content)))
            elif kind == "a":
                self.accepted.add((trace_id, int(content.split()[0])))
            elif kind == "k":
                upto = int(content)
                self.acknowledged |= {one for one in self.accepted if one[0] == trace_id and one[1] <= upto}
            elif kind == "x":
                self._raised.append(content)
            elif kind == "r":
                self.reports.append(json.loads(content))

    def verdict(
        self, dsn: str, spool: Path | None = None, *, schema: str = "otel", every: int = 1, **needed: int
    ) -> Verdict:
        """Look at the tables, and at the spool's files, and judge.

        Args:
            dsn: the database.
            spool: folder of the spools.
            schema: of the tables.
            every: of so many rows one is looked into.
            needed: how often each fault must have happened, by its name.

        Raises:
            VoidRunError: a fault happened less often, or nothing was accepted.
        """
        for fault, times in needed.items():
            if self.faults[fault] < times:
                raise VoidRunError(
                    f"void run: {fault} happened {self.faults[fault]} times of {times}, seed {self.seed}"
                )
        if not self.accepted:
            raise VoidRunError(f"void run: nothing was accepted, seed {self.seed}")
        rows = evidence.tables(dsn, schema, every)
        spooled = evidence.files(spool) if spool else set()
        dead = evidence.files(spool, ".dead") if spool else set()
        bag = Counter(row.identity for row in rows)
        kept = bag.keys() | spooled | dead
        missing = self.accepted - kept - self.dropped
        return Verdict(
            seed=self.seed,
            sizes={
                "issued": len(self.issued),
                "accepted": len(self.accepted),
                "acknowledged": len(self.acknowledged),
                "stored": len(rows),
                "spooled": len(spooled),
                "dead": len(dead),
                "dropped": len(self.dropped) + self.declared,
            },
            faults=dict(self.faults),
            lost_acknowledged=self.acknowledged - kept,
            missing=missing,
            lost_silently=max(0, len(missing) - self.declared),
            duplicated={identity: count for identity, count in bag.items() if count > 1},
            spurious=bag.keys() - self.issued,
            corrupted={row.identity for row in rows if not row.is_whole},
            reordered=_reordered(rows),
            orphans=sum(row.place is None for row in rows),
            raised=self._raised,
        )


def _reordered(rows: Iterable[evidence.StoredRow]) -> int:
    """Within one producer of the ledger, the spans of one trace were numbered as they ended."""
    placed = sorted((row.place, row.identity) for row in rows if row.place is not None)
    return sum(
        one[0][0] == two[0][0] and one[1][0] == two[1][0] and one[1][1] > two[1][1]
        for one, two in itertools.pairwise(placed)
    )
