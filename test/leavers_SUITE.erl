%% SPDX-License-Identifier: Apache-2.0
%% @doc Clients of an ASGI application that leave, in each phase of requests, streams and
%% WebSockets: what the node and the worker hold for them returns to what it was.
%%
%% HORNBEAM_CHAOS in the environment asks for the long form: 10000 clients instead of 400.
-module(leavers_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, start/2, await/1, await_idle/0]).

-compile([export_all, nowarn_export_all]).

-define(AT_ONCE, 20).
%% Bytes that the figures of a node may differ by without anything being kept.
-define(NOISE, 16#1000000).
%% Connections that a worker remembers, by three objects each.
-define(REMEMBERED, 4096).
-define(UPGRADE, "host: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {seconds, 900}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) -> hornbeam:stop().

http1(_) ->
    doc("HTTP/1: within the head, within the body, before, during and after the response."),
    do_check(fun do_http1/2, 11).

websockets(_) ->
    doc("WebSocket: within the handshake, before the decision, within a frame, while either side "
        "sends, with a close and without."),
    do_check(fun do_websocket/2, 9).

http2(_) ->
    doc("HTTP/2: within the preface, a header block, a body; streams that are reset; a connection "
        "that ends with its streams open."),
    do_check(fun do_http2/2, 8).

%%% The check

%% Leave is called with a socket and a phase, up to Phases.
do_check(Leave, Phases) ->
    Port = start("leavers_app:application", #{worker_class => asgi, body_buffer => 1000,
        timeout => 5000}),
    do_leave_all(Port, Leave, Phases, 200),
    Before = do_figures(Port),
    do_leave_all(Port, Leave, Phases, do_clients()),
    %% Processes of connections end a moment after their sockets.
    await(fun() ->
        Figures = do_figures(Port),
        do_counts(Figures) =< do_counts(Before) andalso do_growth(processes, Before, Figures) < 5
    end),
    After = do_figures(Port),
    ct:pal("~b clients~nbefore ~p~nafter ~p", [do_clients(), Before, After]),
    ?assert(do_growth(memory, Before, After) < ?NOISE),
    ?assert(do_growth(rss, Before, After) < 2 * ?NOISE),
    ?assert(do_growth(worker_rss, Before, After) < 2 * ?NOISE),
    ?assert(do_growth(objects, Before, After) < 3 * min(do_clients(), ?REMEMBERED) + 1000),
    ?assert(do_growth(atoms, Before, After) < 100),
    ?assertEqual({200, <<"hello">>}, hornbeam_case:fetch(Port, "/hello")).

do_clients() ->
    case os:getenv("HORNBEAM_CHAOS") of
        false -> 400;
        _ -> 10000
    end.

do_leave_all(Port, Leave, Phases, Clients) ->
    Each = lists:seq(1, Clients div ?AT_ONCE),
    Client = fun() -> [do_leave(Port, Leave, rand:uniform(Phases)) || _ <- Each] end,
    Monitors = [element(2, spawn_monitor(Client)) || _ <- lists:seq(1, ?AT_ONCE)],
    [receive {'DOWN', M, process, _, Reason} -> ?assertEqual(normal, Reason) end || M <- Monitors],
    await_idle().

do_leave(Port, Leave, Phase) ->
    Socket = raw_http:connect(Port),
    Leave(Socket, Phase),
    %% Half of them reset the connection.
    _ = rand:uniform(2) =:= 1 andalso inet:setopts(Socket, [{linger, {true, 0}}]),
    ok = raw_http:close(Socket).

%% What must come back to what it was, to the last one.
do_counts(#{ports := Ports, tasks := Tasks, descriptors := Descriptors}) ->
    {Ports, Tasks, Descriptors}.

do_figures(Port) ->
    await_idle(),
    {200, Text} = hornbeam_case:fetch(Port, "/figures"),
    await_idle(),
    [Tasks, Objects, Descriptors] = [binary_to_integer(N) || N <- binary:split(Text, <<" ">>,
        [global])],
    [erlang:garbage_collect(P) || P <- processes()],
    #{
        tasks => Tasks,
        objects => Objects,
        descriptors => Descriptors,
        worker_rss => hornbeam_case:rss(hornbeam_case:pid()),
        memory => erlang:memory(total),
        rss => hornbeam_case:rss(os:getpid()),
        atoms => erlang:system_info(atom_count),
        processes => length(processes()),
        ports => length(erlang:ports())
    }.

do_growth(Key, Before, After) -> maps:get(Key, After) - maps:get(Key, Before).

do_pause() -> receive after rand:uniform(10) - 1 -> ok end.

do_receive(Socket) ->
    _ = gen_tcp:recv(Socket, 0, 500),
    ok.

%%% Phases

do_http1(Socket, Phase) ->
    ok = raw_http:send(Socket, do_request(Phase)),
    do_pause(),
    %% The later ones have seen something of the answer.
    _ = Phase > 7 andalso do_receive(Socket),
    ok.

do_request(1) -> "GET /hello HTTP/1.1\r\nhost: x\r\nx-a: ";
do_request(2) -> "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\nhalf";
do_request(3) -> "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\nhalf";
do_request(4) -> ["POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n",
    lists:duplicate(2000, $b)];
do_request(5) -> "GET /sleeps HTTP/1.1\r\nhost: x\r\n\r\n";
do_request(6) -> "GET /polls HTTP/1.1\r\nhost: x\r\n\r\n";
do_request(7) -> lists:duplicate(3, "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n");
do_request(8) -> "GET /streams HTTP/1.1\r\nhost: x\r\n\r\n";
do_request(9) -> "GET /trickles HTTP/1.1\r\nhost: x\r\n\r\n";
do_request(10) -> "GET /after HTTP/1.1\r\nhost: x\r\n\r\n";
do_request(11) -> "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n".

do_websocket(Socket, 1) ->
    ok = raw_http:send(Socket, "GET /echoes HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n"),
    do_pause();
do_websocket(Socket, 2) ->
    ok = raw_http:send(Socket, ["GET /undecided HTTP/1.1\r\n", ?UPGRADE]),
    do_pause();
do_websocket(Socket, 3) ->
    %% Leaves without waiting for the 101.
    ok = raw_http:send(Socket, ["GET /echoes HTTP/1.1\r\n", ?UPGRADE]);
do_websocket(Socket, 4) ->
    do_open(Socket, "/echoes");
do_websocket(Socket, 5) ->
    do_open(Socket, "/echoes"),
    ok = raw_http:send(Socket, [<<1:1, 0:3, 2:4, 1:1, 127:7, 100000:64, 0:32>>, "within a frame"]),
    do_pause();
do_websocket(Socket, 6) ->
    do_open(Socket, "/echoes"),
    ok = raw_http:send(Socket, lists:duplicate(10, do_frame(2, binary:copy(<<0>>, 10000)))),
    do_receive(Socket);
do_websocket(Socket, 7) ->
    do_open(Socket, "/echoes"),
    ok = raw_http:send(Socket, do_frame(8, <<1000:16>>)),
    do_receive(Socket);
do_websocket(Socket, 8) ->
    do_open(Socket, "/floods"),
    do_receive(Socket);
do_websocket(Socket, 9) ->
    do_open(Socket, "/deaf"),
    ok = raw_http:send(Socket, do_frame(1, <<"nobody listens">>)).

do_open(Socket, Path) ->
    ok = raw_http:send(Socket, ["GET ", Path, " HTTP/1.1\r\n", ?UPGRADE]),
    do_receive(Socket).

%% A frame of a client, masked with 0.
do_frame(Opcode, Data) when byte_size(Data) < 126 ->
    [<<1:1, 0:3, Opcode:4, 1:1, (byte_size(Data)):7, 0:32>>, Data];
do_frame(Opcode, Data) ->
    [<<1:1, 0:3, Opcode:4, 1:1, 126:7, (byte_size(Data)):16, 0:32>>, Data].

do_http2(Socket, 1) ->
    ok = raw_http:send(Socket, "PRI * HTTP/2.0\r\n\r\nSM");
do_http2(Socket, Phase) ->
    ok = raw_http:send(Socket, ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", cow_http2:settings(#{})]),
    do_receive(Socket),
    ok = raw_http:send(Socket, [cow_http2:settings_ack() | do_frames(Phase)]),
    do_pause(),
    _ = Phase > 6 andalso do_receive(Socket),
    ok.

do_frames(2) ->
    %% Nine bytes that announce a header block of 100, and the first of them.
    [<<100:24, 1:8, 5:8, 1:32>>, <<130>>];
do_frames(3) ->
    [do_headers(1, nofin, <<"POST">>, <<"/length">>), cow_http2:data(1, nofin, <<"half">>)];
do_frames(4) ->
    [do_headers(1, nofin, <<"POST">>, <<"/length">>), cow_http2:data(1, nofin, <<0:80000>>)];
do_frames(5) ->
    [do_headers(Id, fin, <<"GET">>, <<"/sleeps">>) || Id <- [1, 3, 5]];
do_frames(6) ->
    [[do_headers(Id, fin, <<"GET">>, <<"/polls">>), cow_http2:rst_stream(Id, cancel)]
     || Id <- [1, 3, 5]];
do_frames(7) ->
    [do_headers(Id, fin, <<"GET">>, <<"/streams">>) || Id <- [1, 3, 5]];
do_frames(8) ->
    [do_headers(1, fin, <<"GET">>, <<"/trickles">>), do_headers(3, fin, <<"GET">>, <<"/after">>)].

%% A state of its own for each block: nothing is left in the table that the next one refers to.
do_headers(Id, IsFin, Method, Path) ->
    {Block, _} = cow_hpack:encode([{<<":method">>, Method}, {<<":scheme">>, <<"http">>},
        {<<":authority">>, <<"x">>}, {<<":path">>, Path}], cow_hpack:init(0)),
    cow_http2:headers(Id, IsFin, Block).
