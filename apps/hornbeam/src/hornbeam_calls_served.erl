%% SPDX-License-Identifier: Apache-2.0
%% @doc Calls and streams of a worker that are being served: who serves each, until when, and how
%% many items of a stream may still be sent. Part of `hornbeam_calls'; runs in the worker process.
-module(hornbeam_calls_served).

-export([new/0, size/1, add/6, credit/4, item/2, done/2, stop/2, down/2, stop_all/2]).
-export_type([calls/0, server/0]).

-include("hornbeam_wire.hrl").

%% A process of ours, or another worker.
-type server() :: {process, pid(), Monitor :: reference()} | {worker, pid()}.

-record(serving, {
    by :: server(),
    %% streams have none
    timer = none :: none | reference(),
    %% of a stream: items that may still be sent to the worker
    credit = none :: none | non_neg_integer()
}).

-opaque calls() :: #{hornbeam_wire:call_id() => #serving{}}.

-define(WINDOW, 16).

-spec new() -> calls().
new() -> #{}.

-spec size(calls()) -> non_neg_integer().
size(Calls) -> map_size(Calls).

%% @doc Somebody serves the call or stream; Worker is told `{deadline, Key}' when its time is over.
-spec add(hornbeam_calls:key(), server(), ?CALL | ?STREAM, pos_integer(), pid(), calls()) ->
    calls().
add({_, Id} = Key, By, ?CALL, Timeout, Worker, Calls) ->
    Timer = erlang:send_after(Timeout, Worker, {hornbeam_calls, {deadline, Key}}),
    Calls#{Id => #serving{by = By, timer = Timer}};
add({_, Id}, By, ?STREAM, _, _, Calls) ->
    %% Its reader, who knows when it reads, watches over the time of each item.
    Calls#{Id => #serving{by = By, credit = ?WINDOW}}.

%% @doc The worker, whose call this is, takes more items.
-spec credit(hornbeam_calls:key(), pos_integer(), Worker :: pid(), calls()) ->
    {ok, calls()} | not_open | no_stream.
credit({_, Id} = Key, Items, Worker, Calls) ->
    case Calls of
        #{Id := #serving{credit = Credit, by = By} = Entry} when is_integer(Credit) ->
            ok = pass_credit(Items, By, {call, Worker, Key}),
            {ok, Calls#{Id := Entry#serving{credit = Credit + Items}}};
        #{Id := _} ->
            no_stream;
        #{} ->
            not_open
    end.

pass_credit(Items, {process, Pid, _}, _) ->
    Pid ! {hornbeam_credit, Items},
    ok;
pass_credit(Items, {worker, Provider}, From) ->
    Provider ! {hornbeam_calls, {credit, From, Items}},
    ok.

%% @doc An item goes to the worker, if the stream is open.
-spec item(hornbeam_wire:call_id(), calls()) -> {ok, calls()} | error.
item(Id, Calls) ->
    case Calls of
        #{Id := #serving{credit = Credit} = Entry} when is_integer(Credit) ->
            %% Those that send items count, too.
            _ = Credit > 0 orelse error({illegal_message, ?ITEM, Id}),
            {ok, Calls#{Id := Entry#serving{credit = Credit - 1}}};
        #{} ->
            error
    end.

%% @doc The call has its answer.
-spec done(hornbeam_wire:call_id(), calls()) -> {ok, calls()} | error.
done(Id, Calls) ->
    case maps:take(Id, Calls) of
        {Entry, Rest} ->
            forget(Entry),
            {ok, Rest};
        error ->
            error
    end.

%% @doc Nobody waits for it any more: what serves it is stopped.
-spec stop(hornbeam_calls:key(), calls()) -> {ok, calls()} | error.
stop({_, Id} = Key, Calls) ->
    case maps:take(Id, Calls) of
        {Entry, Rest} ->
            ok = abandon(Key, Entry),
            {ok, Rest};
        error ->
            error
    end.

%% @doc The process of a service has ended without an answer: whose call it served.
-spec down(pid(), calls()) -> {ok, hornbeam_wire:call_id(), calls()} | error.
down(Pid, Calls) ->
    case [Id || {Id, #serving{by = {process, P, _}}} <- maps:to_list(Calls), P =:= Pid] of
        [Id] ->
            {ok, Rest} = done(Id, Calls),
            {ok, Id, Rest};
        [] ->
            error
    end.

%% @doc The worker has gone: nobody waits for any of them.
-spec stop_all(Incarnation :: reference(), calls()) -> ok.
stop_all(Incarnation, Calls) ->
    maps:foreach(fun(Id, Entry) -> ok = abandon({Incarnation, Id}, Entry) end, Calls).

abandon(Key, #serving{by = By} = Entry) ->
    forget(Entry),
    case By of
        {process, Pid, _} ->
            true = exit(Pid, kill),
            ok;
        {worker, Provider} ->
            Provider ! {hornbeam_calls, {revoke, {call, self(), Key}}},
            ok
    end.

forget(#serving{by = By, timer = Timer}) ->
    _ = Timer =/= none andalso
        erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    case By of
        {process, _, Monitor} -> demonitor(Monitor, [flush]);
        {worker, _} -> true
    end.
