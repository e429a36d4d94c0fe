%% SPDX-License-Identifier: Apache-2.0
%% @doc Publish and subscribe: the `pg' scope, the relay between nodes, the registry of this node.
%% Each presupposes those before it; after a crash the registry finds its subscriptions in the
%% tables and joins the groups again.
-module(hornbeam_pubsub_sup).
-behaviour(supervisor).

-export([start_link/0, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    {ok, {#{strategy => rest_for_one, intensity => 5, period => 10}, [
        #{id => scope, start => {pg, start_link, [hornbeam_pubsub_relay:scope()]}},
        #{id => relay, start => {hornbeam_pubsub_relay, start_link, []}},
        #{id => registry, start => {hornbeam_pubsub_registry, start_link, []}}
    ]}}.
