"""The environment variable that says where caches lie."""

from __future__ import annotations

#: A folder for caches: text-embedding tables, and weights.
ENVIRONMENT = "ODISE_CACHE"
