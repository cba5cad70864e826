"""Cores and memory: of this machine, and of containers whose files are written here."""

import os

import pytest

from lamarck.engines import _machine

HERE = len(os.sched_getaffinity(0))


@pytest.fixture
def root(tmp_path):
    """A machine with 8 GB free and no control groups."""
    write(tmp_path, "proc/meminfo", "MemTotal: 16000000 kB\nMemFree: 1000 kB\nMemAvailable: 8000000 kB\n")
    return tmp_path


def write(root, path, text):
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def grouped(root, groups, **files):
    write(root, "proc/self/cgroup", groups)
    for path, text in files.items():
        write(root, f"sys/fs/cgroup/{path}", text)


def test_this_machine_has_what_others_say():
    assert 1 <= _machine.cores() <= HERE
    assert 0 < _machine.memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_without_groups_all_of_the_machine_is_there(root):
    assert _machine.memory(root) == 8_000_000 * 1024
    assert _machine.cores(root) == HERE


def test_nobody_says_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf_names", {})
    assert _machine.memory(tmp_path) is None
    assert _machine.cores(tmp_path) == HERE


@pytest.mark.parametrize("inside", [True, False])
def test_a_container_has_what_it_was_given(root, inside):
    """Of the second version; its own group may be seen as the root."""
    group, place = ("0::/\n", "") if inside else ("0::/docker/abc\n", "docker/abc/")
    stat = "anon 500\nfile 9000000\ninactive_file 2000000\nactive_file 7000000\n"
    files = {"memory.max": "1000000000\n", "memory.current": "300000000\n", "memory.stat": stat, "cpu.max": "100000 100000\n"}
    grouped(root, group, **{place + name: text for name, text in files.items()})
    assert _machine.memory(root) == 1_000_000_000 - 300_000_000 + 2_000_000
    assert _machine.cores(root) == 1


def test_the_tightest_of_all_groups_around_counts(root):
    files = {"memory.current": "0\n", "memory.stat": ""}
    limits = {"": "max", "slurm/": "3000000", "slurm/job/": "max", "slurm/job/step/": "5000000"}
    tree = {f"{place}{name}": text for place in limits for name, text in files.items()}
    grouped(root, "0::/slurm/job/step\n", **tree, **{f"{place}memory.max": limit for place, limit in limits.items()})
    assert _machine.memory(root) == 3_000_000


def test_groups_of_the_first_version(root):
    files = {
        "memory/job/memory.limit_in_bytes": "2000000000\n",
        "memory/job/memory.usage_in_bytes": "500000000\n",
        "memory/job/memory.stat": "inactive_file 1\ntotal_inactive_file 1000000\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "500000000\n",
        "memory/memory.stat": "total_inactive_file 0\n",
        "cpu/cpu.cfs_quota_us": "50000\n",
        "cpu/cpu.cfs_period_us": "100000\n",
    }
    grouped(root, "9:name=systemd:/\n4:memory:/job\n1:cpu,cpuacct:/gone\n", **files)
    assert _machine.memory(root) == 1_501_000_000
    assert _machine.cores(root) == 1


def test_what_is_unlimited_is_no_limit(root):
    grouped(root, "0::/\n", **{"memory.max": "max\n", "cpu.max": "max 100000\n", "memory.current": "5\n", "memory.stat": ""})
    assert _machine.memory(root) == 8_000_000 * 1024
    assert _machine.cores(root) == HERE


def test_a_group_that_is_full_has_nothing_left(root):
    grouped(root, "0::/\n", **{"memory.max": "1000\n", "memory.current": "2000\n", "memory.stat": ""})
    assert _machine.memory(root) == 0


def test_what_cannot_be_read_is_no_limit(root):
    grouped(root, "nonsense\n0::/\n", **{"memory.max": "1000\n", "memory.current": "?\n", "cpu.max": "\n"})
    assert _machine.memory(root) == 8_000_000 * 1024
    assert _machine.cores(root) == HERE
