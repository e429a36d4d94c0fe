# SPDX-License-Identifier: Apache-2.0
"""Servers for the live tests: each application is started once for the whole run, when it is first
asked for.

Runs in: pytest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from apps.gate import Gate
from hornbeam_erlang.terms import Atom
from live import serving
from live.pair import Pair, pair
from live.samples import sample
from live.serving import Served

# Folder of the applications' package `apps`.
TESTS = Path(__file__).resolve().parents[1]

# What `wsgiref.validate` says where it cannot raise.
COMPLAINTS = ("Iterator garbage collected without being closed", "WSGIWarning")

Start = Callable[..., Served]
Servers = Mapping[str, tuple[Callable[..., AbstractContextManager[Served]], tuple[object, ...]]]

SERVERS: Servers = {
    "hornbeam": (serving.serving, ("--workers", "1", "--threads", "4")),
    "gunicorn": (
        serving.gunicorn,
        ("--worker-class", "gthread", "--threads", "4", "--graceful-timeout", "1"),
    ),
}

# The same for ASGI applications; their options are pairs of name and value, named as ours.
ASGI_SERVERS: Servers = {
    "hornbeam": (serving.node, (("worker_class", Atom("asgi")),)),
    "uvicorn": (serving.uvicorn, ()),
    "hypercorn": (serving.hypercorn, ()),
}

# Whom the tests of bare ASGI applications ask: another one of ASGI_SERVERS, to check a test
# against it. What only hornbeam does is not asked of others.
ASKED = os.environ.get("ASGI_SERVER", "hornbeam")

Both = Callable[[str], AbstractContextManager[Pair]]


@pytest.fixture(scope="session")
def start() -> Iterator[Start]:
    """`start(app, *options, server="hornbeam", **variables)`: a server, started once for these
    arguments and kept until the end. Options come after one worker with four threads.
    """
    yield from starting(SERVERS, "hornbeam")


@pytest.fixture(scope="session")
def start_asgi() -> Iterator[Start]:
    """As `start`, for ASGI applications; options are pairs of name and value."""
    yield from starting(ASGI_SERVERS, ASKED)


def starting(servers: Servers, first: str) -> Iterator[Start]:
    running: dict[object, Served | AssertionError] = {}
    with ExitStack() as stack:

        def one(app: str, *options: object, server: str = first, **variables: str) -> Served:
            key = (app, options, server, *variables.items())
            if key not in running:
                run, usual = servers[server]
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
def both_asgi(start_asgi: Start, site_folder: Path) -> Both:
    """`both_asgi(app)`: a client of the ASGI application in hornbeam and in uvicorn."""
    variables = {"SITE_FOLDER": str(site_folder), "PYTHONHASHSEED": "0"}
    names = ("hornbeam", "uvicorn") if ASKED == "hornbeam" else (ASKED,)
    return lambda app: pair((name, start_asgi(app, server=name, **variables)) for name in names)


@pytest.fixture
def cases(start: Start, site_folder: Path) -> Served:
    """The applications of `apps.wsgi_cases`, in one worker with four threads."""
    return start("apps.wsgi_cases:application", SITE_FOLDER=str(site_folder))


@pytest.fixture
def asgi(start_asgi: Start, site_folder: Path) -> Served:
    """The applications of `apps.asgi_cases` and `apps.websocket_cases`, in one worker."""
    app = "apps.websocket_cases:application"
    return start_asgi(app, SITE_FOLDER=str(site_folder))


@pytest.fixture
def ours() -> None:
    """For what only hornbeam does: the test is left out when another server is asked."""
    if ASKED != "hornbeam":
        pytest.skip("only hornbeam does this")


@pytest.fixture
def with_http2() -> None:
    """For tests over HTTP/2 without TLS, which uvicorn does not speak."""
    if ASKED == "uvicorn":
        pytest.skip("uvicorn has no HTTP/2 here")
