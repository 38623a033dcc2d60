"""Aggregations over past rows of a source."""
