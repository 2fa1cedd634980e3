"""Shipping takes goods out of the warehouse; cancelling gives up what was set aside for the order."""

from django.db import transaction
from oscar.apps.order import processing


class EventHandler(processing.EventHandler):
    """Oscar's handler, with stock following the order."""

    @transaction.atomic
    def handle_shipping_event(self, order, event_type, lines, line_quantities, **kwargs):
        """Records the event, and for goods that leave takes them out of stock."""
        self.validate_shipping_event(order, event_type, lines, line_quantities, **kwargs)
        if event_type.name == "Shipped":
            self.consume_stock_allocations(order, lines, line_quantities)
        return self.create_shipping_event(order, event_type, lines, line_quantities, **kwargs)

    @transaction.atomic
    def handle_order_status_change(self, order, new_status, note_msg=None):
        """Changes the status, and for a cancelled order gives up what has not been shipped."""
        super().handle_order_status_change(order, new_status, note_msg)
        if new_status == "Cancelled":
            lines = [line for line in order.lines.all() if line.num_allocated]
            if lines:
                self.cancel_stock_allocations(order, lines, [line.num_allocated for line in lines])
