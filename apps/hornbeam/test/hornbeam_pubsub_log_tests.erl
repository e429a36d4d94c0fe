%% SPDX-License-Identifier: Apache-2.0
%% The log of a channel: readers at their own pace, bounds, what is missed.
-module(hornbeam_pubsub_log_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

-define(CHANNEL, {topic, <<"t">>}).

log_test_() ->
    {foreach, fun tables/0, fun(Pid) -> gen_server:stop(Pid) end, [
        {"a reader gets what was appended since it started, in order", fun in_order/0},
        {"two readers do not disturb each other", fun two_readers/0},
        {"a reader that falls behind is told how many it missed", fun missed/0},
        {"bytes are bounded, too, and the newest message always stays", fun bytes/0},
        {"old messages are dropped and counted as missed", fun age/0},
        {"a number without a message is waited for once, then counted as missed", fun killed/0},
        {"deleting the log leaves no row", fun deleted/0},
        {"a publisher that comes after the deletion leaves no row", fun late/0},
        {"many publishers at once lose nothing while a reader keeps up", fun concurrent/0}
    ]}.

tables() ->
    {ok, Pid} = hornbeam_tables:start_link(),
    Pid.

limits(Messages, Bytes) ->
    #{pubsub_backlog => Messages, pubsub_backlog_bytes => Bytes}.

append(Log, N, Limits) ->
    Message = #{topic => <<"t">>, payload => integer_to_binary(N), frame => undefined},
    hornbeam_pubsub_log:append(?CHANNEL, Log, Message, Limits).

append_all(Log, Ns, Limits) ->
    lists:foreach(fun(N) -> append(Log, N, Limits) end, Ns).

%% Everything there is to read: numbers, with how many were missed before each.
read_all(Log, Cursor) ->
    case hornbeam_pubsub_log:read(?CHANNEL, Log, Cursor) of
        {ok, #{payload := Payload}, Missed, Next} ->
            {Rest, Last} = read_all(Log, Next),
            {[{binary_to_integer(Payload), Missed} | Rest], Last};
        {empty, Next} ->
            {[], Next}
    end.

in_order() ->
    Log = hornbeam_pubsub_log:new(),
    append(Log, 0, limits(10, 1000)),
    Cursor = hornbeam_pubsub_log:start(Log),
    append_all(Log, [1, 2, 3], limits(10, 1000)),
    {Read, Next} = read_all(Log, Cursor),
    ?assertEqual([{1, 0}, {2, 0}, {3, 0}], Read),
    append(Log, 4, limits(10, 1000)),
    ?assertMatch({[{4, 0}], _}, read_all(Log, Next)).

two_readers() ->
    Log = hornbeam_pubsub_log:new(),
    Cursor = hornbeam_pubsub_log:start(Log),
    append_all(Log, [1, 2], limits(10, 1000)),
    ?assertMatch({[{1, 0}, {2, 0}], _}, read_all(Log, Cursor)),
    ?assertMatch({[{1, 0}, {2, 0}], _}, read_all(Log, Cursor)).

missed() ->
    Log = hornbeam_pubsub_log:new(),
    Cursor = hornbeam_pubsub_log:start(Log),
    append_all(Log, [1, 2, 3, 4, 5], limits(2, 1000)),
    ?assertMatch({[{4, 3}, {5, 0}], _}, read_all(Log, Cursor)).

bytes() ->
    Log = hornbeam_pubsub_log:new(),
    Cursor = hornbeam_pubsub_log:start(Log),
    append_all(Log, [100, 200, 300], limits(10, 6)),
    ?assertMatch({[{200, 1}, {300, 0}], _}, read_all(Log, Cursor)),
    append(Log, 123456789, limits(10, 6)),
    ?assertMatch({[{123456789, 3}], _}, read_all(Log, Cursor)).

age() ->
    Log = hornbeam_pubsub_log:new(),
    Cursor = hornbeam_pubsub_log:start(Log),
    append_all(Log, [1, 2], limits(10, 1000)),
    ok = hornbeam_pubsub_log:drop_older(?CHANNEL, Log, 60000),
    ?assertMatch({[{1, 0}, {2, 0}], _}, read_all(Log, Cursor)),
    ok = hornbeam_pubsub_log:drop_older(?CHANNEL, Log, -1),
    ?assertMatch({[], _}, read_all(Log, Cursor)),
    append(Log, 3, limits(10, 1000)),
    ?assertMatch({[{3, 2}], _}, read_all(Log, Cursor)).

killed() ->
    Log = hornbeam_pubsub_log:new(),
    Cursor0 = hornbeam_pubsub_log:start(Log),
    append_all(Log, [1, 2], limits(10, 1000)),
    true = ets:delete(hornbeam_pubsub_messages, {?CHANNEL, 1}),
    {[], Cursor1} = read_all(Log, Cursor0),
    ?assertMatch({[{2, 1}], _}, read_all(Log, Cursor1)).

deleted() ->
    Log = hornbeam_pubsub_log:new(),
    append_all(Log, [1, 2, 3], limits(10, 1000)),
    ok = hornbeam_pubsub_log:delete(?CHANNEL, Log),
    ?assertEqual(0, ets:info(hornbeam_pubsub_messages, size)).

late() ->
    Old = hornbeam_pubsub_log:new(),
    append(Old, 1, limits(10, 1000)),
    Cursor = hornbeam_pubsub_log:start(Old),
    ok = hornbeam_pubsub_log:delete(?CHANNEL, Old),
    append_all(Old, [2, 3], limits(10, 1000)),
    ?assertEqual(0, ets:info(hornbeam_pubsub_messages, size)),
    ?assertMatch({[], _}, read_all(Old, Cursor)),
    New = hornbeam_pubsub_log:new(),
    Start = hornbeam_pubsub_log:start(New),
    append(New, 4, limits(10, 1000)),
    ?assertMatch({[{4, 0}], _}, read_all(New, Start)).

concurrent() ->
    Log = hornbeam_pubsub_log:new(),
    Cursor = hornbeam_pubsub_log:start(Log),
    Publishers = [
        spawn_monitor(fun() ->
            append_all(Log, lists:seq(P * 1000, P * 1000 + 99), limits(1000, 100000))
        end)
     || P <- lists:seq(1, 8)
    ],
    [receive {'DOWN', Ref, process, _, normal} -> ok end || {_, Ref} <- Publishers],
    {Read, _} = read_all(Log, Cursor),
    ?assertEqual(800, length(Read)),
    ?assertEqual([], [Each || {_, Missed} = Each <- Read, Missed =/= 0]),
    %% those of one publisher are in its order
    [?assert(in_order([N || {N, _} <- Read, N div 1000 =:= P])) || P <- lists:seq(1, 8)].

in_order(Numbers) -> Numbers =:= lists:sort(Numbers).

%% Whatever is appended and read in whatever order: what is read and what is missed add up to what
%% was appended, and the table never holds more than the bound.
accounting_test_() ->
    {setup, fun tables/0, fun(Pid) -> gen_server:stop(Pid) end,
        {timeout, 60, ?_assert(proper:quickcheck(prop_accounting(), [{numtests, 200}, quiet]))}}.

prop_accounting() ->
    ?FORALL(
        {Keep, Steps},
        {range(1, 5), list(oneof([append, read, sweep]))},
        begin
            Log = hornbeam_pubsub_log:new(),
            Start = hornbeam_pubsub_log:start(Log),
            {Appended, Read, Missed, Cursor} = lists:foldl(
                fun(Step, Acc) -> step(Step, Log, Keep, Acc) end, {0, 0, 0, Start}, Steps
            ),
            Bounded = ets:info(hornbeam_pubsub_messages, size) =< Keep,
            append(Log, 0, limits(Keep, 1000)),
            {Rest, _} = read_all(Log, Cursor),
            ok = hornbeam_pubsub_log:delete(?CHANNEL, Log),
            LastMissed = lists:sum([M || {_, M} <- Rest]),
            Bounded andalso Read + Missed + length(Rest) + LastMissed =:= Appended + 1
        end
    ).

step(append, Log, Keep, {Appended, Read, Missed, Cursor}) ->
    append(Log, Appended, limits(Keep, 1000)),
    {Appended + 1, Read, Missed, Cursor};
step(sweep, Log, _, Acc) ->
    ok = hornbeam_pubsub_log:drop_older(?CHANNEL, Log, -1),
    Acc;
step(read, Log, _, {Appended, Read, Missed, Cursor}) ->
    case hornbeam_pubsub_log:read(?CHANNEL, Log, Cursor) of
        {ok, _, More, Next} -> {Appended, Read + 1, Missed + More, Next};
        {empty, Next} -> {Appended, Read, Missed, Next}
    end.
