"""Sources that only Beam reads, brought to this machine where somebody here needs their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from featurekit.engines.workers import Worker
from featurekit.errors import DataError
from featurekit.sources import address_of, stored_types
from featurekit.spec.objects import Source
from featurekit.types import parse_type

__all__ = ["fetch", "fetched"]

_HEAD = 1 << 22
"""So many bytes of each CSV file decide the types of its columns when the spec does not."""


def fetched(
    worker: Worker, name: str, source: Source, base: Path, folder: Path, head: bool
) -> Source:
    """Copy the files of a source to this machine; TFRecord becomes Parquet.

    Args:
        worker: The process that has Beam.
        name: The source's name.
        source: Its declaration, `on_workers`.
        base: What its path is relative to.
        folder: An empty folder for this run.
        head: Whether its columns are enough: no rows of Parquet, the first of CSV.

    Returns:
        The source, as files that are here.

    Raises:
        DataError: There are no such files, or they cannot be read.
    """
    place = folder / f"fetched-{len(list(folder.glob('fetched-*')))}"
    place.mkdir()
    types = {column: str(of) for column, of in stored_types(source).items()}
    worker.start(
        {
            "task": "fetch", "source": name, "path": address_of(source, base),
            "format": source.file_format,
            "types": types, "folder": str(place), "head": head,
        }
    )  # fmt: skip
    answer = worker.answer()
    return replace(source, path=f"{place}/*", format=answer["format"])


def fetch(job: Mapping[str, Any]) -> str:
    """Bring a source's files to a folder of this machine; the process's part of `fetched`.

    Args:
        job: What `fetched` asks for.

    Returns:
        The format that they have there.

    Raises:
        DataError: There are no such files, or they cannot be read.
    """
    from featurekit.engines.beam.storage import download, matching

    folder, files = Path(job["folder"]), matching(job["path"])
    if job["format"] == "tfrecord":
        for place, path in enumerate(files):
            _decode(path, folder / f"{place:08}.parquet", job["types"])
        return "parquet"
    if not job["head"]:
        for place, path in enumerate(files):
            download(path, folder / f"{place:08}.{job['format']}")
    elif job["format"] == "parquet":
        _schema_of(files[0], folder / "schema.parquet")
    else:
        for place, path in enumerate(files):
            head = folder / f"{place:08}.csv"
            download(path, head, _HEAD)
            data = head.read_bytes()
            if len(data) == _HEAD:
                head.write_bytes(data[: data.rfind(b"\n") + 1])
    return str(job["format"])


def _schema_of(path: str, target: Path) -> None:
    """Write a Parquet file with the columns of another, and no rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from featurekit.engines.beam.storage import opened

    with opened(path) as file:
        try:
            schema = pq.ParquetFile(file).schema_arrow
        except pa.ArrowInvalid as error:
            text = str(error).splitlines()[0]
            raise DataError(f"the data cannot be read: {text}", where=path) from None
    pq.write_table(schema.empty_table(), target)


def _decode(path: str, target: Path, types: Mapping[str, str]) -> None:
    """Write the declared columns of a TFRecord file as Parquet."""
    import pyarrow.parquet as pq

    from featurekit.engines.beam.reading import batch_rows
    from featurekit.engines.beam.tfrecords import Decoder

    decoder = Decoder({name: parse_type(text) for name, text in types.items()})
    writer = None
    for records, start in decoder.records(path, batch_rows(len(types))):
        table, bad = decoder.table(records)
        if bad:
            row, why = bad[0]
            raise DataError(f"row {start + row}: {why}", where=path)
        writer = writer or pq.ParquetWriter(target, table.schema)
        writer.write_table(table)
    if writer is None:
        raise DataError("the data has no rows", where=path)
    writer.close()
