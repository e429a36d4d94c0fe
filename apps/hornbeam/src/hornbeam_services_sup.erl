%% SPDX-License-Identifier: Apache-2.0
%% @doc Processes behind the services that Python calls, and the one that sees to the schedulers.
%% What they work on is in the tables, so each is restarted alone, and whoever uses the service need
%% not know.
-module(hornbeam_services_sup).
-behaviour(supervisor).

-export([start_link/0, init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, [
        #{id => cache, start => {hornbeam_cache_server, start_link, []}},
        #{id => nodes, start => {hornbeam_nodes, start_link, []}},
        #{id => schedulers, start => {hornbeam_schedulers, start_link, []}},
        #{id => state_expiry, start => {hornbeam_state_expiry, start_link, []}},
        #{id => tasks, start => {hornbeam_tasks_sup, start_link, []}, type => supervisor}
        | messages()
    ]}}.

%% What processes of the cluster send messages to.
messages() ->
    [
        #{id => {messages, Name}, start => {hornbeam_messages, start_link, [Name]}}
     || Name <- hornbeam_messages_request:names()
    ].
