"""The resource of this program, and what it is where OpenTelemetry's detectors cannot run."""

from __future__ import annotations

import logging
import sys
from types import FrameType

from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource, ResourceDetector

from ..host.diagnostics import say

__all__ = ["own_resource"]


def own_resource() -> Resource:
    """`Resource.create()`; what the environment says, in a resource detector and when the interpreter ends."""
    if (detector := _running_detector()) is not None:
        say(
            logging.WARNING,
            f"the resource detector {type(detector).__module__}.{type(detector).__qualname__} sets up what it is to"
            " describe: the resource holds only what the environment says. Leave configure() to the program",
        )
    else:
        try:
            return Resource.create()
        except RuntimeError:  # the interpreter is ending: there are no threads for the detectors
            pass
    return Resource({SERVICE_NAME: "unknown_service:python", **OTELResourceDetector().detect().attributes})


def _running_detector() -> ResourceDetector | None:
    """The detector that this thread runs; creating a resource in it would run it again, and that one again."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "detect" and isinstance(found := frame.f_locals.get("self"), ResourceDetector):
            return found
        frame = frame.f_back
    return None
