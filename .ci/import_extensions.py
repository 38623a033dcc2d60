"""Puts the DuckDB extensions that the BigQuery emulator needs into HOME: they come as packages."""

from duckdb_extensions import import_extension

for name in ("spatial", "avro"):
    import_extension(name)
