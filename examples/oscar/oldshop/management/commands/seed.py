"""Fills an empty shop: products with pictures, stock, a voucher, countries, an administrator."""

import datetime as dt
import io
import os
import secrets
from decimal import Decimal
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sites.models import Site
from django.core.files.base import ContentFile
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone
from oscar.core.loading import get_model
from PIL import Image, ImageDraw, ImageFont

from oldshop.catalogue import COLOURS, SHELVES

VOUCHER = "SALE10"
ADMINISTRATOR = "admin@example.com"
# alpha-2, alpha-3, number, name, full name
COUNTRIES = [
    ("GB", "GBR", "826", "United Kingdom", "United Kingdom of Great Britain and Northern Ireland"),
    ("KR", "KOR", "410", "South Korea", "Republic of Korea"),
]


class Command(BaseCommand):
    """Seeds the shop once; a seeded shop is left as it is."""

    help = "Fill an empty shop with products, stock, a voucher and an administrator"

    @transaction.atomic
    def handle(self, *args, **options):
        product = get_model("catalogue", "Product")
        if product.objects.exists():
            self.stdout.write("The shop has products already; nothing was changed.")
            return
        self.products()
        self.voucher()
        for short, long, number, name, full in COUNTRIES:
            get_model("address", "Country").objects.create(
                iso_3166_1_a2=short,
                iso_3166_1_a3=long,
                iso_3166_1_numeric=number,
                printable_name=name,
                name=full,
                is_shipping_country=True,
            )
        get_model("order", "ShippingEventType").objects.create(name="Shipped")
        Site.objects.update_or_create(pk=settings.SITE_ID, defaults={"domain": "127.0.0.1", "name": "Old Shop"})
        path = self.administrator()
        self.stdout.write(f"Seeded {product.objects.count()} products. The password of {ADMINISTRATOR} is in {path}.")

    def products(self):
        """Every shelf, with a drawn picture for each product."""
        model = get_model
        goods = model("catalogue", "ProductClass").objects.create(name="Goods", track_stock=True)
        warehouse = model("partner", "Partner").objects.create(name="Warehouse", code="main")
        for shelf, products in SHELVES.items():
            category = model("catalogue", "Category").add_root(name=shelf)
            for sku, title, price, units in products:
                product = model("catalogue", "Product").objects.create(
                    product_class=goods, title=title, upc=sku, description=f"<p>{title}. From our shelf {shelf}.</p>"
                )
                model("catalogue", "ProductCategory").objects.create(product=product, category=category)
                model("partner", "StockRecord").objects.create(
                    product=product,
                    partner=warehouse,
                    partner_sku=sku,
                    price_currency=settings.OSCAR_DEFAULT_CURRENCY,
                    price=Decimal(price),
                    num_in_stock=units,
                    num_allocated=0,
                    low_stock_threshold=3,
                )
                # Oscar makes these at a product's first visit, and fails if there are two first visits at a time.
                model("analytics", "ProductRecord").objects.get_or_create(product=product)
                image = ContentFile(picture(title, COLOURS[shelf]), name=f"{sku.lower()}.png")
                model("catalogue", "ProductImage").objects.create(product=product, original=image)

    def voucher(self):
        """Ten percent off everything, as often as one likes."""
        model = get_model
        everything = model("offer", "Range").objects.create(name="Everything", includes_all_products=True)
        offer = model("offer", "ConditionalOffer").objects.create(
            name="Ten percent off",
            offer_type="Voucher",
            condition=model("offer", "Condition").objects.create(range=everything, type="Count", value=1),
            benefit=model("offer", "Benefit").objects.create(range=everything, type="Percentage", value=10),
        )
        voucher = model("voucher", "Voucher").objects.create(
            name="Ten percent off",
            code=VOUCHER,
            usage="Multi-use",
            start_datetime=timezone.now() - dt.timedelta(days=1),
            end_datetime=timezone.now() + dt.timedelta(days=3650),
        )
        voucher.offers.add(offer)

    def administrator(self) -> Path:
        """Makes the administrator with a password that nobody has chosen; returns the file that holds it."""
        path = settings.DATA / "admin.password"
        password = secrets.token_urlsafe(18)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
            file.write(password)
        get_user_model().objects.create_superuser("admin", ADMINISTRATOR, password)
        return path


def picture(title: str, colour: str) -> bytes:
    """A plain picture: the product's first words on its shelf's colour."""
    image = Image.new("RGB", (600, 600), colour)
    draw = ImageDraw.Draw(image)
    draw.rectangle((28, 28, 572, 572), outline="white", width=4)
    words = title.split(",")[0].split(":")[0].split()
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) > 12:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    lines.append(line)
    text = "\n".join(lines)
    font = ImageFont.load_default(72)
    draw.multiline_text((300, 300), text, fill="white", font=font, anchor="mm", align="center", spacing=16)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
