%% SPDX-License-Identifier: Apache-2.0
%% @doc What lies in the mailbox of a worker process already, so that it travels in one packet.
%%
%% Runs in the worker process, for `hornbeam_worker_proc'. Nothing is waited for.
-module(hornbeam_worker_mailbox).

-export([opens/1, rest/0, events/1]).

%% Requests, messages taken for one packet.
-define(BATCH, 64).
%% Bytes of messages after which no more is taken: the last one fits into the packet, too.
-define(BYTES, 1048576).

%% @doc The request and those behind it, in order.
-spec opens(Open) -> [Open, ...] when Open :: {hornbeam_exchanges:to(), hornbeam_wire:request()}.
opens(Open) ->
    opens([Open], ?BATCH - 1).

opens(Opens, 0) ->
    lists:reverse(Opens);
opens(Opens, N) ->
    receive
        {hornbeam_open, To, Request} -> opens([{To, Request} | Opens], N - 1)
    after 0 -> lists:reverse(Opens)
    end.

%% @doc Requests that were sent here before the limit became 0, in order.
-spec rest() -> [{hornbeam_exchanges:to(), hornbeam_wire:request()}].
rest() ->
    receive
        {hornbeam_open, To, Request} -> [{To, Request} | rest()]
    after 0 -> []
    end.

%% @doc What a WebSocket says, and what others say of theirs behind it, in order.
-spec events(Event) -> [Event, ...] when Event :: hornbeam_worker_traffic:event().
events(Event) ->
    events([Event], ?BATCH - 1, ?BYTES - size_of(Event)).

events(Events, N, Left) when N =:= 0; Left =< 0 ->
    lists:reverse(Events);
events(Events, N, Left) ->
    receive
        {hornbeam_message, _, _, _} = Event ->
            events([Event | Events], N - 1, Left - size_of(Event));
        {hornbeam_credit, _, _} = Event -> events([Event | Events], N - 1, Left);
        {hornbeam_close, _, _, _} = Event -> events([Event | Events], N - 1, Left)
    after 0 -> lists:reverse(Events)
    end.

size_of({hornbeam_message, _, _, Data}) -> byte_size(Data).
