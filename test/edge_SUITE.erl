%% SPDX-License-Identifier: Apache-2.0
%% @doc The edge of the whole server: what is refused never reaches the application, limits hold at
%% N-1, N and N+1, bodies that break off or stall, idle connections, pipelines.
-module(edge_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, fetch/2, await/1, await_idle/0]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) -> hornbeam:stop().

do_start(Options) -> hornbeam_case:start("edge_app:application", Options).

do_seen(Port) ->
    {200, Text} = fetch(Port, "/seen"),
    binary_to_integer(Text).

%%% The table

every_case_of_the_table(_) ->
    doc("Every request of the table is answered as it says, and only those that are served reach "
        "the application."),
    Port = do_start(edge_cases:options()),
    Wrong = [
        {Name, Expected, Got, Reached}
     || {Name, Bytes, Expected} <- edge_cases:cases(),
        {Got, Reached} <- [do_try(Port, Bytes)],
        not (do_is(Expected, Got) andalso Reached =:= do_reached(Expected))
    ],
    ?assertEqual([], Wrong),
    await_idle().

do_try(Port, Bytes) ->
    Before = do_seen(Port),
    Response = raw_http:exchange(Port, Bytes),
    {Response, do_seen(Port) - Before}.

do_is({closed, or_status, Statuses}, {Status, _, _, _}) -> lists:member(Status, Statuses);
do_is({closed, or_status, _}, {closed, _}) -> true;
do_is(Status, {Status, _, _, _}) -> true;
do_is(_, _) -> false.

do_reached(200) -> 1;
do_reached(_) -> 0.

the_table_over_a_unix_socket(_) ->
    doc("Requests that are refused over TCP are refused over a Unix socket, too."),
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "hornbeam-edge-" ++ os:getpid()),
    Options = maps:merge(edge_cases:options(), #{
        bind => "unix:" ++ Path, workers => 1, python => hornbeam_case:python(),
        pythonpath => [hornbeam_case:apps()]
    }),
    ok = hornbeam:start("edge_app:application", Options),
    Wrong = [
        {Name, Expected, Got}
     || {Name, Bytes, Expected} <- edge_cases:cases(),
        Got <- [do_local(Path, Bytes)],
        not do_is(Expected, Got)
    ],
    ?assertEqual([], Wrong),
    await_idle().

do_local(Path, Bytes) ->
    {ok, Socket} = gen_tcp:connect({local, Path}, 0, [local, binary, {active, false}]),
    ok = raw_http:send(Socket, Bytes),
    Response =
        case raw_http:response(Socket) of
            {100, _, _, Rest} -> do_second(Socket, Rest);
            Other -> Other
        end,
    ok = gen_tcp:close(Socket),
    Response.

do_second(Socket, <<>>) -> raw_http:response(Socket);
do_second(Socket, <<"HTTP/1.1 ", Status:3/binary, _/binary>>) ->
    {binary_to_integer(Status), [], <<>>, Socket}.

%%% Limits

max_body_at_the_limit(_) ->
    doc("A body of N-1 and N bytes is served, one of N+1 is 413: with a length and chunked, "
        "gathered and streamed."),
    [
        begin
            Port = do_start(#{max_body => 1000, body_buffer => Buffer}),
            [
                ?assertMatch({Buffer, Kind, Size, {Status, _, Body, _}} when Body =:= Answer
                    orelse Status =/= 200,
                    {Buffer, Kind, Size, raw_http:exchange(Port, do_body(Kind, Size))})
             || Kind <- [length, chunked, small_chunks],
                {Size, Status, Answer} <- [{999, 200, <<"999">>}, {1000, 200, <<"1000">>},
                    {1001, 413, none}]
            ],
            await_idle(),
            ok = hornbeam:stop()
        end
     || Buffer <- [0, 999, 1000, 1001, 65536]
    ].

do_body(length, Size) ->
    do_post(["content-length: ", integer_to_list(Size)], binary:copy(<<"b">>, Size));
do_body(chunked, Size) ->
    do_post("transfer-encoding: chunked",
        [integer_to_list(Size, 16), "\r\n", binary:copy(<<"b">>, Size), "\r\n0\r\n\r\n"]);
do_body(small_chunks, Size) ->
    do_post("transfer-encoding: chunked", [lists:duplicate(Size, "1\r\nb\r\n"), "0\r\n\r\n"]).

do_post(Header, Body) ->
    ["POST / HTTP/1.1\r\nhost: x\r\n", Header, "\r\n\r\n", Body].

bodies_of_every_size(_) ->
    doc("Bodies around body_buffer and the windows arrive whole, over connections that are used "
        "again."),
    Port = do_start(#{body_buffer => 1000}),
    Sizes = [0, 1, 999, 1000, 1001, 65535, 65536, 262143, 262144, 262145, 1000000],
    Socket = raw_http:connect(Port),
    [
        begin
            ok = raw_http:send(Socket, do_body(length, Size)),
            Text = integer_to_binary(Size),
            ?assertMatch({200, _, Text, <<>>}, raw_http:response(Socket))
        end
     || Size <- Sizes
    ],
    ok = raw_http:close(Socket),
    [
        begin
            Text = integer_to_binary(Size),
            ?assertMatch({200, _, Text, _}, raw_http:exchange(Port, do_body(chunked, Size)))
        end
     || Size <- tl(Sizes)
    ],
    await_idle().

%%% Bodies that do not come

a_body_that_breaks_off(_) ->
    doc("A client that leaves within its body takes the request with it; a gathered one never "
        "reached anybody."),
    [
        begin
            Port = do_start(#{body_buffer => Buffer}),
            Request = do_post(Header, Part),
            [do_leave(Port, Request) || _ <- lists:seq(1, 5)],
            await_idle(),
            Reached = do_seen(Port),
            ?assert(Reached =:= 0 orelse Buffer =:= 0),
            ?assertMatch({200, _, <<"5">>, _}, raw_http:exchange(Port, do_body(length, 5))),
            ok = hornbeam:stop()
        end
     || Buffer <- [65536, 0],
        {Header, Part} <- [{"content-length: 10", "hello"},
            {"transfer-encoding: chunked", "5\r\nhello\r\n"}]
    ].

do_leave(Port, Request) ->
    Socket = raw_http:connect(Port),
    ok = raw_http:send(Socket, Request),
    await(fun() -> maps:get(open, hornbeam:info()) > 0 end),
    ok = raw_http:close(Socket),
    await(fun() -> maps:get(open, hornbeam:info()) =:= 0 end).

a_body_that_stalls(_) ->
    doc("A body that stops for longer than timeout is 408 and the connection is closed: gathered "
        "and streamed."),
    [
        begin
            Port = do_start(#{timeout => 400, body_buffer => Buffer}),
            Socket = raw_http:connect(Port),
            {Microseconds, Response} = timer:tc(fun() ->
                ok = raw_http:send(Socket, do_post(Header, Part)),
                raw_http:response(Socket)
            end),
            ?assertMatch({Buffer, Header, {408, _, _, _}}, {Buffer, Header, Response}),
            ?assert(Microseconds > 399000 andalso Microseconds < 30000000),
            ?assertEqual(<<>>, raw_http:rest(Socket)),
            await_idle(),
            ?assertMatch({200, _}, fetch(Port, "/")),
            ok = hornbeam:stop()
        end
     || Buffer <- [65536, 0],
        {Header, Part} <- [{"content-length: 10", "hello"},
            {"transfer-encoding: chunked", "5\r\nhello\r\n"}]
    ].

a_slow_body_is_no_stall(_) ->
    doc("A body that comes in pieces, each within timeout, may take longer than that as a whole."),
    [
        begin
            Port = do_start(#{timeout => 2000, body_buffer => Buffer}),
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, do_post("content-length: 6", "")),
            [receive after 400 -> ok = raw_http:send(Socket, "b") end || _ <- lists:seq(1, 6)],
            ?assertMatch({200, _, <<"6">>, _}, raw_http:response(Socket)),
            ok = raw_http:close(Socket),
            ok = hornbeam:stop()
        end
     || Buffer <- [65536, 0]
    ].

a_head_that_stalls(_) ->
    doc("A head that does not end is 408 within keepalive, at least a second, and the connection "
        "is closed."),
    Port = do_start(#{keepalive => 1}),
    Socket = raw_http:connect(Port),
    ok = raw_http:send(Socket, "GET / HTTP/1.1\r\nhost:"),
    {Microseconds, Bytes} = timer:tc(fun() -> raw_http:rest(Socket) end),
    ?assertMatch(<<"HTTP/1.1 408 ", _/binary>>, Bytes),
    ?assert(Microseconds < 30000000),
    ?assertEqual(0, do_seen(Port)).

length_and_chunked(_) ->
    doc("With content-length and transfer-encoding the chunks count, nothing behind them is read."),
    Port = do_start(#{}),
    [
        begin
            Bytes = do_post([A, "\r\n", B], "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"),
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, Bytes),
            Answer = raw_http:rest(Socket),
            ?assertMatch(<<"HTTP/1.1 200 ", _/binary>>, Answer),
            ?assertMatch({_, _}, binary:match(Answer, <<"connection: close\r\n">>)),
            ?assertMatch([_], binary:matches(Answer, <<"HTTP/1.1 ">>))
        end
     || {A, B} <- [
            {"content-length: 5", "transfer-encoding: chunked"},
            {"transfer-encoding: chunked", "content-length: 5"},
            {"content-length: 0", "transfer-encoding: chunked"}
        ]
    ],
    ?assertEqual(3, do_seen(Port)).

%%% Connections

keepalive_is_the_time_between_requests(_) ->
    doc("An idle connection is closed after keepalive, not before; a response may take longer "
        "than that."),
    Port = do_start(#{keepalive => 2}),
    Socket = raw_http:connect(Port),
    Ask = fun(Target, Body) ->
        ok = raw_http:send(Socket, ["GET ", Target, " HTTP/1.1\r\nhost: x\r\n\r\n"]),
        ?assertMatch({200, _, Body, <<>>}, raw_http:response(Socket))
    end,
    [
        begin
            Ask(Target, Body),
            receive after 100 -> ok end
        end
     || {Target, Body} <- [{"/", <<"0">>}, {"/sleep?2300", <<"0">>},
            {"/slow_stream?1000", <<"abc">>}]
    ],
    {Microseconds, {error, closed}} = timer:tc(fun() ->
        Ask("/", <<"0">>),
        raw_http:receive_some(Socket)
    end),
    ?assert(Microseconds > 1999000 andalso Microseconds < 30000000).

connection_of_the_application(_) ->
    doc("Of an application's Connection header only close means something: then the response says "
        "so, and the connection ends."),
    Port = do_start(#{}),
    Socket = raw_http:connect(Port),
    Get = fun(Value) ->
        ok = raw_http:send(Socket, ["GET /connection?", Value, " HTTP/1.1\r\nhost: a\r\n\r\n"]),
        {200, Headers, <<"ok">>, <<>>} = raw_http:response(Socket),
        proplists:get_value(<<"connection">>, Headers)
    end,
    ?assertEqual(undefined, Get("keep-alive")),
    ?assertEqual(undefined, Get("x-other")),
    ?assertEqual(<<"close">>, Get("Close")),
    ?assertEqual(<<>>, raw_http:rest(Socket)),
    await_idle().

max_connections(_) ->
    doc("max_connections: N connections are served, one more waits until one of them ends."),
    Port = do_start(#{max_connections => 2, num_acceptors => 1, keepalive => 60}),
    Ask = "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    [First, Second, Third] = [raw_http:connect(Port) || _ <- [1, 2, 3]],
    [ok = raw_http:send(Socket, Ask) || Socket <- [First, Second, Third]],
    ?assertMatch({200, _, _, _}, raw_http:response(First)),
    ?assertMatch({200, _, _, _}, raw_http:response(Second)),
    ?assertEqual({error, timeout}, gen_tcp:recv(Third, 0, 300)),
    ok = raw_http:close(First),
    ?assertMatch({200, _, _, _}, raw_http:response(Third)),
    await_idle().

keepalive_of_zero(_) ->
    doc("With keepalive 0 each response says that the connection closes, and it does."),
    Port = do_start(#{keepalive => 0}),
    Socket = raw_http:connect(Port),
    ok = raw_http:send(Socket, "GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
    {200, Headers, <<"0">>, <<>>} = raw_http:response(Socket),
    ?assertEqual(<<"close">>, proplists:get_value(<<"connection">>, Headers)),
    ?assertEqual({error, closed}, raw_http:receive_some(Socket)).

http_1_0_closes_unless_asked(_) ->
    doc("An HTTP/1.0 connection closes after the response, unless keep-alive was asked for."),
    Port = do_start(#{}),
    Socket = raw_http:connect(Port),
    Keep = "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    ok = raw_http:send(Socket, Keep),
    {200, Headers, <<"0">>, <<>>} = raw_http:response(Socket),
    ?assertEqual(<<"keep-alive">>, proplists:get_value(<<"connection">>, Headers)),
    ok = raw_http:send(Socket, "GET / HTTP/1.0\r\n\r\n"),
    ?assertMatch({200, _, <<"0">>, _}, raw_http:response(Socket)),
    ?assertEqual({error, closed}, raw_http:receive_some(Socket)).

pipelined_requests(_) ->
    doc("Requests that are sent at once are answered in their order, each with its own answer, "
        "bodies between."),
    Port = do_start(#{workers => 2, threads => 2}),
    Socket = raw_http:connect(Port),
    Get = fun(N) -> ["GET /path?", integer_to_list(N), " HTTP/1.1\r\nhost: x\r\n\r\n"] end,
    ok = raw_http:send(Socket, [[Get(N), do_body(length, N)] || N <- lists:seq(1, 30)]),
    Bodies = do_bodies(Socket, 60, <<>>),
    ?assertEqual(lists:append([[integer_to_binary(N), integer_to_binary(N)]
        || N <- lists:seq(1, 30)]), Bodies),
    ok = raw_http:close(Socket),
    await_idle().

do_bodies(_, 0, _) -> [];
do_bodies(Socket, N, Buffer) ->
    case binary:split(Buffer, <<"\r\n\r\n">>) of
        [Head, Rest] ->
            {match, [Length]} =
                re:run(Head, "content-length: ([0-9]+)", [{capture, all_but_first, list}]),
            Size = list_to_integer(Length),
            case Rest of
                <<Body:Size/binary, After/binary>> -> [Body | do_bodies(Socket, N - 1, After)];
                _ -> do_more_bodies(Socket, N, Buffer)
            end;
        [_] ->
            do_more_bodies(Socket, N, Buffer)
    end.

do_more_bodies(Socket, N, Buffer) ->
    {ok, Bytes} = raw_http:receive_some(Socket),
    do_bodies(Socket, N, <<Buffer/binary, Bytes/binary>>).

a_bad_request_in_a_pipeline(_) ->
    doc("What comes behind a refused request on its connection is neither served nor answered."),
    Port = do_start(#{}),
    Socket = raw_http:connect(Port),
    Good = "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    ok = raw_http:send(Socket, [Good, Good, "GET /\x7f HTTP/1.1\r\nhost: x\r\n\r\n", Good, Good]),
    Answer = raw_http:rest(Socket),
    {match, Statuses} =
        re:run(Answer, "HTTP/1.1 ([0-9]+)", [global, {capture, all_but_first, list}]),
    ?assertEqual([["200"], ["200"], ["400"]], Statuses),
    ?assertEqual(2, do_seen(Port)).
