%% SPDX-License-Identifier: Apache-2.0
%% @doc What was published to one channel of late, kept once for all subscribers that read at their
%% own pace.
%%
%% Runs in whoever publishes or reads; the tables belong to `hornbeam_tables'. A channel has
%% counters (head: the last number given, tail: the last one dropped, bytes) and a row for each
%% message. A subscriber keeps a cursor, the number it has read up to; one that falls behind the
%% tail learns how many messages it has missed. So a slow subscriber costs nothing, and a channel
%% at most `pubsub_backlog' messages and `pubsub_backlog_bytes' bytes (and the newest message).
-module(hornbeam_pubsub_log).

-export([new/0, append/4, read/3, start/1, drop_older/3, delete/2]).
-export_type([log/0, cursor/0, message/0, limits/0]).

-define(TABLE, hornbeam_pubsub_messages).
-define(HEAD, 1).
-define(TAIL, 2).
-define(BYTES, 3).
%% The tail of a log that was deleted: beyond every number.
-define(DELETED, 16#FFFFFFFFFFFFFFF).

-opaque log() :: atomics:atomics_ref().

%% The number read up to; a number that was missing at the last look, or 0.
-type cursor() :: {non_neg_integer(), Missing :: non_neg_integer()}.

-type message() :: #{
    topic := binary(),
    %% the message in the external term format
    payload := binary(),
    %% the message for a WebSocket client
    frame := {text | binary, binary()} | undefined
}.

-type limits() :: #{pubsub_backlog := pos_integer(), pubsub_backlog_bytes := pos_integer(), _ => _}.

-spec new() -> log().
new() ->
    atomics:new(3, []).

%% @doc Where a subscriber starts that wants what comes from now on.
-spec start(log()) -> cursor().
start(Log) ->
    {atomics:get(Log, ?HEAD), 0}.

-spec append(hornbeam_pubsub:channel(), log(), message(), limits()) -> ok.
append(Channel, Log, #{topic := Topic, payload := Payload, frame := Frame}, Limits) ->
    Number = atomics:add_get(Log, ?HEAD, 1),
    Now = erlang:monotonic_time(millisecond),
    true = ets:insert(?TABLE, {{Channel, Number}, Now, Topic, Payload, Frame}),
    ok = atomics:add(Log, ?BYTES, size_of(Payload, Frame)),
    %% The tail may have passed, and the channel may have gone, while this process was held up
    %% before the insertion: nobody else would ever drop the row, and the next log of the channel
    %% would come to its number.
    _ = atomics:get(Log, ?TAIL) >= Number andalso drop(Channel, Log, Number),
    trim(Channel, Log, Number, Limits).

size_of(Payload, undefined) -> byte_size(Payload);
size_of(Payload, {_, Data}) -> byte_size(Payload) + byte_size(Data).

%% The newest message stays whatever its size.
trim(Channel, Log, Newest, #{pubsub_backlog := Most, pubsub_backlog_bytes := Bytes} = Limits) ->
    Tail = atomics:get(Log, ?TAIL),
    Over = Newest - Tail > Most orelse atomics:get(Log, ?BYTES) > Bytes,
    case Over andalso Tail + 1 < Newest of
        true ->
            advance(Channel, Log, Tail),
            trim(Channel, Log, Newest, Limits);
        false ->
            ok
    end.

%% Publishers race for the tail; one of them moves it.
advance(Channel, Log, Tail) ->
    case atomics:compare_exchange(Log, ?TAIL, Tail, Tail + 1) of
        ok -> drop(Channel, Log, Tail + 1);
        _ -> ok
    end.

drop(Channel, Log, Number) ->
    case ets:take(?TABLE, {Channel, Number}) of
        [{_, _, _, Payload, Frame}] -> atomics:sub(Log, ?BYTES, size_of(Payload, Frame));
        [] -> ok
    end.

%% @doc The next message, and how many were missed before it.
%%
%% A number without a row is being inserted: its publisher tells the subscribers once it is there,
%% so this is `empty' for now. When it is still missing at the next look its publisher was killed,
%% and it counts as missed.
-spec read(hornbeam_pubsub:channel(), log(), cursor()) ->
    {ok, message(), Missed :: non_neg_integer(), cursor()} | {empty, cursor()}.
read(Channel, Log, Cursor) ->
    read(Channel, Log, Cursor, 0).

read(Channel, Log, {At, Missing}, Missed) ->
    Tail = atomics:get(Log, ?TAIL),
    case atomics:get(Log, ?HEAD) of
        _ when Tail =:= ?DELETED -> empty({At, Missing}, Missed);
        _ when At < Tail -> read(Channel, Log, {Tail, Missing}, Missed + Tail - At);
        Head when At >= Head -> empty({At, Missing}, Missed);
        _ -> look_up(Channel, Log, {At, Missing}, Missed)
    end.

look_up(Channel, Log, {At, Missing}, Missed) ->
    Next = At + 1,
    case ets:lookup(?TABLE, {Channel, Next}) of
        [{_, _, Topic, Payload, Frame}] ->
            {ok, #{topic => Topic, payload => Payload, frame => Frame}, Missed, {Next, 0}};
        [] ->
            case atomics:get(Log, ?TAIL) >= Next orelse Missing =:= Next of
                true -> read(Channel, Log, {Next, 0}, Missed + 1);
                false -> empty({At, Next}, Missed)
            end
    end.

%% What was missed is told with the next message: the cursor goes back by as much.
empty({At, Missing}, Missed) ->
    {empty, {At - Missed, Missing}}.

%% @doc Drop what is older than Age milliseconds; for the process that sweeps.
-spec drop_older(hornbeam_pubsub:channel(), log(), Age :: non_neg_integer()) -> ok.
drop_older(Channel, Log, Age) ->
    Tail = atomics:get(Log, ?TAIL),
    Since = erlang:monotonic_time(millisecond) - Age,
    case atomics:get(Log, ?HEAD) > Tail andalso ets:lookup(?TABLE, {Channel, Tail + 1}) of
        [{_, At, _, _, _}] when At < Since ->
            advance(Channel, Log, Tail),
            drop_older(Channel, Log, Age);
        _ ->
            ok
    end.

%% @doc Drop all of it: the channel has no subscriber any more.
-spec delete(hornbeam_pubsub:channel(), log()) -> ok.
delete(Channel, Log) ->
    Tail = atomics:exchange(Log, ?TAIL, ?DELETED),
    Head = atomics:get(Log, ?HEAD),
    lists:foreach(fun(N) -> drop(Channel, Log, N) end, lists:seq(Tail + 1, Head)).
