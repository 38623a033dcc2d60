"""The names of a SavedModel's inputs."""

from __future__ import annotations

import itertools
import keyword
import re
from pathlib import Path

import polars as pl
import pytest

import featurekit as fk
from featurekit.serving_names import mask_names, serving_name, serving_names

HOSTILE = [
    "net price", "net_price", "NET_PRICE", "net.price", "net_price_2", "1/2", "1_2", "_x", "class",
    "Class", "self", "None", "Größe", "Grosse", "日本", "本日", "", "µg", "μg", "a", "A",
    "a__missing",
    "tail.delay_7d", "tail_delay_7d", "x", "x__missing", "x__missing__missing",
]  # fmt: skip


def test_names_are_such_as_tensorflow_takes_and_tells_apart() -> None:
    names = serving_names(HOSTILE)
    masks = mask_names(names.values())
    every = [*names.values(), *masks.values()]
    assert list(names) == HOSTILE
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in every)
    assert not any(keyword.iskeyword(name) or name == "self" for name in every)
    assert len({name.lower() for name in every}) == 2 * len(HOSTILE)


@pytest.mark.parametrize("name", ["net_price", "tail_delay_7d", "x__missing", "NET_PRICE"])
def test_a_column_that_is_called_so_already_keeps_its_name(name: str) -> None:
    assert serving_names(HOSTILE)[name] == (name if name != "net_price" else "net_price_3")
    assert serving_names([name, "other"])[name] == name == serving_name(name)


def test_names_do_not_depend_on_the_order_of_the_columns() -> None:
    columns = ["net price", "net_price", "net.price", "Net Price", "net_price_2"]
    first = serving_names(columns)
    for order in itertools.permutations(columns):
        assert serving_names(order) == first


def test_what_took_two_names_before_is_named_by_one_rule() -> None:
    assert serving_names(["tail.delay_7d", "1st", "_x", "class", "Größe"]) == {
        "tail.delay_7d": "tail_delay_7d",
        "1st": "arg_1st",
        "_x": "arg__x",
        "class": "arg_class",
        "Größe": "Gro_e",
    }


def test_a_mask_does_not_take_the_name_of_an_input() -> None:
    assert mask_names(["x", "x__missing"]) == {
        "x": "x__missing_2",
        "x__missing": "x__missing__missing",
    }


@pytest.mark.parametrize("read", ['col("tail.delay") + 1', "own + 1"])
def test_a_column_that_the_data_calls_like_the_output_of_a_lookup_is_refused_by_check(
    read: str, tmp_path: Path
) -> None:
    rows = pl.DataFrame({"k": [1, 2], "tail.delay": [10.0, 20.0]})
    columns = {"own": fk.Column(column="tail.delay")} if read == "own + 1" else {}
    past = pl.DataFrame({"k": [1, 2], "delay": [100.0, 200.0]})

    def spec(owner: str) -> fk.Spec:
        return fk.Spec(
            sources={
                "rows": fk.Source(data=rows, columns=columns),
                "past": fk.Source(data=past),
            },
            examples=fk.Examples("rows"),
            lookups={owner: fk.Lookup("past", by="k", features=["delay"])},
            features={"a": f"{owner}.delay", "b": read},
        )

    with pytest.raises(fk.SpecErrors, match=r"'tail.delay' in features, and so is a col") as caught:
        fk.check(spec("tail"))
    # The hint leads on. Unrefused, b was 101 and 201.
    assert "give the lookup another name, such as tail_2" in str(caught.value)
    made = fk.run(spec("tail_2"), tmp_path / "run", tensorflow=False).examples().to_polars()
    assert made["a"].to_list() == [100.0, 200.0]
    assert made["b"].to_list() == [11.0, 21.0]
