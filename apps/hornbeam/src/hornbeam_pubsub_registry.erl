%% SPDX-License-Identifier: Apache-2.0
%% @doc Who subscribes to what on this node. One process makes and ends subscriptions, and takes
%% those of dead processes away; publishers read its tables, which `hornbeam_tables' owns.
%%
%%   hornbeam_pubsub_channels      {Channel, Log}
%%   hornbeam_pubsub_subscribers   {{Channel, Pid}, Weight, Kind, Told}   Weight: subscriptions
%%
%% It sweeps the logs of old messages. Other nodes learn of a topic's first and last subscription
%% through `pg' (`hornbeam_pubsub_relay').
-module(hornbeam_pubsub_registry).
-behaviour(gen_server).

-export([start_link/0, configure/1, limits/0]).
-export([subscribe/3, unsubscribe/2, prefix_lengths/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(CHANNELS, hornbeam_pubsub_channels).
-define(SUBSCRIBERS, hornbeam_pubsub_subscribers).
-define(LIMITS, {?MODULE, limits}).
-define(LENGTHS, {?MODULE, prefix_lengths}).
-define(SWEEP, 1000).

%% Why a process is told: it runs its own mailbox, it is a worker's, it is a WebSocket.
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
    monitors = #{} :: #{pid() => {reference(), #{hornbeam_pubsub:channel() => true}}},
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
-spec subscribe(hornbeam_pubsub:channel(), pid(), kind()) ->
    {hornbeam_pubsub_log:log(), Told :: atomics:atomics_ref(), hornbeam_pubsub_log:cursor()}.
subscribe(Channel, Pid, Kind) ->
    gen_server:call(?MODULE, {subscribe, Channel, Pid, Kind}).

-spec unsubscribe(hornbeam_pubsub:channel(), pid()) -> ok.
unsubscribe(Channel, Pid) ->
    gen_server:call(?MODULE, {unsubscribe, Channel, Pid}).

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
    Monitored = lists:foldl(fun({{C, Pid}, _, _, _}, S) -> watch(Pid, C, S) end, State0, Rows),
    Prefixes = lists:foldl(fun count_prefix/2, #{}, Channels),
    lists:foreach(fun hornbeam_pubsub_relay:join/1, Channels),
    set_prefixes(Monitored#state{prefixes = Prefixes}).

count_prefix({prefix, Prefix}, Counts) ->
    maps:update_with(byte_size(Prefix), fun(N) -> N + 1 end, 1, Counts);
count_prefix({topic, _}, Counts) ->
    Counts.

set_prefixes(#state{prefixes = Prefixes} = State) ->
    ok = persistent_term:put(?LENGTHS, lists:sort(maps:keys(Prefixes))),
    State.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({subscribe, Channel, Pid, Kind}, _From, State0) ->
    {Log, State} = open(Channel, State0),
    Told = told(Channel, Pid, Kind),
    {reply, {Log, Told, hornbeam_pubsub_log:start(Log)}, watch(Pid, Channel, State)};
handle_call({unsubscribe, Channel, Pid}, _From, State) ->
    {reply, ok, taken_back(Channel, Pid, State)};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
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

told(Channel, Pid, Kind) ->
    case ets:lookup(?SUBSCRIBERS, {Channel, Pid}) of
        [{Key, Weight, _, Told}] ->
            true = ets:update_element(?SUBSCRIBERS, Key, {2, Weight + 1}),
            Told;
        [] ->
            Told = atomics:new(1, []),
            true = ets:insert(?SUBSCRIBERS, {{Channel, Pid}, 1, Kind, Told}),
            Told
    end.

watch(Pid, Channel, #state{monitors = Monitors} = State) ->
    {Ref, Channels} =
        case Monitors of
            #{Pid := Known} -> Known;
            _ -> {monitor(process, Pid), #{}}
        end,
    State#state{monitors = Monitors#{Pid => {Ref, Channels#{Channel => true}}}}.

taken_back(Channel, Pid, State) ->
    case ets:lookup(?SUBSCRIBERS, {Channel, Pid}) of
        [] ->
            State;
        [{Key, Weight, _, _}] when Weight > 1 ->
            true = ets:update_element(?SUBSCRIBERS, Key, {2, Weight - 1}),
            State;
        [_] ->
            forget(Channel, Pid, remove(Channel, Pid, State))
    end.

forget(Channel, Pid, #state{monitors = Monitors} = State) ->
    #{Pid := {Ref, Channels0}} = Monitors,
    case maps:remove(Channel, Channels0) of
        Channels when Channels =:= #{} ->
            true = demonitor(Ref, [flush]),
            State#state{monitors = maps:remove(Pid, Monitors)};
        Channels ->
            State#state{monitors = Monitors#{Pid := {Ref, Channels}}}
    end.

gone(Pid, #state{monitors = Monitors} = State) ->
    {{_, Channels}, Rest} = maps:take(Pid, Monitors),
    Left = State#state{monitors = Rest},
    lists:foldl(fun(Channel, Acc) -> remove(Channel, Pid, Acc) end, Left, maps:keys(Channels)).

remove(Channel, Pid, State) ->
    true = ets:delete(?SUBSCRIBERS, {Channel, Pid}),
    case ets:next(?SUBSCRIBERS, {Channel, 0}) of
        {Channel, _} -> State;
        _ -> close(Channel, State)
    end.

close(Channel, #state{prefixes = Prefixes} = State) ->
    [{_, Log}] = ets:take(?CHANNELS, Channel),
    ok = hornbeam_pubsub_log:delete(Channel, Log),
    ok = hornbeam_pubsub_relay:leave(Channel),
    with_prefixes(uncount_prefix(Channel, Prefixes), State).

uncount_prefix({topic, _}, Counts) ->
    Counts;
uncount_prefix({prefix, Prefix}, Counts) ->
    Length = byte_size(Prefix),
    case Counts of
        #{Length := 1} -> maps:remove(Length, Counts);
        #{Length := N} -> Counts#{Length := N - 1}
    end.

sweep('$end_of_table', _) ->
    ok;
sweep(Channel, Age) ->
    [{_, Log}] = ets:lookup(?CHANNELS, Channel),
    ok = hornbeam_pubsub_log:drop_older(Channel, Log, Age),
    sweep(ets:next(?CHANNELS, Channel), Age).
