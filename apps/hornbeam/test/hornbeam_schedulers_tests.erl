%% SPDX-License-Identifier: Apache-2.0
%% @doc Schedulers in reserve, in nodes of their own: that they come for a message to many, and go.
-module(hornbeam_schedulers_tests).

-export([come_and_go/0, none_in_reserve/0, crashed/0]).

-include_lib("eunit/include/eunit.hrl").

%% Milliseconds for what takes about a second.
-define(DEADLINE, 30000).

nodes_test_() ->
    [
        {Title, {timeout, 90, fun() -> ?assertEqual(ok, in_node(Schedulers, Function)) end}}
     || {Title, Schedulers, Function} <- [
            {"the reserve comes for a message to many, and goes", "2:1", come_and_go},
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
    ok = hornbeam_schedulers:many(1023),
    %% It has taken what came before.
    _ = sys:get_state(hornbeam_schedulers),
    1 = online(),
    ok = hornbeam_schedulers:many(1024),
    _ = sys:get_state(hornbeam_schedulers),
    2 = online(),
    until(1).

none_in_reserve() ->
    ignore = hornbeam_schedulers:start_link(),
    hornbeam_schedulers:many(1024).

crashed() ->
    {ok, First} = hornbeam_schedulers:start_link(),
    ok = hornbeam_schedulers:many(1024),
    ok = until(2),
    unlink(First),
    exit(First, kill),
    ok = gone(First),
    {ok, _} = hornbeam_schedulers:start_link(),
    until(1).

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
