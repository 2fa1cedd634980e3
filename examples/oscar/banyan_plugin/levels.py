"""Reading stock from Banyan for a page: each SKU is asked for once a page."""

import logging
import threading

from banyan_plugin import client
from banyan_plugin.client import Level
from banyan_plugin.errors import Refused, Unreachable

logger = logging.getLogger("banyan")

_local = threading.local()


def of(sku: str) -> Level | None:
    """The level of a SKU; None if Banyan does not answer, which is not the same as none left."""
    page = getattr(_local, "page", None)
    if page is not None and sku in page:
        return page[sku]
    try:
        level = client.level(sku)
    except (Unreachable, Refused) as error:
        logger.error("reading the stock of %s: %s", sku, error)
        level = None
    if page is not None:
        page[sku] = level
    return level


def begin_page() -> None:
    """From here on, what was read is remembered."""
    _local.page = {}


def end_page() -> None:
    """What was read is forgotten."""
    _local.page = None
