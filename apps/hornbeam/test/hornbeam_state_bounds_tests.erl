%% SPDX-License-Identifier: Apache-2.0
%% @doc The shared state: what ends by itself, and what does not fit. The tables belong to the test.
-module(hornbeam_state_bounds_tests).

-include_lib("eunit/include/eunit.hrl").

-import(hornbeam_state_tests, [counts/0, rows/0]).
-import(hornbeam_state, [
    set/2, set/3, get/1, delete/1, incr/1, incr/2, incr/3, add/2, cas/3, cas/4, update/3,
    get_multi/1, set_multi/1, set_multi/2, keys/0, scan/2, clear/1
]).

-compile({no_auto_import, [get/1]}).

bounds_test_() ->
    Start = fun hornbeam_state_tests:start/0,
    Stop = fun hornbeam_state_tests:stop/1,
    {foreach, Start, Stop, [{Name, {timeout, 60, Test}} || {Name, Test} <- times() ++ bounds()]}.

limit(Entries, Bytes) ->
    hornbeam_state_bounds:set_limits(#{state_max_entries => Entries, state_max_bytes => Bytes}).

%%% Times

%% Waits until a key that lives for a few milliseconds is dead by the clock, nothing else.
outlive(Milliseconds) ->
    End = erlang:monotonic_time(microsecond) + Milliseconds * 1000,
    (fun Wait() -> erlang:monotonic_time(microsecond) =< End andalso Wait() end)().

times() ->
    Dead = fun(Value) ->
        ok = set(<<"k">>, Value, #{ttl_ms => 1}),
        outlive(1)
    end,
    [
        {"a key whose time is over is not there for any operation", fun() ->
            Dead(5),
            ?assertEqual(none, get(<<"k">>)),
            ?assertEqual([none], get_multi([<<"k">>])),
            ?assertEqual({[], []}, {keys(), scan(undefined, 9)}),
            ?assertNot(cas(<<"k">>, 5, 6)),
            ?assertEqual({false, undefined}, update(<<"k">>, 5, 6)),
            ?assertNot(delete(<<"k">>)),
            Dead(5),
            ?assertEqual({ok, 1}, incr(<<"k">>)),
            Dead(<<"text">>),
            ?assertEqual({ok, 1}, incr(<<"k">>)),
            Dead(5),
            ?assert(add(<<"k">>, 7)),
            Dead(5),
            ?assert(cas(<<"k">>, undefined, 8)),
            Dead(5),
            ?assertEqual(0, clear(undefined)),
            ?assertEqual({0, 0}, counts())
        end},
        {"what comes in the place of a dead key does not inherit its time", fun() ->
            [
                begin
                    Dead(5),
                    Write(),
                    ?assertEqual([], ets:tab2list(hornbeam_state_index))
                end
             || Write <- [
                    fun() -> ok = set(<<"k">>, 1) end,
                    fun() -> {ok, 1} = incr(<<"k">>) end,
                    fun() -> true = add(<<"k">>, 1) end,
                    fun() -> true = cas(<<"k">>, undefined, 1) end
                ]
            ]
        end},
        {"set takes a time away, the others keep it, or give the key a new one", fun() ->
            Day = #{ttl_ms => 86400000},
            ok = set(<<"k">>, 1, Day),
            [{_, _, Expires, _}] = ets:lookup(hornbeam_state, <<"k">>),
            {ok, 2} = incr(<<"k">>, 1, #{ttl_ms => 1}),
            true = cas(<<"k">>, 2, 3),
            {true, 1 bsl 70} = {element(1, update(<<"k">>, 3, 1 bsl 70)), 1 bsl 70},
            ?assertMatch([{_, _, Expires, _}], ets:lookup(hornbeam_state, <<"k">>)),
            ?assertEqual([{{Expires, <<"k">>}}], ets:tab2list(hornbeam_state_index)),
            true = cas(<<"k">>, 1 bsl 70, 3, Day),
            [{_, _, Later, _}] = ets:lookup(hornbeam_state, <<"k">>),
            ?assert(Later > Expires),
            ?assertEqual([{{Later, <<"k">>}}], ets:tab2list(hornbeam_state_index)),
            ok = set(<<"k">>, 3),
            ?assertMatch([{_, _, 0, _}], ets:lookup(hornbeam_state, <<"k">>)),
            ?assertEqual([], ets:tab2list(hornbeam_state_index)),
            ?assertEqual(rows(), counts())
        end},
        {"a counter lives for the time that its first call gives it", fun() ->
            {ok, 1} = incr(<<"window">>, 1, #{ttl_ms => 1}),
            outlive(1),
            ?assertEqual({ok, 1}, incr(<<"window">>, 1, #{ttl_ms => 60000})),
            ?assertEqual({ok, 2}, incr(<<"window">>, 1, #{ttl_ms => 1})),
            outlive(1),
            ?assertEqual({ok, 3}, incr(<<"window">>))
        end},
        {"a time to live is a positive integer", fun() ->
            [
                ?assertError({bad_option, ttl_ms, _}, set(<<"k">>, 1, #{ttl_ms => Bad}))
             || Bad <- [0, -1, 1.0, infinity, <<"1">>, 1 bsl 60]
            ],
            ?assertEqual({0, 0}, counts())
        end},
        {"dead rows are removed without being asked for, live ones are not", fun() ->
            ok = set_multi([{N, N} || N <- lists:seq(1, 2500)], #{ttl_ms => 1}),
            ok = set(<<"long">>, 1, #{ttl_ms => 86400000}),
            ok = set(<<"for ever">>, 1),
            outlive(1),
            hornbeam_state_expiry ! sweep,
            ok = until(fun() -> counts() =:= rows() andalso element(1, rows()) =:= 2 end),
            ?assertMatch([{{_, <<"long">>}}], ets:tab2list(hornbeam_state_index))
        end},
        {"a row that was written anew is not removed at the time of the old one", fun() ->
            ok = set(<<"k">>, 1, #{ttl_ms => 1}),
            ok = set(<<"k">>, 2),
            Past = hornbeam_state_expiry:now() - 1,
            [true = ets:insert(hornbeam_state_index, {{Past, Key}}) || Key <- [<<"k">>, <<"no">>]],
            outlive(1),
            ?assertEqual(2, hornbeam_state_expiry:sweep(100)),
            ?assertEqual({ok, 2}, get(<<"k">>)),
            ?assertEqual(rows(), counts())
        end}
    ].

until(Condition) -> until(Condition, erlang:monotonic_time(millisecond) + 30000).

until(Condition, Deadline) ->
    case Condition() of
        true ->
            ok;
        false ->
            true = erlang:monotonic_time(millisecond) < Deadline,
            receive
            after 5 -> until(Condition, Deadline)
            end
    end.

%%% Bounds

bounds() ->
    Full = fun(Option, Limit) -> {error, {overloaded, Option, Limit}} end,
    [
        {"as many entries as are allowed, not one more, and what is there can change", fun() ->
            ok = limit(2, infinity),
            Refused = Full(<<"state_max_entries">>, 2),
            ok = set(a, 1),
            {ok, 1} = incr(b),
            [
                ?assertEqual(Refused, Write())
             || Write <- [
                    fun() -> set(c, 1) end,
                    fun() -> incr(c) end,
                    fun() -> incr(c, 1 bsl 80) end,
                    fun() -> add(c, 1) end,
                    fun() -> cas(c, undefined, 1) end,
                    fun() -> update(c, undefined, 1) end,
                    fun() -> set_multi([{a, 2}, {c, 1}, {b, 5}]) end
                ]
            ],
            ?assertEqual([{ok, 2}, {ok, 1}, none], get_multi([a, b, c])),
            ?assertNot(add(a, 1)),
            {ok, 2} = incr(b),
            ok = set(a, 3),
            true = delete(b),
            ok = set(c, 1),
            ?assertEqual({2, element(2, rows())}, counts())
        end},
        {"as many bytes as are allowed, not one more; a refused value leaves the old one", fun() ->
            ok = set(<<"k">>, <<"0123456789">>),
            {1, Bytes} = counts(),
            ok = limit(infinity, Bytes),
            ?assertEqual(Full(<<"state_max_bytes">>, Bytes), set(<<"k">>, <<"0123456789a">>)),
            ?assertEqual(Full(<<"state_max_bytes">>, Bytes), set(<<"l">>, 1)),
            ?assertEqual({ok, <<"0123456789">>}, get(<<"k">>)),
            ok = set(<<"k">>, <<"abcdefghij">>),
            ok = set(<<"k">>, <<"abc">>),
            ok = set(<<"k">>, <<"abcdefghij">>),
            ?assertEqual({1, Bytes}, counts())
        end},
        {"a limit below what is there refuses what grows, nothing else", fun() ->
            ok = set(<<"k">>, <<"0123456789">>),
            ok = limit(1, 1),
            ok = set(<<"k">>, <<"012">>),
            ?assertEqual(Full(<<"state_max_bytes">>, 1), set(<<"k">>, <<"0123">>)),
            ?assert(delete(<<"k">>))
        end},
        {"dead rows make room before anything is refused", fun() ->
            ok = limit(3, infinity),
            ok = set_multi([{N, N} || N <- [1, 2, 3]], #{ttl_ms => 1}),
            outlive(1),
            ok = set(a, 1),
            ok = set(b, 1),
            ok = set(c, 1),
            ?assertEqual(Full(<<"state_max_entries">>, 3), set(d, 1)),
            ?assertEqual({3, element(2, rows())}, counts())
        end}
    ].
