%% SPDX-License-Identifier: Apache-2.0
%% @doc The cluster: the `pg' scope in which nodes say what they have, and the process that says it
%% for this one, which finds it in the tables after a crash of either; and the one that connects
%% to other nodes.
-module(hornbeam_cluster_sup).
-behaviour(supervisor).

-export([start_link/0, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    {ok, {#{strategy => rest_for_one, intensity => 5, period => 10}, [
        #{id => scope, start => {pg, start_link, [hornbeam_cluster:scope()]}},
        #{id => cluster, start => {hornbeam_cluster, start_link, []}},
        #{id => join, start => {hornbeam_cluster_join, start_link, []}}
    ]}}.
