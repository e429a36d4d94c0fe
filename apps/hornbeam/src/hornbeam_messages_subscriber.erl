%% SPDX-License-Identifier: Apache-2.0
%% @doc Passes messages on to one process that subscribes, mostly one of another node.
%%
%% Runs in a process for each such client, linked to the service that has it. The client gets
%%   {hornbeam_pubsub, Topic, Message}      and, before it, when messages were dropped
%%   {hornbeam_pubsub_lost, Topic, Number}
%% A send to a client that does not read waits here while the buffer of its connection is full
%% (`+zdbbl'); meanwhile the log of the channel keeps what it may keep, and counts what it drops.
-module(hornbeam_messages_subscriber).
-behaviour(gen_server).

-export([start_link/1, grant/2, stop/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2]).

-include("hornbeam_wire.hrl").

%% Messages of a subscription that are between the log and the connection.
-define(WINDOW, 16).

-record(state, {
    client :: pid(),
    events :: pid(),
    %% subscriptions whose client does not grant credit itself
    automatic = #{} :: #{pos_integer() => []}
}).

%% @doc The process, and the one that reads for it.
-spec start_link(Client :: pid()) -> {ok, pid(), Events :: pid()}.
start_link(Client) ->
    {ok, Pid} = gen_server:start_link(?MODULE, Client, []),
    {ok, Pid, gen_server:call(Pid, events)}.

%% @doc Messages of the subscription go on as fast as the connection takes them.
-spec grant(pid(), pos_integer()) -> ok.
grant(Pid, Id) ->
    gen_server:cast(Pid, {grant, Id}).

-spec stop(pid()) -> ok.
stop(Pid) ->
    true = exit(Pid, shutdown),
    ok.

-spec init(pid()) -> {ok, #state{}, {continue, watch}}.
init(Client) ->
    {ok, Events} = hornbeam_worker_events:start_link(self()),
    {ok, #state{client = Client, events = Events}, {continue, watch}}.

-spec handle_continue(watch, #state{}) -> {noreply, #state{}}.
handle_continue(watch, #state{client = Client} = State) ->
    _ = monitor(process, Client),
    {noreply, State}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(events, _From, #state{events = Events} = State) ->
    {reply, Events, State};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({grant, Id}, #state{automatic = Automatic} = State) when is_map_key(Id, Automatic) ->
    {noreply, State};
handle_cast({grant, Id}, #state{events = Events, automatic = Automatic} = State) ->
    ok = hornbeam_worker_events:credit(Events, Id, ?WINDOW),
    {noreply, State#state{automatic = Automatic#{Id => []}}};
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, shutdown, #state{}}.
handle_info({hornbeam_calls, {events, _, [{?EVENT, Id, _, _, _} | _] = Messages}}, State) ->
    #state{client = Client, events = Events, automatic = Automatic} = State,
    ok = lists:foreach(fun(Message) -> pass_on(Message, Client) end, Messages),
    _ = is_map_key(Id, Automatic) andalso
        hornbeam_worker_events:credit(Events, Id, length(Messages)),
    {noreply, State};
handle_info({'DOWN', _, process, Client, _}, #state{client = Client} = State) ->
    {stop, shutdown, State};
handle_info(_, State) ->
    {noreply, State}.

pass_on({?EVENT, _, Lost, Topic, Payload}, Client) ->
    _ = Lost > 0 andalso (Client ! {hornbeam_pubsub_lost, Topic, Lost}),
    {ok, Message} = hornbeam_wire:decode_value(Payload),
    Client ! {hornbeam_pubsub, Topic, Message},
    ok.
