"""An engine without a model: it repeats what it was told, at a set speed. For tests, demos and load tests.

A product part, not a mock: it keeps every promise of `streaming.engine.Engine`, deterministically.
"""

from streaming.engines.echo.engine import EchoEngine, EchoSpeed
from streaming.engines.echo.predictor import EchoPredictor
from streaming.engines.echo.script import Script

__all__ = ["EchoEngine", "EchoPredictor", "EchoSpeed", "Script"]
