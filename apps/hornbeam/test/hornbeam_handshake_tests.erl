%% SPDX-License-Identifier: Apache-2.0
%% @doc The greeting as a table: what a worker says, what it is answered, how it ends. No processes.
-module(hornbeam_handshake_tests).

-include_lib("eunit/include/eunit.hrl").
-include("hornbeam_wire.hrl").

-define(HI(Min, Max), {?HELLO, Min, Max, #{<<"pid">> => 7}}).

new(Versions) ->
    hornbeam_handshake:new(Versions, #{<<"version">> => <<"v">>}, #{<<"app">> => <<"a:b">>}).

%% One packet per element; the answers to all of them and the outcome.
play(Packets, State) -> play(Packets, [], State).

play([], Said, State) ->
    {more, Said, maps:get(<<"protocol">>, hornbeam_handshake:about(State), none)};
play([Packet | Rest], Said, State) ->
    case hornbeam_handshake:handle(Packet, State) of
        {more, Out, Calls, Next} -> play(Rest, Said ++ codes(Out) ++ codes(Calls), Next);
        {ready, Out, After, _} -> {ready, Said ++ codes(Out), After};
        {failed, Out, Reason} -> {failed, Said ++ codes(Out), short(Reason)}
    end.

codes(Messages) -> [element(1, M) || M <- Messages].

short({protocol, {Name, Text}}) when is_binary(Text) -> Name;
short(Reason) -> Reason.

handshake_test_() ->
    Beat = {?BEAT},
    Ready = {?READY, #{}},
    Call = {?CALL, 1, 0, 1, <<"s">>, <<>>},
    Table = [
        {"nothing was said", [], {more, [], none}},
        {"HELLO is answered with BOOT", [[?HI(1, 1)]], {more, [?BOOT], 1}},
        {"the worker is ready", [[?HI(1, 1)], [Ready]], {ready, [?BOOT], []}},
        {"all in one packet", [[?HI(1, 1), Beat, Ready]], {ready, [?BOOT], []}},
        {"signs of life while the application loads", [[?HI(1, 1)], [Beat], [Beat, Ready]],
            {ready, [?BOOT], []}},
        {"what follows READY is handed on", [[?HI(1, 1)], [Ready, Beat, {?CAST, <<>>, <<>>}]],
            {ready, [?BOOT], [Beat, {?CAST, <<>>, <<>>}]}},
        {"a newer worker that speaks our version, too", [[?HI(1, 9)]], {more, [?BOOT], 1}},
        {"a worker of later versions only", [[?HI(2, 9)]],
            {failed, [?ERROR], {version_mismatch, {2, 9}, {1, 1}}}},
        {"the application does not load", [[?HI(1, 1)], [{?FAILED, <<"no_module">>, <<"t">>}]],
            {failed, [?BOOT], {app_failed, <<"no_module">>, <<"t">>}}},
        {"the worker gives up", [[{?ERROR, <<"bad_packet">>, <<"t">>}]],
            {failed, [], {worker_error, <<"bad_packet">>, <<"t">>}}},
        {"HELLO twice", [[?HI(1, 1)], [?HI(1, 1)]], {failed, [?BOOT, ?ERROR], bad_state}},
        {"HELLO twice in one packet", [[?HI(1, 1), ?HI(1, 1)]],
            {failed, [?BOOT, ?ERROR], bad_state}},
        {"READY first", [[Ready]], {failed, [?ERROR], bad_state}},
        {"FAILED first", [[{?FAILED, <<>>, <<>>}]], {failed, [?ERROR], bad_state}},
        {"BEAT first", [[Beat]], {failed, [?ERROR], bad_state}},
        {"calls while the application loads are handed on, in order",
            [[?HI(1, 1)], [Call, Beat, {?EVENT_CREDIT, 1, 1}], [{?REVOKE, 1}]],
            {more, [?BOOT, ?CALL, ?EVENT_CREDIT, ?REVOKE], 1}},
        {"calls before and after READY", [[?HI(1, 1)], [Call, Ready, {?REVOKE, 1}]],
            {ready, [?BOOT], [Call, {?REVOKE, 1}]}},
        {"a call before HELLO", [[Call]], {failed, [?ERROR], bad_state}},
        {"an answer before READY", [[?HI(1, 1)], [{?RESPONSE, 1, 200, #{}, <<>>}]],
            {failed, [?BOOT, ?ERROR], bad_state}}
    ],
    [{Name, ?_assertEqual(Expected, play(Packets, new({1, 1})))}
        || {Name, Packets, Expected} <- Table].

versions_test_() ->
    Table = [
        {{1, 3}, {1, 1}, 1}, {{1, 3}, {2, 2}, 2}, {{1, 3}, {3, 9}, 3}, {{2, 3}, {1, 2}, 2},
        {{1, 255}, {1, 255}, 255}, {{2, 3}, {1, 1}, none}, {{2, 3}, {4, 9}, none}
    ],
    [
        {lists:flatten(io_lib:format("~p and ~p", [Ours, {Min, Max}])), fun() ->
            case play([[?HI(Min, Max)]], new(Ours)) of
                {more, [?BOOT], Version} -> ?assertEqual(Expected, Version);
                {failed, [?ERROR], {version_mismatch, {Min, Max}, Ours}} ->
                    ?assertEqual(Expected, none)
            end
        end}
     || {Ours, {Min, Max}, Expected} <- Table
    ].

hello_and_about_test() ->
    State = new({1, 2}),
    ?assertEqual({?HELLO, 1, 2, #{<<"version">> => <<"v">>}}, hornbeam_handshake:hello(State)),
    {more, [{?BOOT, #{<<"app">> := <<"a:b">>}}], [], Next} =
        hornbeam_handshake:handle([?HI(1, 1)], State),
    ?assertEqual(#{<<"pid">> => 7, <<"protocol">> => 1}, hornbeam_handshake:about(Next)).
