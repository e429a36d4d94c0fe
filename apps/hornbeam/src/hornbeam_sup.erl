%% SPDX-License-Identifier: Apache-2.0
%% @doc The root of the tree. Children presuppose those before them, and the edge closes first:
%%   hornbeam_tables         owns the ETS tables
%%   hornbeam_pubsub_sup     publish and subscribe
%%   hornbeam_cluster_sup    who else is there, and what everybody has
%%   hornbeam_services_sup   processes behind the services that Python calls
%%   hornbeam_clients        Python programs that are attached, and serve no HTTP
%%   hornbeam_pools_sup      one supervisor per application: its queue and its workers
%%   hornbeam_attach         takes workers and clients from other machines
%%   hornbeam_listeners_sup  the listening sockets
%% Applications and listeners are started on demand; when a supervisor has to be restarted they
%% would be missing silently, so the whole application ends instead (intensity 0).
-module(hornbeam_sup).
-behaviour(supervisor).

-export([start_link/0, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    {ok, {#{strategy => rest_for_one, intensity => 0, period => 1}, [
        #{id => tables, start => {hornbeam_tables, start_link, []}},
        #{id => pubsub, start => {hornbeam_pubsub_sup, start_link, []}, type => supervisor},
        #{id => cluster, start => {hornbeam_cluster_sup, start_link, []}, type => supervisor},
        #{id => services, start => {hornbeam_services_sup, start_link, []}, type => supervisor},
        #{id => clients, start => {hornbeam_clients, start_link, []}, type => supervisor},
        #{id => pools, start => {hornbeam_pools_sup, start_link, []}, type => supervisor},
        #{id => attach, start => {hornbeam_attach, start_link, []}},
        #{id => listeners, start => {hornbeam_listeners_sup, start_link, []}, type => supervisor}
    ]}}.
