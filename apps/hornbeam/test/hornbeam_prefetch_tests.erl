%% SPDX-License-Identifier: Apache-2.0
%% @doc How many requests a worker may hold, from what was measured.
-module(hornbeam_prefetch_tests).

-include_lib("eunit/include/eunit.hrl").

limit(Threads, Samples) ->
    hornbeam_prefetch:limit(
        lists:foldl(
            fun({Us, N}, P) -> hornbeam_prefetch:sample(Us, N, P) end,
            hornbeam_prefetch:new(Threads),
            Samples
        )
    ).

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

a_single_pause_at_most_halves_the_prefetch_test() ->
    ?assertEqual(1 + 24, limit(1, [{20, 1}, {10000, 1}])).

slow_requests_end_the_prefetch_within_a_few_samples_test() ->
    ?assertEqual(1, limit(1, [{20, 1} | lists:duplicate(8, {10000, 1})])).

quick_requests_bring_it_back_test() ->
    Slow = lists:duplicate(20, {10000, 1}),
    ?assertEqual(1, limit(1, Slow ++ lists:duplicate(5, {20, 1}))),
    ?assert(limit(1, Slow ++ lists:duplicate(30, {20, 1})) > 20).

%% What an event loop runs at once does not depend on how long it takes.
a_fixed_limit_stays_test() ->
    Prefetch = hornbeam_prefetch:fixed(1000),
    ?assertEqual(1000, hornbeam_prefetch:limit(Prefetch)),
    ?assertEqual(1000, hornbeam_prefetch:limit(hornbeam_prefetch:sample(1000000, 1, Prefetch))).
