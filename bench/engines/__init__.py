"""Where jobs run."""

from bench.engines.local import LocalEngine

__all__ = ["LocalEngine"]
