# SPDX-License-Identifier: Apache-2.0
"""The benchmark's pure half: reading wrk, medians, ratios, what makes a row not valid."""

from __future__ import annotations

import os
import time

import pytest

import compare_servers
import load
import processes
import report
from load import Load
from report import Cell, Sample

REPORT = """Running 3s test @ http://127.0.0.1:8777/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.71ms    1.79ms  42.45ms   90.03%
    Req/Sec    24.54k     5.80k   37.22k    66.67%
  Latency Distribution
     50%  {p50}
     75%    3.01ms
     90%    4.20ms
     99%    1.50s
  73287 requests in 3.01s, 9.78MB read
{troubles}Requests/sec:  24379.96
Transfer/sec:      3.26MB
"""

TIMEOUT = "  Socket errors: connect 0, read 0, write 0, timeout 1\n"


@pytest.mark.parametrize(
    ("p50", "milliseconds"),
    [("912.00us", 0.912), ("  2.26ms", 2.26), ("  1.50s ", 1500.0), ("  1.00m ", 60000.0)],
)
def test_latencies_are_read_in_milliseconds(p50: str, milliseconds: float) -> None:
    """wrk chooses the unit; the reading is in milliseconds."""
    found = load.read(REPORT.format(p50=p50, troubles=""))
    assert found.latency_p50 == pytest.approx(milliseconds)
    assert found == Load(73287, 24379.96, found.latency_p50, 1500.0, 0, 0)
    assert found.valid


@pytest.mark.parametrize(
    ("troubles", "socket_errors", "bad_statuses"),
    [
        ("  Socket errors: connect 1, read 2, write 3, timeout 4\n", 10, 0),
        ("  Non-2xx or 3xx responses: 7\n", 0, 7),
        (f"{TIMEOUT}  Non-2xx or 3xx responses: 1\n", 1, 1),
    ],
)
def test_errors_that_wrk_reports_make_a_load_not_valid(
    troubles: str, socket_errors: int, bad_statuses: int
) -> None:
    """A socket error or a status that is no success spoils the round."""
    found = load.read(REPORT.format(p50="1.00ms", troubles=troubles))
    assert (found.socket_errors, found.bad_statuses) == (socket_errors, bad_statuses)
    assert not found.valid


def test_text_that_is_no_report_is_refused() -> None:
    """wrk's complaint about an unreachable host is not taken for a result."""
    with pytest.raises(load.BadReport, match="unable to connect"):
        load.read("unable to connect to 127.0.0.1:1 Connection refused")


def sample(server: str, rate: float, *, errors: int = 0, cpu: float = 10.0) -> Sample:
    found = Load(1000, rate, 1.0, 2.0, errors, 0)
    return Sample(Cell(server, "hello", 64), found, {"python": cpu}, {"python": 2**20})


def test_rows_hold_medians() -> None:
    """One outlier among five rounds does not move the row."""
    (row,) = report.rows([sample("a", rate) for rate in (100, 101, 5, 102, 900)])
    assert (row.requests_per_second, row.rounds, row.valid) == (101, 5, True)


def test_ratio_is_reference_by_row() -> None:
    """Above 1: the reference does more."""
    rows = report.rows([sample("ours", 300), sample("theirs", 100)])
    assert [report.ratio(row, "ours", rows) for row in rows] == [1.0, 3.0]


def test_a_bad_round_spoils_row_and_ratio() -> None:
    """A row with errors is marked and compared with nothing."""
    rows = report.rows([sample("ours", 300), sample("theirs", 100), sample("theirs", 1, errors=1)])
    assert [row.valid for row in rows] == [True, False]
    assert report.ratio(rows[1], "ours", rows) is None
    assert "INVALID" in report.table(rows, "ours").splitlines()[3]


def test_kind_of_process_that_a_round_lacks_counts_nothing() -> None:
    """A helper process seen in one round of three has the median 0."""
    rounds = [{"node": 3.0}, {"node": 5.0, "other": 9.0}, {"node": 4.0}]
    assert report.medians(rounds) == {"node": 4.0, "other": 0.0}


def test_turns_start_with_another_server_each_round() -> None:
    """Every round has every server once, and the first place goes round."""
    order = list(compare_servers.turns(["a", "b", "c"], 4))
    assert [name for _, name in order] == [*"abc", *"bca", *"cab", *"abc"]


def test_usage_counts_processor_time_and_memory_of_this_process() -> None:
    """Work done here shows up here, under the kind that the name of this process has."""
    kind = processes.kind(processes.fields(os.getpid())[0])
    before, _ = processes.usage(os.getpid())
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    after, memory = processes.usage(os.getpid())
    assert 0.1 <= after[kind] - before[kind] <= 5.0
    assert memory[kind] > 2**20
