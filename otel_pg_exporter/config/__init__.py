"""Settings: what the environment and `configure()` say, and which of them are in force."""

from .settings import Settings, hide_password, parse, sdk_is_disabled

__all__ = ["Settings", "hide_password", "parse", "sdk_is_disabled"]
