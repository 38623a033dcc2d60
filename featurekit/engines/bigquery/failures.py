"""What the service and the way to it can say, as FeatureKit errors.

An error names the job and the features that it concerns. Text of the service is shortened to its
first line, and whatever could be a secret is cut out of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from featurekit.errors import BudgetError, DataError, EngineError, FeatureKitError

__all__ = [
    "Unusable", "caught", "is_passing", "job_failure", "place", "reason_of", "translated",
    "unanswered",
]  # fmt: skip

PASSING_REASONS = frozenset({
    "backendError", "internalError", "jobBackendError", "jobInternalError",
    "jobRateLimitExceeded", "rateLimitExceeded", "tableUnavailable",
})  # fmt: skip
"""The reasons of the service for which the same thing may succeed a little later."""

_SHOWN = 4
_SECRET = re.compile(
    r"""ya29\.[\w.-]+ | 1//[\w-]+ | eyJ[\w-]+\.[\w-]+(?:\.[\w-]+)?
    | (?<=Bearer\ )\S+
    | (?<=[?&])(?:access_token|upload_id|key|sig|signature)=[^&\s]+
    | -----BEGIN.*""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


class Unusable(ValueError):
    """An answer that is JSON, but not the answer to its request: such as none at all."""


def place(subject: str, features: Sequence[str] = ()) -> str:
    """Name a job or a table, and the features that need it.

    Example:
        >>> place("BigQuery job featurekit_1", ["a", "b", "c", "d", "e"])
        'BigQuery job featurekit_1 (features a, b, c, d and 1 more)'
    """
    if not features:
        return subject
    more = f" and {len(features) - _SHOWN} more" if len(features) > _SHOWN else ""
    word = "feature" if len(features) == 1 else "features"
    return f"{subject} ({word} {', '.join(features[:_SHOWN])}{more})"


def caught() -> tuple[type[Exception], ...]:
    """Return every kind of exception that a request can end in."""
    import requests
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    # KeyError and ValueError: an answer that is JSON, but not the answer to this request.
    return (
        GoogleAPIError, GoogleAuthError, requests.RequestException, ConnectionError, TimeoutError,
        KeyError, ValueError,
    )  # fmt: skip


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed a little later.

    What the client itself repeats, and answers that arrive cut off.
    """
    import requests
    from google.api_core import exceptions as api
    from google.auth.exceptions import TransportError

    if isinstance(error, requests.exceptions.SSLError):
        return False
    # An upload that is answered by something else, such as a proxy's page, has an error's type.
    if isinstance(error, Unusable) or getattr(error, "code", None) == 200:
        return True
    if reason_of(error) in PASSING_REASONS:
        return True
    return isinstance(
        error,
        (
            api.TooManyRequests, api.InternalServerError, api.BadGateway, api.ServiceUnavailable,
            api.GatewayTimeout, requests.ConnectionError, requests.Timeout,
            requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError,
            requests.exceptions.JSONDecodeError, ConnectionError, TimeoutError, TransportError,
        ),
    )  # fmt: skip


def unanswered(error: Exception) -> bool:
    """Whether a request ended without any answer: it took too long, or the connection broke."""
    import requests
    from google.api_core.exceptions import RetryError

    if isinstance(error, RetryError) and error.cause is not None:
        return unanswered(error.cause)
    return isinstance(error, (requests.ConnectionError, requests.Timeout, TimeoutError))


def translated(error: Exception, where: str, seconds: float = 0.0) -> FeatureKitError:
    """Return a failed request as a FeatureKit error.

    Args:
        error: One of `caught`.
        where: What `place` made of it.
        seconds: How long the request was tried.
    """
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    if isinstance(error, api.RetryError) and error.cause is not None:
        error = error.cause
    # Exactly this: its subclasses are about credentials that were found and are of no use.
    if type(error) is auth.DefaultCredentialsError:
        return EngineError(
            "no Google credentials were found",
            where=where,
            hint="gcloud auth application-default login, or let GOOGLE_APPLICATION_CREDENTIALS "
            "name a key file",
        )
    # What went wrong with a token is told by its kind alone: the text may hold the token.
    if isinstance(error, api.Unauthorized) or (
        isinstance(error, auth.GoogleAuthError) and not isinstance(error, auth.TransportError)
    ):
        return EngineError(
            f"the Google credentials were not accepted ({type(error).__name__})",
            where=where,
            hint="gcloud auth application-default login, and try again",
        )
    if is_passing(error):
        spent = f" in {seconds:.1f} s of trying" if seconds else ""
        return EngineError(
            f"no usable answer{spent}; at last: {_text(error)}",
            where=where,
            hint="run it again later: what has finished is not paid for twice",
        )
    if isinstance(error, (KeyError, ValueError)):
        return EngineError(f"the answer is not one of BigQuery: {_text(error)}", where=where)
    if isinstance(error, api.GoogleAPICallError):
        return _of_reason(reason_of(error), int(error.code or 0), _text(error), where)
    return EngineError(f"the request failed: {_text(error)}", where=where)


def job_failure(result: Mapping[str, Any], where: str) -> FeatureKitError:
    """Return what a job failed of, its `error_result`, as a FeatureKit error."""
    text = _shortened(str(result.get("message") or "it failed without a message"))
    return _of_reason(str(result.get("reason", "")), 0, text, where)


def _of_reason(reason: str, code: int, text: str, where: str) -> FeatureKitError:
    """Tell the kinds of refusals apart, by the reason first and by the words where they differ."""
    lower = text.lower()
    if reason == "bytesBilledLimitExceeded" or "limit for bytes billed" in lower:
        return BudgetError(
            f"the job would read more than it may: {text}",
            where=where,
            hint="allow more bytes, or narrow the dates; BigQuery counts at least 10 MiB a table",
        )
    if "resources exceeded" in lower or "too complex" in lower or reason == "resourcesExceeded":
        return EngineError(
            f"the statement is too much for one job: {text}",
            where=where,
            hint="fewer features, keys or windows a statement; stage them into more statements",
        )
    if reason in ("quotaExceeded", "rateLimitExceeded") or code == 429:
        return EngineError(
            f"a quota is used up: {text}", where=where, hint="try later, or ask for a higher quota"
        )
    if reason == "stopped":
        return EngineError(
            f"the job was cancelled: {text}", where=where, hint="run it again for a new job"
        )
    if code == 403 or reason in ("accessDenied", "billingNotEnabled", "forbidden"):
        return EngineError(
            f"access was denied: {text}",
            where=where,
            hint="needed are BigQuery Job User on the project and Data Editor on the dataset",
        )
    if code == 404 or reason == "notFound":
        return DataError(
            f"BigQuery does not have it: {text}",
            where=where,
            hint="correct the name, create it, or set its location",
        )
    if re.search(r"unrecognized name|name \S+ not found|referenced column", lower):
        return DataError(
            f"BigQuery does not have the column: {text}",
            where=where,
            hint="compare the spec with the table's columns",
        )
    if re.search(r"no matching signature|not null constraint|bad \w+ value|null element", lower):
        return DataError(
            f"the data is not of the type that the spec says: {text}",
            where=where,
            hint="compare the spec with the types of the table's columns",
        )
    if "syntax error" in lower:
        return EngineError(
            f"BigQuery cannot read the SQL: {text}",
            where=where,
            hint="please report this with the spec; featurekit plan --sql shows the statement",
        )
    return EngineError(f"BigQuery refused: {text}", where=where)


def reason_of(error: Exception) -> str:
    """Return the service's word for why it refused a request, if it said one."""
    errors = getattr(error, "errors", None) or [{}]
    return str(errors[0].get("reason", "")) if isinstance(errors[0], Mapping) else ""


def _text(error: Exception) -> str:
    """Return what an error says, without the address that was asked."""
    errors = getattr(error, "errors", None) or [{}]
    said = errors[0].get("message") if isinstance(errors[0], Mapping) else None
    if not said and (message := getattr(error, "message", None)):
        said = re.sub(r"^(?:GET|POST|PUT|PATCH|DELETE) \S+: ", "", str(message))
    return _shortened(str(said or error) or type(error).__name__)


def _shortened(text: str) -> str:
    lines = [line.strip() for line in _SECRET.sub("[...]", text).splitlines() if line.strip()]
    first = lines[0] if lines else "nothing"
    return first if len(first) <= 300 else f"{first[:297]}..."
