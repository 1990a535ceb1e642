"""The number of CPU threads is what the process may use, also in containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from odise_trt.backends import available_threads, threads


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 processors without limits, all of which the process may run on."""
    monkeypatch.setattr(threads, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(threads, "_OWN_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(16), raising=False)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_limits_all_processors_of_the_process_count(system):
    assert available_threads() == 16


@pytest.mark.parametrize(
    ("limit", "expected"), [("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1)]
)
def test_a_container_has_its_share_rounded_up(system, limit, expected):
    write(system / "groups" / "cpu.max", limit)
    assert available_threads() == expected


def test_the_smallest_limit_of_all_groups_around_the_process_counts(system):
    write(system / "cgroup", "0::/outer/inner\n")
    write(system / "groups" / "outer" / "inner" / "cpu.max", "max 100000")
    write(system / "groups" / "outer" / "cpu.max", "300000 100000")
    write(system / "groups" / "cpu.max", "max 100000")
    assert available_threads() == 3


def test_control_groups_of_version_1_are_read(system):
    write(system / "cgroup", "4:memory:/m\n2:cpu,cpuacct:/box\n")
    write(system / "groups" / "cpu" / "box" / "cpu.cfs_quota_us", "400000\n")
    write(system / "groups" / "cpu" / "box" / "cpu.cfs_period_us", "100000\n")
    assert available_threads() == 4
    write(system / "groups" / "cpu" / "box" / "cpu.cfs_quota_us", "-1\n")
    assert available_threads() == 16


@pytest.mark.parametrize(
    "limit", ["max 100000", "", "what is this", "0 100000", "100000 0", "9900000 100000"]
)
def test_what_is_no_limit_limits_nothing(system, limit):
    write(system / "groups" / "cpu.max", limit)
    assert available_threads() == 16
