"""The warehouse's list, from whoever knows."""

from oldshop.management.commands import stock_report

from banyan_plugin import client, references


class Command(stock_report.Command):
    """The shop's report; read from Banyan once it is cut loose from the table."""

    def rows(self):
        """The lines of the report."""
        if not references.cut():
            return super().rows()
        return [(sku, level.in_stock, level.allocated) for sku, level in sorted(client.levels().items())]
