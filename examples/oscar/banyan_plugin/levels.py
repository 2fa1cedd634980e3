"""Reading stock from Banyan for a page: each SKU is asked for once a page.

A Banyan that does not answer costs one wait, not one for each SKU of each page: the shop has few threads, and all of them would
stand waiting. So after an answer that did not come the rest of the page goes without, and for a moment so does every other
page of this process; then one of them tries again, and the others do not wait for it.
"""

import logging
import threading
import time

from banyan_plugin import client
from banyan_plugin.client import Level
from banyan_plugin.errors import Refused, Unreachable

logger = logging.getLogger("banyan")

# How long nobody asks again after an answer did not come.
SILENT_SECONDS = 2.0

_local = threading.local()
_lock = threading.Lock()
# Until when nobody asks, while Banyan is silent; None while it answers.
_silent_until: float | None = None


def of(sku: str) -> Level | None:
    """The level of a SKU; None if Banyan does not answer, which is not the same as none left."""
    page = getattr(_local, "page", None)
    if page is not None and sku in page:
        return page[sku]
    if page is None:
        return _ask(sku)  # a report or an index, which nobody waits for, and which would be wrong with gaps in it
    page[sku] = None if _local.silent or not _may_ask() else _ask(sku)
    return page[sku]


def begin_page() -> None:
    """From here on, what was read is remembered."""
    _local.page, _local.silent = {}, False


def end_page() -> None:
    """What was read is forgotten."""
    _local.page, _local.silent = None, False


def forget() -> None:
    """Makes the next look ask, whatever came of the last one."""
    global _silent_until
    _silent_until = None
    _local.silent = False


def _ask(sku: str) -> Level | None:
    global _silent_until
    try:
        level = client.level(sku)
        _silent_until = None
        return level
    except Refused as error:
        logger.error("reading the stock of %s: %s", sku, error)
        _silent_until = None
    except Unreachable as error:
        logger.error("reading the stock of %s, and of nothing else for %s s: %s", sku, SILENT_SECONDS, error)
        _silent_until = time.monotonic() + SILENT_SECONDS
        _local.silent = True
    return None


def _may_ask() -> bool:
    """Whether Banyan answers, as far as is known, or it is this thread's turn to find out."""
    global _silent_until
    with _lock:
        if _silent_until is None:
            return True
        now = time.monotonic()
        if now < _silent_until:
            return False
        # This thread tries. Whoever comes while it waits for an answer goes without.
        _silent_until = now + client.LOOK_SECONDS + SILENT_SECONDS
        return True
