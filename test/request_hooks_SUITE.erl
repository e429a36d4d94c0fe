%% SPDX-License-Identifier: Apache-2.0
%% @doc The option `hooks': requests are changed and refused, responses changed, failures answered.
-module(request_hooks_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, fetch/1, fetch/2, await_idle/0]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) -> hornbeam:stop().

do_start(Hooks) -> do_start(Hooks, #{}).

do_start(Hooks, Options) ->
    hornbeam_case:start("request_hooks_app:application", Options#{hooks => Hooks}).

do_exchange(Request) -> raw_http:exchange(hornbeam_case:port(), Request).

%% A hook that tells the test what it was given, and returns what Fun makes of it.
do_telling(Tag, Fun) ->
    Test = self(),
    fun(Given) ->
        Test ! {Tag, Given},
        Fun(Given)
    end.

do_told(Tag) ->
    receive
        {Tag, Given} -> Given
    after 30000 -> ct:fail({not_told, Tag})
    end.

do_same(Given) -> Given.

a_request_is_shown(_) ->
    doc("on_request gets method, path, query, headers, version, scheme, host, port and peer."),
    Port = do_start(#{on_request => do_telling(request, fun do_same/1)}),
    {200, _} = fetch("/seen/%20?a=1"),
    Request = do_told(request),
    ?assertMatch(
        #{
            method := <<"GET">>, path := <<"/seen/%20">>, query := <<"a=1">>,
            headers := #{<<"host">> := <<"localhost">>}, version := 'HTTP/1.1',
            scheme := <<"http">>, host := <<"localhost">>, peer := {{127, 0, 0, 1}, _}
        },
        Request
    ),
    ?assert(is_integer(Port) andalso is_integer(maps:get(port, Request))).

a_request_is_changed(_) ->
    doc("The application sees the method, path, query and headers that on_request returned."),
    do_start(#{
        on_request => fun(#{headers := Headers} = Request) ->
            Request#{
                method := <<"PUT">>, path := <<"/other">>, query := <<"b=2">>,
                headers := Headers#{<<"x-user">> => <<"anna">>, <<"content-length">> => <<"7">>}
            }
        end
    }),
    ?assertEqual({200, <<"PUT /other b=2 anna -">>}, fetch("/seen")).

a_request_is_refused(_) ->
    doc("{Status, Body} and {Status, Headers, Body} of on_request are the answer; the application "
        "does not see the request, and the connection goes on."),
    Test = self(),
    do_start(#{
        on_request => fun
            (#{path := <<"/plain">>}) -> {403, "no"};
            (#{path := <<"/full">>}) -> {302, #{<<"location">> => <<"/login">>}, <<>>};
            (Request) -> Test ! reached, Request
        end
    }),
    Requests = [["GET ", Path, " HTTP/1.1\r\nhost: a\r\n\r\n"] || Path <- ["/plain", "/full"]],
    Socket = raw_http:connect(hornbeam_case:port()),
    ok = raw_http:send(Socket, hd(Requests)),
    ?assertMatch({403, _, <<"no">>, _}, raw_http:response(Socket)),
    ok = raw_http:send(Socket, lists:last(Requests)),
    {302, Headers, <<>>, _} = raw_http:response(Socket),
    ?assertMatch(#{<<"location">> := <<"/login">>}, do_map(Headers)),
    ok = raw_http:close(Socket),
    {200, _} = fetch("/seen"),
    receive reached -> ok after 30000 -> ct:fail(not_reached) end,
    await_idle().

do_map(Headers) when is_map(Headers) -> Headers;
do_map(Headers) -> maps:from_list(Headers).

a_refused_body_ends_the_connection(_) ->
    doc("The body of a refused request is never read as the next request."),
    Test = self(),
    do_start(#{
        on_request => fun(#{path := Path}) -> Test ! {seen, Path}, {401, "no"} end
    }),
    Smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
    Length = integer_to_list(length(Smuggled)),
    [
        begin
            {401, _, _, _} = do_exchange(["POST /upload HTTP/1.1\r\nhost: a\r\n", Kind]),
            ?assertEqual(<<"/upload">>, receive {seen, Path} -> Path after 30000 -> none end)
        end
     || Kind <- [
            ["content-length: ", Length, "\r\n\r\n", Smuggled],
            ["transfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n\r\n", Smuggled]
        ]
    ],
    ?assertEqual(none, receive {seen, Path} -> Path after 200 -> none end).

chunked_uploads_pass_once(_) ->
    doc("A chunked HTTP/1.1 request passes on_request once and on_response once."),
    do_start(#{
        on_request => do_telling(request, fun(R) -> R#{path := <<"/body">>} end),
        on_response => do_telling(response, fun(#{headers := H} = R) ->
            R#{headers := H#{<<"x-hook">> => <<"1">>}} end)
    }),
    {200, Headers, <<"5">>, _} = do_exchange(
        "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    ?assertMatch(#{<<"x-hook">> := <<"1">>}, do_map(Headers)),
    #{path := <<"/x">>} = do_told(request),
    #{status := 200, body := <<"5">>} = do_told(response),
    ?assertEqual(none, receive {Tag, _} -> Tag after 100 -> none end).

what_a_hook_may_not_do(_) ->
    doc("A hook that crashes, returns rubbish, a split header, a HEAD out of a GET, or another "
        "peer refuses the request with 500."),
    Bad = [
        fun(_) -> error(oops) end,
        fun(_) -> rubbish end,
        fun(_) -> {99, "x"} end,
        fun(_) -> {200, #{<<"a">> => <<"b\r\nc: d">>}, "x"} end,
        fun(R) -> R#{method := <<"HEAD">>} end,
        fun(R) -> R#{peer := {{8, 8, 8, 8}, 1}} end,
        fun(R) -> R#{path := <<"no slash">>} end,
        fun(#{headers := H} = R) -> R#{headers := H#{<<"a">> => <<"b\nc">>}} end,
        fun(#{headers := H} = R) -> R#{headers := H#{<<"a b">> => <<"b">>}} end
    ],
    _ = [
        begin
            do_start(#{on_request => Hook}),
            ?assertMatch({500, <<"500 Internal Server Error: a hook failed\n">>}, fetch("/seen")),
            ok = hornbeam:stop()
        end
     || Hook <- Bad
    ].

a_response_is_changed(_) ->
    doc("on_response changes status, headers and body; the length is that of the new body."),
    do_start(#{
        on_request => fun(R) -> R#{mine => 7} end,
        on_response => fun(#{request := #{mine := 7, path := <<"/seen">>}} = R) ->
            #{status := 200, headers := H, body := Body} = R,
            R#{status := 201, headers := H#{<<"x-b">> => "2"}, body := [Body, <<"!">>]}
        end
    }),
    {201, Headers, Body, _} = do_exchange("GET /seen HTTP/1.1\r\nhost: a\r\n\r\n"),
    ?assertEqual(<<"GET /seen   -!">>, Body),
    Size = integer_to_binary(byte_size(Body)),
    ?assertMatch(#{<<"content-length">> := Size, <<"x-b">> := <<"2">>}, do_map(Headers)).

the_head_of_a_stream_is_changed(_) ->
    doc("A response that streams passes on_response with its head, before its first byte."),
    do_start(#{
        on_response => fun(#{headers := H} = R) ->
            false = is_map_key(body, R),
            R#{status := 202, headers := H#{<<"x-s">> => <<"1">>}}
        end
    }),
    {202, Headers, <<"one two">>, _} = do_exchange("GET /stream HTTP/1.1\r\nhost: a\r\n\r\n"),
    ?assertMatch(#{<<"x-s">> := <<"1">>}, do_map(Headers)).

a_response_hook_that_crashes(_) ->
    doc("A crash of on_response is 500, also for a response that streams, whose iterable is "
        "closed; the server goes on."),
    do_start(#{
        on_response => fun
            (#{request := #{path := <<"/ok">>}} = R) -> R;
            (_) -> error(oops)
        end
    }),
    [?assertMatch({500, _}, fetch(Path)) || Path <- ["/seen", "/stream", "/endless"]],
    await_idle(),
    ?assertMatch({200, _}, fetch("/ok")).

answers_of_the_node_pass_on_response(_) ->
    doc("on_response sees the node's own answers, too: an application that fails, a refusal of "
        "on_request and one of the edge."),
    do_start(#{
        on_request => fun
            (#{path := <<"/refused">>}) -> {403, "no"};
            (R) -> R
        end,
        on_response => do_telling(response, fun do_same/1)
    }),
    Expected = [{"/raise", 500}, {"/refused", 403}, {"/bad\x01", 400}],
    [
        begin
            {Status, _} = fetch(Path),
            ?assertMatch(#{status := Status}, do_told(response))
        end
     || {Path, Status} <- Expected
    ].

failures_are_answered(_) ->
    doc("on_error sees why the request failed and with which traceback, and answers; what is no "
        "answer leaves the node's own."),
    Test = self(),
    do_start(#{
        on_error => fun(Error, #{path := Path}) ->
            Test ! {error, Error},
            case Path of
                <<"/raise">> -> {503, #{<<"x-e">> => <<"1">>}, "sorry"};
                _ -> ignored
            end
        end
    }),
    {503, Headers, <<"sorry">>, _} = do_exchange("GET /raise HTTP/1.1\r\nhost: a\r\n\r\n"),
    ?assertMatch(#{<<"x-e">> := <<"1">>}, do_map(Headers)),
    #{reason := app_failed, status := 500, text := Text} = do_told(error),
    ?assertMatch({match, _}, re:run(Text, "ZeroDivisionError")),
    ?assertMatch({502, _}, fetch("/die")),
    ?assertMatch(#{reason := worker_gone, status := 502}, do_told(error)).

failures_after_the_head(_) ->
    doc("A failure after the head is told to on_error; the response is broken off all the same."),
    Test = self(),
    do_start(#{on_error => fun(Error, _) -> Test ! {error, Error}, {200, "too late"} end}),
    ?assertMatch({closed, _}, do_exchange("GET /raise_late HTTP/1.1\r\nhost: a\r\n\r\n")),
    ?assertMatch(#{reason := app_failed, status := undefined}, do_told(error)).

overload_and_timeouts_are_failures(_) ->
    doc("A full queue and an application that is too slow reach on_error."),
    Test = self(),
    do_start(
        #{on_error => fun(#{reason := R}, _) -> Test ! {error, R}, {418, atom_to_list(R)} end},
        #{queue_limit => 0, timeout => 600, threads => 1}
    ),
    Slow = hornbeam_case:async(fun() -> fetch("/slow") end),
    hornbeam_case:await(fun() ->
        #{workers := [#{load := Load}]} = hornbeam:info(),
        Load > 0
    end),
    Others = [hornbeam_case:async(fun() -> fetch("/slow") end) || _ <- [1, 2, 3]],
    Answers = [Slow() | [Wait() || Wait <- Others]],
    ?assert(lists:member({418, <<"timeout">>}, Answers)),
    ?assert(lists:member({418, <<"queue_full">>}, Answers)).

http2_passes_too(_) ->
    doc("Over HTTP/2 requests and responses pass the hooks."),
    Port = do_start(#{
        on_request => do_telling(request, fun(R) -> R#{path := <<"/other">>} end),
        on_response => do_telling(response, fun do_same/1)
    }),
    {Id, Sent} = raw_http2:request(<<"GET">>, <<"/seen">>, raw_http2:connect(Port)),
    {[{Id, {200, <<"GET /other   -">>}}], Connection} = raw_http2:responses(1, Sent),
    ?assertMatch(#{version := 'HTTP/2', path := <<"/seen">>}, do_told(request)),
    ?assertMatch(#{status := 200, body := <<"GET /other   -">>}, do_told(response)),
    ok = raw_http2:close(Connection).
