%% SPDX-License-Identifier: Apache-2.0
%% @doc Schedulers in reserve: when a look brings them, how long they stay; and in nodes of their
%% own, that they come and go.
-module(hornbeam_schedulers_tests).

-export([come_and_go/0, none_in_reserve/0, crashed/0]).

-include_lib("eunit/include/eunit.hrl").

%% Processes that wait, more than bring the reserve.
-define(MANY, 5000).
%% Milliseconds for what takes about a second.
-define(DEADLINE, 30000).

look_test_() ->
    [
        {Title, ?_assertEqual(Expected, hornbeam_schedulers:look(Length, Calm, 256))}
     || {Title, Length, Calm, Expected} <- [
            {"a long queue brings it", 256, 20, {all, 0}},
            {"it is long however calm it was", 10000, 3, {all, 0}},
            {"a short one does not", 255, 20, {base, 20}},
            {"a short one among long ones changes nothing", 0, 0, {same, 1}},
            {"nineteen short ones are too few", 0, 18, {same, 19}},
            {"twenty send it away", 0, 19, {base, 20}}
        ]
    ].

nodes_test_() ->
    [
        {Title, {timeout, 90, fun() -> ?assertEqual(ok, in_node(Schedulers, Function)) end}}
     || {Title, Schedulers, Function} <- [
            {"the reserve comes for a long queue, and goes", "2:1", come_and_go},
            {"a node with all of them online has none", "2:2", none_in_reserve},
            {"it goes, too, when the process had to be restarted meanwhile", "2:1", crashed}
        ]
    ].

in_node(Schedulers, Function) ->
    Args = ["+S", Schedulers, "-pa" | code:get_path()],
    {ok, Peer, _} = peer:start(#{connection => standard_io, args => Args}),
    try
        peer:call(Peer, ?MODULE, Function, [], 2 * ?DEADLINE)
    after
        peer:stop(Peer)
    end.

%%% In the node

come_and_go() ->
    {ok, _} = hornbeam_schedulers:start_link(),
    1 = online(),
    Stop = busy(),
    ok = until(2),
    ok = Stop(),
    until(1).

none_in_reserve() ->
    ignore = hornbeam_schedulers:start_link(),
    ok.

crashed() ->
    {ok, First} = hornbeam_schedulers:start_link(),
    Stop = busy(),
    ok = until(2),
    unlink(First),
    exit(First, kill),
    ok = gone(First),
    {ok, _} = hornbeam_schedulers:start_link(),
    ok = Stop(),
    until(1).

%% Processes that always have something to do.
busy() ->
    Pids = [spawn(fun spin/0) || _ <- lists:seq(1, ?MANY)],
    fun() -> lists:foreach(fun(Pid) -> exit(Pid, kill) end, Pids) end.

spin() ->
    erlang:yield(),
    spin().

gone(Pid) ->
    Monitor = monitor(process, Pid),
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    after ?DEADLINE -> error(timeout)
    end.

online() -> erlang:system_info(schedulers_online).

until(Number) -> until(Number, erlang:monotonic_time(millisecond) + ?DEADLINE).

until(Number, Deadline) ->
    case online() of
        Number ->
            ok;
        Other ->
            _ = erlang:monotonic_time(millisecond) > Deadline andalso
                error({schedulers_online, Other, {expected, Number}}),
            timer:sleep(10),
            until(Number, Deadline)
    end.
