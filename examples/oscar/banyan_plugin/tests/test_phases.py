"""What each phase does with an order, a shipment, a cancelled order and a counted shelf."""

from unittest import mock

from django.db import connection, transaction
from oscar.core.loading import get_class, get_model

from banyan_plugin import phase
from banyan_plugin.errors import NotOurs, OutOfStock
from banyan_plugin.tests.base import PluginTest

STRANGER_HOLDS = "select count(*) from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and pid = pg_backend_pid()"


class WhileTheOldShopLeads(PluginTest):
    """Legacy and mirror: Oscar's own code, behind the lock, and not a word to Banyan."""

    def test_an_order_is_oscars_alone(self):
        for number, name in enumerate(("legacy", "mirror"), start=1):
            self.set_phase(name)
            self.assert_ordered(self.place(self.shop()))
            self.assertEqual(self.row(), (5, number))
        self.assertEqual((self.banyan.requests, self.outbox()), ([], []))

    def test_shipping_cancelling_and_counting_are_oscars(self):
        self.set_phase("mirror")
        self.record.allocate(3)
        self.record.consume_allocation(1)
        self.record.cancel_allocation(1)
        self.assertEqual(self.row(), (4, 1))
        self.record.num_in_stock = 9
        self.record.save()
        self.assertEqual(self.row(), (9, 1))
        type(self.record).objects.filter(pk=self.record.pk).update(num_in_stock=8)
        self.assertEqual((self.row(), self.outbox(), self.banyan.requests), ((8, 1), [], []))

    def test_without_bookkeeping_tables_nothing_is_different(self):
        with connection.cursor() as cursor:
            cursor.execute("drop table banyan_sync")
        phase.forget()
        self.assert_ordered(self.place(self.shop()))
        self.assertEqual(self.row(), (5, 1))

    def test_who_decides_holds_the_lock_to_the_end_of_the_transaction(self):
        with connection.cursor() as cursor:
            with transaction.atomic():
                self.record.allocate(1)
                cursor.execute(STRANGER_HOLDS)
                self.assertEqual(cursor.fetchone(), (1,))
            cursor.execute(STRANGER_HOLDS)
            self.assertEqual(cursor.fetchone(), (0,))

    def test_who_leads_is_not_asked_outside_of_a_transaction(self):
        with self.assertRaises(RuntimeError):
            phase.decide()


class WhileBanyanLeads(PluginTest):
    """Lead and retired: reserved in Banyan, told in the outbox, and the two columns left alone."""

    def setUp(self):
        super().setUp()
        self.set_phase("lead")

    def test_an_order_reserves_and_tells(self):
        self.assert_ordered(self.place(self.shop(2)))
        self.assertEqual(self.banyan.items[self.sku], [5, 2, 0])
        self.assertEqual(self.outbox(), [("allocate", {"reservation": "r-1"})])
        self.assertEqual((self.row(), self.orders()), ((5, 0), 1))
        self.assertEqual(self.banyan.asked("release"), [])

    def test_what_is_allocated_without_an_order_is_reserved_by_itself(self):
        self.record.allocate(2)
        with self.assertRaises(OutOfStock):
            self.record.allocate(4)
        self.assertEqual((self.banyan.items[self.sku], self.row()), ([5, 2, 0], (5, 0)))
        self.assertEqual(self.outbox(), [("allocate", {"reservation": "r-1"})])

    def test_all_goods_of_an_order_are_one_reservation(self):
        other = self.new_record(self.sku + "-b", 1)
        self.assert_ordered(self.place(self.shop(2, other)))
        self.assertEqual(len(self.banyan.asked("reservations")), 1)
        self.assertEqual(len(self.outbox()), 1)

    def test_sold_out_is_told_in_oscars_words_and_nothing_stays(self):
        shopper = self.shop(2)
        self.banyan.items[self.sku] = [5, 4, 0]
        answer = self.place(shopper)
        self.assertContains(answer, "is no longer available to buy (a maximum of 1 can be bought)")
        self.assertEqual((self.orders(), self.outbox(), self.banyan.items[self.sku]), (0, [], [5, 4, 0]))
        self.banyan.items[self.sku] = [5, 5, 0]
        self.assertContains(self.place(shopper), "no longer available to buy (no stock available)")
        self.banyan.items[self.sku] = [5, 0, 0]
        self.assert_ordered(self.place(shopper))  # the basket was given back each time

    def test_one_line_that_is_sold_out_keeps_the_other_free(self):
        other = self.new_record(self.sku + "-b", 1)
        shopper = self.shop(1, other)
        self.banyan.items[other.partner_sku] = [0, 0, 0]
        answer = self.place(shopper)
        self.assertContains(answer, f"Thing {other.partner_sku}")
        self.assertNotContains(answer, f"Thing {self.sku}&#x27; is no longer")
        self.assertEqual(self.banyan.items[self.sku], [5, 0, 0])

    def test_an_order_that_fails_gives_back_what_it_reserved(self):
        shopper = self.shop()
        creator = get_class("order.utils", "OrderCreator")
        with mock.patch.object(creator, "create_line_models", side_effect=ValueError("a fault of the shop")):
            self.assertContains(self.place(shopper), "A problem occurred while placing this order")
        self.assertEqual((self.orders(), self.outbox(), self.banyan.items[self.sku]), (0, [], [5, 0, 0]))
        self.assertEqual(len(self.banyan.asked("release")), 1)

    def test_a_request_that_fails_after_the_order_gives_back_too(self):
        shopper = self.shop()
        mixin = get_class("checkout.mixins", "OrderPlacementMixin")
        with mock.patch.object(mixin, "handle_successful_order", side_effect=SystemError("after the order")):
            with mock.patch("oscar.apps.checkout.views.PaymentDetailsView.render_preview", side_effect=SystemError("and again")):
                self.assertEqual(self.place(shopper).status_code, 500)
        self.assertEqual((self.orders(), self.outbox(), self.banyan.items[self.sku]), (0, [], [5, 0, 0]))

    def test_shipping_cancelling_and_counting_are_told(self):
        self.record.consume_allocation(2)
        self.record.cancel_allocation(1)
        self.record.num_in_stock = 12
        self.record.save()
        self.record.save()
        place = {"sku": self.sku, "location": "main"}
        told = [("ship", {**place, "quantity": 2}), ("deallocate", {**place, "quantity": 1}), ("count", {**place, "on_hand": 12})]
        self.assertEqual((self.outbox(), self.row()), (told, (5, 0)))

    def test_what_is_rolled_back_is_not_told(self):
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            self.record.consume_allocation(2)
            raise ZeroDivisionError
        self.assertEqual(self.outbox(), [])

    def test_an_order_shipped_and_one_cancelled_by_the_shops_own_pipeline(self):
        for _ in range(2):
            self.assert_ordered(self.place(self.shop()))
        shipped, cancelled = [line.order for line in get_model("order", "Line").objects.filter(partner_sku=self.sku)]
        handler = get_class("order.processing", "EventHandler")()
        event = get_model("order", "ShippingEventType").objects.get(name="Shipped")
        handler.handle_shipping_event(shipped, event, list(shipped.lines.all()), [1])
        handler.handle_order_status_change(cancelled, "Cancelled")
        self.assertEqual([kind for kind, _ in self.outbox()], ["allocate", "allocate", "ship", "deallocate"])
        self.assertEqual(self.row(), (5, 0))

    def test_a_price_is_saved_without_touching_stock(self):
        with connection.cursor() as cursor:  # Banyan's sync, behind this record's back
            cursor.execute("update partner_stockrecord set num_in_stock = 4 where partner_sku = %s", [self.sku])
        self.record.price = 11
        self.record.save()
        self.assertEqual((self.row(), self.outbox()), ((4, 0), []))

    def test_a_new_record_is_counted_and_its_columns_stay_empty(self):
        fresh = type(self.record)(product=self.record.product, partner=self.record.partner, partner_sku=self.sku + "-new", price=3)
        fresh.num_in_stock = 7
        fresh.save()
        self.assertEqual(self.row(fresh.partner_sku), (None, None))
        self.assertEqual(self.outbox(), [("count", {"sku": fresh.partner_sku, "location": "main", "on_hand": 7})])

    def test_shortcuts_past_the_model_are_refused(self):
        with self.assertRaises(NotOurs):
            type(self.record).objects.filter(pk=self.record.pk).update(num_in_stock=1)
        self.record.num_allocated = 3
        with self.assertRaises(NotOurs):
            self.record.save()
        self.assertEqual((self.row(), self.outbox()), ((5, 0), []))

    def test_retired_is_the_same_with_columns_that_nobody_fills(self):
        with connection.cursor() as cursor:
            cursor.execute("update partner_stockrecord set num_in_stock = null, num_allocated = null where partner_sku = %s", [self.sku])
        self.set_phase("retired")
        self.assert_ordered(self.place(self.shop(5)))
        self.assertEqual((self.banyan.items[self.sku], self.row()), ([5, 5, 0], (None, None)))
        page = self.client.get(self.record.product.get_absolute_url(), headers={"host": "localhost"})
        self.assertContains(page, "Unavailable")
