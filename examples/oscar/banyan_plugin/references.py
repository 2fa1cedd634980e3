"""Who reads the stock columns of the old table, and who has been cut loose from them.

`BANYAN_READS` names those that read from Banyan while Banyan leads. Their queries do not mention the columns any more. Once
every one of them is named, nothing in this shop does, and the columns can be retired.
"""

import threading
from contextlib import contextmanager

from django.conf import settings

from banyan_plugin import phase
from banyan_plugin.phase import Phase

OWNED = ("num_in_stock", "num_allocated")
# Pages by the first part of their URL's name; everything that is no page is a job.
BY_NAMESPACE = {
    "catalogue": "product_page",
    "search": "product_page",
    "basket": "basket",
    "checkout": "basket",
    "dashboard": "dashboard",
}
OTHER_PAGES = "other_pages"
JOBS = "jobs"
ALL = ("product_page", "basket", "dashboard", OTHER_PAGES, JOBS)

_local = threading.local()


def current() -> str:
    """Which reference this thread is working for."""
    return getattr(_local, "name", JOBS)


def cut() -> bool:
    """Whether the reference at work reads stock from Banyan."""
    seen = phase.look()
    if seen == Phase.RETIRED:
        return True
    return seen == Phase.LEAD and current() in settings.BANYAN_READS


def of_page(match) -> str:
    """The reference that a page belongs to."""
    return BY_NAMESPACE.get(match.namespaces[0] if match.namespaces else "", OTHER_PAGES)


def name_page(name: str) -> None:
    """Says which reference the page at work is, until its `working_for` ends."""
    _local.name = name


@contextmanager
def working_for(name: str):
    """Works for a reference."""
    before, _local.name = current(), name
    try:
        yield
    finally:
        _local.name = before
