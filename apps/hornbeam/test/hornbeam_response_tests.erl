%% SPDX-License-Identifier: Apache-2.0
%% @doc Answers as Cowboy's commands: which headers, which body, whether the connection goes on. No
%% processes.
-module(hornbeam_response_tests).

-include_lib("eunit/include/eunit.hrl").

-define(OURS, [<<"date">>, <<"server">>]).

context() -> context(#{}).

context(More) ->
    maps:merge(#{method => <<"GET">>, version => 'HTTP/1.1', close => false, keepalive => 2000},
        More).

setup() -> element(2, application:ensure_all_started(cowboy)).

response_test_() ->
    {setup, fun setup/0, fun(Apps) -> [application:stop(App) || App <- lists:reverse(Apps)] end, [
        whole_answers(), endings(), heads(), ends(), refusals(), failures(), served_headers()
    ]}.

%% Method, status, headers and body of the worker; length and body that the client gets.
whole_answers() ->
    Table = [
        {"a body gets its length", <<"GET">>, 200, #{}, <<"hello">>, <<"5">>, <<"hello">>},
        {"an empty body has a length, too", <<"GET">>, 200, #{}, <<>>, <<"0">>, <<>>},
        {"the length of the application stays", <<"GET">>, 200, #{<<"content-length">> => <<"5">>},
            <<"hello">>, <<"5">>, <<"hello">>},
        {"HEAD: no body, the length a GET would have", <<"HEAD">>, 200, #{}, <<"hello">>, <<"5">>,
            <<>>},
        {"HEAD: the length of the application", <<"HEAD">>, 200, #{<<"content-length">> => <<"9">>},
            <<>>,
            <<"9">>, <<>>},
        {"HEAD: no length that nobody knows", <<"HEAD">>, 200, #{}, <<>>, none, <<>>},
        {"204 has neither body nor length", <<"GET">>, 204, #{<<"content-length">> => <<"5">>},
            <<"hello">>, none, <<>>},
        {"304 has no body and may tell the length", <<"GET">>, 304,
            #{<<"content-length">> => <<"5">>},
            <<"hello">>, <<"5">>, <<>>},
        {"304 without a length gets none", <<"GET">>, 304, #{}, <<>>, none, <<>>}
    ],
    [
        {Name, fun() ->
            [{response, S, Out, B} | _] = hornbeam_response:whole(Status, Headers, Given,
                context(#{method => Method})),
            ?assertEqual({Status, Length, Body},
                {S, maps:get(<<"content-length">>, Out, none), B})
        end}
     || {Name, Method, Status, Headers, Given, Length, Body} <- Table
    ].

%% Version and `close': what follows the response, and whether it says so.
endings() ->
    Idle = {set_options, #{idle_timeout => 2000}},
    Table = [
        {"HTTP/1.1 idles for keepalive", 'HTTP/1.1', false, [Idle, stop], none},
        {"HTTP/1.1 that is to close says so", 'HTTP/1.1', true, [stop], <<"close">>},
        {"HTTP/1.0 is like 1.1", 'HTTP/1.0', false, [Idle, stop], none},
        {"HTTP/2 has no connection header and no idle option", 'HTTP/2', true, [stop], none},
        {"HTTP/2 goes on", 'HTTP/2', false, [stop], none}
    ],
    [
        {Name, fun() ->
            Context = context(#{version => Version, close => Close}),
            [{response, _, Headers, _} | Rest] = hornbeam_response:whole(200, #{}, <<>>, Context),
            ?assertEqual({Ending, Header}, {Rest, maps:get(<<"connection">>, Headers, none)})
        end}
     || {Name, Version, Close, Ending, Header} <- Table
    ].

heads() ->
    [
        {"a head is sent as it is, with date and server", fun() ->
            [{headers, 200, Headers}] =
                hornbeam_response:head(200, #{<<"a">> => <<"b">>}, context()),
            ?assertEqual([<<"a">> | ?OURS], lists:sort(maps:keys(Headers)))
        end},
        {"a head of 204 has no length", fun() ->
            [{headers, 204, Headers}] =
                hornbeam_response:head(204, #{<<"content-length">> => <<"0">>}, context()),
            ?assertEqual(?OURS, lists:sort(maps:keys(Headers)))
        end},
        ?_assertEqual([{data, nofin, <<"x">>}], hornbeam_response:data(<<"x">>, true)),
        ?_assertEqual([], hornbeam_response:data(<<"x">>, false)),
        ?_assertEqual([{data, nofin, {sendfile, 3, 4, <<"/f">>}}],
            hornbeam_response:file({<<"/f">>, 3, 4}, true)),
        ?_assertEqual([], hornbeam_response:file({<<"/f">>, 3, 4}, false))
    ].

ends() ->
    Trailers = #{<<"digest">> => <<"x">>},
    Table = [
        {"the end of a body", #{}, true, [{data, fin, <<>>}]},
        {"trailers end a body", Trailers, true, [{trailers, Trailers}]},
        {"there is no end of a body that is none", #{}, false, []},
        {"nor are there trailers", Trailers, false, []}
    ],
    [
        {Name, ?_assertEqual(
            Commands ++ [{set_options, #{idle_timeout => 2000}}, stop],
            hornbeam_response:fin(Given, HasBody, context())
        )}
     || {Name, Given, HasBody, Commands} <- Table
    ] ++ [
        {"the last piece ends the body, where there is one", ?_assertEqual(
            Commands ++ [{set_options, #{idle_timeout => 2000}}, stop],
            hornbeam_response:last([<<"a">> | <<"b">>], HasBody, context())
        )}
     || {HasBody, Commands} <- [{true, [{data, fin, [<<"a">> | <<"b">>]}]}, {false, []}]
    ].

served_headers() ->
    Own = #{<<"date">> => <<"d">>, <<"server">> => <<"s">>},
    [
        {"date and server of the application stay, others are added", fun() ->
            [{headers, 200, Headers}] = hornbeam_response:head(200, Given, context()),
            ?assertEqual(Given, maps:with(maps:keys(Given), Headers)),
            ?assertEqual(?OURS, lists:sort(maps:keys(Headers)))
        end}
     || Given <- [#{}, maps:with([<<"date">>], Own), maps:with([<<"server">>], Own), Own]
    ].

refusals() ->
    Statuses = [400, 408, 411, 413, 414, 417, 431, 500, 501, 502, 503, 504, 505],
    [
        {integer_to_list(Status), fun() ->
            [{response, Status, Headers, Body} | _] =
                hornbeam_response:refuse(Status, <<"why">>, context(#{close => true})),
            Start = <<(integer_to_binary(Status))/binary, " ">>,
            ?assertMatch({0, 4}, binary:match(Body, Start)),
            ?assertNotEqual(nomatch, binary:match(Body, <<": why\n">>)),
            ?assertEqual(nomatch, binary:match(Body, <<"Refused">>)),
            ?assertEqual(integer_to_binary(byte_size(Body)),
                maps:get(<<"content-length">>, Headers)),
            ?assertEqual(<<"close">>, maps:get(<<"connection">>, Headers)),
            ?assertEqual(Status =:= 503, is_map_key(<<"retry-after">>, Headers))
        end}
     || Status <- Statuses
    ] ++
        [{"a refused HEAD has the length and no body", fun() ->
            [{response, 400, Headers, <<>>} | _] =
                hornbeam_response:refuse(400, <<"why">>, context(#{method => <<"HEAD">>})),
            ?assertEqual(<<"21">>, maps:get(<<"content-length">>, Headers))
        end}].

failures() ->
    Table = [
        {{abort, <<"app_error">>, <<"the traceback, a secret">>}, 500},
        {{failed, worker_gone}, 502},
        {{failed, timeout}, 504},
        {{failed, queue_full}, 503},
        {{failed, queue_timeout}, 503}
    ],
    [
        {integer_to_list(Status), fun() ->
            [{response, S, _, Body} | _] = hornbeam_response:failed(Failure, context()),
            ?assertEqual(Status, S),
            ?assertEqual(nomatch, binary:match(Body, <<"secret">>))
        end}
     || {Failure, Status} <- Table
    ].

%% What an application asks to be pushed, and the promise it becomes.
pushes_test_() ->
    Req = #{
        version => 'HTTP/2', streamid => 3, scheme => <<"https">>, host => <<"h">>, port => 443
    },
    Headers = #{<<"accept">> => <<"text/css">>},
    Promise = fun(Path, Query) ->
        [{push, <<"GET">>, <<"https">>, <<"h">>, 443, Path, Query, Headers}]
    end,
    Table = [
        {"a path", <<"/a.css">>, Req, Promise(<<"/a.css">>, <<>>)},
        {"a path with a query", <<"/a?b?c">>, Req, Promise(<<"/a">>, <<"b?c">>)},
        {"nothing over HTTP/1.1", <<"/a">>, Req#{version := 'HTTP/1.1'}, []},
        {"nothing for what is pushed itself", <<"/a">>, Req#{streamid := 4}, []},
        {"nothing that is no path", <<"https://h/a">>, Req, []}
    ],
    [{Name, ?_assertEqual(Expected, hornbeam_response:push(Target, Headers, R))}
     || {Name, Target, R, Expected} <- Table].
