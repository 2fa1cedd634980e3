"""The plugin's tests. They run against a seeded Postgres database that is theirs to change, and a Banyan that does as told.

    OSCAR_PG_TEST_DATABASE=a-copy python manage.py test banyan_plugin --keepdb
"""
