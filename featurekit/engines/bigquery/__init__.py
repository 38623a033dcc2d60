"""BigQuery: the statements of a plan as SQL, and running them there."""

from featurekit.engines.bigquery.settings import Settings as BigQuery

__all__ = ["BigQuery"]
