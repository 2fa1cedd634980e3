"""Answers that come late, twice, broken or not at all, and leadership that changes hands in the middle."""

import contextlib
import tempfile
import threading
import time
from unittest import mock

from django.db import OperationalError, connection, transaction
from oscar.core.loading import get_class

from banyan_plugin import client, reservations
from banyan_plugin.client import Line
from banyan_plugin.tests.base import PluginTest


class Faults(PluginTest):
    """While Banyan leads."""

    def setUp(self):
        super().setUp()
        self.set_phase("lead")

    def test_asked_again_with_the_same_key_and_reserved_once(self):
        no_answers = ("hang up after", "silence after", "hang up", "silence", "garbage", "stranger", "stranger's no")
        for fault in (*no_answers, (503, "busy"), (500, "outcome-unknown")):
            with self.subTest(fault=fault):
                self.banyan.items[self.sku] = [5, 0, 0]
                self.banyan.requests.clear()
                self.banyan.faults = [fault]
                self.assert_ordered(self.place(self.shop()))
                asked = self.banyan.asked("reservations")
                self.assertEqual(len(asked), 2)
                self.assertEqual(len({key for _, _, key in asked}), 1)
                self.assertEqual(self.banyan.items[self.sku], [5, 1, 0])

    def test_without_banyan_the_order_is_refused_and_nothing_is_lost(self):
        shopper = self.shop()
        self.banyan.close()
        client._drop()
        self.assertContains(self.place(shopper), "cannot check its stock at the moment")
        self.assertEqual((self.orders(), self.outbox(), self.row()), (0, [], (5, 0)))

    def test_a_refusal_of_another_kind_is_not_repeated(self):
        self.banyan.faults = [(403, "forbidden")]
        self.assertContains(self.place(self.shop()), "cannot check its stock at the moment")
        self.assertEqual(len(self.banyan.asked("reservations")), 1)

    def test_not_leading_yet_is_waited_for(self):
        self.banyan.faults = [(409, "not-leading")] * 3
        self.assert_ordered(self.place(self.shop()))
        self.assertEqual(len({key for _, _, key in self.banyan.asked("reservations")}), 1)

    def test_not_leading_any_more_lets_the_switch_through_and_the_old_shop_decide(self):
        # The switch waits for the lock alone, as it does for real, while an order is being refused for a while.
        switched = threading.Event()

        def switch():
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("set local lock_timeout = '20s'")
                cursor.execute("select pg_advisory_xact_lock(hashtext('banyan:stock'))")
                cursor.execute("update banyan_sync set phase = 'mirror' where capability = 'stock'")
            connection.close()
            switched.set()

        def refuse():
            if not self.switch.is_alive() and not switched.is_set():
                self.switch.start()
            return (409, "not-leading")

        self.switch = threading.Thread(target=switch)
        self.banyan.faults = [refuse] * 100
        answer = self.place(self.shop())
        self.switch.join()
        self.assert_ordered(answer)
        self.assertEqual((self.row(), self.outbox()), ((5, 1), []))  # Oscar's own code took it

    def test_a_move_that_does_not_end_refuses_the_order(self):
        self.banyan.faults = [(409, "not-leading")] * 1000
        with mock.patch.object(reservations, "HANDOVER_SECONDS", 0.5):
            self.assertContains(self.place(self.shop()), "cannot check its stock at the moment")
        self.assertEqual((self.orders(), self.outbox()), (0, []))

    def test_a_switch_waits_for_an_order_in_flight(self):
        seen = []

        def switch():
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("select pg_advisory_xact_lock(hashtext('banyan:stock'))")
                cursor.execute("select count(*) from banyan_outbox")
                seen.append(cursor.fetchone()[0])
            connection.close()

        with transaction.atomic():
            with reservations.reserved([Line(self.sku, 1)], "o-1"):
                other = threading.Thread(target=switch)
                other.start()
                self.wait_for("select count(*) from pg_locks where locktype = 'advisory' and not granted")
                self.assertEqual(seen, [])
        other.join()
        self.assertEqual(seen, [1])

    def test_a_commit_that_may_have_happened_is_not_given_back(self):
        shopper = self.shop()
        mixin = get_class("checkout.mixins", "OrderPlacementMixin")
        # As if the connection broke while the commit was on its way: nobody knows, the outbox row will tell.
        with mock.patch.object(mixin, "handle_successful_order", side_effect=OperationalError("connection lost")):
            with mock.patch(
                "oscar.apps.checkout.views.PaymentDetailsView.render_preview", side_effect=OperationalError("connection lost")
            ):
                self.assertEqual(self.place(shopper).status_code, 500)
        self.assertEqual((self.banyan.asked("release"), self.banyan.items[self.sku]), ([], [5, 1, 0]))

    def test_twelve_shoppers_and_five_units(self):
        shoppers = [self.shop() for _ in range(12)]
        answers = []

        def press(shopper):
            answers.append(self.place(shopper).status_code)
            connection.close()

        threads = [threading.Thread(target=press, args=[shopper]) for shopper in shoppers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(answers), [200] * 7 + [302] * 5)
        self.assertEqual((self.orders(), len(self.outbox()), self.banyan.items[self.sku]), (5, 5, [5, 5, 0]))

    def wait_for(self, sql):
        """Until it counts something."""
        deadline = time.monotonic() + 30
        while True:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                if cursor.fetchone()[0]:
                    return
            self.assertLess(time.monotonic(), deadline, sql)
            time.sleep(0.01)


class ServiceKey(PluginTest):
    """The key is a file, and may be changed while the shop runs."""

    def test_a_changed_key_is_read_again(self):
        self.set_phase("lead")
        with key_file("wrong") as wrong, self.settings(BANYAN_KEY_FILE=wrong):
            client._drop()
            shopper = self.shop()
            self.assertContains(self.place(shopper), "cannot check its stock at the moment")
        self.assert_ordered(self.place(shopper))

    def test_a_key_that_is_not_there_refuses_the_order_and_is_looked_for_again(self):
        self.set_phase("lead")
        shopper = self.shop()
        client._drop()
        with self.settings(BANYAN_KEY_FILE="/nonexistent/service.key"), mock.patch.object(client, "_local", threading.local()):
            self.assertContains(self.place(shopper), "cannot check its stock at the moment")
        self.assert_ordered(self.place(shopper))


@contextlib.contextmanager
def key_file(text):
    """A file with a key in it."""
    with tempfile.NamedTemporaryFile("w", suffix=".key") as file:
        file.write(text)
        file.flush()
        yield file.name
