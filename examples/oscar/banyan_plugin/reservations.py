"""Reserving in Banyan for what this transaction is about to write.

A reservation whose transaction does not come to its commit is given back: at once if that is certain, and by itself after
two minutes otherwise. One whose commit may have happened is never given back: its outbox row would find nothing to sell.
"""

import logging
import threading
import time
import uuid
from contextlib import contextmanager

from django.db import transaction

from banyan_plugin import client, outbox, phase
from banyan_plugin.client import Line
from banyan_plugin.errors import NotLeading

logger = logging.getLogger("banyan")

# How long to wait while leadership changes hands, and how often to look.
HANDOVER_SECONDS = 5.0
HANDOVER_PAUSE_SECONDS = 0.1

_local = threading.local()


class Held:
    """What is reserved for the transaction under way, and how much of it has been used up."""

    def __init__(self, name: str, lines: list[Line]):
        self.name = name
        self.born = time.monotonic()
        self.left: dict[str, int] = {}
        for line in lines:
            self.left[line.sku] = self.left.get(line.sku, 0) + line.quantity

    def take(self, sku: str, quantity: int) -> bool:
        """Uses up some of it; False if it is not there."""
        if self.left.get(sku, 0) < quantity:
            return False
        self.left[sku] -= quantity
        return True


@contextmanager
def reserved(lines: list[Line], order: str | None):
    """Reserves `lines` if Banyan leads; what happens inside is what they are reserved for.

    Must be inside a transaction. Yields what is held, or None while the old shop leads. At the end the outbox hears that
    it is sold. If what is inside fails, the reservation is released.
    """
    held = _reserve_or_wait(lines, order)
    if held is None:
        yield None
        return
    outer, _local.current = getattr(_local, "current", None), held
    _pending().append(held)
    try:
        # A savepoint of its own: whatever happens after this block cannot leave half of it behind.
        with transaction.atomic():
            yield held
            outbox.allocate(held.name)
    except BaseException:
        _pending().remove(held)
        client.release(held.name)
        raise
    finally:
        _local.current = outer
    transaction.on_commit(lambda: _kept(held))


def current() -> Held | None:
    """What is held for the order being placed, if one is."""
    return getattr(_local, "current", None)


def abandon(certain: bool) -> None:
    """Ends a request: what its transaction did not commit is given back, if it is `certain` that it did not."""
    pending = _pending()
    for held in pending:
        if certain:
            client.release(held.name)
        else:
            logger.warning("whether the order of %s was written is unknown; its outbox row decides", held.name)
    pending.clear()


def _reserve_or_wait(lines: list[Line], order: str | None) -> Held | None:
    # One key for all tries: a try that nobody answered and the one after it are the same wish.
    key = f"oscar-{uuid.uuid4()}"
    deadline = time.monotonic() + HANDOVER_SECONDS
    while True:
        try:
            # Rolling this savepoint back gives the shared lock back, so that whoever waits to hand leadership over can;
            # the next turn reads the phase anew and may find that the old shop leads again.
            with transaction.atomic():
                if not phase.decide().banyan_decides:
                    return None
                return Held(client.reserve(lines, order, key), lines)
        except NotLeading:
            if time.monotonic() >= deadline:
                raise
            time.sleep(HANDOVER_PAUSE_SECONDS)


def _pending() -> list[Held]:
    if not hasattr(_local, "pending"):
        _local.pending = []
    # Outside of requests nobody calls `abandon`. What is older than its hold has ended anyway.
    oldest = time.monotonic() - client.HOLD_SECONDS
    _local.pending[:] = [held for held in _local.pending if held.born > oldest]
    return _local.pending


def _kept(held: Held) -> None:
    if held in _pending():
        _pending().remove(held)
