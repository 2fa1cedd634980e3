"""Placing an order: all its goods are reserved first, together, before anything of it is written."""

import logging

from django.db import transaction
from django.utils.translation import gettext as _
from oscar.apps.order import utils
from oscar.apps.order.exceptions import UnableToPlaceOrder

from banyan_plugin import reservations
from banyan_plugin.client import Line
from banyan_plugin.errors import OutOfStock, Refused, Unreachable

logger = logging.getLogger("banyan")

NOT_NOW = "The shop cannot check its stock at the moment, so the order was not placed and nothing was taken. Please try again in a minute."


class OrderCreator(utils.OrderCreator):
    """Oscar's, with a reservation around it while Banyan leads."""

    def place_order(self, basket, *args, **kwargs):
        """Places the order, or raises `UnableToPlaceOrder` with a sentence for the shopper."""
        lines = [line for line in basket.all_lines() if line.product.get_product_class().track_stock]
        wanted = [Line(line.stockrecord.partner_sku, line.quantity) for line in lines]
        number = str(kwargs.get("order_number") or basket.id)
        try:
            with transaction.atomic():
                if not wanted:
                    return super().place_order(basket, *args, **kwargs)
                with reservations.reserved(wanted, number):
                    return super().place_order(basket, *args, **kwargs)
        except OutOfStock as refusal:
            raise UnableToPlaceOrder(sold_out(lines, refusal.short)) from refusal
        except (Refused, Unreachable) as error:
            logger.error("order %s: not placed, %s: %s", number, type(error).__name__, error)
            raise UnableToPlaceOrder(_(NOT_NOW)) from error


def sold_out(lines, short: dict[int, int]) -> str:
    """What Oscar's basket says of lines that cannot be had, in Oscar's own words and languages."""
    sentences = []
    for index, line in enumerate(lines):
        if short and index not in short:
            continue
        left = short.get(index, 0)
        reason = _("a maximum of %(max)d can be bought") % {"max": left} if left else _("no stock available")
        sentence = _("'%(title)s' is no longer available to buy (%(reason)s). Please adjust your basket to continue")
        sentences.append(sentence % {"title": line.product.get_title(), "reason": reason})
    return " ".join(sentences)
