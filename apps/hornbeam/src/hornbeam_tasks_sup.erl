%% SPDX-License-Identifier: Apache-2.0
%% @doc Supervises executions in the background: the server that keeps their books, and a process
%% for each task.
%%   hornbeam_tasks        starts tasks, keeps results until they expire
%%   hornbeam_tasks_running    one process per task (hornbeam_task)
-module(hornbeam_tasks_sup).
-behaviour(supervisor).

-export([start_link/0, start_running/0, start_task/1, init/1]).

-define(RUNNING, hornbeam_tasks_running).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, tasks).

-spec start_running() -> supervisor:startlink_ret().
start_running() ->
    supervisor:start_link({local, ?RUNNING}, ?MODULE, running).

%% @doc Arguments: those of `hornbeam_task:start_link/4'.
-spec start_task([term()]) -> {ok, pid()}.
start_task(Arguments) ->
    {ok, _} = supervisor:start_child(?RUNNING, Arguments).

-spec init(tasks | running) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(tasks) ->
    Running = #{
        id => running, start => {?MODULE, start_running, []}, type => supervisor
    },
    Server = #{id => server, start => {hornbeam_tasks, start_link, []}},
    %% A crash of the server leaves the tasks alone: it finds them in the table.
    {ok, {#{strategy => rest_for_one, intensity => 5, period => 10}, [Running, Server]}};
init(running) ->
    %% Temporary: nothing is executed twice.
    Task = #{
        id => task,
        start => {hornbeam_task, start_link, []},
        restart => temporary,
        shutdown => brutal_kill
    },
    {ok, {#{strategy => simple_one_for_one, intensity => 0, period => 1}, [Task]}}.
