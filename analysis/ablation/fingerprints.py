"""Fingerprints of studies: everything that decides what comes of a trial, in 32 letters.

Results that are kept in a file are those of the same rows, folds, model and metric, or they are
not used.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import io
import json
import re
import sys
from collections.abc import Mapping
from typing import IO, Any, cast

import numpy as np

from featurekit.analysis.ablation.problem import Problem
from featurekit.analysis.ablation.trials import Study

__all__ = ["describe", "fingerprint"]

_VERSION = 1
"""To be raised when trials of the same description come out differently."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def fingerprint(study: Study) -> str:
    """Return 32 hexadecimal letters that differ where trials may come out differently."""
    import sklearn

    problem, metric = study.problem, study.metric
    said = {
        "version": _VERSION,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "problem": _digest_of(problem),
        "task": str(problem.label.task),
        "classes": [repr(each) for each in problem.label.classes],
        "ordered": problem.ordered,
        "categorical": sorted(problem.categorical),
        "learner": study.learner.name,
        "matrix": study.learner.matrix,
        "estimator": describe(study.learner.make()),
        "metric": [metric.name, metric.scorer, metric.response],
    }
    text = json.dumps(said, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def describe(value: Any, inside: tuple[int, ...] = ()) -> Any:
    """Return what an object is, as plain data: no addresses, and the source code of what has it.

    Args:
        value: An estimator (with all its settings), a function or a class, an array, a collection
            of such, or anything whose `repr` says what it is. What a function reads from its
            module is not looked at.
        inside: The addresses of what this one is a part of.

    Example:
        >>> describe({"alpha": 0.5, "kinds": ("a", "b")})
        {"'alpha'": '0.5', "'kinds'": ["'a'", "'b'"]}
    """
    if id(value) in inside:
        return "what holds it"
    within = functools.partial(describe, inside=(*inside, id(value)))
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return [list(value.shape), [within(each) for each in value.ravel().tolist()]]
        return [str(value.dtype), list(value.shape), _sha(np.ascontiguousarray(value))]
    if isinstance(value, Mapping):
        return {repr(key): within(value[key]) for key in sorted(value, key=repr)}
    if isinstance(value, (list, tuple)):
        return [within(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(within(each), sort_keys=True) for each in value)
    if isinstance(value, functools.partial):
        return ["partial", within(value.func), within(value.args), within(value.keywords)]
    if isinstance(value, type) or inspect.isroutine(value):
        cells = getattr(value, "__closure__", None) or ()
        return [*_code(value), *(within(cell.cell_contents) for cell in cells)]
    if hasattr(value, "get_params"):
        return [_code(type(value)), within(value.get_params(deep=False))]
    text = repr(value)
    if _ADDRESS.search(text):
        return [_code(type(value)), _ADDRESS.sub("", text), within(getattr(value, "__dict__", {}))]
    return text


def _code(thing: Any) -> list[str]:
    """Return the name of a class or function, the version of its package, and its source code."""
    module = getattr(thing, "__module__", None) or ""
    package = sys.modules.get(module.partition(".")[0])
    name = getattr(thing, "__qualname__", repr(type(thing)))
    return [module, name, str(getattr(package, "__version__", "")), _source(thing)]


def _source(thing: Any) -> str:
    """Return a hash of source code: of a class, with that of the classes it is made from."""
    texts = []
    for each in thing.__mro__ if isinstance(thing, type) else (thing,):
        try:
            texts.append(inspect.getsource(each))
        except (OSError, TypeError):
            # What is typed into a shell, or is not written in Python, has none.
            code = getattr(each, "__code__", None)
            said = "" if code is None else repr((code.co_code, code.co_names, code.co_consts))
            texts.append(_ADDRESS.sub("", said))
    return _sha("\n".join(texts).encode())


def _digest_of(problem: Problem) -> str:
    """Return a hash of the features, the label, the weights, the folds and the parts."""
    hashed = _Hashed()
    problem.table.rechunk().write_ipc_stream(cast(IO[bytes], hashed))
    weights = np.zeros(0) if problem.weights is None else problem.weights
    for values in (problem.label.values, problem.folds, problem.parts, weights):
        hashed.write(f"{values.dtype.str} {values.shape}".encode())
        hashed.write(np.ascontiguousarray(values))
    return hashed.hexdigest()


class _Hashed(io.RawIOBase):
    """A file that keeps a hash of what is written."""

    def __init__(self) -> None:
        self.sha = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        view = memoryview(block).cast("B")
        self.sha.update(view)
        return len(view)

    def hexdigest(self) -> str:
        return self.sha.hexdigest()


def _sha(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
