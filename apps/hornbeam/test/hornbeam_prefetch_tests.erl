%% SPDX-License-Identifier: Apache-2.0
%% @doc How many requests a worker may hold and how many are gathered at it, from what was measured.
-module(hornbeam_prefetch_tests).

-include_lib("eunit/include/eunit.hrl").

limits(Threads, Schedulers, Samples) ->
    hornbeam_prefetch:limits(
        lists:foldl(
            fun({Us, N}, P) -> hornbeam_prefetch:sample(Us, N, P) end,
            hornbeam_prefetch:new(Threads, Schedulers),
            Samples
        )
    ).

limit(Threads, Samples) ->
    {_, Limit} = limits(Threads, 1, Samples),
    Limit.

limits_test_() ->
    Table = [
        {"nothing is prefetched before a measurement", 1, [], 1},
        {"a request of 20 us: 50 more", 1, [{20, 1}], 51},
        {"measured over a batch", 1, [{640, 32}], 51},
        {"never more than the bound", 1, [{1, 1}], 65},
        {"an instant answer is no division by zero", 1, [{0, 1}], 65},
        {"10 ms of work: nothing more", 1, [{10000, 1}], 1},
        {"exactly a millisecond: one more", 1, [{1000, 1}], 2},
        {"just above a millisecond: none", 1, [{1001, 1}], 1},
        {"a millisecond of all four threads", 4, [{250, 1}], 8}
    ],
    [{Name, ?_assertEqual(Expected, limit(T, S))} || {Name, T, S, Expected} <- Table].

gather_test_() ->
    Table = [
        {"before a measurement every worker gets its share", 4, 1, [], 1},
        {"a quarter of the bound: sixteen", 1, 1, [{32, 1}], 16},
        {"never more than 32", 1, 1, [{1, 1}], 32},
        {"half of the bound: four", 1, 1, [{64, 1}], 4},
        {"from the bound on nobody waits behind another", 1, 1, [{128, 1}], 1},
        {"nor behind slow ones", 1, 1, [{10000, 1}], 1},
        {"four schedulers feed four workers", 1, 4, [{32, 1}], 4}
    ],
    [
        {Name, ?_assertMatch({Expected, _}, limits(T, S, Samples))}
     || {Name, T, S, Samples, Expected} <- Table
    ].

gather_is_within_the_limit_test() ->
    [
        ?assert(Gather >= 1 andalso Gather =< Limit)
     || Us <- [1, 7, 20, 63, 64, 500, 20000],
        Schedulers <- [1, 3, 64],
        {Gather, Limit} <- [limits(1, Schedulers, [{Us, 1}])]
    ].

a_single_pause_changes_nothing_test() ->
    ?assertEqual(1 + 47, limit(1, [{20, 1}, {10000, 1}])).

a_machine_that_does_other_work_changes_little_test() ->
    Disturbed = [{Us, 1} || _ <- lists:seq(1, 50), Us <- [20, 20, 100, 60]],
    ?assert(limit(1, Disturbed) > 40).

slow_requests_end_the_prefetch_within_a_few_samples_test() ->
    ?assertEqual(1, limit(1, [{20, 1} | lists:duplicate(12, {10000, 1})])).

an_application_of_quick_and_slow_requests_is_not_taken_for_a_quick_one_test() ->
    Mixed = lists:append(lists:duplicate(20, [{20, 1}, {20, 1}, {20000, 1}])),
    {Gather, Limit} = limits(1, 1, Mixed),
    ?assertEqual(1, Gather),
    ?assert(Limit =< 8).

%% What it hands back must not come back to it.
a_worker_that_hands_back_gets_no_more_than_it_runs_test() ->
    Quick = hornbeam_prefetch:sample(20, 1, hornbeam_prefetch:new(2, 1)),
    {Gather, Limit} = hornbeam_prefetch:limits(Quick),
    ?assert(Gather > 2 andalso Limit > 2),
    Returned = hornbeam_prefetch:returned(Quick),
    ?assertEqual({1, 2}, hornbeam_prefetch:limits(Returned)),
    Again = hornbeam_prefetch:sample(20, 1, Returned),
    ?assertEqual(hornbeam_prefetch:limits(Quick), hornbeam_prefetch:limits(Again)).

quick_requests_bring_it_back_test() ->
    Slow = lists:duplicate(20, {10000, 1}),
    ?assertEqual(1, limit(1, Slow)),
    ?assert(limit(1, Slow ++ lists:duplicate(30, {20, 1})) > 20).

%% An event loop that is blocked gets no more than it runs, until it answers or a while has passed.
a_blocked_loop_test() ->
    Loop = hornbeam_prefetch:sample(20, 1, hornbeam_prefetch:fixed(1000, 1)),
    Limits = hornbeam_prefetch:limits(Loop),
    ?assertMatch({_, 1000}, Limits),
    Blocked = hornbeam_prefetch:returned(Loop),
    ?assertEqual({1, 1}, hornbeam_prefetch:limits(Blocked)),
    ?assertMatch({1, 1000}, hornbeam_prefetch:limits(hornbeam_prefetch:resumed(Blocked))),
    Again = hornbeam_prefetch:sample(20, 1, Blocked),
    ?assertEqual(Limits, hornbeam_prefetch:limits(Again)).

%% What an event loop runs at once does not depend on how long it takes.
a_fixed_limit_stays_test() ->
    Prefetch = hornbeam_prefetch:fixed(1000, 1),
    ?assertEqual({1, 1000}, hornbeam_prefetch:limits(Prefetch)),
    Slow = hornbeam_prefetch:sample(1000000, 1, Prefetch),
    ?assertEqual({1, 1000}, hornbeam_prefetch:limits(Slow)),
    Quick = hornbeam_prefetch:sample(10, 1, Prefetch),
    ?assertEqual({32, 1000}, hornbeam_prefetch:limits(Quick)).
