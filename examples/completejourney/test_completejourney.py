"""Tests of the example. They need the packages of requirements.txt, and no server.

    python -m unittest test_completejourney
"""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
import tempfile
import threading
import tomllib
import unittest
from collections import Counter
from collections.abc import Callable
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import duckdb

import await_view
import compare
import prepare
from source import SourceError, parquet_folder

HERE = Path(__file__).parent

# The record store's own schema, so that a change of it is met here and not by somebody running the example.
RECORD_SCHEMA = HERE / "../../crates/banyan-views/src/record/schema.sql"
ISSUED, REDEEMED = 0, 2  # coupon.state


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, HERE / script, *arguments], capture_output=True, text=True, check=False)


def trace_rows(out: Path) -> list[dict[str, str]]:
    with (out / "trace.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def replay(out: Path, record: Path) -> None:
    """Writes what the server's record store would hold after the allow-lists and the trace."""
    connection = sqlite3.connect(record)
    connection.executescript(RECORD_SCHEMA.read_text(encoding="utf-8"))
    campaigns = tomllib.loads((out / "campaigns.toml").read_text(encoding="utf-8"))["campaign"]
    numbers = {campaign["id"]: number for number, campaign in enumerate(campaigns, start=1)}
    for campaign in campaigns:
        members = (out / campaign["allow_list"]).read_text(encoding="utf-8").split()
        number = numbers[campaign["id"]]
        connection.execute(
            "insert into campaign (no, id, name, per_member, benefit, audience, stacking, created_at, created_by, seq)"
            " values (?, ?, ?, ?, 'amount', 'allow_list', 'stackable', 0, 'test', ?)",
            (number, campaign["id"], campaign["name"], campaign["per_member"], number),
        )
        connection.execute(
            "insert into allow_list (seq, campaign, at, added, members) values (?, ?, 0, ?, ?)",
            (number, number, len(members), json.dumps(members)),
        )
    connection.executemany(
        "insert into coupon (id, member, code, state, issued_at, seq) values (?, ?, 'code', ?, 0, 0)",
        coupons(trace_rows(out), numbers),
    )
    connection.commit()
    connection.close()


def coupons(rows: list[dict[str, str]], numbers: dict[str, int]) -> list[list[object]]:
    """Coupon id, member and state of every coupon, after the rows of a trace."""
    made: list[list[object]] = []
    unused: dict[tuple[str, str], list[list[object]]] = {}
    issued: Counter[str] = Counter()
    for row in rows:
        held = unused.setdefault((row["campaign"], row["member"]), [])
        if row["action"] == "issue":
            issued[row["campaign"]] += 1
            made.append([(numbers[row["campaign"]] << 40) + issued[row["campaign"]], row["member"], ISSUED])
            held.append(made[-1])
        else:
            held.pop(0)[2] = REDEEMED
    return made


class Folder(unittest.TestCase):
    """A test with a temporary folder."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class Prepared(Folder):
    """What prepare.py makes of the released data."""

    out: Path

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.out = Path(folder.name)
        done = run("prepare.py", "--out", str(cls.out))
        assert done.returncode == 0, done.stderr

    def test_totals_are_those_of_the_release(self) -> None:
        expected = json.loads((self.out / "expected.json").read_text(encoding="utf-8"))
        self.assertEqual(
            expected["totals"],
            {
                "campaigns": 27,
                "households": 1559,
                "pairs": 6589,
                "pairs_that_redeemed": 792,
                "issued": 7899,  # 6,589 - 792 + 2,102
                "redeemed": 2102,
            },
        )

    def test_the_benefit_is_the_most_common_discount_on_receipts(self) -> None:
        benefit = json.loads((self.out / "expected.json").read_text(encoding="utf-8"))["benefit"]
        self.assertEqual((benefit["minor"], benefit["currency"]), (100, "USD"))
        self.assertEqual(benefit["evidence"]["redemptions_matched"], 986)

    def test_every_campaign_can_be_applied(self) -> None:
        campaigns = tomllib.loads((self.out / "campaigns.toml").read_text(encoding="utf-8"))["campaign"]
        self.assertEqual(len(campaigns), 27)
        for campaign in campaigns:
            self.assertRegex(campaign["id"], r"^[a-z0-9][a-z0-9-]{0,47}$")
            self.assertNotIn("ends_at", campaign)
            members = (self.out / campaign["allow_list"]).read_text(encoding="utf-8").splitlines()
            self.assertEqual(len(members), len(set(members)))
            for member in members:
                self.assertRegex(member, r"^[!-~]{1,64}$")

    def test_the_trace_is_in_order_and_never_refused(self) -> None:
        campaigns = tomllib.loads((self.out / "campaigns.toml").read_text(encoding="utf-8"))["campaign"]
        limits = {campaign["id"]: campaign for campaign in campaigns}
        allowed = {
            campaign["id"]: set((self.out / campaign["allow_list"]).read_text(encoding="utf-8").splitlines())
            for campaign in campaigns
        }
        issued: Counter[str] = Counter()
        held: Counter[tuple[str, str]] = Counter()
        unused: Counter[tuple[str, str]] = Counter()
        issued_at: dict[tuple[str, str], str] = {}
        before = ""
        for row in trace_rows(self.out):
            self.assertGreaterEqual(row["time"], before)
            before = row["time"]
            pair = (row["campaign"], row["member"])
            if row["action"] == "issue":
                self.assertIn(row["member"], allowed[row["campaign"]])
                issued[row["campaign"]] += 1
                held[pair] += 1
                unused[pair] += 1
                issued_at[pair] = row["time"]
                self.assertLessEqual(held[pair], limits[row["campaign"]]["per_member"])
            else:
                self.assertEqual(row["action"], "redeem")
                self.assertGreater(row["time"], issued_at[pair])
                unused[pair] -= 1
                self.assertGreaterEqual(unused[pair], 0)
        self.assertEqual(dict(issued), {name: campaign["quantity"] for name, campaign in limits.items()})
        self.assertEqual(len(held), 6589)

    def test_the_same_data_gives_the_same_bytes(self) -> None:
        self.assertEqual(run("prepare.py", "--out", str(self.folder)).returncode, 0)
        names = sorted(path.relative_to(self.out) for path in self.out.rglob("*") if path.is_file())
        self.assertEqual(len(names), 27 + 4)
        for name in names:
            self.assertEqual((self.out / name).read_bytes(), (self.folder / name).read_bytes(), name)

    def test_compare_finds_a_faithful_record_equal(self) -> None:
        record = self.folder / "record.sqlite"
        replay(self.out, record)
        done = run("compare.py", "--record", str(record))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("equal: 27 campaigns, 6589 household-campaign pairs, 7899 issued, 2102 redeemed", done.stdout)

    def test_compare_finds_each_planted_difference(self) -> None:
        planted = {
            "a coupon lost": "delete from coupon where id = (select min(id) from coupon)",
            "a coupon issued twice": "insert into coupon (id, member, code, state, issued_at, seq)"
            " select max(id) + 1, member, code, state, issued_at, seq from coupon",
            "a redemption forgotten": "update coupon set state = 0 where id = (select min(id) from coupon where state = 2)",
            "a redemption invented": "update coupon set state = 2 where id = (select min(id) from coupon where state = 0)",
            "a coupon revoked": "update coupon set state = 3 where id = (select min(id) from coupon where state = 2)",
            "a coupon at a stranger": "update coupon set member = 'stranger' where id = (select min(id) from coupon)",
            "a coupon at another household of the campaign, sums unchanged": "update coupon set member ="
            " (select max(member) from coupon where campaign = 7)"
            " where id = (select min(id) from coupon where campaign = 7)",
            "a household missing on an allow-list": "update allow_list set members = json_remove(members, '$[0]')"
            " where campaign = 7",
            "a stranger on an allow-list": "update allow_list set members = json_insert(members, '$[#]', 'stranger')"
            " where campaign = 7",
            "a campaign the data does not have": "insert into campaign"
            " (no, id, name, per_member, benefit, audience, stacking, created_at, created_by, seq)"
            " values (99, 'campaign-99', 'x', 1, 'amount', 'everyone', 'exclusive', 0, 'test', 99)",
            "a campaign missing": "delete from campaign where id = 'campaign-24'",
        }
        for number, (what, statement) in enumerate(planted.items()):
            with self.subTest(what):
                record = self.folder / f"{number}.sqlite"
                replay(self.out, record)
                connection = sqlite3.connect(record)
                self.assertGreater(connection.execute(statement).rowcount, 0)
                connection.commit()
                connection.close()
                done = run("compare.py", "--record", str(record))
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                self.assertIn("DIFFERENT", done.stdout)

    def test_compare_says_when_it_cannot_compare(self) -> None:
        missing = run("compare.py", "--record", str(self.folder / "none.sqlite"))
        self.assertEqual(missing.returncode, 2)
        self.assertIn("no such file", missing.stderr)
        empty = self.folder / "empty.sqlite"
        sqlite3.connect(empty).close()
        self.assertEqual(run("compare.py", "--record", str(empty)).returncode, 2)


class Counting(unittest.TestCase):
    """The rules, on a campaign small enough to check by eye."""

    CAMPAIGN = prepare.Campaign(
        number=5,
        kind="Type B",
        start=date(2017, 4, 3),
        end=date(2017, 5, 7),
        households=(7, 8),
        redemptions=(prepare.Redemption(8, date(2017, 4, 3)), prepare.Redemption(8, date(2017, 4, 9))),
    )

    def test_one_coupon_or_as_many_as_redeemed(self) -> None:
        self.assertEqual(self.CAMPAIGN.issues(), {7: 1, 8: 2})

    def test_trace(self) -> None:
        self.assertEqual(
            "".join(prepare.trace([self.CAMPAIGN])),
            "time,member,campaign,action\n"
            "2017-04-03T00:00:00Z,7,campaign-05,issue\n"
            "2017-04-03T00:00:00Z,8,campaign-05,issue\n"
            "2017-04-03T00:00:00Z,8,campaign-05,issue\n"
            "2017-04-03T12:00:00Z,8,campaign-05,redeem\n"
            "2017-04-09T12:00:00Z,8,campaign-05,redeem\n",
        )

    def test_data_that_would_give_a_wrong_trace_is_refused(self) -> None:
        stranger = prepare.Redemption(9, date(2017, 4, 9))
        late = prepare.Redemption(8, date(2017, 5, 8))
        prepare.check([self.CAMPAIGN])
        for wrong in [{"redemptions": (stranger,)}, {"redemptions": (late,)}, {"households": ()}, {"households": (7, 7)}]:
            with self.subTest(wrong), self.assertRaises(SourceError):
                prepare.check([prepare.Campaign(**{**vars(self.CAMPAIGN), "redemptions": (), **wrong})])


class Source(Folder):
    """Finding the data, and counting Parquet files that are not the release."""

    def test_missing_files_are_named(self) -> None:
        with self.assertRaisesRegex(SourceError, r"no campaign_descriptions\.parquet"):
            parquet_folder(str(self.folder))

    def test_source_sql_counts_what_the_files_hold(self) -> None:
        tables = {
            "campaign_descriptions": "select 5 as campaign_id",
            "campaigns": "select * from (values (5, 7), (5, 8)) as t(campaign_id, household_id)",
            "coupon_redemptions": "select * from (values (5, 8), (5, 8)) as t(campaign_id, household_id)",
            "coupons": "select 1 as coupon_upc",
            "transactions": "select 1 as basket_id",
        }
        for name, rows in tables.items():
            duckdb.sql(f"copy ({rows}) to '{self.folder / name}.parquet' (format parquet)")
        count = compare.count_source(str(self.folder))
        self.assertEqual(count.campaigns, {"campaign-05": compare.Figures(households=2, issued=3, redeemed=2)})
        self.assertEqual(
            count.pairs, {("campaign-05", "7"): compare.Coupons(1, 1, 0), ("campaign-05", "8"): compare.Coupons(1, 2, 2)}
        )


class Waiting(unittest.TestCase):
    """await_view.py against a server that answers what the test says."""

    def serve(self, answer: Callable[[int], tuple[int, int]]) -> str:
        """Starts a server; `answer` maps the number of the request (from 1) to a status and a seq."""
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                status, seq = answer(len(asked))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps({"coupons": [], "next": None, "seq": seq}).encode())

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        self.asked = asked
        return f"http://127.0.0.1:{server.server_port}"

    def test_the_last_answer_is_the_one_with_the_highest_seq(self) -> None:
        lines = ['{"member":"7","seq":12}\n', "\n", '{"member":"8","seq":3}\n']
        self.assertEqual(await_view.last_answer(lines), ("7", 12))
        for wrong in [[], ["{}"], ["no json"]]:
            with self.subTest(wrong), self.assertRaises(ValueError):
                await_view.last_answer(wrong)

    def test_asks_until_the_view_is_there(self) -> None:
        url = self.serve(lambda asked: (503, 0) if asked == 1 else (200, 10 * asked))
        self.assertTrue(await_view.wait(url, "key", "7", 30, within=30.0))
        self.assertEqual(self.asked, ["/v1/members/7/coupons?at_least=30&limit=1"] * 3)

    def test_gives_up_in_time(self) -> None:
        url = self.serve(lambda _: (200, 29))
        self.assertFalse(await_view.wait(url, "key", "7", 30, within=0.0))

    def test_a_refusal_is_not_waited_for(self) -> None:
        url = self.serve(lambda _: (401, 0))
        with self.assertRaises(OSError):
            await_view.wait(url, "key", "7", 30, within=30.0)


if __name__ == "__main__":
    unittest.main()
