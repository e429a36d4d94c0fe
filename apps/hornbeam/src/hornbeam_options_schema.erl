%% SPDX-License-Identifier: Apache-2.0
%% @doc The table of options: what there is, its type, default, unit and meaning. Checking,
%% defaults, the suggestion for a misspelt name and the table in the README all come from it.
%% Pure; runs in the process that checks the options.
-module(hornbeam_options_schema).

-export([options/0, node_options/0]).
-export_type([option/0, default/0]).

-type default() ::
    {value, term()}
    %% Computed from the options before it in the table; the text says what it is.
    | {derived, fun((Config :: map()) -> term()), Text :: binary()}.

-type option() :: #{
    key := atom(),
    type := hornbeam_options_type:type(),
    default := default(),
    %% Empty where there is none.
    unit := binary(),
    doc := binary(),
    %% The value is kept out of error messages.
    hidden => true
}.

%% A day, in milliseconds: sums of several still fit one erlang timer. For more there is infinity.
-define(DAY, 86400000).

%% @doc Every option, in the order of the table in the README.
-spec options() -> [option(), ...].
options() ->
    server() ++ tls() ++ workers() ++ remote() ++ limits() ++ node_options() ++ python() ++
        asgi() ++ hooks().

%% @doc Those that a node has once, for its services, whatever applications it serves.
-spec node_options() -> [option(), ...].
node_options() ->
    clients() ++ state() ++ tasks() ++ rpc().

server() ->
    [
        row(bind, bind, "127.0.0.1:8000", "",
            "Where to listen: `\"host:port\"`, `\"[v6]:port\"`, a port (on 127.0.0.1), "
            "`\"unix:/path\"`, or a list of these. Port 0 lets the kernel choose. Every interface "
            "is `\"0.0.0.0:port\"`."),
        row(http_version, {some_of, ['HTTP/1.1', 'HTTP/2']}, ['HTTP/1.1', 'HTTP/2'], "",
            "What clients may speak; `'HTTP/1.1'` includes HTTP/1.0."),
        row(keepalive, {number, 0, 86400}, 2, "seconds",
            "How long a connection may idle between two requests; 0 closes it after each "
            "response."),
        row(max_connections, {limit, 1, 1 bsl 27}, 16384, "",
            "Connections at once, for each address; more wait in the kernel until one ends. Each "
            "takes a file descriptor (`ulimit -n`) and a port of the emulator (`+Q`)."),
        row(max_concurrent_streams, {integer, 1, 16777216}, 128, "",
            "Requests that an HTTP/2 connection may have open at once; more are refused with "
            "`REFUSED_STREAM`."),
        row(num_acceptors, {integer, 1, 1024}, 10, "",
            "Processes that accept connections, for each address.")
    ].

tls() ->
    Password = row(keyfile_password, optional_text, undefined, "",
        "What the key in `keyfile` is encrypted with."),
    [
        row(ssl, boolean, false, "", "TLS on every address."),
        row(certfile, optional_text, undefined, "",
            "For `ssl`: PEM file of the server's certificate, first, and those between it and the "
            "root. Changed files are read anew, see [TLS](docs/guides/tls.md)."),
        row(keyfile, optional_text, undefined, "",
            "PEM file of the private key; without it the key is in `certfile`."),
        Password#{hidden => true}
        | tls_clients()
    ].

tls_clients() ->
    [
        row(cacertfile, optional_text, undefined, "",
            "PEM file of the authorities that issue certificates of clients, for `verify`."),
        row(verify, {one_of, [none, optional, required, verify_none, verify_peer]}, none, "",
            "Whether clients need a certificate: `none`, `optional`, `required`. Erlang's "
            "`verify_none` is `none`, `verify_peer` is `required`."),
        row(ciphers, ciphers, undefined, "",
            "Cipher suites, best first; without it those of Erlang's `ssl`. A version of TLS for "
            "which none is named keeps its own."),
        row(tls_min_version, {one_of, ['tlsv1.2', 'tlsv1.3']}, 'tlsv1.2', "",
            "The oldest version of TLS that clients may speak.")
    ].

workers() ->
    [
        row(worker_class, {one_of, [wsgi, asgi]}, wsgi, "",
            "The interface that the application speaks."),
        derived(row(workers, {integer, 0, 1024}, undefined, "",
                "Python processes that the node starts."),
            fun(_) -> erlang:system_info(schedulers_online) end, <<"number of schedulers">>),
        row(threads, {integer, 1, 1024}, 1, "",
            "Requests that one worker runs at once, each in a thread. For WSGI."),
        row(max_requests, {limit, 0, 1 bsl 32}, infinity, "requests",
            "A worker that has served as many is replaced by a fresh one; 0 is `infinity`."),
        row(max_requests_jitter, {integer, 0, 1 bsl 32}, 0, "requests",
            "A random number up to this is added to `max_requests`, for each worker its own."),
        row(queue_limit, {integer, 0, 1000000}, 1000, "requests",
            "Requests that may wait for a free worker; one more is answered 503 at once.")
        | timeouts()
    ].

remote() ->
    [
        row(remote_workers, {integer, 0, 1024}, 0, "",
            "Workers from other machines that may serve the application at once, beside `workers`: "
            "[`hornbeam-worker`](docs/guides/remote-workers.md). 0 takes none."),
        row(remote_labels, labels, #{}, "",
            "Labels that such a worker must have, `#{gpu => 1}`.")
    ].

clients() ->
    [
        row(remote_clients, {integer, 0, 65536}, 64, "",
            "Programs that may be attached to the node at once to provide hooks or to make calls; "
            "0 takes none. Who knows the cookie may do more than that.")
    ].

timeouts() ->
    [
        row(timeout, {limit, 1, ?DAY}, 30000, "ms",
            "What the application may take for a request; then it is answered 504, and a worker "
            "that is stuck is killed."),
        derived(row(queue_timeout, {limit, 1, ?DAY}, undefined, "ms",
            "How long a request may wait for a free worker; then it is answered 503."),
            fun(#{timeout := Timeout}) -> Timeout end, <<"as `timeout`">>),
        row(graceful_timeout, {integer, 0, ?DAY}, 30000, "ms",
            "How long open requests may take to finish when the server stops.")
    ].

limits() ->
    [
        row(body_buffer, {integer, 0, 16777216}, 65536, "bytes",
            "Request bodies up to this size are gathered before a worker is chosen; larger ones "
            "stream."),
        row(max_body, {limit, 0, infinity}, 1073741824, "bytes",
            "A larger request body is answered 413."),
        row(max_headers, {integer, 1, 10000}, 100, "",
            "Header names in a request; more are answered 431. A repeated header counts once."),
        row(max_header_size, {integer, 64, 1048576}, 8190, "bytes",
            "Name and value of one header together, repeated ones joined; a larger one is "
            "answered 431."),
        row(max_request_line_size, {integer, 32, 1048576}, 8190, "bytes",
            "Method, target and version, with the spaces between; a longer line is answered 414.")
    ].

state() ->
    [
        row(state_max_entries, {limit, 1, infinity}, 10000000, "",
            "Keys of the shared state, which all applications of the node have in common; one more "
            "is refused."),
        row(state_max_bytes, {limit, 1, infinity}, 1073741824, "bytes",
            "What keys and values of the shared state may take together, 128 bytes for each key "
            "included; what does not fit is refused."),
        row(cache_max_entries, {limit, 1, infinity}, 100000, "",
            "Results kept by the cache; the one unused for long goes for a new one."),
        row(cache_max_bytes, {limit, 1, infinity}, 268435456, "bytes",
            "What the results kept by the cache may take together."),
        row(pubsub_backlog, {integer, 1, 1000000}, 1024, "messages",
            "What is kept of a topic for its slowest subscriber, which loses older messages."),
        row(pubsub_backlog_bytes, {integer, 1, 1 bsl 32}, 16777216, "bytes",
            "The same in bytes; the newest message is kept whatever its size."),
        row(pubsub_backlog_age, {integer, 1, ?DAY}, 30000, "ms",
            "The same in time.")
    ].

tasks() ->
    [
        row(task_result_ttl, {integer, 1, ?DAY}, 3600000, "ms",
            "How long the result of `execute_async` is kept. On one node the last start counts, "
            "here and below."),
        row(task_limit, {integer, 1, 1000000}, 10000, "",
            "Tasks and results of tasks that there may be; the oldest result makes room for a new "
            "task.")
    ].

rpc() ->
    [
        row(rpc_allow, rpc_allow, all, "",
            "What `rpc_call` and its relatives may call: `all`, `none`, or a list of `Module`, "
            "`{Module, Function}`, `{Module, Function, Node}`, where `*` in a text stands for "
            "anything: `[logger, {\"ml_*\", predict, \"*@gpu-1\"}]`. Nodes that no rule "
            "allows cannot be connected either."),
        row(cluster, cluster, #{}, "",
            "Whom this node connects to, again and again: `#{nodes => ['a@host', ...], "
            "dns => \"name\", basename => \"hornbeam\", interval => 5000}`, see "
            "[clusters](docs/guides/cluster.md).")
    ].

python() ->
    Env = row(env, environment, [], "",
        "Environment variables of the workers, on top of the node's: names and values; `false` "
        "unsets one."),
    [
        row(erlport, texts, [], "",
            "Python modules, with those below them, whose functions Erlang code may call as it "
            "calls an instance of ErlPort, see [interop](docs/guides/interop.md); `\"*\"` is all."),
        row(pythonpath, texts, ["."], "",
            "Folders that are put before Python's own on `sys.path`."),
        row(python, optional_text, undefined, "",
            "The interpreter; without it that of `venv`, else `python3` on `PATH`. Not together "
            "with `venv`."),
        row(venv, optional_text, undefined, "",
            "Folder of the virtual environment whose interpreter runs the workers."),
        Env#{hidden => true}
    ].

asgi() ->
    [
        row(loop, {one_of, [auto, asyncio, uvloop]}, auto, "",
            "The event loop of an ASGI worker; `auto` is uvloop when it is installed."),
        row(lifespan, {one_of, [auto, on, off]}, auto, "",
            "ASGI start-up and shutdown events; `auto` sends them to applications that take them. "
            "WSGI has none."),
        row(lifespan_timeout, {integer, 1, ?DAY}, 30000, "ms",
            "What an ASGI application may take for its start-up, and for its shutdown."),
        row(max_concurrent, {integer, 1, 65536}, 1000, "requests",
            "Requests that one ASGI worker runs at once, handshakes of WebSockets included; more "
            "wait in the queue.")
        | websocket()
    ].

websocket() ->
    [
        row(websocket_timeout, {limit, 1, ?DAY}, 60000, "ms",
            "A WebSocket on which nothing arrives for so long, not even the answer to a ping, is "
            "closed with code 1001."),
        row(websocket_ping_interval, {limit, 1, ?DAY}, 20000, "ms",
            "A client that was silent for so long is sent a ping; one that does not answer it in "
            "the same time is cut off, with code 1011. `infinity` sends none."),
        row(websocket_max_frame_size, {integer, 1, 33554432}, 16777216, "bytes",
            "A larger WebSocket message, uncompressed and with all its fragments, closes the "
            "connection with code 1009."),
        row(websocket_compress, boolean, false, "",
            "Messages are compressed (permessage-deflate) for clients that offer it; it takes some "
            "300 KiB for each.")
    ].

hooks() ->
    [
        row(hooks, hooks, #{}, "",
            "Functions that see, change or refuse requests (`on_request`), see and change "
            "responses (`on_response`), and answer for failures (`on_error`).")
    ].

row(Key, Type, Default, Unit, Doc) ->
    #{key => Key, type => Type, default => {value, Default},
        unit => list_to_binary(Unit), doc => list_to_binary(Doc)}.

derived(Option, Derive, Text) ->
    Option#{default := {derived, Derive, Text}}.
