"""The cache: results of finished jobs on disk, one checked file a job. Nothing that goes wrong in it fails a case."""

from gradshape_bench.cache.claims import Claim
from gradshape_bench.cache.faults import Fault, Faults
from gradshape_bench.cache.folder import Cache

__all__ = ["Cache", "Claim", "Fault", "Faults"]
