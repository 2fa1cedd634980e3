"""Counts the year twice and compares: in the source Parquet files with DuckDB, and in Banyan's record store.

    python compare.py --source package --record DIR/record.sqlite

Nothing prepare.py wrote is read. Exit code: 0 equal, 1 different, 2 could not compare.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb

from source import SourceError, connect, parquet_folder

# What the data says: one row per campaign and household, with the coupons to expect. A household that was sent a
# campaign is on its allow-list once, and holds one coupon, or as many as it redeemed.
SOURCE_SQL = """
    select format('campaign-{:02d}', campaign_id) as campaign,
           household_id::varchar as member,
           sum(listed),
           greatest(1, sum(redeemed)) as issued,
           sum(redeemed)
    from (
        select campaign_id, household_id, 1 as listed, 0 as redeemed from campaigns
        union all
        select campaign_id, household_id, 0, 1 from coupon_redemptions
    )
    group by campaign, member
"""

# What Banyan recorded, in the same columns. The only place that knows the record store's tables and views. Every
# campaign also gives a row without a member, so that a campaign the data does not have is seen too.
RECORD_SQL = """
    select campaign, member, sum(listed), sum(issued), sum(redeemed)
    from (
        select id as campaign, null as member, 0 as listed, 0 as issued, 0 as redeemed from campaign
        union all
        select campaign, member, 1, 0, 0 from allow_list_members
        union all
        select campaign, member, 0, 1, state = 'redeemed' from coupons
    )
    group by campaign, member
"""

PAIRS_SHOWN_MAX = 10

Pair = tuple[str, str]  # campaign, member


@dataclass(frozen=True)
class Coupons:
    """What one household has of one campaign: its places on the allow-list, and its coupons."""

    listed: int
    issued: int
    redeemed: int


@dataclass(frozen=True)
class Figures:
    """What one campaign comes to. `households` are those on its allow-list."""

    households: int
    issued: int
    redeemed: int


NOTHING = Figures(0, 0, 0)


@dataclass(frozen=True)
class Count:
    """One side of the comparison: every campaign it knows, and every household's coupons."""

    campaigns: dict[str, Figures]
    pairs: dict[Pair, Coupons]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default="package", help="`package`, or a folder of Parquet files")
    parser.add_argument("--record", type=Path, required=True, help="the record store, an SQLite file; only read")
    arguments = parser.parse_args()
    try:
        source = count_source(arguments.source)
        record = count_record(arguments.record)
    except (SourceError, duckdb.Error) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    print(table(source, record))
    differences = pair_differences(source, record)
    for difference in differences[:PAIRS_SHOWN_MAX]:
        print(difference)
    if len(differences) > PAIRS_SHOWN_MAX:
        print(f"... and {len(differences) - PAIRS_SHOWN_MAX} more")
    equal = source == record
    print(verdict(source, record, len(differences)))
    return 0 if equal else 1


def count_source(source: str) -> Count:
    """Counts the Parquet files."""
    return _count(connect(parquet_folder(source)).execute(SOURCE_SQL).fetchall())


def count_record(path: Path) -> Count:
    """Counts the record store. It is opened read-only, so a server may be running on it."""
    if not path.is_file():
        raise SourceError(f"opening the record store {path}: no such file; is it the --data folder of `banyan up`?")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        return _count(connection.execute(RECORD_SQL).fetchall())
    except sqlite3.Error as error:
        raise SourceError(f"reading the record store {path}: {error}; RECORD_SQL must fit its tables") from error
    finally:
        connection.close()


def table(source: Count, record: Count) -> str:
    """Every campaign and the total: figures of the data, figures of the record, and whether they agree."""
    head = f"{'campaign':<14}{'households':>20}{'issued':>20}{'redeemed':>20}\n{'':<14}" + f"{'data':>10}{'record':>10}" * 3
    lines = [
        _line(campaign, source.campaigns.get(campaign), record.campaigns.get(campaign))
        for campaign in sorted(source.campaigns.keys() | record.campaigns.keys())
    ]
    return "\n".join([head, *lines, _line("total", _total(source), _total(record))])


def pair_differences(source: Count, record: Count) -> list[str]:
    """One line per household and campaign that differs. Finds what sums hide: one household's coupon at another's."""
    return [
        f"differs: {campaign}, household {member}: data ({_coupons(source, pair)}), record ({_coupons(record, pair)})"
        for pair in sorted(source.pairs.keys() | record.pairs.keys())
        if source.pairs.get(pair) != record.pairs.get(pair)
        for campaign, member in [pair]
    ]


def verdict(source: Count, record: Count, pairs_different: int) -> str:
    """The last line: what was compared, and how it came out."""
    if source == record:
        total = _total(source)
        return (
            f"equal: {len(source.campaigns)} campaigns, {total.households} household-campaign pairs,"
            f" {total.issued} issued, {total.redeemed} redeemed"
        )
    names = source.campaigns.keys() | record.campaigns.keys()
    campaigns_different = sum(source.campaigns.get(name) != record.campaigns.get(name) for name in names)
    return f"DIFFERENT: {campaigns_different} campaigns and {pairs_different} household-campaign pairs"


def _count(rows: list[tuple[str, str | None, int, int, int]]) -> Count:
    pairs: dict[Pair, Coupons] = {}
    campaigns: dict[str, Figures] = {}
    for campaign, member, listed, issued, redeemed in rows:
        if member is not None:
            pairs[campaign, member] = Coupons(listed, issued, redeemed)
        campaigns[campaign] = _plus(campaigns.get(campaign, NOTHING), Figures(listed, issued, redeemed))
    return Count(campaigns, pairs)


def _total(count: Count) -> Figures:
    total = NOTHING
    for figures in count.campaigns.values():
        total = _plus(total, figures)
    return total


def _plus(one: Figures, other: Figures) -> Figures:
    return Figures(one.households + other.households, one.issued + other.issued, one.redeemed + other.redeemed)


def _line(name: str, data: Figures | None, record: Figures | None) -> str:
    columns = [
        (str(getattr(side, field)) if side else "-")
        for field in ("households", "issued", "redeemed")
        for side in (data, record)
    ]
    return f"{name:<14}" + "".join(f"{column:>10}" for column in columns) + f"  {'ok' if data == record else 'DIFFERENT'}"


def _coupons(count: Count, pair: Pair) -> str:
    coupons = count.pairs.get(pair)
    if coupons is None:
        return "nothing"
    listed = "listed" if coupons.listed == 1 else f"listed {coupons.listed} times"
    return f"{listed}, {coupons.issued} issued, {coupons.redeemed} redeemed"


if __name__ == "__main__":
    sys.exit(main())
