"""The shop's fork of Oscar's app `order`: what happens to stock when an order is shipped or cancelled.

Oscar leaves this to each shop: out of the box an order only ever raises `num_allocated`.
"""
