"""The old shop: django-oscar on Postgres, as a team might have run it for years."""
