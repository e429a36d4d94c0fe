# SPDX-License-Identifier: Apache-2.0
"""Every example of the documents that describe hornbeam runs: those of Python here; a table says
where the others do.

The documents are an integration guide, a reference of the Python API and the first README.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.sync.client import connect

from apps.documented import CASES
from live import serving
from live.conftest import TESTS
from live.serving import EXAMPLES as EXAMPLES_DIR
from live.serving import ROOT, Served

# What the guide registers in Erlang; its modules auth, session_store, user_db and feature_flags are
# the funs here.
FUNCTIONS = (
    "hornbeam:register_function(add,fun([A,B])->A+B end),"
    "hornbeam:register_function(get_user,string,uppercase),"
    "Is=fun(Name,Text)->Text=:=atom_to_binary(Name)end,"
    "hornbeam:register_function(validate_token,fun([Token])->"
    "case Is(good,Token)of true->{ok,7};false->{error,invalid_token}end end),"
    "hornbeam:register_function(verify_session,fun([Id])->"
    "case Is(known,Id)of true->{ok,#{user=>alice}};false->{error,not_found}end end),"
    "hornbeam:register_function(feature_enabled,fun([Feature,_])->Is(new_ui,Feature)end),"
    "hornbeam:register_function(log_event,fun([Event,#{}=Info])->"
    "hornbeam_state:set(hd(maps:values(Info)),Event)end)."
)

GUIDE, REFERENCE, README = "guide", "reference", "README"
HERE, TABLE = "tests/apps/documented.py", "tests/live/test_documented.py"
ASGI = "tests/apps/documented_asgi.py"
RPC, START = "test/rpc_SUITE.erl", "test/start_SUITE.erl"
REQUEST_HOOKS = "test/request_hooks_SUITE.erl"

# Document and example: the file that runs it, and the name of what does.
EXAMPLES: dict[tuple[str, str], tuple[str, str]] = {
    (GUIDE, "get, set and delete"): (HERE, "basic_operations"),
    (GUIDE, "atomic counters"): (HERE, "atomic_counters"),
    (GUIDE, "rate limiting"): (HERE, "rate_limit"),
    (GUIDE, "batch operations"): (HERE, "batch_operations"),
    (GUIDE, "caching"): (HERE, "cache_in_front_of_a_database"),
    (GUIDE, "session storage"): (HERE, "sessions"),
    (GUIDE, "real-time metrics"): (HERE, "metrics"),
    (GUIDE, "rpc_call, rpc_cast, node and nodes"): (RPC, "terms_as_they_are"),
    (GUIDE, "distributed inference"): ("examples/distributed_rpc/app.py", "gpu_nodes"),
    (GUIDE, "errors of rpc_call"): (RPC, "node_is_killed"),
    (GUIDE, "subscribe, publish, unsubscribe"): (HERE, "publish_and_subscribe"),
    (GUIDE, "WebSocket with publish and subscribe"): (ASGI, "websocket_app"),
    (GUIDE, "broadcasting updates"): (HERE, "broadcast_updates"),
    (GUIDE, "registering functions"): (TABLE, "FUNCTIONS"),
    (GUIDE, "call"): (HERE, "call_functions"),
    (GUIDE, "cast"): (HERE, "cast_functions"),
    (GUIDE, "authentication"): (HERE, "authentication"),
    (GUIDE, "feature flags"): (HERE, "feature_flags"),
    (GUIDE, "request hooks"): (REQUEST_HOOKS, "on_error"),
    (GUIDE, "missing keys"): (HERE, "missing_keys"),
    (REFERENCE, "state_get, state_set, state_delete"): (HERE, "basic_operations"),
    (REFERENCE, "state_incr, state_decr"): (HERE, "atomic_counters"),
    (REFERENCE, "state_get_multi, state_keys"): (HERE, "batch_operations"),
    (REFERENCE, "shortcuts"): (HERE, "shortcuts"),
    (REFERENCE, "rpc_call"): (RPC, "terms_as_they_are"),
    (REFERENCE, "rpc_cast"): (RPC, "casts"),
    (REFERENCE, "nodes and node"): (HERE, "every_name_is_there"),
    (REFERENCE, "publish"): (HERE, "publish_and_subscribe"),
    (REFERENCE, "call"): (HERE, "call_functions"),
    (REFERENCE, "cast"): (HERE, "cast_functions"),
    (REFERENCE, "a function as handler"): (HERE, "function_as_handler"),
    (REFERENCE, "a class as handler"): (HERE, "class_as_handler"),
    (REFERENCE, "an instance as handler"): (HERE, "instance_as_handler"),
    (REFERENCE, "hook and unhook"): (HERE, "handler_aliases"),
    (REFERENCE, "execute"): (HERE, "embeddings"),
    (REFERENCE, "execute_async, await_result"): (HERE, "tasks"),
    (REFERENCE, "stream"): (HERE, "streams"),
    (REFERENCE, "stream_async"): (ASGI, "generate"),
    (REFERENCE, "cached_inference, cache_stats"): (HERE, "inference"),
    (REFERENCE, "import summary"): (HERE, "every_name_is_there"),
    (README, "start/1 and start/2"): (START, "serves_and_tells"),
    (README, "shared state"): (HERE, "views_and_data"),
    (README, "distributed RPC"): ("examples/distributed_rpc/app.py", "rpc_call"),
    (README, "cached inference"): (HERE, "inference"),
    (README, "publish"): (HERE, "subscribers_notified"),
    (README, "hello world, WSGI"): ("examples/hello_wsgi/app.py", "application"),
    (README, "hello world, ASGI"): ("examples/hello_asgi/app.py", "application"),
    (README, "chat"): ("examples/websocket_chat/app.py", "app"),
    (README, "embedding service"): ("examples/embedding_service/app.py", "cached_inference_async"),
    (README, "examples with gunicorn"): (
        "tests/live/test_documented.py",
        "test_hello_with_gunicorn",
    ),
    (README, "every option"): ("apps/hornbeam/test/hornbeam_options_tests.erl", "http_version"),
    (README, "sys.config"): (START, "environment_and_options_merge"),
    (README, "register_function, unregister_function"): (
        "apps/hornbeam/test/hornbeam_functions_tests.erl",
        "unregister",
    ),
    (README, "benchmarks"): ("benchmarks/quick_bench.sh", "compare_servers"),
}


@pytest.fixture(scope="module")
def site() -> Iterator[Served]:
    flags = {"ERL_FLAGS": f'-eval "{FUNCTIONS}"'}
    with serving.serving("apps.documented:application", TESTS, "--threads", "4", **flags) as served:
        yield served


@pytest.mark.parametrize("name", CASES)
def test_example(name: str, site: Served) -> None:
    """The example does what the document says."""
    assert site.get(f"/{quote(name)}") == (200, b"ok"), site.errors()[-4000:]


def test_websocket_and_stream() -> None:
    """What is published to a user reaches the socket when its client speaks next; a stream is a
    response."""
    options = ("--interface", "asgi", "--workers", "1")
    with serving.serving("apps.documented_asgi:websocket_app", TESTS, *options) as served:
        assert served.get("/") == (200, b"streamed")
        with connect(f"ws://{served.host}:{served.port}/7") as socket:
            socket.send("publish")
            answer = None
            while answer is None:  # it is on its way while nobody speaks
                socket.send("anything?")
                try:
                    answer = socket.recv(timeout=0.2)
                except TimeoutError:
                    continue
            assert json.loads(answer) == {"for": "7"}


def test_hello_with_gunicorn() -> None:
    """The hello example is an ordinary WSGI application: gunicorn serves it as well."""
    with serving.gunicorn("app:application", EXAMPLES_DIR / "hello_wsgi") as served:
        assert served.get("/") == (200, b"Hello from Hornbeam!")


@pytest.mark.parametrize(("example", "place"), EXAMPLES.items(), ids=map(" ".join, EXAMPLES))
def test_where_the_example_is(example: tuple[str, str], place: tuple[str, str]) -> None:
    """The file is there, and has what runs the example; those of `apps.documented` do run."""
    file, name = place
    assert re.search(rf"\b{name}\b", (ROOT / Path(file)).read_text())
    if file == HERE:
        assert name in {*CASES, "embeddings"}


def test_no_case_is_without_an_example() -> None:
    """Each case stands in the table."""
    assert CASES.keys() <= {name for file, name in EXAMPLES.values() if file == HERE}
