"""The shop's app `order`, with orders that reserve in Banyan."""
