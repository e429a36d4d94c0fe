%% SPDX-License-Identifier: Apache-2.0
%% @doc One application: its queue and its workers. Dead Python processes are the workers'
%% business; what is restarted here are crashes of our own. Workers that attach themselves from
%% other machines are children for as long as they stay: nobody here could start them again.
-module(hornbeam_pool_sup).
-behaviour(supervisor).

-export([start_link/2, attach/3, init/1]).

%% Milliseconds, on top of what a worker gives its process to end.
-define(SHUTDOWN, 3000).

-spec start_link(hornbeam_pool:pool(), hornbeam_worker_life:options()) ->
    supervisor:startlink_ret().
start_link(Pool, Options) ->
    supervisor:start_link(?MODULE, {Pool, Options}).

%% @doc A worker on another machine joins; `limit' when as many as may are there. Runs in the
%% caller; the name of a child is its slot, so that the supervisor gives each away once.
-spec attach(pid(), hornbeam_pool:pool(), hornbeam_session:session()) ->
    {ok, pid()} | {error, limit}.
attach(Supervisor, Pool, Session) ->
    #{size := Size, local := Local, remote := Options} = hornbeam_pool:config(Pool),
    Attached = Options#{session => Session, renew => never},
    first_free(Supervisor, [
        (worker(Pool, Index, Attached))#{restart => temporary}
     || Index <- lists:seq(Local + 1, Size)
    ]).

first_free(_, []) ->
    {error, limit};
first_free(Supervisor, [Child | Rest]) ->
    case supervisor:start_child(Supervisor, Child) of
        {ok, Worker} -> {ok, Worker};
        {error, {already_started, _}} -> first_free(Supervisor, Rest)
    end.

-spec init({hornbeam_pool:pool(), hornbeam_worker_life:options()}) ->
    {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init({Pool, Options}) ->
    #{local := Local} = hornbeam_pool:config(Pool),
    Queue = #{id => queue, start => {hornbeam_queue, start_link, [Pool]}},
    Workers = [worker(Pool, Index, Options) || Index <- lists:seq(1, Local)],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, [Queue | Workers]}}.

worker(Pool, Index, #{stop_timeout := StopTimeout} = Options) ->
    #{
        id => {worker, Index},
        start => {hornbeam_worker_proc, start_link, [Pool, Index, Options]},
        shutdown => StopTimeout + ?SHUTDOWN
    }.
