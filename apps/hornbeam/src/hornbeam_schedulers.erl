%% SPDX-License-Identifier: Apache-2.0
%% @doc Schedulers in reserve: brought online for a message to many WebSockets, taken back when
%% there has been none for a while.
%%
%% On two processors the `hornbeam' command starts the emulator with two schedulers of which one is
%% online (`+S 2:1'): requests cost the node a quarter less so, and Python has the other processor.
%% A message for thousands of WebSockets is work of the node alone, which two schedulers do in two
%% thirds of the time (benchmarks/README.md).
%%
%% Runs in: its own process, at high priority, so that it has its turn before those that are sent
%% the message; many/1 in publishers. There is no process where the emulator was started with all
%% schedulers online.
-module(hornbeam_schedulers).
-behaviour(gen_server).

-export([start_link/0, many/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% Schedulers online when nothing special is going on.
-define(BASE, {?MODULE, base}).
%% Who is sent a message, at least, so that it is worth it.
-define(MANY, 1024).
%% Milliseconds without such a message.
-define(CALM, 1000).

-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc To be called before so many processes are sent a message.
-spec many(Count :: non_neg_integer()) -> ok.
many(Count) when Count < ?MANY -> ok;
many(_) -> gen_server:cast(?MODULE, many).

-spec init([]) -> {ok, pos_integer(), timeout()} | ignore.
init([]) ->
    %% After a restart the reserve may be online.
    Base = persistent_term:get(?BASE, erlang:system_info(schedulers_online)),
    case erlang:system_info(schedulers) of
        Base ->
            ignore;
        _ ->
            ok = persistent_term:put(?BASE, Base),
            _ = process_flag(priority, high),
            {ok, Base, ?CALM}
    end.

-spec handle_call(term(), gen_server:from(), pos_integer()) ->
    {reply, {error, unknown_call}, pos_integer(), timeout()}.
handle_call(_Call, _From, Base) ->
    {reply, {error, unknown_call}, Base, ?CALM}.

-spec handle_cast(term(), pos_integer()) -> {noreply, pos_integer(), timeout()}.
handle_cast(many, Base) ->
    ok = online(erlang:system_info(schedulers)),
    {noreply, Base, ?CALM};
handle_cast(_Cast, Base) ->
    {noreply, Base, ?CALM}.

-spec handle_info(term(), pos_integer()) -> {noreply, pos_integer(), timeout()}.
handle_info(timeout, Base) ->
    ok = online(Base),
    {noreply, Base, infinity};
handle_info(_, Base) ->
    {noreply, Base, ?CALM}.

online(Number) ->
    case erlang:system_info(schedulers_online) of
        Number ->
            ok;
        _ ->
            _ = erlang:system_flag(schedulers_online, Number),
            ok
    end.
