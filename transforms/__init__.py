"""The catalogue of operations, one per file, in the folder of its reach.

- `row/`: sees one row; in production a TensorFlow graph, by default Polars.
- `full_pass/`: sees all training rows through statistics; in production tf.Transform on Beam.
- `aggregate/`: sees past rows of a source; in production BigQuery.
"""

if __name__ != "featurekit.transforms":
    raise ImportError(
        f"this folder is the package featurekit.transforms, not {__name__}: "
        "import featurekit.transforms"
    )
