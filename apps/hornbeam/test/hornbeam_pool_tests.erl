%% SPDX-License-Identifier: Apache-2.0
%% @doc The choice of a worker: atomics and a persistent term, no worker processes.
-module(hornbeam_pool_tests).

-include_lib("eunit/include/eunit.hrl").

pool_test_() ->
    {foreach, fun setup/0, fun(_) -> hornbeam_pool:delete(?MODULE) end, [
        fun(Pool) -> {Name, fun() -> Test(Pool) end} end
     || {Name, Test} <- cases()
    ]}.

setup() ->
    hornbeam_pool:new(?MODULE, #{size => 3, queue_limit => 0, queue_timeout => 1}).

cases() ->
    [
        {"a pool whose workers are not ready is full", fun(Pool) ->
            ?assertEqual(full, hornbeam_pool:claim(Pool))
        end},
        {"the least loaded worker is chosen, up to the limit of each", fun(Pool) ->
            [hornbeam_pool:set_limits(I, {1, 2}, Pool) || I <- [1, 2, 3]],
            Claims = [I || {ok, I} <- [hornbeam_pool:claim(Pool) || _ <- lists:seq(1, 6)]],
            ?assertEqual([1, 1, 2, 2, 3, 3], lists:sort(Claims)),
            ?assertEqual([1, 2, 3], lists:sort(lists:sublist(Claims, 3))),
            ?assertEqual(full, hornbeam_pool:claim(Pool))
        end},
        {"requests are gathered at the first worker, then every other gets its share", fun(Pool) ->
            hornbeam_pool:set_limits(1, {3, 4}, Pool),
            [hornbeam_pool:set_limits(I, {1, 4}, Pool) || I <- [2, 3]],
            Claims = [I || {ok, I} <- [hornbeam_pool:claim(Pool) || _ <- lists:seq(1, 9)]],
            ?assertEqual([1, 1, 1, 2, 3], lists:sublist(Claims, 5)),
            ?assertEqual([2, 2, 3, 3], lists:sort(lists:nthtail(5, Claims)))
        end},
        {"a released slot can be claimed again", fun(Pool) ->
            hornbeam_pool:set_limits(2, {1, 1}, Pool),
            ?assertEqual({ok, 2}, hornbeam_pool:claim(Pool)),
            ?assertEqual(full, hornbeam_pool:claim(Pool)),
            ?assertEqual(false, hornbeam_pool:release(2, 1, Pool)),
            ?assertEqual({ok, 2}, hornbeam_pool:claim(Pool))
        end},
        {"whoever releases is told that somebody waits", fun(Pool) ->
            hornbeam_pool:set_limits(1, {1, 1}, Pool),
            {ok, 1} = hornbeam_pool:claim(Pool),
            1 = hornbeam_pool:enqueued(1, Pool),
            ?assertEqual(true, hornbeam_pool:release(1, 1, Pool))
        end},
        {"a limit that was lowered keeps the worker out of the choice", fun(Pool) ->
            hornbeam_pool:set_limits(1, {1, 2}, Pool),
            {ok, 1} = hornbeam_pool:claim(Pool),
            hornbeam_pool:set_limits(1, {0, 0}, Pool),
            ?assertEqual(full, hornbeam_pool:claim(Pool)),
            ?assertEqual(1, hornbeam_pool:load(1, Pool))
        end},
        {"many processes at once never take more slots than there are", fun(Pool) ->
            [hornbeam_pool:set_limits(I, {1, 10}, Pool) || I <- [1, 2, 3]],
            Claim = fun() -> exit([hornbeam_pool:claim(Pool) || _ <- lists:seq(1, 5)]) end,
            Claimers = [spawn_monitor(Claim) || _ <- lists:seq(1, 20)],
            Claims = lists:append([claims_of(Monitor) || {_, Monitor} <- Claimers]),
            ?assertEqual(30, length([I || {ok, I} <- Claims]))
        end}
    ].

claims_of(Monitor) ->
    receive
        {'DOWN', Monitor, _, _, Claims} -> Claims
    after 30000 -> error(claimer_hangs)
    end.
