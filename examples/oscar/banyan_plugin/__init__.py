"""What a team adds to its Oscar shop so that Banyan can take over stock: one step at a time, and back.

Who decides about stock is written in the shop's own database (`banyan_sync`), and read in each transaction that is about to
decide: `phase.py`. While the old shop leads, Oscar's own code runs, unchanged. While Banyan leads, goods are reserved
there over HTTP (`client.py`, `reservations.py`), what came of it is told in the same transaction as the order (`outbox.py`),
and the columns that Banyan owns are never written here. Reading is cut loose page by page: `references.py`, `levels.py`.

The folders `partner`, `order`, `basket` and `dashboard` are forks of Oscar's apps in Oscar's own way of being
customised; each holds only what differs. Start reading at `partner/models.py`.
"""
