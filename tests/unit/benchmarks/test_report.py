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
import servers
from load import Load
from report import Cell, Sample
from scenarios import AIMS, PARTS, Aim

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
    found = load.read(REPORT.format(p50=p50, troubles=""), 0.73287)
    assert found.latency_p50 == pytest.approx(milliseconds)
    assert found == Load(73287, 24379.96, found.latency_p50, 1500.0, found.errors, 10.0)
    assert found.valid


@pytest.mark.parametrize(
    ("troubles", "expected"),
    [
        (
            "  Socket errors: connect 1, read 2, write 3, timeout 4\n",
            {"connect": 1, "read": 2, "write": 3, "timeout": 4, "status": 0},
        ),
        (
            "  Non-2xx or 3xx responses: 7\n",
            {"connect": 0, "read": 0, "write": 0, "timeout": 0, "status": 7},
        ),
        (
            f"{TIMEOUT}  Non-2xx or 3xx responses: 1\n",
            {"connect": 0, "read": 0, "write": 0, "timeout": 1, "status": 1},
        ),
    ],
)
def test_errors_that_wrk_reports_make_a_load_not_valid(
    troubles: str, expected: dict[str, int]
) -> None:
    """A socket error or a status that is no success spoils the round."""
    found = load.read(REPORT.format(p50="1.00ms", troubles=troubles), 1.0)
    assert found.errors == expected
    assert not found.valid


def test_text_that_is_no_report_is_refused() -> None:
    """wrk's complaint about an unreachable host is not taken for a result."""
    with pytest.raises(load.BadReport, match="unable to connect"):
        load.read("unable to connect to 127.0.0.1:1 Connection refused", 1.0)


def sample(
    server: str,
    rate: float,
    *,
    errors: int = 0,
    cpu: float = 10.0,
    socket: dict[str, float] | None = None,
) -> Sample:
    found = Load(1000, rate, 1.0, 2.0, {"closed": errors, "connect": 0}, 3.0)
    cell = Cell("asgi", server, "hello", 64)
    cpus = {"python": cpu}
    return Sample(cell, "requests", found, cpus, {"python": 2**20}, socket or {})


def test_rows_hold_medians() -> None:
    """One outlier among five rounds does not move the row."""
    (row,) = report.rows([sample("a", rate) for rate in (100, 101, 5, 102, 900)])
    assert (row.rate, row.rounds, row.valid, row.errors) == (101, 5, True, {})


def test_ratio_is_reference_by_row() -> None:
    """Above 1: the reference does more."""
    rows = report.rows([sample("ours", 300), sample("theirs", 100)])
    assert [report.ratio(row, "ours", rows) for row in rows] == [1.0, 3.0]


def test_ratio_of_memory_is_row_by_reference() -> None:
    """Above 1: the reference needs less for a connection, all its kinds of process together."""
    ours = sample("ours", 1, socket={"node": 3000.0, "python": 2000.0})
    theirs = sample("theirs", 1, socket={"python": 20000.0})
    rows = report.rows([ours, theirs])
    assert [report.ratio(row, "ours", rows) for row in rows] == [1.0, 4.0]
    head, first, *_ = report.table(rows, {"asgi": "ours"}).splitlines()[1:]
    assert "B/request" in head
    assert first.split()[:2] == ["ours", "5,000"]


def test_a_bad_round_spoils_row_and_ratio() -> None:
    """A row with errors says which and is compared with nothing."""
    rows = report.rows([sample("ours", 300), sample("theirs", 100), sample("theirs", 1, errors=2)])
    assert [row.valid for row in rows] == [True, False]
    assert report.ratio(rows[1], "ours", rows) is None
    assert report.table(rows, {"asgi": "ours"}).splitlines()[3].endswith("INVALID: closed 2")


@pytest.mark.parametrize(("rate", "word"), [(1299, "missed"), (1300, "reached"), (0, "measured")])
def test_an_aim_is_reached_from_its_factor_on(rate: float, word: str) -> None:
    """At exactly the factor it is reached; without a valid row there is no verdict."""
    aim = Aim("asgi", "hello", "ours", "theirs", 1.3)
    rows = report.rows([sample("theirs", 1000), sample("ours", rate, errors=rate == 0)])
    (verdict,) = report.verdicts([aim], rows)
    assert verdict.text.endswith(word)


def test_an_aim_needs_both_servers() -> None:
    """An aim at a server that had no turn, or under another load, is not mentioned."""
    rows = report.rows([sample("ours", 1)])
    aims = [Aim("asgi", "hello", "ours", "theirs", 1), Aim("sse", "hello", "ours", "ours", 1)]
    assert report.verdicts(aims, rows) == []


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


def test_every_part_has_servers_that_exist_and_loads_of_names_of_their_own() -> None:
    """The tables agree: servers are known, a part's loads differ by name."""
    for part in PARTS.values():
        assert set(part.servers) <= set(servers.SERVERS)
        names = [scenario.name for scenario in part.scenarios]
        assert len(set(names)) == len(names)


def test_every_aim_is_at_a_load_of_its_part() -> None:
    """No aim is forgotten because of a name."""
    for aim in AIMS:
        part = PARTS[aim.part]
        assert aim.scenario in [scenario.name for scenario in part.scenarios]
        assert aim.peer in part.servers


def test_posted_documents_have_one_kibibyte() -> None:
    """As the name of the load says; the script for wrk holds it as it is."""
    (posted,) = [s for s in PARTS["asgi"].scenarios if s.name == "JSON of 1 KiB"]
    assert isinstance(posted.load, load.Http)
    assert posted.load.body is not None
    assert len(posted.load.body) == len(posted.load.expected) == 1024
    assert f"[==[{posted.load.body}]==]" in posted.load.script()
