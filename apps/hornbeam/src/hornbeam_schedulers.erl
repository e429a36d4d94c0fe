%% SPDX-License-Identifier: Apache-2.0
%% @doc Schedulers in reserve: brought online while many processes wait for one, taken back when
%% that is over.
%%
%% On two processors the `hornbeam' command starts the emulator with two schedulers of which one is
%% online (`+S 2:1'): requests cost the node a quarter less so, and Python has the other processor.
%% A message for thousands of WebSockets is work of the node alone, which two schedulers do in
%% three quarters of the time (benchmarks/README.md).
%%
%% Runs in: its own process, at high priority, so that it has its turn before those that wait. There
%% is none where the emulator was started with all schedulers online.
-module(hornbeam_schedulers).
-behaviour(gen_server).

-export([start_link/0, look/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% Schedulers online when nothing special is going on.
-define(BASE, {?MODULE, base}).
%% Milliseconds between two looks.
-define(LOOK, 50).
%% Processes that wait: as many as only a message to very many of them makes at once. A thousand
%% event streams make fewer, and Python, which needs its processor for them, would lose.
-define(LONG, 2048).
%% Looks in a row that have seen fewer of them before the reserve goes.
-define(CALM, 20).

-record(state, {base :: pos_integer(), calm = ?CALM :: non_neg_integer()}).

-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc What one look decides: whether the reserve is to be online, or stays as it is; and how many
%% looks have found the queue short.
-spec look(Length :: non_neg_integer(), Calm :: non_neg_integer(), Limit :: pos_integer()) ->
    {all | base | same, Calm :: non_neg_integer()}.
look(Length, _, Limit) when Length >= Limit -> {all, 0};
look(_, Calm, _) when Calm + 1 < ?CALM -> {same, Calm + 1};
look(_, _, _) -> {base, ?CALM}.

-spec init([]) -> {ok, #state{}} | ignore.
init([]) ->
    %% After a restart the reserve may be online.
    Base = persistent_term:get(?BASE, erlang:system_info(schedulers_online)),
    case erlang:system_info(schedulers) of
        Base ->
            ignore;
        _ ->
            ok = persistent_term:put(?BASE, Base),
            _ = process_flag(priority, high),
            {ok, next(#state{base = Base})}
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(look, #state{base = Base, calm = Before} = State) ->
    {Wanted, Calm} = look(erlang:statistics(total_run_queue_lengths), Before, ?LONG),
    ok = online(Wanted, Base),
    {noreply, next(State#state{calm = Calm})};
handle_info(_, State) ->
    {noreply, State}.

online(same, _) -> ok;
online(all, _) -> online(erlang:system_info(schedulers));
online(base, Base) -> online(Base).

online(Number) ->
    case erlang:system_info(schedulers_online) of
        Number ->
            ok;
        _ ->
            _ = erlang:system_flag(schedulers_online, Number),
            ok
    end.

next(State) ->
    _ = erlang:send_after(?LOOK, self(), look),
    State.
