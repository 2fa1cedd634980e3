"""The shop's database role without the right to read who leads: pages stand, and nobody decides what somebody else may decide."""

from django.db import connection

from banyan_plugin import phase
from banyan_plugin.errors import PhaseUnknown
from banyan_plugin.tests.base import PluginTest

ROLE = """
    do $$ begin create role shop_without_rights; exception when duplicate_object then null; end $$;
    grant usage on schema public to shop_without_rights;
    grant select, insert, update, delete on all tables in schema public to shop_without_rights;
    grant usage on all sequences in schema public to shop_without_rights;
    revoke all on banyan_sync from shop_without_rights;
"""


class WithoutTheRightToReadWhoLeads(PluginTest):
    """Tables of somebody else, as where migrations own them."""

    def setUp(self):
        super().setUp()
        self.run_sql(ROLE)
        self.addCleanup(self.run_sql, "reset role")

    def run_sql(self, sql):
        """Runs it."""
        with connection.cursor() as cursor:
            cursor.execute(sql)

    def become_poor(self):
        """From here on the shop has few rights."""
        self.run_sql("set role shop_without_rights")
        phase.forget()

    def test_pages_show_the_table_and_say_so_loudly_in_the_log(self):
        self.become_poor()
        with self.assertLogs("banyan", "ERROR") as logged:
            page = self.client.get(self.record.product.get_absolute_url(), headers={"host": "localhost"})
        self.assertContains(page, "In stock (5 available)")
        self.assertIn("grant select on banyan_sync to shop_without_rights", logged.output[0])

    def test_an_order_is_refused_whoever_leads_and_placed_once_the_right_is_there(self):
        for name in ("legacy", "lead"):
            with self.subTest(phase=name):
                self.set_phase(name)
                self.become_poor()
                shopper = self.shop()
                self.assertContains(self.place(shopper), "cannot check its stock at the moment")
                self.run_sql("reset role")
                self.assertEqual((self.orders(), self.outbox(), self.row(), self.banyan.asked("reservations")), (0, [], (5, 0), []))
        self.run_sql("grant select on banyan_sync to shop_without_rights")
        self.become_poor()
        self.assert_ordered(self.place(shopper))
        self.run_sql("reset role")
        self.assertEqual(self.outbox(), [("allocate", {"reservation": "r-1"})])

    def test_who_decides_does_not_take_unknown_for_legacy(self):
        self.become_poor()
        with self.assertRaises(PhaseUnknown):
            self.record.allocate(1)
        self.assertEqual(self.row(), (5, 0))
