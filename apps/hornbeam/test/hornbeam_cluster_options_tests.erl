%% SPDX-License-Identifier: Apache-2.0
%% Tables for the option `cluster' and for which node is tried when.
-module(hornbeam_cluster_options_tests).

-include_lib("eunit/include/eunit.hrl").

check(Given) -> hornbeam_cluster_options:check(Given).

good_test_() ->
    None = hornbeam_cluster_options:none(),
    [
        {lists:flatten(io_lib:format("~0tp", [Given])),
            ?_assertEqual({ok, maps:merge(None, Expected)}, check(Given))}
     || {Given, Expected} <- [
            {#{}, #{}},
            {#{nodes => []}, #{}},
            {#{nodes => ['b@h', "a@h.example", <<"b@h">>]},
                #{nodes => [<<"a@h.example">>, <<"b@h">>]}},
            {#{nodes => ["a@10.0.0.1", "a@fd00::1"]}, #{nodes => [<<"a@10.0.0.1">>,
                <<"a@fd00::1">>]}},
            {#{dns => "x.example"}, #{dns => <<"x.example">>}},
            {#{dns => <<"_d._tcp.x.example.">>, basename => shop, interval => 100},
                #{dns => <<"_d._tcp.x.example.">>, basename => <<"shop">>, interval => 100}}
        ]
    ].

bad_test_() ->
    [
        {lists:flatten(io_lib:format("~0tp", [Given])), ?_assertMatch(Expected, refused(Given))}
     || {Given, Expected} <- [
            {[], error},
            {undefined, error},
            {#{node => ['a@b']}, <<"it has no node">>},
            {#{nodes => 'a@b'}, <<"its nodes is a@b">>},
            {#{nodes => ["a"]}, <<"its nodes is [\"a\"]">>},
            {#{nodes => ["a@b@c"]}, <<"its nodes is [\"a@b@c\"]">>},
            {#{nodes => ["a@"]}, <<"its nodes is [\"a@\"]">>},
            {#{nodes => ["a b@c"]}, <<"its nodes is [\"a b@c\"]">>},
            {#{nodes => ['a@b' | c]}, <<"its nodes is [a@b|c]">>},
            {#{dns => "a b"}, <<"its dns is \"a b\"">>},
            {#{dns => ""}, <<"its dns is []">>},
            {#{dns => 7}, <<"its dns is 7">>},
            {#{dns => "x", basename => "a@b"}, <<"its basename is \"a@b\"">>},
            {#{basename => "a"}, <<"basename has no effect without dns">>},
            {#{dns => "x", interval => 99}, <<"its interval is 99">>},
            {#{dns => "x", interval => infinity}, <<"its interval is infinity">>}
        ]
    ].

refused(Given) ->
    case check(Given) of
        error -> error;
        {error, Text} -> Text
    end.

limits_test() ->
    Nodes = ["n" ++ integer_to_list(N) ++ "@h" || N <- lists:seq(1, 1025)],
    ?assertMatch({ok, _}, check(#{nodes => tl(Nodes)})),
    ?assertMatch({error, _}, check(#{nodes => Nodes})),
    ?assertMatch({ok, _}, check(#{nodes => [lists:duplicate(253, $a) ++ "@b"]})),
    ?assertMatch({error, _}, check(#{nodes => [lists:duplicate(254, $a) ++ "@b"]})).

a_node_without_a_name_joins_nobody_test() ->
    {ok, Joins} = check(#{nodes => ['a@b']}),
    ?assertEqual(ok, hornbeam_cluster_options:is_possible(
        #{cluster => hornbeam_cluster_options:none()})),
    ?assertEqual({error, {not_distributed, cluster}},
        hornbeam_cluster_options:is_possible(#{cluster => Joins})),
    ?assertMatch({match, _}, re:run(hornbeam:format_error({not_distributed, cluster}),
        "option cluster .*--name")).

%%% Targets

-define(T, hornbeam_cluster_targets).

new_ones_are_due_at_once_and_once_test() ->
    T0 = ?T:set([<<"a">>, <<"b">>], 100, ?T:new()),
    ?assertEqual(100, ?T:next(T0)),
    ?assertMatch({[], _}, ?T:due(99, T0)),
    {Due, T1} = ?T:due(100, T0),
    ?assertEqual([<<"a">>, <<"b">>], lists:sort(Due)),
    ?assertEqual(never, ?T:next(T1)),
    ?assertMatch({[], _}, ?T:due(1000000, T1)).

waits_grow_to_half_a_minute_and_never_end_test() ->
    T0 = ?T:set([<<"a">>], 0, ?T:new()),
    Waits = fun(Chance, Times) -> waits(Times, Chance, 1, T0) end,
    ?assertEqual([1000, 2000, 4000, 8000, 16000, 30000, 30000], Waits(1.0, 7)),
    ?assertEqual([500, 1000, 2000, 4000, 8000, 15000, 15000], Waits(0.0, 7)),
    ?assertEqual(30000, lists:last(Waits(1.0, 3000))).

waits(0, _, _, _) ->
    [];
waits(Left, Chance, Failures, Targets) ->
    {Failures, Failed} = ?T:failed(<<"a">>, 0, Chance, Targets),
    [?T:next(Failed) | waits(Left - 1, Chance, Failures + 1, Failed)].

a_connection_that_ends_starts_anew_test() ->
    T0 = ?T:set([<<"a">>], 0, ?T:new()),
    {3, T3} = lists:foldl(fun(_, {_, T}) -> ?T:failed(<<"a">>, 0, 1.0, T) end, {0, T0}, [1, 2, 3]),
    T4 = ?T:connected(<<"a">>, T3),
    ?assertEqual(never, ?T:next(T4)),
    T5 = ?T:lost(<<"a">>, 5000, 0.25, T4),
    ?assertEqual(5250, ?T:next(T5)),
    ?assertMatch({1, _}, ?T:failed(<<"a">>, 5250, 0.0, T5)).

only_targets_count_test() ->
    T0 = ?T:set([<<"a">>, <<"b">>], 0, ?T:new()),
    T1 = ?T:set([<<"b">>], 50, T0),
    ?assertEqual({[<<"b">>], never}, begin {D, T} = ?T:due(50, T1), {D, ?T:next(T)} end),
    ?assertEqual(T1, ?T:lost(<<"x">>, 0, 0.5, T1)),
    ?assertEqual(T1, ?T:connected(<<"x">>, T1)),
    ?assertEqual({0, T1}, ?T:failed(<<"a">>, 0, 0.5, T1)).
