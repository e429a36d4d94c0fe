# SPDX-License-Identifier: Apache-2.0
"""Help for models behind web applications: results cached in the node, concurrent calls batched.

Built on the public names of `hornbeam_erlang` alone; outside a worker `cached_inference` calls the
function and caches nothing.
"""

from __future__ import annotations

from ._batching import Batched, batched
from ._inference import cache_stats, cached_inference, cached_inference_async, clear_cache
from ._keys import inference_key

__all__ = [
    "Batched",
    "batched",
    "cache_stats",
    "cached_inference",
    "cached_inference_async",
    "clear_cache",
    "inference_key",
]
