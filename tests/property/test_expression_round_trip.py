"""Random expressions survive being written and read; random text never crashes the reader."""

from __future__ import annotations

import keyword
import math
from dataclasses import fields
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from featurekit.errors import SpecError
from featurekit.spec.expression import Attribute, Call, Expression, Literal, Name, literal, parse
from featurekit.spec.objects import Column, Examples, Feature, Source, Spec
from featurekit.spec.yaml import parse_spec
from featurekit.transforms.base import Operation
from featurekit.transforms.catalogue import operations
from featurekit.types import DURATION

IDENTIFIERS = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name)
)
CONSTANTS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
)
LEAVES: st.SearchStrategy[Expression] = st.one_of(
    st.text(min_size=1).map(Name),
    IDENTIFIERS.map(Name),
    st.sampled_from(["None", "if", "__duration_5d", "ﬁ", "30d", "x y", "'", "\\", "\n"]).map(Name),
    st.builds(Attribute, st.sampled_from(["tail", "sky"]), st.sampled_from(["n_7d", "mean_30m"])),
    CONSTANTS.map(literal),
    st.integers(-(2**62), 2**62).map(lambda micros: Literal(micros, DURATION)),
)
PARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    "cast": st.sampled_from(["int64", "float32", "string"]).map(lambda to: {"to": to}),
    "clip": st.floats(-10, 10).map(lambda low: {"low": low}),
    "concat": st.text().map(lambda text: {"separator": text}),
    "cross": st.integers(1, 2**40).map(lambda buckets: {"buckets": buckets}),
    "fill": CONSTANTS.filter(lambda value: value not in (math.inf, -math.inf)).map(
        lambda value: {"value": value}
    ),
    "apply_buckets": st.lists(st.floats(-1e9, 1e9), min_size=1, unique=True).map(
        lambda edges: {"boundaries": tuple(sorted(edges))}
    ),
}
CALLABLE = [
    operation
    for operation in operations().values()
    if not fields(operation) or operation.name() in PARAMETERS
]


def calls(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    def of(operation: type[Operation]) -> st.SearchStrategy[Expression]:
        least = operation.fewest_inputs()
        inputs = st.lists(inner, min_size=least, max_size=4 if operation.variadic else least)
        built = PARAMETERS.get(operation.name(), st.just({})).map(lambda given: operation(**given))
        return st.builds(Call, built, inputs.map(tuple))

    return st.sampled_from(CALLABLE).flatmap(of)


EXPRESSIONS = st.recursive(LEAVES, calls, max_leaves=12)
PIECES = st.sampled_from([
    "zscore", "log1p", "col(", "col('a')", "x", "y", "30d", "2h", "1", "1e999", "0x", "None",
    "True", "(", ")", "[", "]", "{", "}", ",", ".", ":", "=", "==", "<", "-", "+", "*", "**", ":=",
    "@", "~",
    "not ", " and ", " or ", " if ", " else ", " in ", " is ", "lambda ", "await ", "yield ", "...",
    "'", '"', "'''", "f'", "b'", "\\", "\n", "\t", "\0", "#", "&", "|", "é", "\ud800", "９",
])  # fmt: skip
YAML_PIECES = st.sampled_from([
    "sources", "features", "examples", "a", "NO", "12:30", "~", "x" * 200, ": ", ":\n  ", "\n",
    "- ", "{", "}", "[", "]", ", ", "&a ", "*a", "!!x ", "|\n", ">\n", "'", '"', "#", "? ", "<<: ",
    "\t", "---\n", "...\n", "%YAML 9\n",
])  # fmt: skip
GARBAGE = st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join))


@given(EXPRESSIONS)
@settings(max_examples=500, deadline=None)
def test_reading_what_was_written_gives_the_same_expression(expression: Expression) -> None:
    again = parse(expression.text)
    assert again == expression
    assert hash(again) == hash(expression)
    assert again.text == expression.text


TEXTS = st.one_of(
    st.text(),
    st.sampled_from(
        ["NO", "off", "12:30", "1_000", "0x1F", "1e5", ".5", "-", "- a", "a: b", "a #b"]
    ),
    st.sampled_from(
        ["null", "~", "true", "", " ", "a\nb", "a\n", "\n", "{a", "[a", "&a", "!a", "%a", "@a"]
    ),
    st.sampled_from(
        ["x, y", "it's", 'say "x"', "\\", "'\\\"", "2013-10-01", "\x85", "\u2028", "\x7f", "😀"]
    ),
)


@given(
    st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=5), st.lists(EXPRESSIONS, max_size=3), TEXTS
)
@settings(max_examples=300, deadline=None)
def test_a_spec_of_any_texts_survives_yaml_and_python(
    columns: dict[str, str], expressions: list[Expression], text: str
) -> None:
    distinct = {name.lower(): name for name in columns}
    spec = Spec(
        sources={"rows": Source(path="rows.csv", null_values=[text, "NA"], columns={
            name: Column(description=columns[name], unit=text) for name in distinct.values()
        })},
        examples=Examples("rows", keys=list(distinct.values())),
        features={
            "first": Feature("x", description=text),
            **{f"f{number}": Feature(made) for number, made in enumerate(expressions)},
        },
        description=text,
    )  # fmt: skip
    written = parse_spec(spec.to_yaml())
    assert written == spec
    assert written.fingerprint == spec.fingerprint
    scope: dict[str, Any] = {}
    exec(spec.to_python(), scope)
    assert scope["spec"] == spec


@given(GARBAGE)
@settings(max_examples=1000, deadline=None)
@example("(" * 9_000)
@example("[" * 9_000)
@example("-" * 9_999 + "x")
@example("not " * 2_400 + "x")
@example("x" + ".x" * 4_000)
@example("x" + "(x" * 4_000)
@example("x if x else " * 800 + "x")
@example("x" + "+x" * 4_000)
@example("x" + "<x" * 4_000)
@example("x" + "**x" * 3_000)
@example("'" * 9_999)
@example("lambda:" * 1_400 + "x")
@example("1" * 9_999)
@example("log1p(" * 1_600 + "x" + ")" * 100)
def test_any_text_is_an_expression_or_an_error_of_the_spec(text: str) -> None:
    try:
        made = parse(text)
    except SpecError:
        return
    assert parse(made.text) == made


@given(st.one_of(GARBAGE, st.lists(YAML_PIECES).map("".join)))
@settings(max_examples=500, deadline=None)
@example("[" * 50_000)
@example("{a: " * 50_000)
@example("- " * 50_000)
@example("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]")
def test_any_text_is_a_spec_or_an_error_of_the_spec(text: str) -> None:
    try:
        made = parse_spec(text)
    except SpecError:
        return
    assert parse_spec(made.to_yaml()) == made
