%% SPDX-License-Identifier: Apache-2.0
%% @doc The node's part of the conversations about events: a process that reads for a worker
%% (`hornbeam_worker_events'), told by publishing what the vector wants it to say.
%% Runs in: the EUnit process, which stands for the worker process. Publish and subscribe is there.
-module(conversation_events).

-export([new/1, stop/1, credit/3, says/2, is_silent/2]).
-export_type([state/0]).

-include_lib("stdlib/include/assert.hrl").
-include("hornbeam_wire.hrl").

-record(events, {
    pid :: pid(),
    %% subscriptions that the vector speaks of, made before the first event
    ids :: [{pos_integer(), Topic :: binary()}],
    %% what the process has said and the vector has not come to yet
    said = [] :: [hornbeam_wire:message()]
}).
-opaque state() :: #events{}.

%% @doc For the messages of the node in one conversation that are legal there.
-spec new([hornbeam_wire:message()]) -> state().
new(Messages) ->
    {ok, Pid} = hornbeam_worker_events:start_link(self()),
    Ids = lists:usort([{Id, Topic} || {?EVENT, Id, _, Topic, _} <- Messages]),
    #events{pid = Pid, ids = Ids}.

%% @doc The conversation is over.
-spec stop(state()) -> ok.
stop(#events{pid = Pid}) ->
    true = unlink(Pid),
    gen_server:stop(Pid).

%% @doc The worker grants credit.
-spec credit(pos_integer(), pos_integer(), state()) -> state().
credit(Id, Events, #events{pid = Pid} = State) ->
    ok = hornbeam_worker_events:credit(Pid, Id, Events),
    State.

%% @doc The node says this event, once there is a reason for it.
-spec says(hornbeam_wire:message(), state()) -> state().
says(Event, State) ->
    #events{said = Said} = Known = heard(subscribed(State)),
    case lists:member(Event, Said) of
        true ->
            Known#events{said = lists:delete(Event, Said)};
        false ->
            #events{said = Now} = Published = published(Event, Known),
            ?assert(lists:member(Event, Now)),
            Published#events{said = lists:delete(Event, Now)}
    end.

%% @doc The node does not say this event, although there is a reason for it.
-spec is_silent(hornbeam_wire:message(), state()) -> ok.
is_silent(Event, State) ->
    #events{said = Said} = published(Event, heard(State)),
    ?assertNot(lists:member(Event, Said)).

subscribed(#events{pid = Pid, ids = Ids} = State) ->
    Subscribe = fun({Id, Topic}) ->
        ok = hornbeam_worker_events:subscribe(Pid, Id, {topic, Topic})
    end,
    ok = lists:foreach(Subscribe, Ids),
    State#events{ids = []}.

%% What is lost is published while the process does not read, to a log that keeps one message.
published({?EVENT, _, Lost, Topic, Payload}, #events{pid = Pid} = State) ->
    ok = sys:suspend(Pid),
    {ok, Value} = hornbeam_wire:decode_value(Payload),
    _ = [hornbeam_pubsub:publish(Topic, lost) || _ <- lists:seq(1, Lost)],
    _ = hornbeam_pubsub:publish(Topic, Value),
    ok = sys:resume(Pid),
    heard(State).

heard(#events{pid = Pid, said = Said} = State) ->
    %% it has handled what was sent to it before
    _ = sys:get_state(Pid),
    State#events{said = Said ++ lists:append(packets(Pid))}.

packets(Pid) ->
    receive
        {hornbeam_calls, {events, Pid, Events}} -> [Events | packets(Pid)]
    after 0 -> []
    end.
