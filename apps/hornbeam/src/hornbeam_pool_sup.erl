%% SPDX-License-Identifier: Apache-2.0
%% @doc One application: its queue and its workers. Dead Python processes are the workers'
%% business; what is restarted here are crashes of our own.
-module(hornbeam_pool_sup).
-behaviour(supervisor).

-export([start_link/2, init/1]).

%% Milliseconds, on top of what a worker gives its process to end.
-define(SHUTDOWN, 3000).

-spec start_link(hornbeam_pool:pool(), hornbeam_worker_proc:options()) ->
    supervisor:startlink_ret().
start_link(Pool, Options) ->
    supervisor:start_link(?MODULE, {Pool, Options}).

-spec init({hornbeam_pool:pool(), hornbeam_worker_proc:options()}) ->
    {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init({Pool, #{stop_timeout := StopTimeout} = Options}) ->
    #{size := Size} = hornbeam_pool:config(Pool),
    Queue = #{id => queue, start => {hornbeam_queue, start_link, [Pool]}},
    Workers = [
        #{
            id => {worker, Index},
            start => {hornbeam_worker_proc, start_link, [Pool, Index, Options]},
            shutdown => StopTimeout + ?SHUTDOWN
        }
     || Index <- lists:seq(1, Size)
    ],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, [Queue | Workers]}}.
