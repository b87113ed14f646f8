"""The query language of `Api().runs`, following its documentation."""

from typing import Any

import pytest

from wandb_server.filters import BadFilterError, matches, ordered

RUNS: list[dict[str, Any]] = [
    {"name": "a", "createdAt": "1", "config": {"size": 1, "on": True}, "summary": {"best/iou": 0.5}},
    {"name": "b", "createdAt": "2", "config": {"size": 2, "on": False}, "summary": {"best/iou": 0.9}},
    {"name": "c", "createdAt": "3", "config": {"size": None, "deep": {"x": 1}}, "summary": {}},
]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, "abc"),
        ({"config.size": 1}, "a"),
        ({"config.size.value": {"$gt": 1}}, "b"),
        ({"config.size": {"$gte": 1, "$lt": 2}}, "a"),
        ({"config.size": {"$lte": 9}}, "ab"),
        ({"config.size": {"$lte": "nine"}}, ""),
        ({"config.size": None}, "c"),
        ({"config.deep.x": 1}, "c"),
        ({"config.size": {"$in": [1, 2]}}, "ab"),
        ({"config.on": 1}, ""),
        ({"name": {"$regex": "^[ab]$"}}, "ab"),
        ({"$or": [{"name": "a"}, {"name": "b"}], "config.size": 2}, "b"),
    ],
)
def test_a_filter_keeps_the_runs_that_meet_it(query: dict[str, Any], names: str) -> None:
    """Each operator has MongoDB's meaning."""
    assert "".join(run["name"] for run in RUNS if matches(run, query)) == names


@pytest.mark.parametrize("query", [{"$where": "1"}, {"size": 1}, {"config.size": {"$near": 1}}, {"name.first": 1}])
def test_an_unsupported_filter_is_an_error(query: dict[str, Any]) -> None:
    """A filter that the real server might support raises instead of being ignored."""
    with pytest.raises(BadFilterError):
        matches(RUNS[0], query)


@pytest.mark.parametrize(
    ("order", "names"),
    [("-created_at", "cba"), ("-summary_metrics.best/iou", "bac"), ("+summary_metrics.best/iou", "abc")],
)
def test_an_order_puts_runs_without_the_key_last(order: str, names: str) -> None:
    """`-` means descending."""
    assert "".join(run["name"] for run in ordered(RUNS, order)) == names
