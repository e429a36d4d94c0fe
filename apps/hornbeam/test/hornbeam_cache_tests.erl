%% SPDX-License-Identifier: Apache-2.0
%% The cache: hits, single flight, failures, time, bounds, clearing.
-module(hornbeam_cache_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

cache_test_() ->
    {foreach, fun start/0, fun stop/1, [
        {"what is computed once is there for all", fun hit/0},
        {"many who ask at once compute once", fun single_flight/0},
        {"when a computation fails the next one computes, and only the first fails", fun failure/0},
        {"when the process that computes is killed the next one computes", fun killed/0},
        {"who waits too long computes, too", fun impatient/0},
        {"a computation that asks for itself does not wait for itself", fun nested/0},
        {"nothing is given out after its time", fun time/0},
        {"the entry unused for long goes first", fun eviction/0},
        {"bytes are bounded; what is larger than the bound is not kept", fun bytes/0},
        {"clearing takes what begins alike, and what is being computed", fun clear/0},
        {"after a crash of the server what was stored is there", fun crash/0}
    ]}.

start() ->
    {ok, Tables} = hornbeam_tables:start_link(),
    {ok, Server} = hornbeam_cache_server:start_link(),
    {Tables, Server}.

stop({Tables, _}) ->
    unlink(Tables),
    ok = gen_server:stop(hornbeam_cache_server),
    ok = gen_server:stop(Tables).

forbidden() -> error(computed).

hit() ->
    ?assertEqual(none, hornbeam_cache:get(<<"k">>)),
    ?assertEqual({a, 1}, hornbeam_cache:fetch(<<"k">>, fun() -> {a, 1} end)),
    ?assertEqual({a, 1}, hornbeam_cache:fetch(<<"k">>, fun forbidden/0)),
    ?assertEqual({ok, {a, 1}}, hornbeam_cache:get(<<"k">>)),
    ?assertMatch(#{hits := 2, misses := 1, entries := 1}, hornbeam_cache:stats()).

%% N processes that ask for the key; each result arrives here.
ask(N, Key, Fun) ->
    Self = self(),
    [spawn_monitor(fun() -> Self ! {result, self(), hornbeam_cache:fetch(Key, Fun)} end)
     || _ <- lists:seq(1, N)].

results(Pids) ->
    [
        receive
            {result, Pid, Result} -> Result;
            {'DOWN', Ref, process, Pid, Reason} when Reason =/= normal -> {died, Reason}
        end
     || {Pid, Ref} <- Pids
    ].

computing() ->
    Self = self(),
    fun() ->
        Self ! {computing, self()},
        receive {give, Value} -> Value; fail -> error(failed) end
    end.

single_flight() ->
    Pids = ask(20, <<"k">>, computing()),
    First = receive {computing, Pid} -> Pid end,
    waiting(<<"k">>, 19),
    First ! {give, 7},
    ?assertEqual(lists:duplicate(20, 7), results(Pids)),
    ?assertEqual(none_computing, receive {computing, _} -> another after 0 -> none_computing end),
    ?assertMatch(#{hits := 19, misses := 1}, hornbeam_cache:stats()).

%% Until so many wait for the key.
waiting(Key, N) ->
    State = sys:get_state(hornbeam_cache_server),
    Flights = maps:values(element(3, State)),
    case [length(element(5, F)) || F <- Flights, element(2, F) =:= Key] of
        [N] -> ok;
        _ -> erlang:yield(), waiting(Key, N)
    end.

failure() ->
    Pids = ask(3, <<"k">>, computing()),
    First = receive {computing, Pid1} -> Pid1 end,
    waiting(<<"k">>, 2),
    First ! fail,
    Second = receive {computing, Pid2} -> Pid2 end,
    Second ! {give, 8},
    ?assertMatch([8, 8, {died, {failed, _}}], lists:sort(results(Pids))).

killed() ->
    Pids = ask(2, <<"k">>, computing()),
    First = receive {computing, Pid1} -> Pid1 end,
    waiting(<<"k">>, 1),
    exit(First, kill),
    Second = receive {computing, Pid2} -> Pid2 end,
    Second ! {give, 9},
    ?assertEqual([9, {died, killed}], lists:sort(results(Pids))).

impatient() ->
    [{First, _}] = Pids = ask(1, <<"k">>, computing()),
    receive {computing, First} -> ok end,
    ?assertEqual(mine, hornbeam_cache:fetch(<<"k">>, fun() -> mine end, #{timeout => 1})),
    First ! {give, its},
    ?assertEqual([its], results(Pids)),
    ?assertEqual({ok, its}, hornbeam_cache:get(<<"k">>)).

nested() ->
    Outer = fun() -> {outer, hornbeam_cache:fetch(<<"k">>, fun() -> inner end)} end,
    ?assertEqual({outer, inner}, hornbeam_cache:fetch(<<"k">>, Outer)),
    ?assertEqual({ok, {outer, inner}}, hornbeam_cache:get(<<"k">>)).

time() ->
    _ = hornbeam_cache:fetch(<<"k">>, fun() -> 1 end, #{ttl_ms => 1}),
    Until = erlang:monotonic_time(millisecond) + 2,
    until(fun() -> erlang:monotonic_time(millisecond) >= Until end),
    ?assertEqual(none, hornbeam_cache:get(<<"k">>)),
    ?assertEqual(2, hornbeam_cache:fetch(<<"k">>, fun() -> 2 end)).

until(Condition) ->
    case Condition() of
        true -> ok;
        false -> until(Condition)
    end.

eviction() ->
    ok = hornbeam_cache_server:configure(#{cache_max_entries => 3, cache_max_bytes => infinity}),
    [hornbeam_cache:fetch(K, fun() -> K end) || K <- [<<"a">>, <<"b">>, <<"c">>]],
    {ok, _} = hornbeam_cache:get(<<"a">>),
    _ = hornbeam_cache:fetch(<<"d">>, fun() -> d end),
    ?assertEqual(
        [{ok, <<"a">>}, none, {ok, <<"c">>}, {ok, d}],
        [hornbeam_cache:get(K) || K <- [<<"a">>, <<"b">>, <<"c">>, <<"d">>]]
    ).

bytes() ->
    ok = hornbeam_cache_server:configure(#{cache_max_entries => infinity, cache_max_bytes => 1000}),
    _ = hornbeam_cache:fetch(<<"a">>, fun() -> binary:copy(<<"x">>, 600) end),
    _ = hornbeam_cache:fetch(<<"b">>, fun() -> binary:copy(<<"x">>, 600) end),
    ?assertEqual(none, hornbeam_cache:get(<<"a">>)),
    ?assertMatch({ok, _}, hornbeam_cache:get(<<"b">>)),
    _ = hornbeam_cache:fetch(<<"c">>, fun() -> binary:copy(<<"x">>, 2000) end),
    ?assertEqual(none, hornbeam_cache:get(<<"c">>)),
    ?assertMatch(#{entries := 1}, hornbeam_cache:stats()).

clear() ->
    [hornbeam_cache:fetch(K, fun() -> K end) || K <- [<<"ml:a">>, <<"ml:b">>, <<"mx">>]],
    [{Pid, _}] = Pids = ask(1, <<"ml:c">>, computing()),
    receive {computing, Pid} -> ok end,
    ?assertEqual(2, hornbeam_cache:clear(<<"ml:">>)),
    Pid ! {give, old},
    ?assertEqual([old], results(Pids)),
    ?assertEqual(none, hornbeam_cache:get(<<"ml:c">>)),
    ?assertEqual({ok, <<"mx">>}, hornbeam_cache:get(<<"mx">>)).

crash() ->
    _ = hornbeam_cache:fetch(<<"k">>, fun() -> 1 end),
    #{bytes := Bytes} = hornbeam_cache:stats(),
    ok = gen_server:stop(hornbeam_cache_server),
    {ok, _} = hornbeam_cache_server:start_link(),
    ?assertEqual({ok, 1}, hornbeam_cache:get(<<"k">>)),
    ?assertMatch(#{bytes := Bytes, entries := 1}, hornbeam_cache:stats()).

%% Whatever is fetched, cleared and configured: a value is never another key's, and the bounds hold.
bounds_test_() ->
    {setup, fun start/0, fun stop/1,
        {timeout, 60, ?_assert(proper:quickcheck(prop_bounds(), [{numtests, 100}, quiet]))}}.

prop_bounds() ->
    ?FORALL({Max, Keys}, {range(1, 5), list(range(1, 8))},
        begin
            _ = hornbeam_cache:clear(<<>>),
            ok = hornbeam_cache_server:configure(
                #{cache_max_entries => Max, cache_max_bytes => infinity}
            ),
            lists:all(
                fun(Key) ->
                    Name = integer_to_binary(Key),
                    Key =:= hornbeam_cache:fetch(Name, fun() -> Key end) andalso
                        ets:info(hornbeam_cache, size) =< Max andalso
                        ets:info(hornbeam_cache, size) =:= ets:info(hornbeam_cache_order, size)
                end,
                Keys
            )
        end
    ).
