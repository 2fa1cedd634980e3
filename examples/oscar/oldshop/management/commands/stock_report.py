"""The list that the warehouse gets every night: one of those readers of the stock table that nobody remembers."""

from django.core.management.base import BaseCommand
from django.db import connection

SQL = """
    select partner_sku, num_in_stock, coalesce(num_allocated, 0)
    from partner_stockrecord where num_in_stock is not null order by partner_sku
"""


class Command(BaseCommand):
    """Prints SKU, units there, and units spoken for."""

    help = "Print the stock, one SKU a line: units there, units spoken for"

    def handle(self, *args, **options):
        for sku, there, spoken_for in self.rows():
            self.stdout.write(f"{sku}\t{there}\t{spoken_for}")

    def rows(self):
        """The lines of the report."""
        with connection.cursor() as cursor:
            cursor.execute(SQL)
            return cursor.fetchall()
