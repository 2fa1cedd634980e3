"""Who leads: read where it is decided, in the transaction that is about to rest on it.

Leadership is handed over by one transaction that takes the advisory lock `banyan:stock` for itself alone, and so waits until
every transaction that holds it shared has ended. Whoever holds it shared therefore reads a phase that stays true until its
own commit. The lock and the phase are two statements on purpose: a statement sees the database as of its start, and one that
also waits for the lock would read the phase from before the wait. (For the same reason: READ COMMITTED, Django's default.)
"""

import logging
import time
from enum import StrEnum

from django.db import connection

from banyan_plugin.errors import PhaseUnknown

logger = logging.getLogger("banyan")

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
    """The phase, fixed until the end of this transaction (or of the savepoint it is asked in, if that is rolled back).

    Raises `PhaseUnknown` if the shop's role may not read it: then it may be any, and nobody here may decide.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("asked who leads outside of a transaction, where the answer is worth nothing")
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock_shared(hashtext(%s))", [f"banyan:{CAPABILITY}"])
        return _read(cursor)


_seen: tuple[float, Phase] | None = None


def look() -> Phase:
    """The phase as it was a moment ago, for showing things. If it cannot be read, the table is shown, as ever."""
    global _seen
    now = time.monotonic()
    if _seen is None or now - _seen[0] > LOOK_SECONDS:
        with connection.cursor() as cursor:
            try:
                _seen = (now, _read(cursor))
            except PhaseUnknown as error:
                logger.error("pages show the old table, and orders are refused: %s", error)
                _seen = (now, Phase.LEGACY)
    return _seen[1]


def forget() -> None:
    """Makes the next look a fresh one."""
    global _seen
    _seen = None


def _read(cursor) -> Phase:
    # Without the table Banyan has never been let near this database. Asked first, and the right to read it as well: a failed
    # statement ends the transaction, and with it the page.
    cursor.execute(
        "select known is not null, has_table_privilege(known, 'select'), current_user from to_regclass('banyan_sync') as known"
    )
    there, readable, role = cursor.fetchone()
    if not there:
        return Phase.LEGACY
    if not readable:
        raise PhaseUnknown(
            f"{role} may not read banyan_sync. `banyan legacy check --create` grants it, or: grant select on banyan_sync to {role}"
        )
    cursor.execute("select phase from banyan_sync where capability = %s", [CAPABILITY])
    row = cursor.fetchone()
    return Phase(row[0]) if row else Phase.LEGACY
