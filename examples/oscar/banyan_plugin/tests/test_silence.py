"""A Banyan that is gone: pages that read from it stand, and do not wait for it one SKU after another."""

import threading
import time
from types import SimpleNamespace
from unittest import mock

from django.core.management import call_command
from django.test import Client

from banyan_plugin import client, levels
from banyan_plugin.client import Level
from banyan_plugin.errors import Unreachable
from banyan_plugin.order.utils import merged, sold_out
from banyan_plugin.tests.base import PluginTest


class Silence(PluginTest):
    """Pages are cut loose from the table, and Banyan does not answer."""

    def setUp(self):
        super().setUp()
        self.set_phase("lead")
        self.enterContext(self.settings(BANYAN_READS={"product_page"}))
        self.level = self.enterContext(mock.patch.object(client, "level", wraps=client.level))

    def test_a_listing_asks_once_and_stands(self):
        call_command("rebuild_index", interactive=False, verbosity=0)
        self.level.reset_mock()
        self.banyan.close()
        page = Client(headers={"host": "localhost"}).get("/catalogue/")
        self.assertGreaterEqual(page.content.decode().count("Unavailable"), 20)
        # Each time somebody asks a shopper waits, up to three seconds: for the twenty of this page that was a minute.
        self.assertEqual(self.level.call_count, 1)

    def test_the_next_pages_do_not_ask_either_until_one_tries_and_then_all_do(self):
        self.level.side_effect = Unreachable("nobody there")
        with mock.patch.object(levels, "SILENT_SECONDS", 1000):
            for _ in range(3):
                levels.begin_page()
                self.assertIsNone(levels.of(self.sku))
        self.assertEqual(self.level.call_count, 1)
        # The time is over: one asks and waits, and whoever comes meanwhile does not.
        asked, answered = threading.Event(), threading.Event()

        def answer(sku):
            asked.set()
            self.assertTrue(answered.wait(30))
            return Level(5, 0)

        self.level.side_effect = answer
        levels._silent_until = 0.0
        found = []

        def page():
            levels.begin_page()
            found.append(levels.of(self.sku))

        first = threading.Thread(target=page)
        first.start()
        self.assertTrue(asked.wait(30))
        levels.begin_page()
        self.assertIsNone(levels.of(self.sku))
        answered.set()
        first.join()
        levels.begin_page()
        self.assertEqual((found, levels.of(self.sku)), ([Level(5, 0)], Level(5, 0)))
        levels.end_page()

    def test_a_report_has_no_gaps_because_of_a_page(self):
        levels._silent_until = time.monotonic() + 1000
        self.assertEqual(levels.of(self.sku), Level(5, 0))


class Sentences(PluginTest):
    """What a shopper is told who cannot order."""

    def setUp(self):
        super().setUp()
        self.set_phase("lead")

    def test_an_order_that_can_never_be_placed_is_not_asked_to_come_again(self):
        self.banyan.faults = [(400, "invalid-request")]
        answer = self.place(self.shop())
        self.assertContains(answer, "cannot take an order like this one")
        self.assertNotContains(answer, "try again")
        self.assertEqual((self.orders(), self.outbox()), (0, []))

    def test_nobody_is_told_that_nothing_was_taken(self):
        self.banyan.faults = [(403, "forbidden")]
        answer = self.place(self.shop())
        self.assertContains(answer, "try again in a minute")
        self.assertNotContains(answer, "nothing was taken")  # a shop with payment may have taken it by then

    def test_lines_of_the_same_sku_are_one_line_of_the_reservation(self):
        def line(sku, quantity):
            product = SimpleNamespace(get_title=lambda: f"Thing {sku}")
            return SimpleNamespace(stockrecord=SimpleNamespace(partner_sku=sku), quantity=quantity, product=product)

        lines = [line("A", 1), line("B", 2), line("A", 3)]
        self.assertEqual(merged(lines), [client.Line("A", 4), client.Line("B", 2)])
        told = sold_out(lines, {"A": 2})
        self.assertEqual((told.count("Thing A"), told.count("Thing B"), told.count("a maximum of 2")), (1, 0, 1))
