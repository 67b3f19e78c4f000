"""Where a record belongs: its table by rules, its columns by what conventions call them."""

from .rules import CATEGORIES, OUTCOMES, RULES, STATUSES, Route, Rule, route

__all__ = ["CATEGORIES", "OUTCOMES", "RULES", "STATUSES", "Route", "Rule", "route"]
