%% SPDX-License-Identifier: Apache-2.0
%% @doc Subscriptions of processes elsewhere in the cluster: who subscribes to what.
%%
%% The state is kept by the process `hornbeam_topics', in which everything here runs. Each client
%% has a process that passes messages on (`hornbeam_messages_subscriber'), beside one that reads
%% them from the logs as it does for a worker (`hornbeam_worker_events').
-module(hornbeam_messages_topics).

-export([new/0, handle/3, ended/3]).
-export_type([state/0]).

%% Processes that may subscribe.
-define(MOST, 65536).

-record(client, {
    pid :: pid(),
    subscriber :: pid(),
    events :: pid(),
    last = 0 :: non_neg_integer(),
    ids = #{} :: #{hornbeam_pubsub:channel() => pos_integer()}
}).

-record(state, {
    clients = #{} :: #{pid() => #client{}},
    %% whose subscriber it is
    owners = #{} :: #{pid() => pid()}
}).
-opaque state() :: #state{}.

-spec new() -> state().
new() -> #state{}.

%% @doc Carry an operation out for a client.
-spec handle(hornbeam_messages_request:operation(), hornbeam_messages_call:client(), state()) ->
    {hornbeam_messages_call:answer(), state()}.
handle(_, none, State) ->
    Text = <<"a subscription needs a client: a call, not a cast">>,
    {{error, hornbeam_service:fault({bad_term, Text})}, State};
handle(Operation, {call, {Pid, _}}, State) ->
    operate(Operation, Pid, State);
handle(Operation, {message, Pid, _}, State) ->
    operate(Operation, Pid, State).

operate({subscribe, Channel, Credit}, Pid, State) ->
    case client(Pid, State) of
        {ok, Client} ->
            {{ok, undefined}, kept(subscribed(Channel, Credit, Client), State)};
        full ->
            {{error, hornbeam_service:fault({overloaded, <<"subscribers">>, ?MOST})}, State}
    end;
operate(Operation, Pid, #state{clients = Clients} = State) ->
    case Clients of
        #{Pid := Client} -> {{ok, undefined}, kept(changed(Operation, Client), State)};
        #{} -> {{ok, undefined}, State}
    end.

client(Pid, #state{clients = Clients}) ->
    case Clients of
        #{Pid := Client} ->
            {ok, Client};
        #{} when map_size(Clients) >= ?MOST ->
            full;
        #{} ->
            {ok, Subscriber, Events} = hornbeam_messages_subscriber:start_link(Pid),
            {ok, #client{pid = Pid, subscriber = Subscriber, events = Events}}
    end.

kept(#client{pid = Pid, subscriber = Subscriber, ids = Ids}, State) when map_size(Ids) =:= 0 ->
    ok = hornbeam_messages_subscriber:stop(Subscriber),
    #state{clients = Clients, owners = Owners} = State,
    State#state{clients = maps:remove(Pid, Clients), owners = maps:remove(Subscriber, Owners)};
kept(#client{pid = Pid, subscriber = Subscriber} = Client, State) ->
    #state{clients = Clients, owners = Owners} = State,
    State#state{clients = Clients#{Pid => Client}, owners = Owners#{Subscriber => Pid}}.

%% Once, however often it is asked for: a client that repeats a request must not get two copies, nor
%% have to take it back twice.
subscribed(Channel, Credit, #client{ids = Ids, last = Last, events = Events} = Client) ->
    case Ids of
        #{Channel := Id} ->
            ok = granted(Credit, Id, Client),
            Client;
        #{} ->
            Id = Last + 1,
            ok = granted(Credit, Id, Client),
            ok = hornbeam_worker_events:subscribe(Events, Id, Channel),
            Client#client{last = Id, ids = Ids#{Channel => Id}}
    end.

granted(auto, Id, #client{subscriber = Subscriber}) ->
    hornbeam_messages_subscriber:grant(Subscriber, Id);
granted(0, _, _) ->
    ok;
granted(Messages, Id, #client{events = Events}) ->
    hornbeam_worker_events:credit(Events, Id, Messages).

changed(Operation, #client{ids = Ids} = Client) ->
    Channel = element(2, Operation),
    case Ids of
        #{Channel := Id} -> changed(Operation, Id, Client);
        #{} -> Client
    end.

changed({credit, _, Messages}, Id, #client{events = Events} = Client) ->
    ok = hornbeam_worker_events:credit(Events, Id, Messages),
    Client;
changed({unsubscribe, Channel}, Id, #client{ids = Ids, events = Events} = Client) ->
    ok = hornbeam_worker_events:unsubscribe(Events, Id),
    Client#client{ids = maps:remove(Channel, Ids)}.

%% @doc The process that passes messages on has ended: with its client; or it failed, and the client
%% is told `{hornbeam_pubsub_ended, Node}'.
-spec ended(pid(), Reason :: term(), state()) -> state().
ended(Subscriber, Reason, #state{clients = Clients, owners = Owners} = State) ->
    case maps:take(Subscriber, Owners) of
        {Pid, Rest} ->
            Message = {hornbeam_pubsub_ended, node()},
            _ = Reason =:= shutdown orelse erlang:send(Pid, Message, [nosuspend, noconnect]),
            State#state{clients = maps:remove(Pid, Clients), owners = Rest};
        error ->
            State
    end.
