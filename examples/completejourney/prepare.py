"""Turns the Complete Journey data into what Banyan reads: campaigns, allow-lists, a trace to replay, the totals to expect.

    python prepare.py --out DIR

Writes into DIR: campaigns.toml, allow-lists/<campaign>.txt, trace.csv, scenario.toml, expected.json. The same data gives
the same bytes. README.md says which figures come from the data and which are assumed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from source import SourceError, connect, parquet_folder

# Assumed: the data has dates, not times. Mail arrives as the day begins and is used at noon, so that a coupon
# redeemed on the first day of its campaign is still redeemed after it was issued.
ISSUE_TIME = "T00:00:00Z"
REDEEM_TIME = "T12:00:00Z"

# Assumed: the data names no currency. The grocer is in the United States.
CURRENCY = "USD"

SCENARIO = Path(__file__).with_name("scenario.toml")


@dataclass(frozen=True)
class Redemption:
    """One coupon used by one household. `day` is all the data says about when."""

    household: int
    day: date


@dataclass(frozen=True)
class Campaign:
    """One campaign of the data, with the households it was sent to (ascending) and its redemptions (by day, household)."""

    number: int
    kind: str
    start: date
    end: date
    households: tuple[int, ...]
    redemptions: tuple[Redemption, ...]

    @property
    def id(self) -> str:
        return f"campaign-{self.number:02}"

    @property
    def name(self) -> str:
        return f"Campaign {self.number} ({self.kind}), {self.start} to {self.end}"

    def issues(self) -> dict[int, int]:
        """Coupons to issue per household: as many as it redeemed, and one to a household that redeemed none."""
        redeemed = Counter(redemption.household for redemption in self.redemptions)
        return {household: max(1, redeemed[household]) for household in self.households}


@dataclass(frozen=True)
class Discounts:
    """What the receipts say about the worth of the coupons (see `observed_discounts`). Amounts are cents."""

    redemptions: int
    redemptions_matched: int
    receipt_lines: int
    receipt_lines_at_amount: int
    amount: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write into; made if missing")
    parser.add_argument("--source", default="package", help="`package`, or a folder of Parquet files")
    arguments = parser.parse_args()
    try:
        connection = connect(parquet_folder(arguments.source))
        campaigns = load(connection)
        check(campaigns)
        totals = write(arguments.out, campaigns, observed_discounts(connection))
    except (SourceError, OSError, duckdb.Error) as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    print(
        f"prepare: {totals['campaigns']} campaigns, {totals['pairs']} household-campaign pairs,"
        f" {totals['issued']} issues, {totals['redeemed']} redemptions in {arguments.out}"
    )
    return 0


def load(connection: duckdb.DuckDBPyConnection) -> list[Campaign]:
    """Reads all campaigns, in the order of their numbers. Plain rows only: everything is counted in Python, because
    compare.py counts in SQL and the two must not share a mistake."""
    members = _grouped(connection, "select campaign_id, household_id from campaigns order by all")
    redeemed = _grouped(
        connection,
        "select campaign_id, redemption_date::date, household_id from coupon_redemptions order by all",
    )
    rows = connection.execute(
        "select campaign_id, campaign_type, start_date::date, end_date::date from campaign_descriptions order by 1"
    ).fetchall()
    known = {row[0] for row in rows}
    strays = sorted((members.keys() | redeemed.keys()) - known)
    if strays:
        raise SourceError(f"reading the campaigns: {strays} have households or redemptions but no description")
    return [
        Campaign(
            number,
            kind,
            start,
            end,
            tuple(household for (household,) in members.get(number, [])),
            tuple(Redemption(household, day) for day, household in redeemed.get(number, [])),
        )
        for number, kind, start, end in rows
    ]


def check(campaigns: list[Campaign]) -> None:
    """Refuses data that would give a wrong trace. The released data passes; another version of it might not."""
    for campaign in campaigns:
        households = set(campaign.households)
        if not households:
            raise SourceError(f"{campaign.id} was sent to no household: an allow-list cannot be empty")
        if len(households) != len(campaign.households):
            raise SourceError(f"{campaign.id} names a household twice")
        for redemption in campaign.redemptions:
            if redemption.household not in households:
                raise SourceError(f"{campaign.id}: {redemption} by a household that never received the campaign")
            if not campaign.start <= redemption.day <= campaign.end:
                raise SourceError(f"{campaign.id}: {redemption} outside {campaign.start} to {campaign.end}")


def observed_discounts(connection: duckdb.DuckDBPyConnection) -> Discounts:
    """The most common coupon discount on the receipts that belong to redemptions; of equals, the smaller.

    The data has no amount on a coupon. A receipt line belongs to a redemption if the household, the day and a product of
    the coupon agree and the line carries a coupon discount. That finds about half of the redemptions.
    """
    connection.execute(
        """
        create or replace temp table matched as
        with redemption as (select row_number() over () as id, * from coupon_redemptions)
        select redemption.id, basket_id, product_id, round(coupon_disc * 100)::integer as cents
        from redemption
        join (select distinct coupon_upc, campaign_id, product_id from coupons) using (coupon_upc, campaign_id)
        join transactions using (household_id, product_id)
        where coupon_disc > 0 and transaction_timestamp::date = redemption_date::date
        """
    )
    redemptions, matched = connection.execute(
        "select (select count(*) from coupon_redemptions), count(distinct id) from matched"
    ).fetchone()
    lines = connection.execute("select distinct basket_id, product_id, cents from matched").fetchall()
    if not lines:
        raise SourceError("matching redemptions to receipts: none match, so no discount can be taken from the data")
    amounts = Counter(cents for _, _, cents in lines)
    amount, count = min(amounts.items(), key=lambda item: (-item[1], item[0]))
    return Discounts(redemptions, matched, len(lines), count, amount)


def write(out: Path, campaigns: list[Campaign], discounts: Discounts) -> dict[str, int]:
    """Writes all files into `out` and returns the totals."""
    lists = out / "allow-lists"
    lists.mkdir(parents=True, exist_ok=True)
    for campaign in campaigns:
        _write(lists / f"{campaign.id}.txt", (f"{household}\n" for household in campaign.households))
    _write(out / "campaigns.toml", campaign_file(campaigns, discounts))
    _write(out / "trace.csv", trace(campaigns))
    expected = expectations(campaigns, discounts)
    _write(out / "expected.json", [json.dumps(expected, indent=2), "\n"])
    shutil.copyfile(SCENARIO, out / SCENARIO.name)
    return expected["totals"]


def campaign_file(campaigns: list[Campaign], discounts: Discounts) -> Iterator[str]:
    """The text of campaigns.toml."""
    yield "# Written by prepare.py from the Complete Journey data. No starts_at and ends_at: Banyan decides by its own\n"
    yield "# clock, and would answer a replay of 2017 with `ended`. The original dates are in the names.\n"
    for campaign in campaigns:
        issues = campaign.issues()
        yield "\n[[campaign]]\n"
        yield f"id = {_quoted(campaign.id)}\n"
        yield f"name = {_quoted(campaign.name)}\n"
        yield f"quantity = {sum(issues.values())}  # exactly what the trace issues; the data states no budget\n"
        yield f"per_member = {max(issues.values())}  # the most coupons any one household redeemed\n"
        yield f"benefit = {{ amount = {{ minor = {discounts.amount}, currency = {_quoted(CURRENCY)} }} }}"
        yield "  # assumed: see README.md\n"
        yield 'audience = "allow_list"\n'
        yield f"allow_list = {_quoted(f'allow-lists/{campaign.id}.txt')}\n"
        yield 'stacking = "stackable"  # households redeem several coupons of one campaign on one day\n'


def trace(campaigns: list[Campaign]) -> Iterator[str]:
    """The lines of trace.csv, in time order; at the same time in the order of campaign and household."""
    lines = [
        (f"{campaign.start}{ISSUE_TIME}", campaign.number, household, campaign.id, "issue")
        for campaign in campaigns
        for household, count in campaign.issues().items()
        for _ in range(count)
    ] + [
        (f"{redemption.day}{REDEEM_TIME}", campaign.number, redemption.household, campaign.id, "redeem")
        for campaign in campaigns
        for redemption in campaign.redemptions
    ]
    yield "time,member,campaign,action\n"
    for time, _, household, campaign_id, action in sorted(lines):
        yield f"{time},{household},{campaign_id},{action}\n"


def expectations(campaigns: list[Campaign], discounts: Discounts) -> dict[str, object]:
    """The content of expected.json: totals, each campaign, and the evidence for the benefit."""
    each = {
        campaign.id: {
            "households": len(campaign.households),
            "issued": sum(campaign.issues().values()),
            "redeemed": len(campaign.redemptions),
        }
        for campaign in campaigns
    }
    return {
        "totals": {
            "campaigns": len(each),
            "households": len({household for campaign in campaigns for household in campaign.households}),
            "pairs": sum(figures["households"] for figures in each.values()),
            "pairs_that_redeemed": sum(len({use.household for use in campaign.redemptions}) for campaign in campaigns),
            "issued": sum(figures["issued"] for figures in each.values()),
            "redeemed": sum(figures["redeemed"] for figures in each.values()),
        },
        "benefit": {"minor": discounts.amount, "currency": CURRENCY, "evidence": vars(discounts)},
        "campaigns": each,
    }


def _grouped(connection: duckdb.DuckDBPyConnection, query: str) -> dict[int, list[tuple]]:
    """The rows of `query` without their first column, by that column, in the order they came."""
    groups: dict[int, list[tuple]] = {}
    for first, *rest in connection.execute(query).fetchall():
        groups.setdefault(first, []).append(tuple(rest))
    return groups


def _quoted(text: str) -> str:
    """A TOML basic string; for the plain ASCII written here it is the same as JSON's."""
    return json.dumps(text)


def _write(path: Path, parts: Iterator[str] | list[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(parts)


if __name__ == "__main__":
    sys.exit(main())
