"""Where and within which bounds a run uses BigQuery."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from featurekit.arguments import expect, shown
from featurekit.errors import SpecError, UsageError, require
from featurekit.spec.table_id import TableId

__all__ = ["RESERVED_LABELS", "Settings", "from_environment"]

RESERVED_LABELS = ("featurekit", "featurekit_hash", "featurekit_run")
"""The labels that every job gets: its kind, the hash of what it does, and which run sent it."""

_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Settings:
    """Where and within which bounds a run uses BigQuery.

    Args:
        project: The project that jobs run in and that pays for them.
        dataset: The dataset for staging tables and results, `dataset` or `project.dataset`.
        location: Where jobs run; None for where the dataset is.
        max_bytes: All jobs of the run together may read so many bytes. An estimate above is
            refused before anything runs, and no job can be billed for more than what is left.
        labels: Labels of every job, for the bill; FeatureKit adds its own.
        deadline: Seconds for the whole run.
        request_timeout: Seconds that one HTTP request may wait for its answer.
        retry_seconds: Seconds that one request is repeated for while it fails in passing ways.
        first_delay: Seconds before the first repetition or poll; doubled each time.
        longest_delay: Seconds between two repetitions or polls, at most.
        job_attempts: How often a job that the service failed through no fault of its own is run.
        staging_hours: How long staging tables live; a repeat within that time costs nothing.
        page_rows: Rows per page where results are read through REST.
        storage: Whether results may be read through the Storage Read API.
        api_endpoint: Another address of the service, such as an emulator.
        storage_endpoint: Another `host:port` of the Storage Read API, without encryption. With an
            `api_endpoint` and none of these, results are read through REST.
        credentials: Google credentials; None for the default ones of the environment.

    Raises:
        UsageError: A bound or a label is not one.
        SpecError: The project or the dataset is not a name.
    """

    project: str
    dataset: str
    location: str | None = None
    max_bytes: int = 2**40
    labels: Mapping[str, str] = field(default_factory=dict)
    deadline: float = 3600.0
    request_timeout: float = 60.0
    retry_seconds: float = 300.0
    first_delay: float = 0.5
    longest_delay: float = 15.0
    job_attempts: int = 3
    staging_hours: int = 24
    page_rows: int = 50_000
    storage: bool = True
    api_endpoint: str | None = None
    storage_endpoint: str | None = None
    credentials: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        expect(self.project, str, "project", "the name of a project")
        expect(self.dataset, str, "dataset", "the name of a dataset")
        for name in (
            "max_bytes", "deadline", "request_timeout", "retry_seconds", "first_delay",
            "longest_delay", "job_attempts", "staging_hours", "page_rows",
        ):  # fmt: skip
            value = getattr(self, name)
            whole = name in ("max_bytes", "job_attempts", "staging_hours", "page_rows")
            kind = int if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kind) or not value > 0:
                wanted = "a positive whole number" if whole else "a positive number"
                raise UsageError(f"{name} is {wanted}, got {shown(value)}", where="BigQuery")
        for key, value in expect(self.labels, Mapping, "labels", "a mapping of texts").items():
            if key in RESERVED_LABELS or not (
                _LABEL_KEY.fullmatch(str(key))
                and isinstance(value, str)
                and _LABEL_VALUE.fullmatch(value)
            ):
                raise UsageError(
                    f"{key}={value} is not a label that a job can have",
                    where="BigQuery",
                    hint="lower case letters, digits, dashes and underscores, 63 at most; "
                    f"{', '.join(RESERVED_LABELS)} are FeatureKit's own",
                )
        try:
            self.table("t")
        except SpecError:
            raise SpecError(
                f"{self.dataset!r} in project {self.project!r} is not a dataset",
                where="BigQuery",
                hint="write dataset or project.dataset; names only, no dots within",
            ) from None

    @property
    def staging(self) -> str:
        """The dataset with its project, `project.dataset`."""
        return str(self.table("t")).removesuffix(".t")

    def table(self, name: str) -> TableId:
        """Return the id of a table in the run's dataset.

        Raises:
            SpecError: It is not a table's name.
        """
        project, _, dataset = self.dataset.rpartition(".")
        return TableId(project or self.project, dataset, name)


def from_environment(project: str, dataset: str, **given: Any) -> Settings:
    """Return settings that go by the environment, as Google's own clients do.

    `BIGQUERY_EMULATOR_HOST` names the address of an emulator, which asks for no credentials.

    Args:
        project: The project.
        dataset: The dataset.
        given: Other settings.
    """
    host = os.environ.get("BIGQUERY_EMULATOR_HOST")
    if host:
        require("google.auth", "bigquery", "running statements in BigQuery")
        from google.auth.credentials import AnonymousCredentials

        endpoint = host if "://" in host else f"http://{host}"
        given = {"api_endpoint": endpoint, "credentials": AnonymousCredentials()} | given
    return Settings(project, dataset, **given)
