%% SPDX-License-Identifier: Apache-2.0
%% @doc Subscriptions of one Python worker: reads the logs of its channels and passes on what the
%% worker has granted credit for (PROTOCOL.md, section 4.3, Events).
%%
%% Runs in a process of its own beside each worker process, from the start of the Python process to
%% its end; so a burst of messages never keeps requests waiting. What the worker does not read stays
%% in the log of the channel, where the oldest is dropped and counted.
-module(hornbeam_worker_events).
-behaviour(gen_server).

-export([start_link/1, stop/1, subscribe/3, unsubscribe/2, credit/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([event/0]).

-include("hornbeam_wire.hrl").

%% Events in one packet, and bytes after which a packet is complete.
-define(BATCH, 64).
-define(BATCH_BYTES, 1048576).
%% Subscriptions that may be about to be made.
-define(MOST_EARLY, 1024).

-type id() :: pos_integer().

%% What the worker process is sent.
-type event() :: {events, pid(), [hornbeam_wire:message(), ...]}.

-record(subscription, {
    channel :: hornbeam_pubsub:channel(),
    reader :: hornbeam_pubsub:subscription(),
    credit :: non_neg_integer(),
    %% how often the worker has subscribed
    weight = 1 :: pos_integer()
}).

-record(state, {
    worker :: pid(),
    subscriptions = #{} :: #{id() => #subscription{}},
    ids = #{} :: #{hornbeam_pubsub:channel() => [id(), ...]},
    %% credit for subscriptions that are about to be made; the highest number of one that was
    early = #{} :: #{id() => pos_integer()},
    last = 0 :: non_neg_integer()
}).

-spec start_link(Worker :: pid()) -> {ok, pid()}.
start_link(Worker) ->
    gen_server:start_link(?MODULE, Worker, []).

%% @doc The Python process has ended; the registry takes the subscriptions away.
-spec stop(pid()) -> ok.
stop(Pid) ->
    true = exit(Pid, shutdown),
    ok.

%% @doc Subscribe the worker under its number Id. The same number and channel again adds a
%% subscription: the publisher counts it.
-spec subscribe(pid(), id(), hornbeam_pubsub:channel()) -> ok | {error, taken}.
subscribe(Pid, Id, Channel) ->
    gen_server:call(Pid, {subscribe, Id, Channel}).

%% @doc Take one subscription back; nothing when there is none.
-spec unsubscribe(pid(), id()) -> ok.
unsubscribe(Pid, Id) ->
    gen_server:call(Pid, {unsubscribe, Id}).

%% @doc The worker has consumed events. Runs in the worker process.
-spec credit(pid(), id(), pos_integer()) -> ok.
credit(Pid, Id, Events) ->
    Pid ! {credit, Id, Events},
    ok.

-spec init(pid()) -> {ok, #state{}}.
init(Worker) ->
    {ok, #state{worker = Worker}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({subscribe, Id, Channel}, _From, State) ->
    subscribed(Id, Channel, State);
handle_call({unsubscribe, Id}, _From, State) ->
    {reply, ok, unsubscribed(Id, State)};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({hornbeam_channel, Channel}, #state{ids = Ids} = State) ->
    case Ids of
        #{Channel := [Id | _] = All} ->
            #{Id := #subscription{reader = Reader}} = State#state.subscriptions,
            ok = hornbeam_pubsub:told(Reader),
            {noreply, lists:foldl(fun pass_on/2, State, All)};
        _ ->
            {noreply, State}
    end;
handle_info({credit, Id, Events}, #state{subscriptions = Subscriptions} = State) ->
    case Subscriptions of
        #{Id := #subscription{credit = Credit} = S} ->
            More = Subscriptions#{Id := S#subscription{credit = Credit + Events}},
            {noreply, pass_on(Id, State#state{subscriptions = More})};
        _ ->
            {noreply, early(Id, Events, State)}
    end;
handle_info(_, State) ->
    {noreply, State}.

%% Credit comes before the subscription, or after its end.
early(Id, Events, #state{early = Early, last = Last} = State) when
    Id > Last, map_size(Early) < ?MOST_EARLY
->
    State#state{early = Early#{Id => Events + maps:get(Id, Early, 0)}};
early(_, _, State) ->
    State.

subscribed(Id, Channel, #state{subscriptions = Subscriptions, ids = Ids} = State) ->
    case Subscriptions of
        #{Id := #subscription{channel = Channel, weight = Weight} = S} ->
            _ = hornbeam_pubsub:attach(Channel, self(), worker),
            More = Subscriptions#{Id := S#subscription{weight = Weight + 1}},
            {reply, ok, State#state{subscriptions = More}};
        #{Id := _} ->
            {reply, {error, taken}, State};
        _ ->
            Reader = hornbeam_pubsub:attach(Channel, self(), worker),
            Credit = maps:get(Id, State#state.early, 0),
            S = #subscription{channel = Channel, reader = Reader, credit = Credit},
            {reply, ok, State#state{
                early = maps:remove(Id, State#state.early),
                last = max(Id, State#state.last),
                subscriptions = Subscriptions#{Id => S},
                ids = maps:update_with(Channel, fun(Others) -> [Id | Others] end, [Id], Ids)
            }}
    end.

unsubscribed(Id, #state{subscriptions = Subscriptions} = State) ->
    case Subscriptions of
        #{Id := #subscription{channel = Channel, weight = 1}} ->
            ok = hornbeam_pubsub:detach(Channel, self()),
            without(Id, Channel, State);
        #{Id := #subscription{channel = Channel, weight = Weight} = S} ->
            ok = hornbeam_pubsub:detach(Channel, self()),
            Fewer = Subscriptions#{Id := S#subscription{weight = Weight - 1}},
            State#state{subscriptions = Fewer};
        _ ->
            State
    end.

without(Id, Channel, #state{subscriptions = Subscriptions, ids = Ids} = State) ->
    #{Channel := All} = Ids,
    Others =
        case lists:delete(Id, All) of
            [] -> maps:remove(Channel, Ids);
            Rest -> Ids#{Channel := Rest}
        end,
    State#state{subscriptions = maps:remove(Id, Subscriptions), ids = Others}.

%% As much as there is and as the credit allows.
pass_on(Id, #state{worker = Worker, subscriptions = Subscriptions} = State) ->
    #{Id := S0} = Subscriptions,
    case batch(Id, S0, [], 0) of
        {[], S} ->
            State#state{subscriptions = Subscriptions#{Id := S}};
        {Events, S} ->
            Worker ! {hornbeam_calls, {events, self(), lists:reverse(Events)}},
            pass_on(Id, State#state{subscriptions = Subscriptions#{Id := S}})
    end.

batch(_, #subscription{credit = 0} = S, Events, _) ->
    {Events, S};
batch(_, S, Events, Bytes) when length(Events) >= ?BATCH; Bytes >= ?BATCH_BYTES ->
    {Events, S};
batch(Id, #subscription{reader = Reader0, credit = Credit} = S, Events, Bytes) ->
    case hornbeam_pubsub:read(Reader0) of
        {ok, #{topic := Topic, payload := Payload}, Missed, Reader} ->
            Event = {?EVENT, Id, Missed, Topic, Payload},
            Left = S#subscription{reader = Reader, credit = Credit - 1},
            batch(Id, Left, [Event | Events], Bytes + byte_size(Payload));
        {empty, Reader} ->
            {Events, S#subscription{reader = Reader}}
    end.
