"""The cache: results of finished jobs on disk, one checked file a job. Nothing that goes wrong in it fails a case."""

from gradshape_bench.cache.claims import Claim
from gradshape_bench.cache.faults import Fault, Faults
from gradshape_bench.cache.folder import Cache
from gradshape_bench.cache.sweep import Useless, useless

__all__ = ["Cache", "Claim", "Fault", "Faults", "Useless", "useless"]
