# SPDX-License-Identifier: Apache-2.0
"""Servers for the live tests: each application is started once for the whole run, when it is first
asked for.

Runs in: pytest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from apps.gate import Gate
from live import serving
from live.pair import Pair, pair
from live.samples import sample
from live.serving import Served

# Folder of the applications' package `apps`.
TESTS = Path(__file__).resolve().parents[1]

# What `wsgiref.validate` says where it cannot raise.
COMPLAINTS = ("Iterator garbage collected without being closed", "WSGIWarning")

SERVERS = {
    "hornbeam": (serving.serving, ("--workers", "1", "--threads", "4")),
    "gunicorn": (
        serving.gunicorn,
        ("--worker-class", "gthread", "--threads", "4", "--graceful-timeout", "1"),
    ),
}

Start = Callable[..., Served]
Both = Callable[[str], AbstractContextManager[Pair]]


@pytest.fixture(scope="session")
def start() -> Iterator[Start]:
    """`start(app, *options, server="hornbeam", **variables)`: a server, started once for these
    arguments and kept until the end. Options come after one worker with four threads.
    """
    running: dict[object, Served | AssertionError] = {}
    with ExitStack() as stack:

        def one(app: str, *options: str, server: str = "hornbeam", **variables: str) -> Served:
            key = (app, options, server, *variables.items())
            if key not in running:
                run, usual = SERVERS[server]
                try:
                    context = run(app, TESTS, *usual, *options, **variables)
                    running[key] = stack.enter_context(context)
                except AssertionError as failure:
                    running[key] = failure  # once is enough to know
            served = running[key]
            if isinstance(served, AssertionError):
                raise served
            return served

        yield one
        for served in running.values():
            if isinstance(served, AssertionError):
                continue
            found = [line for line in COMPLAINTS if line in served.errors()]
            assert not found, served.errors()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """The test's end of a gate; the application's is found by the header X-Gate."""
    with TemporaryDirectory() as folder, Gate(Path(folder) / "gate") as opened:
        yield opened


@pytest.fixture(scope="session")
def site_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the file `sample.bin` that the sites send; its time of change is fixed."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sample.bin").write_bytes(sample(300_000))
    os.utime(folder / "sample.bin", (1_700_000_000, 1_700_000_000))
    return folder


@pytest.fixture
def both(start: Start, site_folder: Path) -> Both:
    """`both(app)`: a client of the application in every server."""
    # The order of a set of strings (Allow) follows the seed of their hashes.
    variables = {"SITE_FOLDER": str(site_folder), "PYTHONHASHSEED": "0"}
    return lambda app: pair((name, start(app, server=name, **variables)) for name in SERVERS)


@pytest.fixture
def cases(start: Start, site_folder: Path) -> Served:
    """The applications of `apps.wsgi_cases`, in one worker with four threads."""
    return start("apps.wsgi_cases:application", SITE_FOLDER=str(site_folder))
