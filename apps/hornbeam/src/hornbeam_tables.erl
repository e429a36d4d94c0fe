%% SPDX-License-Identifier: Apache-2.0
%% @doc Owns every ETS table and does nothing else, so that the tables survive whoever works on
%% them.
-module(hornbeam_tables).
-behaviour(gen_server).

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, []}.
init([]) ->
    _ = ets:new(hornbeam_functions, [named_table, public, {read_concurrency, true}]),
    _ = ets:new(hornbeam_hooks, [named_table, public, bag, {read_concurrency, true}]),
    _ = ets:new(hornbeam_tasks, [named_table, public]),
    _ = ets:new(hornbeam_tasks_finished, [named_table, public, ordered_set]),
    _ = ets:new(hornbeam_pubsub_channels, [
        named_table, public, ordered_set, {read_concurrency, true}
    ]),
    _ = ets:new(hornbeam_pubsub_subscribers, [
        named_table, public, ordered_set, {read_concurrency, true}
    ]),
    _ = ets:new(hornbeam_pubsub_messages, [
        named_table, public, {read_concurrency, true}, {write_concurrency, true}
    ]),
    _ = ets:new(hornbeam_pubsub_silent, [
        named_table, public, {read_concurrency, true}
    ]),
    _ = ets:new(hornbeam_cache, [named_table, public, {read_concurrency, true}]),
    _ = ets:new(hornbeam_cache_order, [named_table, public, ordered_set]),
    ok = hornbeam_state_table:new(state_limits()),
    _ = ets:new(hornbeam_nodes, [named_table, public, {read_concurrency, true}]),
    ok = hornbeam_names:init(),
    {ok, RpcAllow} = hornbeam_options:value(rpc_allow, application:get_all_env(hornbeam)),
    ok = hornbeam_rpc_allow:set(RpcAllow),
    _ = ets:new(hornbeam_certificates, [named_table, public, {read_concurrency, true}]),
    {ok, []}.

%% Until an application is started. A wrong value is no start; `hornbeam:start' says which.
state_limits() ->
    Env = application:get_all_env(hornbeam),
    maps:from_list([
        begin
            {ok, Limit} = hornbeam_options:value(Key, Env),
            {Key, Limit}
        end
     || Key <- [state_max_entries, state_max_bytes]
    ]).

-spec handle_call(term(), gen_server:from(), []) -> {reply, {error, unknown_call}, []}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), []) -> {noreply, []}.
handle_info(_Info, State) ->
    {noreply, State}.
