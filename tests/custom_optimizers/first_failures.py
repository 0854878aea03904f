"""A pytest plugin: runs the tests of some optimizers, of each until one fails, and notes which.

Environment: OPTIMIZERS, their names with commas between; FIRST_FAILURES, the JSON file to write.
"""

import json
import os
import re
from pathlib import Path

import pytest

first_failures = {}


def optimizer_of(nodeid):
    """The optimizer in a test's parameters, or None."""
    names = os.environ["OPTIMIZERS"].replace(",", "|")
    found = re.search(rf"\[.*\b({names})\b", nodeid)
    return found and found[1]


def pytest_collection_modifyitems(config, items):
    items[:] = [item for item in items if optimizer_of(item.nodeid)]


def pytest_runtest_setup(item):
    if optimizer_of(item.nodeid) in first_failures:
        pytest.skip("another test has failed")


def pytest_runtest_logreport(report):
    if report.failed and report.when == "call":
        first_failures.setdefault(optimizer_of(report.nodeid), report.nodeid.split("::")[1])


def pytest_sessionfinish():
    Path(os.environ["FIRST_FAILURES"]).write_text(json.dumps(first_failures), encoding="utf-8")
