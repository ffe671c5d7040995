"""The speed suite's fixtures and hooks."""

from gradshape_bench.speed.speed_plugin import pytest_collection_modifyitems as pytest_collection_modifyitems
from gradshape_bench.speed.speed_plugin import pytest_configure as pytest_configure
from gradshape_bench.speed.speed_plugin import speed as speed
