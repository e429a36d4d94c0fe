%% SPDX-License-Identifier: Apache-2.0
%% @doc HTTP/2 with prior knowledge over the whole server: streams at once, bodies, trailers,
%% refusals.
-module(http2_SUITE).

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

do_start_other(Options) -> hornbeam_case:start("tls_app:application", Options).

do_run(Command) ->
    os:cmd(binary_to_list(iolist_to_binary(["timeout 60 ", Command, " 2>&1"]))).

do_url(Port, Path) -> ["'http://127.0.0.1:", integer_to_list(Port), Path, "'"].

do_seen(Port) ->
    {200, Text} = fetch(Port, "/seen"),
    binary_to_integer(Text).

http2_requests(_) ->
    doc("HTTP/2: many streams at once, bodies, bodies of known length that end with trailers."),
    Port = do_start(#{workers => 2, body_buffer => 1000}),
    Post = fun(Length) ->
        [{<<":method">>, <<"POST">>}, {<<":scheme">>, <<"http">>},
            {<<":authority">>, <<"localhost">>},
            {<<":path">>, <<"/">>} | Length]
    end,
    Open = fun({Headers, Body, Trailers, Answer}, {Expected, C0}) ->
        {Id, C} = raw_http2:request(Headers, Body, Trailers, C0),
        {Expected#{Id => {200, Answer}}, C}
    end,
    Big = binary:copy(<<"b">>, 16000),
    Requests = lists:append(lists:duplicate(5, [
        {Post([]), none, <<>>, <<"0">>},
        {Post([]), <<"hello">>, <<>>, <<"5">>},
        {Post([{<<"content-length">>, <<"5">>}]), <<"hello">>, <<>>, <<"5">>},
        {Post([{<<"content-length">>, <<"5">>}]), <<"hello">>, [{<<"x-sum">>, <<"1">>}], <<"5">>}
    ])) ++
        [{Post([]), Big, <<>>, <<"16000">>},
            {Post([{<<"content-length">>, <<"16000">>}]), Big, [{<<"x-sum">>, <<"1">>}],
                <<"16000">>}],
    {Expected, C1} = lists:foldl(Open, {#{}, raw_http2:connect(Port)}, Requests),
    {Outcomes, C2} = raw_http2:responses(length(Requests), C1),
    ?assertEqual(Expected, maps:from_list(Outcomes)),
    ok = raw_http2:close(C2),
    await_idle().

http2_refusals(_) ->
    doc("What is refused over HTTP/2 costs its stream only, and never reaches the application."),
    Port = do_start(edge_cases:options()),
    Plain = [{<<":method">>, <<"GET">>}, {<<":scheme">>, <<"http">>},
        {<<":authority">>, <<"localhost">>}],
    Table = [
        {400, Plain ++ [{<<":path">>, <<"/a\x7fb">>}]},
        {400, Plain ++ [{<<":path">>, <<"/?a b">>}]},
        {400, Plain ++ [{<<":path">>, <<"/">>}, {<<"x_a">>, <<"b">>}]},
        {400, Plain ++ [{<<":path">>, <<"/">>}, {<<"host">>, <<"other">>}]},
        {414, Plain ++ [{<<":path">>, <<"/", (binary:copy(<<"a">>, 600))/binary>>}]},
        {431, Plain ++ [{<<":path">>, <<"/">>}, {<<"x-a">>, binary:copy(<<"v">>, 300)}]},
        {431, Plain ++ [{<<":path">>, <<"/">>} | [{<<"x-", (integer_to_binary(N))/binary>>, <<"v">>}
            || N <- lists:seq(1, 30)]]},
        {413, Plain ++ [{<<":path">>, <<"/">>}, {<<"content-length">>, <<"1001">>}]}
    ],
    C = lists:foldl(
        fun({Status, Headers}, C0) ->
            Body = case Status of 413 -> binary:copy(<<"b">>, 1001); _ -> none end,
            {Id, C1} = raw_http2:request(Headers, Body, <<>>, C0),
            {[{Id, Outcome}], C2} = raw_http2:responses(1, C1),
            ?assertMatch({Status, {Status, _}}, {Status, Outcome}),
            C2
        end,
        raw_http2:connect(Port),
        Table
    ),
    {Id, C3} = raw_http2:request(<<"GET">>, <<"/">>, C),
    {[{Id, {200, <<"0">>}}], C4} = raw_http2:responses(1, C3),
    ok = raw_http2:close(C4),
    ?assertEqual(1, do_seen(Port)),
    await_idle().

http2_trailers_end_a_body(_) ->
    doc("HTTP/2 bodies of unknown length that end with trailers end: gathered, streamed, empty."),
    [
        begin
            Port = do_start(#{body_buffer => Buffer, timeout => 5000}),
            Headers = [{<<":method">>, <<"POST">>}, {<<":scheme">>, <<"http">>},
                {<<":authority">>, <<"localhost">>}, {<<":path">>, <<"/">>}],
            {Expected, C} = lists:foldl(
                fun(Size, {Expected0, C0}) ->
                    Body = binary:copy(<<"b">>, Size),
                    {Id, C1} = raw_http2:request(Headers, Body, [{<<"x-sum">>, <<"1">>}], C0),
                    {Expected0#{Id => {200, integer_to_binary(Size)}}, C1}
                end,
                {#{}, raw_http2:connect(Port)},
                [0, 1, 16000, 5, 0, 16000]
            ),
            {Outcomes, C2} = raw_http2:responses(6, C),
            ?assertEqual(Expected, maps:from_list(Outcomes)),
            ok = raw_http2:close(C2),
            await_idle(),
            ok = hornbeam:stop()
        end
     || Buffer <- [65536, 0]
    ].

a_version_that_is_switched_off(_) ->
    doc("http_version decides what is spoken: the other version gets no answer of an application."),
    Port1 = do_start(#{http_version => ['HTTP/1.1']}),
    ?assertMatch({200, _}, fetch(Port1, "/")),
    %% An HTTP/2 client is told in HTTP/1.1: this server knows nothing else.
    ?assertMatch({505, _, <<"505 HTTP Version Not Supported: HTTP/2 is switched off\n">>, <<>>},
        raw_http:exchange(Port1, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
    ?assertEqual(1, do_seen(Port1)),
    ok = hornbeam:stop(),
    Port2 = do_start(#{http_version => ['HTTP/2']}),
    ?assertMatch({505, <<"505 HTTP Version Not Supported: only HTTP/2 is spoken here\n">>},
        fetch(Port2, "/")),
    {Id, C2} = raw_http2:request(<<"GET">>, <<"/seen">>, raw_http2:connect(Port2)),
    ?assertMatch({[{Id, {200, <<"0">>}}], _}, raw_http2:responses(1, C2)).

%%% Clients that nobody here wrote

other_clients(_) ->
    doc("curl, nghttp and h2load with prior knowledge: one request, uploads, hundreds at once."),
    Port = do_start_other(#{workers => 2}),
    Upload = filename:join(os:getenv("TMPDIR", "/tmp"), "hornbeam-upload-" ++ os:getpid()),
    ok = file:write_file(Upload, binary:copy(<<"u">>, 2000000)),
    Curl = "curl -sS --http2-prior-knowledge ",
    ?assertMatch("http HTTP/2 " ++ _, do_run([Curl, do_url(Port, "/about")])),
    ?assertEqual("2000000",
        do_run([Curl, "--data-binary @", Upload, " ", do_url(Port, "/length")])),
    ?assertEqual("2000000",
        do_run(["nghttp -d ", Upload, " ", do_url(Port, "/length")])),
    ?assertEqual("2000000", do_run([Curl, "-o /dev/null -w '%{size_download}' ",
        do_url(Port, "/pieces?200")])),
    Load = do_run(["h2load -n 2000 -c 4 -m 100 ", do_url(Port, "/letters?1000")]),
    ?assertMatch({match, _}, re:run(Load, "2000 succeeded, 0 failed, 0 errored")),
    ok = file:delete(Upload),
    await_idle().

an_upgrade_is_ignored(_) ->
    doc("The upgrade of an HTTP/1.1 request to h2c is answered over HTTP/1.1, with and without a "
        "body; a later one on the connection is refused, and nothing of it is left."),
    Ask = "curl -sS --http2 -w ' %{http_version}' ",
    [
        begin
            Port = do_start_other(#{http_version => Versions}),
            ?assertMatch({match, _}, re:run(do_run([Ask, do_url(Port, "/about")]),
                "^http HTTP/1.1 .* 1.1$")),
            ?assertEqual("5 1.1", do_run([Ask, "-d hello ", do_url(Port, "/length")])),
            ok = hornbeam:stop()
        end
     || Versions <- [['HTTP/1.1'], ['HTTP/1.1', 'HTTP/2']]
    ],
    Port = do_start(#{workers => 1}),
    Socket = raw_http:connect(Port),
    Plain = "GET /seen HTTP/1.1\r\nhost: a\r\n\r\n",
    Upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\n"
        "upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
    ok = raw_http:send(Socket, Plain),
    ?assertMatch({200, _, <<"0">>, <<>>}, raw_http:response(Socket)),
    ok = raw_http:send(Socket, Upgrade),
    ?assertMatch({400, _, _, _}, raw_http:response(Socket)),
    _ = raw_http:rest(Socket),
    ?assertEqual(0, do_seen(Port)),
    %% Behind a request that runs: that one is lost with the connection.
    Pipeline = raw_http:connect(Port),
    ok = raw_http:send(Pipeline, [Plain, "GET /sleep?300 HTTP/1.1\r\nhost: a\r\n\r\n"]),
    ?assertMatch({200, _, <<"0">>, _}, raw_http:response(Pipeline)),
    ok = raw_http:send(Pipeline, Upgrade),
    _ = raw_http:rest(Pipeline),
    await_idle().

%%% Limits

concurrent_streams(_) ->
    doc("max_concurrent_streams: N are served, one more is refused and costs no other; before the "
        "settings are acknowledged it is 503, and four times as many end the connection."),
    Port = do_start(#{threads => 3, max_concurrent_streams => 3}),
    {[A, B, C], C1} = do_open(3, <<"/sleep?2000">>, do_settled(Port)),
    ?assertEqual(3, maps:get(max_concurrent_streams, raw_http2:settings(C1))),
    {D, C2} = raw_http2:get(<<"/">>, C1),
    {Outcomes, C3} = raw_http2:responses(4, C2),
    ?assertEqual({D, {reset, refused_stream}}, hd(Outcomes)),
    ?assertEqual(lists:sort([{Id, {200, <<"0">>}} || Id <- [A, B, C]]), lists:sort(tl(Outcomes))),
    ok = raw_http2:close(C3),
    await_idle(),
    Deaf = raw_http2:connect(Port, #{acknowledge => false}),
    {_, D1} = do_open(4, <<"/sleep?700">>, Deaf),
    {[{7, {503, _}} | _], D2} = raw_http2:responses(4, D1),
    {_, D3} = do_open(13, <<"/sleep?700">>, D2),
    ?assertEqual(no_error, raw_http2:rest(D3)),
    await_idle().

%% A connection whose settings are agreed on.
do_settled(Port) ->
    {Id, C0} = raw_http2:get(<<"/seen">>, raw_http2:connect(Port)),
    {[{Id, {200, _}}], C} = raw_http2:responses(1, C0),
    C.

do_open(N, Path, C0) ->
    lists:mapfoldl(fun(_, C) -> raw_http2:get(Path, C) end, C0, lists:seq(1, N)).

windows_of_nothing(_) ->
    doc("A client that opens thousands of streams and takes no byte of the answers is bounded, and "
        "others are served meanwhile."),
    Port = do_start_other(#{workers => 1}),
    Settings = #{settings => #{initial_window_size => 0}},
    {Warm, W} = raw_http2:get(<<"/ticking">>, raw_http2:connect(Port, Settings)),
    W1 = raw_http2:window(Warm, 100, W),
    {[{Warm, {200, _}}], C0} = raw_http2:responses(1, W1),
    Before = do_memory(),
    {_, C1} = do_open(128, <<"/letters?20000">>, C0),
    await(fun() -> maps:get(open, hornbeam:info()) =:= 128 end),
    await(fun() -> [0] =:= [L || #{load := L} <- maps:get(workers, hornbeam:info())] end),
    await(fun() -> do_memory() - Before < 10000000 end),
    {_, C2} = do_open(3000, <<"/letters?20000">>, C1),
    ?assertMatch({200, _}, fetch(Port, "/ticking")),
    ?assertEqual(enhance_your_calm, raw_http2:rest(C2)),
    await_idle(),
    await(fun() -> do_memory() - Before < 5000000 end).

do_memory() ->
    _ = [garbage_collect(P) || P <- processes()],
    erlang:memory(total).

small_windows(_) ->
    doc("Windows of one byte get the whole of whole answers, of pieces and of files."),
    Port = do_start_other(#{}),
    [
        begin
            C = raw_http2:connect(Port, #{settings => #{initial_window_size => Window}}),
            {Id, C1} = raw_http2:get(Path, C),
            {[{Id, {200, Body}}], C2} = raw_http2:responses(1, C1),
            ?assertEqual({Path, Window, Size}, {Path, Window, byte_size(Body)}),
            ok = raw_http2:close(C2)
        end
     || {Path, Window, Size} <- [
            {<<"/letters?500">>, 1, 500},
            {<<"/letters?100000">>, 1000, 100000},
            {<<"/pieces?10">>, 333, 100000},
            {<<"/file?100000">>, 333, 100000}
        ]
    ],
    await_idle().

%%% Ends

a_reset_cancels(_) ->
    doc("RST_STREAM ends the work for the stream, and nothing else on the connection."),
    Port = do_start_other(#{threads => 2}),
    {Endless, C1} = raw_http2:get(<<"/ticks">>, raw_http2:connect(Port)),
    {Size, C2} = raw_http2:arrived(Endless, C1),
    ?assert(Size > 0),
    {Id, C3} = raw_http2:get(<<"/ticking">>, C2),
    {[{Id, {200, <<"1">>}}], Answered} = raw_http2:responses(1, C3),
    C4 = raw_http2:reset(Endless, Answered),
    await(fun() -> fetch(Port, "/ticking") =:= {200, <<"0">>} end),
    {Again, C5} = raw_http2:get(<<"/ticking">>, C4),
    ?assertMatch({[{Again, {200, <<"0">>}}], _}, raw_http2:responses(1, C5)),
    await(fun() -> [0] =:= [L || #{load := L} <- maps:get(workers, hornbeam:info())] end).

a_flood_of_resets(_) ->
    doc("Streams that are opened and given up at once, over and over, end the connection; they "
        "leave nothing behind, and the next connection is served."),
    Port = do_start_other(#{workers => 1}),
    GiveUp = fun(_, C0) ->
        {Id, C1} = raw_http2:get(<<"/letters?1">>, C0),
        raw_http2:reset(Id, C1)
    end,
    %% Not so many at once that a read ends within a frame: cowlib 2.9 takes the first half of
    %% RST_STREAM for one that is too short, and ends the connection for that.
    Flood = fun(_, C0) -> raw_http2:ping(lists:foldl(GiveUp, C0, lists:seq(1, 20))) end,
    C = lists:foldl(Flood, raw_http2:connect(Port), lists:seq(1, 75)),
    ?assertEqual(no_error, raw_http2:rest(C)),
    ?assertMatch({200, _}, fetch(Port, "/ticking")),
    await_idle().

idle_time(_) ->
    doc("A connection without streams ends after keepalive, with GOAWAY; one with a long answer "
        "does not; one on which no request comes, or half of one, ends after a second."),
    Port = do_start(#{keepalive => 1.5}),
    ?assertEqual(no_error, raw_http2:rest(raw_http2:connect(Port))),
    {ok, Half} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Half, ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", cow_http2:settings(#{}),
        <<5:24, 1:8, 0:8, 1:32, "abcde">>]),
    _ = raw_http:rest(Half),
    {Id, C1} = raw_http2:get(<<"/slow_stream?900">>, raw_http2:connect(Port)),
    {[{Id, {200, <<"abc">>}}], C2} = raw_http2:responses(1, C1),
    Start = erlang:monotonic_time(millisecond),
    {Next, C3} = raw_http2:get(<<"/">>, C2),
    {[{Next, {200, _}}], C4} = raw_http2:responses(1, C3),
    ?assertEqual(no_error, raw_http2:rest(C4)),
    Took = erlang:monotonic_time(millisecond) - Start,
    ?assert(Took >= 1499),
    ?assert(Took < 30000).

a_stop_says_goaway(_) ->
    doc("When the server stops, streams that run are answered; then their connection ends with "
        "GOAWAY, whatever others still do."),
    Port = do_start(#{keepalive => 60, workers => 2}),
    Other = hornbeam_case:async(fun() -> fetch(Port, "/sleep?6000") end),
    {Id, C1} = raw_http2:get(<<"/sleep?2000">>, do_settled(Port)),
    %% Both are with a worker: the stream before them is over.
    await(fun() -> 2 =:= lists:sum([L || #{load := L} <- maps:get(workers, hornbeam:info())]) end),
    Stopped = hornbeam_case:async(fun hornbeam:stop/0),
    {[{Id, {200, <<"0">>}}], C2} = raw_http2:responses(1, C1),
    ?assertEqual(no_error, raw_http2:rest(C2)),
    {ok, Pool} = hornbeam_pool:lookup(root),
    ?assertEqual(1, hornbeam_pool:open_count(Pool)),
    ?assertMatch({200, _}, Other()),
    ok = Stopped().

%%% What is claimed

the_scheme_is_that_of_the_connection(_) ->
    doc("Over cleartext environ says http, whatever the client claims in :scheme."),
    Port = do_start_other(#{}),
    {Id, C} = raw_http2:request([{<<":method">>, <<"GET">>}, {<<":scheme">>, <<"https">>},
        {<<":authority">>, <<"localhost">>}, {<<":path">>, <<"/about">>}], none, <<>>,
        raw_http2:connect(Port)),
    {[{Id, {200, Text}}], _} = raw_http2:responses(1, C),
    ?assertMatch(<<"http ", _/binary>>, Text).

protocols_within_a_stream(_) ->
    doc("Extended CONNECT is not offered where the application takes no WebSockets."),
    C = do_settled(do_start(#{})),
    ?assertEqual(false, maps:get(enable_connect_protocol, raw_http2:settings(C), false)).
