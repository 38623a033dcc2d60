"""The expression language: what it reads, what it refuses, and what Python builds."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

import featurekit as fk
from featurekit.errors import SpecError
from featurekit.spec.expression import Attribute, Call, Expression, Literal, Name, parse
from featurekit.transforms.catalogue import aggregations, operations
from featurekit.transforms.synonyms import IDIOMS
from featurekit.types import BOOL, DURATION, FLOAT32, INT64, STRING

HOUR = 3_600_000_000


@pytest.mark.parametrize("text", [
    "distance", "tail.delay_mean_7d", "col('petal length (cm)')", "col('None')", "5", "-5", "-0.0",
    "1e309", "True", '"it\'s"', "30d", "-2h", "negate(5)", "negate(2h)", "--5", "-x", "-x ** 2",
    "(-2) ** 2", "2 ** (-x)", "a - b - c", "a - (b - c)", "a // b % c", "a < b and b < c",
    "(a < b) < c", "a and (b and c)", "(a or b) and c", "not (a and b)", "x if c else y",
    "(x if c else y) if d else z", "sched_dep - 2h", "concat(a, b, a, separator=', ')",
    "apply_buckets(x, boundaries=[-1, 0.5, 2])", "clip(x, low=0)", "clip(x, low=0.0)",
    "zscore(impute(log1p(x), strategy='median'))",
])  # fmt: skip
def test_text_that_is_written_is_read_as_it_was(text: str) -> None:
    assert parse(text).text == text
    assert parse(parse(text).text) == parse(text)


@pytest.mark.parametrize(("text", "same"), [
    ("x+y", "add(x, y)"), ("x-y", "subtract(x, y)"), ("x*y", "multiply(x, y)"),
    ("x/y", "divide(x, y)"), ("x//y", "floor_divide(x, y)"), ("x%y", "modulo(x, y)"),
    ("x**y", "power(x, y)"), ("-x", "negate(x)"), ("+x", "x"), ("x==y", "equal(x, y)"),
    ("x!=y", "not_equal(x, y)"), ("x<y", "less(x, y)"), ("x<=y", "less_equal(x, y)"),
    ("x>y", "greater(x, y)"), ("x>=y", "greater_equal(x, y)"), ("x and y", "logical_and(x, y)"),
    ("x or y", "logical_or(x, y)"), ("not x", "logical_not(x)"),
    ("x if c else y", "where(c, x, y)"), ("a and b and c", "logical_and(a, b, c)"),
    ("0 < x <= 2", "logical_and(less(0, x), less_equal(x, 2))"), ("log1p(x=y)", "log1p(y)"),
    ("clip(x, 0, 1)", "clip(x, high=1, low=0)"), ("cast(x, 'int')", "cast(x, to='int64')"),
    ("a +\n  b", "a + b"), ("vocabulary(x, top_k=None)", "vocabulary(x)"),
])  # fmt: skip
def test_two_ways_to_write_it_are_the_same_expression(text: str, same: str) -> None:
    assert parse(text) == parse(same)
    assert hash(parse(text)) == hash(parse(same))


@pytest.mark.parametrize(("text", "other"), [
    ("a - b - c", "a - (b - c)"), ("0.0", "-0.0"), ("1", "1.0"), ("1", "True"), ("'1'", "1"),
    ("clip(x, 0)", "clip(x, 0.0)"), ("-5", "negate(5)"), ("x", "col('x ')"),
    ("a and b and c", "(a and b) and c"),
])  # fmt: skip
def test_what_is_written_otherwise_for_a_reason_is_another_expression(
    text: str, other: str
) -> None:
    assert parse(text) != parse(other)


def test_constants_have_the_type_they_are_written_as() -> None:
    written = {"1": INT64, "1.0": FLOAT32, "True": BOOL, "'a'": STRING, "30d": DURATION}
    for text, of in written.items():
        literal = parse(text)
        assert isinstance(literal, Literal)
        assert literal.type == of
    assert parse("-2h") == Literal(-2 * HOUR, DURATION)
    assert parse("-9223372036854775808") == Literal(-(2**63), INT64)


def test_a_duration_inside_of_text_stays_text() -> None:
    assert parse("'30d'") == Literal("30d", STRING)
    assert parse("d30 - 30d") == Call(operations()["subtract"](), (Name("d30"), parse("30d")))


def test_a_pattern_may_hold_a_backslash() -> None:
    assert parse(r"regex_replace(x, '\d+', '')") == fk.regex_replace("x", r"\d+", "")


def test_names_that_look_like_our_own_marks_are_names() -> None:
    assert parse("__duration_5d") == Name("__duration_5d")
    assert parse("__duration_5d - 5d").text == "__duration_5d - 5d"
    assert parse("__as_written_0_ - 5d").text == "__as_written_0_ - 5d"


MICRO, GREEK = "\N{MICRO SIGN}g", "\N{GREEK SMALL LETTER MU}g"


@pytest.mark.parametrize(
    "name",
    [MICRO, GREEK, "\N{FULLWIDTH LATIN SMALL LETTER A}", "\N{LATIN SMALL LIGATURE FI}eld",
     "caf\xe9", "cafe\N{COMBINING ACUTE ACCENT}", "\N{ROMAN NUMERAL EIGHT}",
     "\N{MATHEMATICAL BOLD SMALL X}_1",
     "e\N{COMBINING ACUTE ACCENT}t\xe9", "\N{KELVIN SIGN}"],
)  # fmt: skip
def test_a_name_means_the_column_that_is_written_and_not_what_python_makes_of_it(
    name: str,
) -> None:
    assert parse(name) == Name(name)
    assert parse(f"{name} - {name}") == Name(name) - Name(name)
    assert parse(f"log1p({name}) if {name} > 1 else -{name}").text.count(name) == 3
    assert parse(fk.col(name).text) == Name(name)
    assert parse(f"tail.{name}_7d") == Attribute("tail", f"{name}_7d")
    assert parse(f"{name}.{name}") == Attribute(name, name)
    assert parse(f"x == '{name}'") == fk.equal("x", fk.literal(name))
    with pytest.raises(SpecError, match=f"there is no operation '{name}'"):
        parse(f"{name}(x)")


def test_columns_whose_names_only_python_takes_for_one_are_told_apart() -> None:
    rows = pl.DataFrame({MICRO: [1.0], GREEK: [2.0]})
    made = fk.FeatureTransformer({"micro": f"{MICRO} + 1", "greek": f"{GREEK} + 1"})
    assert made.fit_transform(rows).tolist() == [[2.0, 3.0]]


REFUSED = {
    "zscor(x)": "there is no operation 'zscor'. Hint: did you mean 'zscore'?",
    "mean(x)": "there is no operation 'mean'. "
    "Hint: mean summarises past rows and belongs under aggregations",
    "zscore()": "zscore needs its input 'x'. Hint: the call is zscore(x)",
    "zscore(x, y)": "zscore takes 1 argument, got 2. Hint: the call is zscore(x)",
    "zscore(x, x=y)": "zscore got 'x' twice. Hint: the call is zscore(x)",
    "cross(a, buckets=3)": "cross needs at least 2 inputs, got 1. "
    "Hint: the call is cross(*x, buckets)",
    "cross(a, b)": "cross needs its parameter 'buckets'. Hint: the call is cross(*x, buckets)",
    "cross(a, b, bucket=3)": "cross has no parameter 'bucket'. "
    "Hint: did you mean 'buckets'? The call is cross(*x, buckets)",
    "cross(a, b, buckets=0)": "cross: buckets must be an integer "
    "from 1 to 9223372036854775807, got 0",
    "cross(a, b, buckets='3')": "cross: buckets must be an integer "
    "from 1 to 9223372036854775807, got '3'",
    "clip(x, y)": "a parameter must be a constant, got 'y'",
    "col(x)": "a parameter must be a constant, got 'x'",
    "col()": "col takes one name in quotes",
    "zscore(*x)": "'*' is not allowed in the call of zscore",
    "zscore(**x)": "'**' is not allowed in the call of zscore",
    "x is None": "'in' and 'is' are not allowed in an expression. "
    "Hint: x in ['a', 'b'] is x == 'a' or x == 'b'; x is None is is_missing(x)",
    "x in [1, 2]": "'in' and 'is' are not allowed in an expression",
    "x & y": "'x & y' is not allowed in an expression. Hint: use names, constants, arithmetic",
    "None": "'None' is not allowed in an expression",
    "1j": "'1j' is not allowed in an expression",
    "b'x'": "\"b'x'\" is not allowed in an expression",
    "f'{x}'": "\"f'{x}'\" is not allowed in an expression",
    "a.b.c": "'a.b.c' is not allowed in an expression",
    "x[0]": "'x[0]' is not allowed in an expression",
    "lambda: 1": "'lambda: 1' is not allowed in an expression",
    "[x for x in y]": "'[x for x in y]' is not allowed in an expression",
    "(x := 1)": "'(x := 1)' is not allowed in an expression",
    "__import__('os').system('x')": "calls a method, and operations are functions here",
    "(x + 1).y": "is not allowed in an expression",
    "30d.x": "'30d.x' is not allowed in an expression",
    "AVG(x)": "there is no operation 'AVG'. "
    "Hint: mean summarises past rows and belongs under aggregations",
    "StandardScaler(x)": "there is no operation 'StandardScaler'. Hint: it is called zscore here",
    "30d(x)": "there is no operation '30d'",
    "zscore(30d=1)": "zscore has no parameter '30d'",
    "x y": "'x y' is not an expression: invalid syntax. "
    "Hint: a column of this name is written col('x y'); a text goes in quotes",
    "x # the distance": "'#' is not allowed in an expression. Hint: comments belong to YAML",
    "x\0": "null bytes",
    "": "an expression is missing here",
    "  ": "an expression is missing here",
    "9223372036854775808": "an integer has 64 bits, and 9223372036854775808 needs more",
    "99999999999999w": "the duration 99999999999999w does not fit in 64 bits",
    "1" * 5000: "Exceeds the limit",
    "x" * 10_001: "an expression may have 10,000 characters, got 10,001",
    "(" * 250 + "x" + ")" * 250: "is not an expression: too many nested parentheses",
    "-" * 5000 + "x": "an expression may be nested 100 deep at most",
    "not " * 2400 + "x": "an expression may be nested 100 deep at most",
    "+" * 150 + "x": "an expression may be nested 100 deep at most",
    "log1p(" * 101 + "x" + ")" * 101: "an expression may be nested 100 deep at most",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:30].replace("\0", "NUL"))
def test_what_is_no_expression_is_refused_with_its_reason(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert REFUSED[text] in str(caught.value)
    assert "__duration" not in str(caught.value)


def test_a_hundred_levels_are_allowed() -> None:
    text = "log1p(" * 100 + "x" + ")" * 100
    assert parse(text).text == text


@pytest.mark.parametrize("value", [None, 5, ["x"], object()])
def test_only_text_is_parsed(value: Any) -> None:
    with pytest.raises(SpecError, match="an expression is a text"):
        parse(value)


def test_python_operators_build_what_text_says() -> None:
    x, y = fk.col("x"), fk.col("y")
    built = {
        "x + 1": x + 1, "1 + x": 1 + x, "x - y": x - "y", "2 - x": 2 - x, "x * y": x * y,
        "2 * x": 2 * x, "x / y": x / y, "1 / x": 1 / x, "x // 2": x // 2, "7 // x": 7 // x,
        "x % 2": x % 2, "7 % x": 7 % x, "x ** 2": x**2, "2 ** x": 2**x, "-x": -x, "not x": ~x,
        "x < 1": x < 1, "x <= y": x <= y, "x > 1.5": x > 1.5, "x >= y": x >= y, "x and y": x & y,
        "x or y": x | y, "y and x": "y" & x, "y or x": "y" | x,
        "log1p(x) + 1": "log1p(x)" + fk.literal(1),
    }  # fmt: skip
    for text, expression in built.items():
        assert expression == parse(text)
        assert str(expression) == text
        assert repr(expression) == f"<{text}>"


def test_constants_of_numpy_are_constants() -> None:
    half: Any = np.float64(0.5)
    two: Any = np.int64(2)
    assert fk.clip("x", half, two) == parse("clip(x, 0.5, 2)")
    assert fk.col("x") + two == parse("x + 2")


def test_a_parameter_may_be_a_list_or_a_constant_expression() -> None:
    letter: Any = fk.literal("a")
    assert fk.apply_buckets("x", [0, 1]) == fk.apply_buckets("x", (0, 1))
    assert fk.fill("x", letter) == parse("fill(x, 'a')")


@pytest.mark.parametrize("value", [float("nan"), None, object(), [1], 1j, fk.col("y")])
def test_what_is_no_constant_is_refused(value: Any) -> None:
    with pytest.raises(SpecError, match="a constant is a number, a string or a boolean"):
        fk.literal(value)
    if value is not None and not isinstance(value, list):
        with pytest.raises(SpecError, match="a constant is"):
            fk.clip("x", value)


def test_an_expression_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match="has no truth value"):
        bool(fk.col("x"))


@pytest.mark.parametrize("other", ["x", 1, 1.0, True])
def test_comparing_an_expression_with_a_value_is_an_error_and_not_false(other: Any) -> None:
    with pytest.raises(TypeError, match="equal"):
        _ = fk.col("x") == other
    with pytest.raises(TypeError, match="equal"):
        _ = fk.col("x") != other
    assert fk.col("x") not in (None, [], ())


@pytest.mark.parametrize("name", ["", None, 5])
def test_a_column_needs_a_name(name: Any) -> None:
    with pytest.raises(SpecError, match="col needs a column name"):
        fk.col(name)


def test_calls_from_python_may_not_nest_deeper_than_text() -> None:
    expression: Expression = fk.col("x")
    for _ in range(100):
        expression = fk.log1p(expression)
    assert parse(expression.text) == expression
    with pytest.raises(SpecError, match="nested 100 deep"):
        fk.log1p(expression)


def test_an_expression_that_doubles_itself_is_stopped() -> None:
    expression: Expression = fk.col("x")
    for _ in range(11):
        expression = expression + expression
    with pytest.raises(SpecError, match="an expression may have 5,000 parts, got 8,191"):
        _ = expression + expression


@pytest.mark.parametrize("text", ["log1p(mean(x))", "mean(x) / 2", "max(count())", "-sum(x)"])
def test_an_aggregate_is_not_computed_with_inside_of_an_expression(text: str) -> None:
    with pytest.raises(SpecError, match=r"cannot be applied to '.*', which summarises past rows"):
        parse(text, {**operations(), **aggregations()})


def test_an_aggregate_is_not_computed_with_in_python_either() -> None:
    with pytest.raises(SpecError, match=r"log1p cannot be applied to 'mean\(x\)'"):
        fk.log1p(fk.mean("x"))


def test_an_optional_input_may_be_left_out() -> None:
    known = {**operations(), **aggregations()}
    assert parse("count()", known) == fk.count() == fk.count(None)
    assert parse("count(x)", known) == fk.count("x")
    assert fk.count().text == "count()"


def test_an_operation_with_an_operator_is_written_with_it_and_has_no_parameters() -> None:
    for operation in operations().values():
        if operation.operator is None:
            continue
        assert not fields(operation), operation.name()
        made = Call(
            operation(), tuple(Name(f"x{i}") for i in range(max(1, operation.fewest_inputs())))
        )
        assert operation.operator in made.text
        assert not isinstance(ast.parse(made.text, mode="eval").body, ast.Call)
        assert parse(made.text) == made


def test_walking_yields_every_part() -> None:
    parts = list(parse("log1p(x) + tail.n_7d").walk())
    assert parts[1:] == [parse("log1p(x)"), Name("x"), Attribute("tail", "n_7d")]
    assert (parts[0].depth, parts[0].size) == (2, 4)


ROWS = pl.DataFrame({
    "x": [1.0, 2.0, None], "key": ["a", "a", "b"], "class": [1, 2, 3], "net price": [1.0, 2.0, 3.0],
    "t": [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)],
})  # fmt: skip


def checked(feature: str, **more: Any) -> fk.Spec:
    """Return a spec of these rows with one feature, that has been checked."""
    made = fk.Spec(
        sources={"rows": fk.Source(data=ROWS, event_time="t", available_at="t")},
        examples=fk.Examples("rows", predict_at="t"), features={"f": feature}, **more,
    )  # fmt: skip
    fk.check(made)
    return made


@pytest.mark.parametrize("name", [*IDIOMS, "ROLLING_MEAN", "rollingMean", "cumsum", "notnull"])
def test_what_has_another_form_here_leads_to_it(name: str) -> None:
    with pytest.raises(SpecError, match=f"there is no operation '{name}'") as caught:
        parse(f"{name}(x)")
    hint = caught.value.hint
    if written := re.search(r"features: (\{.*\}), windows: \[(.*)\]", hint):
        features = yaml.safe_load(written[1].replace(": ", ": '").replace("}", "'}"))
        for window in written[2].split(", "):
            made = fk.Aggregation("rows", by="key", windows=window, features=features)
            (output,) = (output for output, _, _ in made.outputs())
            checked(f"past.{output}", aggregations={"past": made})
    elif written := re.match(r"write (.*)", hint):
        text = written[1].replace("'a'", "1").replace("'b'", "2")
        checked(text.replace("low", "1").replace("high", "2"))
    elif "bucketize" in hint:
        checked(hint[: hint.index(")") + 1])
    else:
        assert hint.startswith(("it looks at later rows", "the key of an aggregation")), hint


@pytest.mark.parametrize("text", ["class", "class == 1", "log1p(class)", "x if class else 1"])
def test_a_column_called_like_a_word_of_python_leads_to_its_name_and_not_to_quotes(
    text: str,
) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert caught.value.hint == (
        'class is a word of Python; a column of this name is written col("class")'
    )
    checked(text.replace("class", 'col("class")').replace("if col", "if 0 < col"))


def test_a_name_with_blanks_leads_to_the_column_of_this_name() -> None:
    with pytest.raises(SpecError) as caught:
        parse("net price")
    written = re.search(r"is written (col\(.*?\));", caught.value.hint)
    assert written is not None
    checked(written[1])


def test_a_method_leads_to_the_function() -> None:
    with pytest.raises(SpecError, match=r"calls a method.* Hint: fill\(x, \.\.\.\)"):
        parse("x.fill(0)")
    with pytest.raises(SpecError, match=r"calls a method.* Hint: it is called fill here"):
        parse("x.fillna(0)")
    with pytest.raises(SpecError, match=r"calls a method.* Hint: the value before is last"):
        parse("x.shift(1)")
