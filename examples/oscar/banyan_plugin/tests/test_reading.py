"""Reading stock, cut loose from the old table one reference after another."""

import io
from html.parser import HTMLParser

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from banyan_plugin import references
from banyan_plugin.references import OWNED
from banyan_plugin.tests.base import PluginTest


class Reading(PluginTest):
    """In the old table and in Banyan stand different numbers here, so that it shows who was asked."""

    def setUp(self):
        super().setUp()
        self.banyan.items[self.sku] = [40, 7, 2]  # in the old table's words: 42 in stock, 9 allocated
        self.set_phase("lead")

    def page(self, path, visitor=None):
        """A page, and the statements behind it that mention the columns."""
        visitor = visitor or Client(headers={"host": "localhost"})
        with CaptureQueriesContext(connection) as queries:
            answer = visitor.get(path)
        self.assertEqual(answer.status_code, 200, path)
        return answer.content.decode(), mentions(queries)

    def product(self):
        """The product's page."""
        return self.page(self.record.product.get_absolute_url())

    def test_a_page_that_is_not_cut_reads_the_table(self):
        page, sql = self.product()
        self.assertIn("In stock (5 available)", page)
        self.assertTrue(sql)
        self.assertEqual(self.banyan.requests, [])

    def test_a_page_that_is_cut_reads_banyan_and_no_statement_mentions_the_columns(self):
        with self.settings(BANYAN_READS={"product_page"}):
            page, sql = self.product()
        self.assertIn("In stock (33 available)", page)
        self.assertEqual(sql, [])
        self.assertEqual(len(self.banyan.requests), 1)  # once a page, however often it is looked at

    def test_only_who_is_named_is_cut(self):
        with self.settings(BANYAN_READS={"dashboard"}):
            page, sql = self.product()
        self.assertIn("In stock (5 available)", page)
        self.assertTrue(sql)

    def test_nobody_is_cut_while_the_old_shop_leads(self):
        with self.settings(BANYAN_READS=set(references.ALL)):
            for name in ("legacy", "mirror"):
                self.set_phase(name)
                page, _ = self.product()
                self.assertIn("In stock (5 available)", page)
        self.assertEqual(self.banyan.requests, [])

    def test_with_all_cut_a_whole_order_mentions_the_columns_nowhere(self):
        with self.settings(BANYAN_READS=set(references.ALL)), CaptureQueriesContext(connection) as queries:
            self.assert_ordered(self.place(self.shop(6)))  # more than the old table knows of
        self.assertEqual(mentions(queries), [])
        self.assertEqual(self.banyan.items[self.sku], [40, 13, 2])

    def test_the_dashboard_shows_and_counts(self):
        staff = self.staff()
        path = f"/dashboard/catalogue/products/{self.record.product.pk}/"
        page, sql = self.page(path, staff)
        self.assertIn('name="stockrecords-0-num_in_stock" value="5"', page)
        with self.settings(BANYAN_READS={"dashboard"}):
            page, sql = self.page(path, staff)
            self.assertIn('name="stockrecords-0-num_in_stock" value="42"', page)
            self.assertEqual(sql, [])
            with CaptureQueriesContext(connection) as queries:
                # A price is corrected on a page that was opened when there were 42. By now there are fewer.
                self.banyan.items[self.sku] = [30, 0, 2]
                self.save_form(staff, path, shown=42, **{"0__price": "12.00", "0__num_in_stock": "42"})
                self.assertEqual(self.outbox(), [])
                self.save_form(staff, path, **{"0__num_in_stock": "50"})
            self.assertEqual(mentions(queries), [])
        self.assertEqual(self.outbox(), [("count", {"sku": self.sku, "location": "main", "on_hand": 50})])
        self.assertEqual(self.row(), (5, 0))

    def test_a_new_product_record_from_the_dashboard_is_counted(self):
        staff = self.staff()
        path = f"/dashboard/catalogue/products/{self.record.product.pk}/"
        second = {"partner": self.record.partner_id, "partner_sku": self.sku + "-2", "price_currency": "GBP", "price": "1.00"}
        second["num_in_stock"] = "8"
        self.save_form(staff, path, **{f"1__{name}": value for name, value in second.items()})
        self.assertEqual(self.outbox(), [("count", {"sku": self.sku + "-2", "location": "main", "on_hand": 8})])
        self.assertEqual(self.row(self.sku + "-2"), (None, None))

    def test_the_report_and_the_search_index(self):
        def report():
            out = io.StringIO()
            with CaptureQueriesContext(connection) as queries:
                call_command("stock_report", stdout=out)
            return out.getvalue(), mentions(queries)

        text, sql = report()
        self.assertIn(f"{self.sku}\t5\t0", text)
        self.assertTrue(sql)
        with self.settings(BANYAN_READS={references.JOBS}):
            text, sql = report()
            self.assertIn(f"{self.sku}\t42\t9", text)
            self.assertEqual(sql, [])
            with CaptureQueriesContext(connection) as queries:
                call_command("rebuild_index", interactive=False, verbosity=0)
            self.assertEqual(mentions(queries), [])

    def test_a_page_without_an_answer_says_unavailable_and_stands(self):
        self.banyan.close()
        with self.settings(BANYAN_READS={"product_page"}):
            page, sql = self.product()
        self.assertIn("Unavailable", page)
        self.assertEqual(sql, [])

    def staff(self):
        """Somebody who is signed in to the dashboard."""
        user, _ = get_user_model().objects.get_or_create(username="staff", email="staff@example.com", is_staff=True, is_superuser=True)
        visitor = Client(headers={"host": "localhost"})
        visitor.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return visitor

    def save_form(self, staff, path, shown=None, **changed):
        """Opens the product's page of the dashboard, changes fields of its stock, and saves; `shown` is what an older page showed."""
        form = Form()
        form.feed(staff.get(path).content.decode())
        self.assertIn("initial-stockrecords-0-num_in_stock", form.fields, "the page does not remember what it showed")
        if shown is not None:
            form.fields["initial-stockrecords-0-num_in_stock"] = str(shown)
        for name, value in changed.items():
            self.assertIn(f"stockrecords-{name.replace('__', '-')}", form.fields)
            form.fields[f"stockrecords-{name.replace('__', '-')}"] = value
        answer = staff.post(path, {**form.fields, "action": "save"})
        if answer.status_code != 302:
            sets = [value for name in answer.context.keys() if name.endswith("_formset") for value in [answer.context[name]]]
            self.fail([answer.context["form"].errors, *[(of.prefix, of.errors, of.non_form_errors()) for of in sets]])


class Form(HTMLParser):
    """The fields of a page with what a browser would send for them."""

    def __init__(self):
        super().__init__()
        self.fields = {}
        self.select = self.area = None

    def handle_starttag(self, tag, attrs):
        """Inputs, and what is chosen in selects."""
        has = dict(attrs)
        if tag == "select":
            self.select = has.get("name")
        elif tag == "textarea" and "name" in has:
            self.area = has["name"]
            self.fields[self.area] = ""
        elif tag == "option" and self.select and "selected" in has:
            self.fields[self.select] = has.get("value", "")
        elif tag == "input" and "name" in has and has.get("type") not in ("file", "submit"):
            if has.get("type") not in ("checkbox", "radio") or "checked" in has:
                self.fields[has["name"]] = has.get("value", "")

    def handle_endtag(self, tag):
        """Ends a field."""
        if tag == "select":
            self.select = None
        elif tag == "textarea":
            self.area = None

    def handle_data(self, data):
        """What stands in a text area."""
        if self.area:
            self.fields[self.area] += data


def mentions(queries) -> list[str]:
    """The statements on the stock table that mention the columns."""
    found = [query["sql"] for query in queries.captured_queries if "partner_stockrecord" in query["sql"]]
    # A line of an order has a column `num_allocated` as well: that one is the shop's own.
    found = [sql.replace('"order_line"."num_allocated"', "") for sql in found]
    return [sql for sql in found if any(name in sql for name in OWNED)]
