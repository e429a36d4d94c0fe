%% SPDX-License-Identifier: Apache-2.0
%% @doc The shared state: every operation, keys, prefixes. The tables belong to the test.
-module(hornbeam_state_tests).

-include_lib("eunit/include/eunit.hrl").

-export([start/0, stop/1, counts/0, rows/0]).

-import(hornbeam_state, [
    set/2, get/1, get/2, delete/1, incr/1, incr/2, decr/1, decr/2, add/2, cas/3, update/3,
    get_multi/1, set_multi/1, delete_multi/1, keys/0, keys/1, scan/2, scan/3, clear/1, info/0
]).

-compile({no_auto_import, [get/1]}).

state_test_() ->
    Cases = keys_() ++ values_() ++ counters() ++ conditions() ++ several() ++ walks(),
    {foreach, fun start/0, fun stop/1, [{Name, {timeout, 60, Test}} || {Name, Test} <- Cases]}.

start() ->
    {ok, Tables} = hornbeam_tables:start_link(),
    {ok, Expiry} = hornbeam_state_expiry:start_link(),
    [Expiry, Tables].

stop(Pids) ->
    [
        begin
            unlink(Pid),
            ok = gen_server:stop(Pid)
        end
     || Pid <- Pids
    ].

counts() ->
    #{entries := Entries, bytes := Bytes} = info(),
    {Entries, Bytes}.

%% The counts as the rows have them.
rows() ->
    Sizes = [Size || {_, _, _, Size} <- ets:tab2list(hornbeam_state)],
    {length(Sizes), lists:sum(Sizes)}.

keys_() ->
    [
        {"text, bytes, atoms and numbers are different keys, and come back as they are", fun() ->
            Keys = [
                <<"x">>, {bytes, <<"x">>}, x, <<>>, {bytes, <<>>}, 1, true, undefined, <<"1">>,
                {<<"x">>, 1}, [], {}, 1 bsl 80, 1.5, -7, self(), make_ref(), [1, <<"a">>],
                {{}, [{bytes, <<1>>}]}, '_', '$1', '$end_of_table', {'_', 1}, #{a => 1}, [a | b],
                fun lists:map/2, {hornbeam_key, <<"own">>}, <<1:3>>
            ],
            [ok = set(Key, {value, Key}) || Key <- Keys],
            [?assertEqual({ok, {value, Key}}, get(Key)) || Key <- Keys],
            ?assertEqual(lists:sort(Keys), lists:sort(keys())),
            [?assert(cas(Key, {value, Key}, {new, Key})) || Key <- Keys],
            [ok = set(Key, last) || Key <- Keys],
            ?assertEqual(length(Keys), delete_multi(Keys)),
            ?assertEqual({0, 0}, counts())
        end},
        {"numbers that are equal are one key, everywhere in a key", fun() ->
            Same = [{1, 1.0}, {{a, 2.0}, {a, 2}}, {[1, 2.0], [1.0, 2]}, {0, -0.0}, {1.0e300,
                trunc(1.0e300)}],
            [
                begin
                    ok = set(A, A),
                    ?assertEqual({ok, A}, get(B)),
                    ok = set(B, B),
                    ?assertEqual({ok, B}, get(A)),
                    ?assert(delete(A))
                end
             || {A, B} <- Same
            ],
            ?assertEqual([], keys())
        end}
    ].

values_() ->
    [
        {"a value is replaced whole; what is not there is none", fun() ->
            ?assertEqual(none, get(<<"k">>)),
            ?assertEqual(default, get(<<"k">>, default)),
            ok = set(<<"k">>, #{a => [1]}),
            ok = set(<<"k">>, undefined),
            ?assertEqual({ok, undefined}, get(<<"k">>)),
            ?assertEqual(undefined, get(<<"k">>, default)),
            ?assert(delete(<<"k">>)),
            ?assertNot(delete(<<"k">>)),
            ?assertEqual(none, get(<<"k">>))
        end}
    ].

counters() ->
    [
        {"a counter starts at 0 and goes both ways, beyond 64 bits, too", fun() ->
            ?assertEqual({ok, 1}, incr(<<"n">>)),
            ?assertEqual({ok, 11}, incr(<<"n">>, 10)),
            ?assertEqual({ok, 10}, decr(<<"n">>)),
            ?assertEqual({ok, -5}, decr(<<"n">>, 15)),
            ?assertEqual({ok, (1 bsl 80) - 5}, incr(<<"n">>, 1 bsl 80)),
            ?assertEqual({ok, (1 bsl 80) - 4}, incr(<<"n">>)),
            ?assertEqual({ok, 0}, decr(<<"n">>, (1 bsl 80) - 4)),
            ?assertEqual({ok, 0}, incr(<<"other">>, 0)),
            ?assertEqual(rows(), counts())
        end},
        {"what is no integer is not counted, and does not change", fun() ->
            [
                begin
                    ok = set(<<"n">>, Value),
                    ?assertEqual({error, not_an_integer}, incr(<<"n">>, N)),
                    ?assertEqual({ok, Value}, get(<<"n">>))
                end
             || Value <- [1.0, true, <<"1">>, undefined, [1]], N <- [1, 0, 1 bsl 80]
            ],
            ?assertError({bad_increment, 1.0, _}, incr(<<"n">>, 1.0))
        end}
    ].

conditions() ->
    [
        {"add sets what is not there", fun() ->
            ?assert(add(<<"k">>, 1)),
            ?assertNot(add(<<"k">>, 2)),
            ?assertEqual({ok, 1}, get(<<"k">>)),
            ok = set(<<"u">>, undefined),
            ?assertNot(add(<<"u">>, 1))
        end},
        {"cas and update compare exactly; undefined stands for what is not there", fun() ->
            ?assertNot(cas(<<"k">>, 1, 2)),
            ?assertEqual({false, undefined}, update(<<"k">>, 1, 2)),
            ?assert(cas(<<"k">>, undefined, 1)),
            ?assertNot(cas(<<"k">>, 1.0, 2)),
            ?assertNot(cas(<<"k">>, true, 2)),
            ?assertEqual({false, 1}, update(<<"k">>, <<"1">>, 2)),
            ?assertEqual({true, #{x => 1.0}}, update(<<"k">>, 1, #{x => 1.0})),
            ?assertEqual({false, #{x => 1.0}}, update(<<"k">>, #{x => 1}, 2)),
            ?assert(cas(<<"k">>, #{x => 1.0}, undefined)),
            ?assert(cas(<<"k">>, undefined, '$1')),
            ?assert(cas(<<"k">>, '$1', {'_', fun lists:map/2})),
            ?assert(cas(<<"k">>, {'_', fun lists:map/2}, 3)),
            ?assertEqual(rows(), counts())
        end}
    ].

several() ->
    [
        {"many keys at once, in their order", fun() ->
            ok = set_multi([{1, one}, {2, two}, {<<"3">>, undefined}]),
            ?assertEqual([{ok, two}, none, {ok, undefined}, {ok, one}, {ok, two}],
                get_multi([2, <<"2">>, <<"3">>, 1, 2])),
            ?assertEqual(2, delete_multi([1, 2, 2, 7])),
            ?assertEqual([<<"3">>], keys())
        end}
    ].

walks() ->
    [
        {"keys that begin with a text, in order, and no others", fun() ->
            [ok = set(Key, Key) || Key <- some_keys()],
            ?assertEqual([<<"user:">>, <<"user:1">>, <<"user:10">>, <<"user:2">>],
                keys(<<"user:">>)),
            ?assertEqual([<<"user:10">>], keys(<<"user:10">>)),
            ?assertEqual([], keys(<<"user:3">>)),
            ?assertEqual([<<"zwölf"/utf8>>], keys(<<"zw">>)),
            ?assertEqual([{bytes, <<"user:">>}, {bytes, <<"user:9">>}], keys({bytes, <<"user">>})),
            ?assertEqual(length(some_keys()), length(keys()))
        end},
        {"an empty prefix is that of every text, or of all bytes", fun() ->
            [ok = set(Key, Key) || Key <- some_keys()],
            ?assertEqual([K || K <- lists:sort(some_keys()), is_binary(K)], keys(<<>>)),
            ?assertEqual([K || {bytes, _} = K <- lists:sort(some_keys())], keys({bytes, <<>>}))
        end},
        {"a scan page by page gives every key once, in order, with its value", fun() ->
            [ok = set(Key, {v, Key}) || Key <- some_keys()],
            [
                ?assertEqual([{K, {v, K}} || K <- keys(Prefix)], pages(Prefix, Limit))
             || Prefix <- [undefined, <<"user:">>, {bytes, <<"u">>}, <<"none">>],
                Limit <- [1, 2, 3, 100]
            ]
        end},
        {"a scan goes on after a key that is gone, or that is before the prefix", fun() ->
            [ok = set(Key, 0) || Key <- some_keys()],
            ?assertEqual([{<<"user:10">>, 0}], scan(<<"user:">>, 1, <<"user:1">>)),
            ?assert(delete(<<"user:1">>)),
            ?assertEqual([{<<"user:10">>, 0}], scan(<<"user:">>, 1, <<"user:1">>)),
            ?assertEqual([{<<"user:">>, 0}], scan(<<"user:">>, 1, <<"a">>)),
            ?assertEqual([], scan(<<"user:">>, 1, <<"v">>))
        end},
        {"clear deletes what begins with something", fun() ->
            [ok = set(Key, 0) || Key <- some_keys()],
            ?assertEqual(4, clear(<<"user:">>)),
            ?assertEqual(0, clear(<<"user:">>)),
            ?assertEqual(length(some_keys()) - 4, clear(undefined)),
            ?assertEqual({0, 0}, counts())
        end},
        {"ten matches take as many steps among a hundred keys as among a hundred thousand", fun() ->
            [ok = set(<<"match:", N>>, N) || N <- lists:seq($0, $9)],
            fill(100),
            Few = steps(fun() -> 10 = length(keys(<<"match:">>)) end),
            fill(100000),
            Many = steps(fun() -> 10 = length(keys(<<"match:">>)) end),
            ?assertEqual(Few, Many),
            ?assert(Few >= 11)
        end}
    ].

some_keys() ->
    [
        <<"user">>, <<"user:1">>, <<"user:2">>, <<"user:10">>, <<"user:">>, <<"user;">>,
        {bytes, <<"user:">>}, {bytes, <<"user:9">>}, {bytes, <<"vser">>}, 1, user, {user, 1},
        <<"zwölf"/utf8>>, '_'
    ].

pages(Prefix, Limit) -> pages(scan(Prefix, Limit), Prefix, Limit).

pages([], _, _) ->
    [];
pages(Page, Prefix, Limit) ->
    ?assert(length(Page) =< Limit),
    {Last, _} = lists:last(Page),
    Page ++ pages(scan(Prefix, Limit, Last), Prefix, Limit).

fill(N) ->
    ok = set_multi([{<<Side/binary, (integer_to_binary(I))/binary>>, I}
        || I <- lists:seq(1, N), Side <- [<<"a:">>, <<"z:">>]]).

%% How often the table is asked.
steps(Fun) ->
    Asked = {hornbeam_state_table, '_', '_'},
    1 = erlang:trace(self(), true, [call]),
    Functions = erlang:trace_pattern(Asked, true, [local, call_count]),
    Fun(),
    Counts = [
        Count
     || {F, A} <- hornbeam_state_table:module_info(functions),
        {call_count, Count} <- [erlang:trace_info({hornbeam_state_table, F, A}, call_count)],
        is_integer(Count)
    ],
    Functions = erlang:trace_pattern(Asked, false, [local, call_count]),
    1 = erlang:trace(self(), false, [call]),
    lists:sum(Counts).
