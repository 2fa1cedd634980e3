"""What all of the plugin's tests have: a Banyan, the bookkeeping tables, a product, and a shopper."""

import json
import tempfile
import uuid
from decimal import Decimal
from pathlib import Path
from unittest import mock

from django.conf import settings
from django.db import connection
from django.test import Client, SimpleTestCase
from oscar.core.loading import get_model

from banyan_plugin import client, levels, phase
from banyan_plugin.tests.fake import KEY, FakeBanyan

BOOKKEEPING = """
    create table if not exists banyan_sync (capability text primary key, phase text not null, epoch bigint not null,
        seq bigint not null, move bigint not null, changed_at timestamptz not null default now());
    create table if not exists banyan_outbox (id bigserial primary key, capability text not null, kind text not null,
        body jsonb not null, made_at timestamptz not null default now());
    delete from banyan_outbox;
"""
ADDRESS = {
    "first_name": "Ada",
    "last_name": "Reed",
    "line1": "1 Mill Road",
    "line4": "London",
    "postcode": "N12 9RE",
    "country": "GB",
}


class PluginTest(SimpleTestCase):
    """Tests commit for real: the plugin is about what happens at commits. Each makes a product of its own."""

    databases = {"default"}
    def setUp(self):
        self.banyan = FakeBanyan()
        self.addCleanup(self.banyan.close)
        folder = self.enterContext(tempfile.TemporaryDirectory())
        key = Path(folder) / "service.key"
        key.write_text(KEY + "\n")
        self.enterContext(self.settings(BANYAN_URL=self.banyan.url, BANYAN_KEY_FILE=key, BANYAN_READS=set()))
        # Patience that suits a test; what is waited for is the same.
        self.enterContext(mock.patch.multiple(client, TRY_SECONDS=0.5, RESERVE_SECONDS=3.0, LOOK_SECONDS=0.4))
        levels.forget()
        with connection.cursor() as cursor:
            cursor.execute(BOOKKEEPING)
        self.set_phase("legacy")
        self.sku = f"T-{uuid.uuid4().hex[:8]}"
        self.record = self.new_record(self.sku, 5)

    def new_record(self, sku: str, units: int):
        """A product with so many units, in the old table and in Banyan alike."""
        Product, StockRecord = get_model("catalogue", "Product"), get_model("partner", "StockRecord")
        goods = get_model("catalogue", "ProductClass").objects.get(name="Goods")
        product = Product.objects.create(product_class=goods, title=f"Thing {sku}", is_public=True)
        product.categories.add(get_model("catalogue", "Category").objects.first())
        partner = get_model("partner", "Partner").objects.get(code="main")
        record = StockRecord(product=product, partner=partner, partner_sku=sku, price=Decimal("10.00"))
        before = self.phase
        self.set_phase("legacy")
        record.num_in_stock, record.num_allocated = units, 0
        record.save()
        self.set_phase(before)
        self.banyan.items[sku] = [units, 0, 0]
        return record

    def set_phase(self, name: str):
        """What the switch does, without waiting for anybody."""
        self.phase = name
        with connection.cursor() as cursor:
            cursor.execute(
                "insert into banyan_sync values ('stock', %s, 1, 0, 1) on conflict (capability) do update set phase = excluded.phase",
                [name],
            )
        phase.forget()

    def row(self, sku=None) -> tuple:
        """The two columns as they are in the old table."""
        with connection.cursor() as cursor:
            cursor.execute(
                "select num_in_stock, num_allocated from partner_stockrecord where partner_sku = %s", [sku or self.sku]
            )
            return cursor.fetchone()

    def outbox(self) -> list[tuple]:
        """What Banyan was told, in order."""
        with connection.cursor() as cursor:
            cursor.execute("select kind, body::text from banyan_outbox order by id")
            return [(kind, json.loads(body)) for kind, body in cursor]

    def orders(self) -> int:
        """Orders of this test's product."""
        return get_model("order", "Line").objects.filter(partner_sku=self.sku).count()

    def shop(self, quantity=1, *others):
        """A guest goes as far as the button "Place order"; returns them."""
        shopper = Client(raise_request_exception=False, headers={"host": settings.ALLOWED_HOSTS[0]})
        for product, units in [(self.record.product, quantity), *[(other.product, 1) for other in others]]:
            answer = shopper.post(f"/basket/add/{product.pk}/", {"quantity": units})
            self.assertEqual(answer.status_code, 302)
        shopper.post("/checkout/", {"username": "ada@example.com", "options": "anonymous"})
        answer = shopper.post("/checkout/shipping-address/", ADDRESS)
        self.assertEqual(answer.status_code, 302)
        shopper.get("/checkout/shipping-method/")  # there is one only, and it is chosen by looking
        self.assertEqual(shopper.get("/checkout/preview/").status_code, 200, "the shopper does not get to the preview")
        return shopper

    def place(self, shopper):
        """Presses the button; returns the answer."""
        return shopper.post("/checkout/preview/", {"action": "place_order"})

    def assert_ordered(self, answer):
        """The shopper is thanked."""
        self.assertEqual((answer.status_code, answer.headers.get("Location")), (302, "/checkout/thank-you/"), answer.content)
