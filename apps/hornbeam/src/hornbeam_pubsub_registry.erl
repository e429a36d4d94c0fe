%% SPDX-License-Identifier: Apache-2.0
%% @doc Who subscribes to what on this node. One process makes and ends subscriptions, and takes
%% those of dead processes away; publishers read its tables, which `hornbeam_tables' owns.
%%
%%   hornbeam_pubsub_channels      {Channel, Log}
%%   hornbeam_pubsub_subscribers   {{Channel, Subscriber}, Weight, Kind, Told}
%%                                 Weight: subscriptions
%%
%% It sweeps the logs of old messages. Other nodes learn of a topic's first and last subscription
%% through `pg' (`hornbeam_pubsub_relay').
-module(hornbeam_pubsub_registry).
-behaviour(gen_server).

-export([start_link/0, configure/1, limits/0]).
-export([subscribe/3, unsubscribe/2, unsubscribe_all/1, prefix_lengths/0]).
-export_type([subscriber/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(CHANNELS, hornbeam_pubsub_channels).
-define(SUBSCRIBERS, hornbeam_pubsub_subscribers).
-define(LIMITS, {?MODULE, limits}).
-define(LENGTHS, {?MODULE, prefix_lengths}).
-define(SWEEP, 1000).

%% A process, or one of the streams that a process serves, which is told as Cowboy's streams are.
-type subscriber() :: hornbeam_exchanges:hearer().

-type key() :: {hornbeam_pubsub:channel(), subscriber()}.

%% Why a subscriber is told: it runs its own mailbox, it is a worker's, it is a WebSocket.
-type kind() :: process | worker | socket.

-type limits() :: #{
    %% Messages and bytes kept for the slowest subscribers of a channel, and for how long.
    pubsub_backlog := pos_integer(),
    pubsub_backlog_bytes := pos_integer(),
    %% Milliseconds.
    pubsub_backlog_age := pos_integer(),
    _ => _
}.

-record(state, {
    monitors = #{} :: #{pid() => {reference(), #{key() => true}}},
    prefixes = #{} :: #{Length :: non_neg_integer() => pos_integer()}
}).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc The limits of all channels, from now on.
-spec configure(limits()) -> ok.
configure(Limits) ->
    Keys = [pubsub_backlog, pubsub_backlog_bytes, pubsub_backlog_age],
    persistent_term:put(?LIMITS, maps:with(Keys, Limits)).

-spec limits() -> limits().
limits() ->
    persistent_term:get(?LIMITS).

%% @doc Lengths of the prefixes that somebody subscribes to.
-spec prefix_lengths() -> [non_neg_integer()].
prefix_lengths() ->
    persistent_term:get(?LENGTHS).

%% @doc Everything published after the return is for the subscriber.
-spec subscribe(hornbeam_pubsub:channel(), subscriber(), kind()) ->
    {hornbeam_pubsub_log:log(), Told :: atomics:atomics_ref(), hornbeam_pubsub_log:cursor()}.
subscribe(Channel, Subscriber, Kind) ->
    gen_server:call(?MODULE, {subscribe, Channel, Subscriber, Kind}).

-spec unsubscribe(hornbeam_pubsub:channel(), subscriber()) -> ok.
unsubscribe(Channel, Subscriber) ->
    gen_server:call(?MODULE, {unsubscribe, Channel, Subscriber}).

%% @doc Takes all subscriptions of a stream back, soon: its process goes on.
-spec unsubscribe_all(subscriber()) -> ok.
unsubscribe_all(Subscriber) ->
    gen_server:cast(?MODULE, {unsubscribe_all, Subscriber}).

-spec init([]) -> {ok, #state{}}.
init([]) ->
    ok = configure(maps:merge(default_limits(), persistent_term:get(?LIMITS, #{}))),
    _ = erlang:send_after(?SWEEP, self(), sweep),
    {ok, adopt(#state{})}.

default_limits() ->
    #{pubsub_backlog => 1024, pubsub_backlog_bytes => 16777216, pubsub_backlog_age => 30000}.

%% After a crash the tables still hold what the crashed process knew.
adopt(State0) ->
    Rows = ets:tab2list(?SUBSCRIBERS),
    Channels = [Channel || {Channel, _} <- ets:tab2list(?CHANNELS)],
    Monitored = lists:foldl(fun({Key, _, _, _}, S) -> watch(Key, S) end, State0, Rows),
    Prefixes = lists:foldl(fun count_prefix/2, #{}, Channels),
    ok = hornbeam_pubsub_relay:rejoin(Channels),
    set_prefixes(Monitored#state{prefixes = Prefixes}).

count_prefix({prefix, Prefix}, Counts) ->
    maps:update_with(byte_size(Prefix), fun(N) -> N + 1 end, 1, Counts);
count_prefix(_, Counts) ->
    Counts.

set_prefixes(#state{prefixes = Prefixes} = State) ->
    ok = persistent_term:put(?LENGTHS, lists:sort(maps:keys(Prefixes))),
    State.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({subscribe, Channel, Subscriber, Kind}, _From, State0) ->
    {Log, State} = open(Channel, State0),
    Key = {Channel, Subscriber},
    Told = told(Key, Kind),
    {reply, {Log, Told, hornbeam_pubsub_log:start(Log)}, watch(Key, State)};
handle_call({unsubscribe, Channel, Subscriber}, _From, State) ->
    {reply, ok, taken_back({Channel, Subscriber}, State)};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({unsubscribe_all, Subscriber}, State) ->
    {noreply, lists:foldl(fun forget/2, State, keys(Subscriber, State))};
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({'DOWN', _, process, Pid, _}, State) ->
    {noreply, gone(Pid, State)};
handle_info(sweep, State) ->
    _ = erlang:send_after(?SWEEP, self(), sweep),
    #{pubsub_backlog_age := Age} = limits(),
    sweep(ets:first(?CHANNELS), Age),
    {noreply, State};
handle_info(_, State) ->
    {noreply, State}.

%%% Subscriptions

open(Channel, State) ->
    case ets:lookup(?CHANNELS, Channel) of
        [{_, Log}] ->
            {Log, State};
        [] ->
            Log = hornbeam_pubsub_log:new(),
            true = ets:insert(?CHANNELS, {Channel, Log}),
            ok = hornbeam_pubsub_relay:join(Channel),
            {Log, with_prefixes(count_prefix(Channel, State#state.prefixes), State)}
    end.

%% Persistent terms are dear to change: only when a length comes or goes.
with_prefixes(Prefixes, #state{prefixes = Before} = State) ->
    Known = maps:keys(Before),
    case maps:keys(Prefixes) of
        Known -> State#state{prefixes = Prefixes};
        _ -> set_prefixes(State#state{prefixes = Prefixes})
    end.

told(Key, Kind) ->
    case ets:lookup(?SUBSCRIBERS, Key) of
        [{_, Weight, _, Told}] ->
            true = ets:update_element(?SUBSCRIBERS, Key, {2, Weight + 1}),
            Told;
        [] ->
            Told = atomics:new(1, []),
            true = ets:insert(?SUBSCRIBERS, {Key, 1, Kind, Told}),
            Told
    end.

watch({_, Subscriber} = Key, #state{monitors = Monitors} = State) ->
    Pid = process(Subscriber),
    {Ref, Keys} =
        case Monitors of
            #{Pid := Known} -> Known;
            _ -> {monitor(process, Pid), #{}}
        end,
    State#state{monitors = Monitors#{Pid => {Ref, Keys#{Key => true}}}}.

process({Pid, _Stream}) -> Pid;
process(Pid) -> Pid.

keys(Subscriber, #state{monitors = Monitors}) ->
    {_, Keys} = maps:get(process(Subscriber), Monitors, {none, #{}}),
    [Key || {_, Of} = Key <- maps:keys(Keys), Of =:= Subscriber].

taken_back(Key, State) ->
    case ets:lookup(?SUBSCRIBERS, Key) of
        [] ->
            State;
        [{_, Weight, _, _}] when Weight > 1 ->
            true = ets:update_element(?SUBSCRIBERS, Key, {2, Weight - 1}),
            State;
        [_] ->
            forget(Key, State)
    end.

forget({_, Subscriber} = Key, State) ->
    Pid = process(Subscriber),
    #state{monitors = Monitors} = Left = remove(Key, State),
    #{Pid := {Ref, Keys0}} = Monitors,
    case maps:remove(Key, Keys0) of
        Keys when Keys =:= #{} ->
            true = demonitor(Ref, [flush]),
            Left#state{monitors = maps:remove(Pid, Monitors)};
        Keys ->
            Left#state{monitors = Monitors#{Pid := {Ref, Keys}}}
    end.

gone(Pid, #state{monitors = Monitors} = State) ->
    {{_, Keys}, Rest} = maps:take(Pid, Monitors),
    lists:foldl(fun remove/2, State#state{monitors = Rest}, maps:keys(Keys)).

remove({Channel, _} = Key, State) ->
    true = ets:delete(?SUBSCRIBERS, Key),
    case ets:next(?SUBSCRIBERS, {Channel, 0}) of
        {Channel, _} -> State;
        _ -> close(Channel, State)
    end.

close(Channel, #state{prefixes = Prefixes} = State) ->
    [{_, Log}] = ets:take(?CHANNELS, Channel),
    ok = hornbeam_pubsub_log:delete(Channel, Log),
    ok = hornbeam_pubsub_relay:leave(Channel),
    with_prefixes(uncount_prefix(Channel, Prefixes), State).

uncount_prefix({prefix, Prefix}, Counts) ->
    Length = byte_size(Prefix),
    case Counts of
        #{Length := 1} -> maps:remove(Length, Counts);
        #{Length := N} -> Counts#{Length := N - 1}
    end;
uncount_prefix(_, Counts) ->
    Counts.

sweep('$end_of_table', _) ->
    ok;
sweep(Channel, Age) ->
    [{_, Log}] = ets:lookup(?CHANNELS, Channel),
    ok = hornbeam_pubsub_log:drop_older(Channel, Log, Age),
    sweep(ets:next(?CHANNELS, Channel), Age).
