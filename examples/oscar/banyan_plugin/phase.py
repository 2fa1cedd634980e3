"""Who leads: read where it is decided, in the transaction that is about to rest on it.

Leadership is handed over by one transaction that takes the advisory lock `banyan:stock` for itself alone, and so waits until
every transaction that holds it shared has ended. Whoever holds it shared therefore reads a phase that stays true until its
own commit. The lock and the phase are two statements on purpose: a statement sees the database as of its start, and one that
also waits for the lock would read the phase from before the wait. (For the same reason: READ COMMITTED, Django's default.)
"""

import time
from enum import StrEnum

from django.db import connection

CAPABILITY = "stock"
# How old the phase may be that a page is shown by. Either side's numbers are good to look at; only deciding needs the lock.
LOOK_SECONDS = 0.5


class Phase(StrEnum):
    """The phases of stock, in order."""

    LEGACY = "legacy"
    MIRROR = "mirror"
    LEAD = "lead"
    RETIRED = "retired"

    @property
    def banyan_decides(self) -> bool:
        """Whether goods are reserved in Banyan."""
        return self in (Phase.LEAD, Phase.RETIRED)


def decide() -> Phase:
    """The phase, fixed until the end of this transaction (or of the savepoint it is asked in, if that is rolled back)."""
    if not connection.in_atomic_block:
        raise RuntimeError("asked who leads outside of a transaction, where the answer is worth nothing")
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock_shared(hashtext(%s))", [f"banyan:{CAPABILITY}"])
        return _read(cursor)


_seen: tuple[float, Phase] | None = None


def look() -> Phase:
    """The phase as it was a moment ago, for showing things."""
    global _seen
    now = time.monotonic()
    if _seen is None or now - _seen[0] > LOOK_SECONDS:
        with connection.cursor() as cursor:
            _seen = (now, _read(cursor))
    return _seen[1]


def forget() -> None:
    """Makes the next look a fresh one."""
    global _seen
    _seen = None


def _read(cursor) -> Phase:
    # Without the table Banyan has never been let near this database. Asked first: a failed statement ends the transaction.
    cursor.execute("select to_regclass('banyan_sync') is not null")
    if not cursor.fetchone()[0]:
        return Phase.LEGACY
    cursor.execute("select phase from banyan_sync where capability = %s", [CAPABILITY])
    row = cursor.fetchone()
    return Phase(row[0]) if row else Phase.LEGACY
