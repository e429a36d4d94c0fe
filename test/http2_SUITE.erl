%% SPDX-License-Identifier: Apache-2.0
%% @doc HTTP/2 with prior knowledge over the whole server: streams at once, bodies, trailers,
%% refusals.
-module(http2_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, fetch/2, await_idle/0]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {seconds, 120}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) -> hornbeam:stop().

do_start(Options) -> hornbeam_case:start("edge_app:application", Options).

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
    {Id1, C1} = raw_http2:request(<<"GET">>, <<"/">>, raw_http2:connect(Port1)),
    ?assertMatch({[{Id1, {505, _}}], _}, raw_http2:responses(1, C1)),
    ?assertEqual(1, do_seen(Port1)),
    ok = hornbeam:stop(),
    Port2 = do_start(#{http_version => ['HTTP/2']}),
    ?assertNotMatch({200, _}, fetch(Port2, "/")),
    {Id, C2} = raw_http2:request(<<"GET">>, <<"/seen">>, raw_http2:connect(Port2)),
    ?assertMatch({[{Id, {200, <<"0">>}}], _}, raw_http2:responses(1, C2)).
