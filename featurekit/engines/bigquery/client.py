"""The connection to BigQuery: requests within a deadline, and jobs that take effect once.

A job's id comes from what it does, so sending it again, after a lost answer or in a later run, is
refused by the service as a repetition (409), and the job that is there is taken instead. A job
that failed, or whose table is gone, is run again under an id with the next number.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from types import TracebackType
from typing import Any, TypeVar

from featurekit.arguments import expect
from featurekit.engines.bigquery.failures import (
    PASSING_REASONS,
    Unusable,
    caught,
    is_passing,
    job_failure,
    place,
    reason_of,
    translated,
    unanswered,
)
from featurekit.engines.bigquery.settings import Settings
from featurekit.errors import BudgetError, EngineError, FeatureKitError, require
from featurekit.spec.table_id import TableId

__all__ = ["Done", "Task", "Warehouse"]

T = TypeVar("T")

_MOST_ATTEMPTS = 100
"""So many earlier jobs of the same work are looked through; more than that is not believed."""


@dataclass(frozen=True)
class Task:
    """One piece of work that a job does.

    Args:
        kind: What sort of work: `query`, `check`, `load`, `copy` or `extract`.
        name: What it computes, for messages.
        digest: The hash of all that decides its outcome.
        features: The features that need it.
    """

    kind: str
    name: str
    digest: str
    features: tuple[str, ...] = ()

    def job_id(self, attempt: int) -> str:
        """Return the id of the job that does this, the first time or a later one."""
        return f"featurekit_{self.kind}_{self.digest}_{attempt}"

    def where(self, job_id: str) -> str:
        """Name a job that does this, for messages."""
        return place(f"BigQuery job {job_id}, {self.kind} {self.name}", self.features)


@dataclass(frozen=True)
class Done:
    """A job that has finished without an error.

    Args:
        job: The client's job object.
        reused: Whether an earlier run started it, and paid for it.
    """

    job: Any
    reused: bool


class _Late(EngineError):
    """The run's time is over."""


class _Hidden(Exception):
    """A job of another user, which this one may not look at."""


class Warehouse:
    """An open connection, with a deadline and a budget for all that is done through it.

    Use it as a context manager; the deadline counts from its making.

    Args:
        settings: Where, and the bounds.
        progress: Called with a line of text at each step.

    Raises:
        MissingExtra: google-cloud-bigquery is not installed.
        EngineError: There are no credentials.

    Attributes:
        settings: As given.
        billed: The bytes that jobs of this run were billed for.
        run: A random name for this run, on the label of its jobs.
    """

    def __init__(self, settings: Settings, progress: Callable[[str], None] | None = None) -> None:
        require("google.cloud.bigquery", "bigquery", "running statements in BigQuery")
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import bigquery

        expect(settings, Settings, "bigquery", "an fk.BigQuery")
        self.settings = settings
        self.billed = 0
        self.run = secrets.token_hex(8)
        self._end = time.monotonic() + settings.deadline
        self._progress = progress
        endpoint = {"api_endpoint": settings.api_endpoint} if settings.api_endpoint else {}
        try:
            self.client = bigquery.Client(
                project=settings.project, credentials=settings.credentials, client_options=endpoint
            )
        except GoogleAuthError as error:
            raise translated(error, "BigQuery") from None

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()

    def tell(self, text: str) -> None:
        """Report a step."""
        if self._progress is not None:
            self._progress(text)

    @property
    def seconds_left(self) -> float:
        """How much of the run's time is left."""
        return self._end - time.monotonic()

    @property
    def bytes_left(self) -> int:
        """How much of the run's budget is left."""
        return self.settings.max_bytes - self.billed

    @cached_property
    def location(self) -> str | None:
        """Where jobs run: as set, or where the dataset is.

        Raises:
            DataError: The dataset does not exist.
        """
        if self.settings.location is not None:
            return self.settings.location
        table = self.settings.table("t")
        name = f"{table.project}.{table.dataset}"
        found: str | None = self.call(
            f"BigQuery dataset {name}",
            lambda timeout: self.client.get_dataset(name, retry=None, timeout=timeout),
        ).location
        return found

    def labels(self, task: Task) -> dict[str, str]:
        """Return the labels of a job."""
        own = {
            "featurekit": task.kind, "featurekit_hash": task.digest, "featurekit_run": self.run,
        }  # fmt: skip
        return {**self.settings.labels, **own}

    def retry(self, also: tuple[type[Exception], ...] = ()) -> Any:
        """Return the client's own retry decorator, bounded by what is left of the run's time."""
        from google.api_core.retry import Retry

        settings = self.settings
        return Retry(
            predicate=lambda error: is_passing(error) or isinstance(error, also),
            initial=settings.first_delay,
            maximum=settings.longest_delay,
            multiplier=2.0,
            timeout=max(0.0, min(settings.retry_seconds, self.seconds_left)),
        )

    @property
    def timeout(self) -> float:
        """Seconds that one request may take now.

        Raises:
            EngineError: The run's time is over.
        """
        left = self.seconds_left
        if left <= 0:
            raise _Late("")
        return min(self.settings.request_timeout, left)

    def call(
        self,
        where: str,
        request: Callable[[float], T],
        *,
        expected: tuple[type[Exception], ...] = (),
        also: tuple[type[Exception], ...] = (),
    ) -> T:
        """Send a request, repeating it while it fails in passing ways and there is time.

        Args:
            where: What an error names.
            request: Sends it once, without repeating, given its timeout in seconds.
            expected: Errors that are raised as they are.
            also: Errors that are passing here, too.

        Raises:
            FeatureKitError: It failed for good, or time is over.
        """
        with self.errors(where, expected):
            return self.retry(also)(lambda: request(self.timeout))()  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def errors(self, where: str, expected: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Turn whatever a request raises into one FeatureKit error."""
        began = time.monotonic()
        try:
            yield
        except _Late:
            raise self.late(where) from None
        except expected:
            raise
        except FeatureKitError:
            raise
        except caught() as error:
            # What the end of the run's time has cut short is late.
            if unanswered(error) and self.seconds_left <= 0:
                raise self.late(where) from None
            raise translated(error, where, time.monotonic() - began) from None

    def late(self, where: str) -> EngineError:
        """Return the error of a run whose time is over."""
        return EngineError(
            f"the run's {self.settings.deadline:g} s are over",
            where=where,
            hint="a job that was started goes on; run it again, with a longer deadline, and it is "
            "taken up where it is",
        )

    def table(self, table: TableId, features: tuple[str, ...] = ()) -> Any | None:
        """Return the client's description of a table, or None if it does not exist."""
        from google.api_core.exceptions import NotFound

        try:
            return self.call(
                place(f"BigQuery table {table}", features),
                lambda timeout: self.client.get_table(str(table), retry=None, timeout=timeout),
                expected=(NotFound,),
            )
        except NotFound:
            return None

    def ensure(
        self, task: Task, begin: Callable[[str, float], Any], intact: Callable[[Any], bool]
    ) -> Done:
        """Have a task done by exactly one job: one that is there already, or else a new one.

        Args:
            task: What is to be done.
            begin: Sends the job once, given its id and the request's timeout, and returns it.
            intact: Whether what an earlier run's job left is still as it left it.

        Raises:
            FeatureKitError: The job failed.
        """
        failures = 0
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            job_id = task.job_id(attempt)
            try:
                job, found = self._begun(task, job_id, begin)
                if found and job.labels.get("featurekit_hash") != task.digest:
                    continue  # it has our id by chance or by malice, and is not our job
                job = self._finished(task, job)
            except _Hidden:
                continue
            except KeyboardInterrupt:
                self._cancel(job_id)
                raise
            if job.error_result is None:
                if not found:
                    self.billed += getattr(job, "total_bytes_billed", None) or 0
                    return Done(job, False)
                if intact(job):
                    return Done(job, True)
                self.tell(f"{task.name}: what job {job_id} made is gone, so it runs again")
            elif not found:
                failures += 1
                passing = job.error_result.get("reason") in PASSING_REASONS
                if not passing or failures == self.settings.job_attempts:
                    raise job_failure(job.error_result, task.where(job_id))
                self.tell(f"{task.name}: the service failed job {job_id}, so it runs again")
        raise EngineError(
            f"{_MOST_ATTEMPTS} jobs have done this before, and none can be used",
            where=task.where(task.job_id(1)),
            hint="use another dataset",
        )

    def earlier(self, task: Task, intact: Callable[[Any], bool]) -> Done | None:
        """Return a finished job of an earlier run whose work still stands, if there is one."""
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            try:
                job = self._found(task, task.job_id(attempt))
            except _Hidden:
                continue
            if job is None:
                return None
            ours = job.labels.get("featurekit_hash") == task.digest
            if ours and job.state == "DONE" and job.error_result is None and intact(job):
                return Done(job, True)
        return None

    def allowance(self, where: str) -> int:
        """Return the bytes that the next job can be billed for.

        Raises:
            BudgetError: None are left.
        """
        if self.bytes_left <= 0:
            raise BudgetError(
                f"the {self.settings.max_bytes:,} bytes that the run may read are used up",
                where=where,
                hint="allow more bytes; what has finished is not paid for twice",
            )
        return self.bytes_left

    def _begun(
        self, task: Task, job_id: str, begin: Callable[[str, float], Any]
    ) -> tuple[Any, bool]:
        """Send a job, or find the one that has its id; say whether an earlier run sent that."""
        from google.api_core.exceptions import Conflict, NotFound

        def send(timeout: float) -> Any:
            job = begin(job_id, timeout)
            if not job.job_id:
                raise Unusable("the answer to a new job names no job")
            return job

        try:
            return self.call(task.where(job_id), send, expected=(Conflict,)), False
        except Conflict:
            # A job that exists can be invisible for a moment:
            # https://github.com/googleapis/python-bigquery/issues/2134
            job = self._seen(task, job_id, also=(NotFound,))
            # It is this run's own when its answer was lost on the way.
            return job, job.labels.get("featurekit_run") != self.run

    def _found(self, task: Task, job_id: str) -> Any | None:
        from google.api_core.exceptions import NotFound

        try:
            return self._seen(task, job_id, expected=(NotFound,))
        except NotFound:
            return None

    def _seen(
        self,
        task: Task,
        job_id: str,
        *,
        expected: tuple[type[Exception], ...] = (),
        also: tuple[type[Exception], ...] = (),
    ) -> Any:
        """Return a job that may be another user's.

        Raises:
            _Hidden: It is, and shown to its owner alone: nothing says whether its work is done.
        """
        from google.api_core.exceptions import Forbidden

        where = task.where(job_id)
        request = partial(self._get, job_id)
        try:
            return self.call(where, request, expected=(Forbidden, *expected), also=also)
        except Forbidden as error:
            if reason_of(error) == "accessDenied":
                raise _Hidden from None
            raise translated(error, where) from None

    def _get(self, job_id: str, timeout: float) -> Any:
        job = self.client.get_job(job_id, location=self.location, retry=None, timeout=timeout)
        if job.job_id != job_id:
            raise Unusable(f"another job, {job.job_id}, came for {job_id}")
        return job

    def _finished(self, task: Task, job: Any) -> Any:
        """Ask for a job until it is done."""
        where, delay = task.where(job.job_id), self.settings.first_delay
        again = partial(self._get, job.job_id)
        while job.state != "DONE":
            if self.seconds_left <= delay:
                raise self.late(where)
            time.sleep(delay)
            delay = min(2 * delay, self.settings.longest_delay)
            job = self.call(where, again)
        return job

    def _cancel(self, job_id: str) -> None:
        """Ask the service to end a job; whatever comes of it, the interruption goes on."""
        with contextlib.suppress(*caught()):
            self.client.cancel_job(job_id, location=self.location, retry=None, timeout=10.0)
