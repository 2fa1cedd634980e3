"""Placing an order: all its goods are reserved first, together, before anything of it is written."""

import logging

from django.db import transaction
from django.utils.translation import gettext as _
from oscar.apps.order import utils
from oscar.apps.order.exceptions import UnableToPlaceOrder

from banyan_plugin import reservations
from banyan_plugin.client import Line
from banyan_plugin.errors import NeverAsItIs, OutOfStock, Refused, Unreachable

logger = logging.getLogger("banyan")

NOT_NOW = "The shop cannot check its stock at the moment, so the order was not placed. Please try again in a minute."
NEVER = "The shop's stock cannot take an order like this one, so it was not placed. Please order fewer different products at once, or contact us."


class OrderCreator(utils.OrderCreator):
    """Oscar's, with a reservation around it while Banyan leads."""

    def place_order(self, basket, *args, **kwargs):
        """Places the order, or raises `UnableToPlaceOrder` with a sentence for the shopper."""
        lines = [line for line in basket.all_lines() if line.product.get_product_class().track_stock]
        wanted = merged(lines)
        number = str(kwargs.get("order_number") or basket.id)
        try:
            with transaction.atomic():
                if not wanted:
                    return super().place_order(basket, *args, **kwargs)
                with reservations.reserved(wanted, number):
                    return super().place_order(basket, *args, **kwargs)
        except OutOfStock as refusal:
            short = {wanted[index].sku: left for index, left in refusal.short.items()}
            raise UnableToPlaceOrder(sold_out(lines, short)) from refusal
        except NeverAsItIs as refusal:
            logger.error("order %s: not placed, and will not be as it is, %s: %s", number, refusal.slug, refusal)
            raise UnableToPlaceOrder(_(NEVER)) from refusal
        except (Refused, Unreachable) as error:
            logger.error("order %s: not placed, %s: %s", number, type(error).__name__, error)
            raise UnableToPlaceOrder(_(NOT_NOW)) from error


def merged(lines) -> list[Line]:
    """What the lines take of each SKU, in their order: one SKU may be in several, with other options or vouchers."""
    units: dict[str, int] = {}
    for line in lines:
        sku = line.stockrecord.partner_sku
        units[sku] = units.get(sku, 0) + line.quantity
    return [Line(sku, quantity) for sku, quantity in units.items()]


def sold_out(lines, short: dict[str, int]) -> str:
    """What Oscar's basket says of lines that cannot be had, in Oscar's own words and languages. `short` has, for each SKU that
    falls short, the units it could have; empty if that is not known."""
    sentences = []
    for line in lines:
        sku = line.stockrecord.partner_sku
        if short and sku not in short:
            continue
        left = short.get(sku, 0)
        reason = _("a maximum of %(max)d can be bought") % {"max": left} if left else _("no stock available")
        sentence = _("'%(title)s' is no longer available to buy (%(reason)s). Please adjust your basket to continue")
        sentences.append(sentence % {"title": line.product.get_title(), "reason": reason})
    return " ".join(dict.fromkeys(sentences))
