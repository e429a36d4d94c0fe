%% SPDX-License-Identifier: Apache-2.0
%% @doc One execution in the background: waits for its handler and leaves the answer in the table.
%%
%% Runs in: a process of its own, temporary, under `hornbeam_tasks_sup'; `hornbeam_tasks' watches
%% it.
-module(hornbeam_task).

-export([start_link/4, run/4, killed/1]).

-define(TABLE, hornbeam_tasks).

%% @doc Limits: milliseconds that the handler may take, and that the result is kept.
-spec start_link(hornbeam_tasks:id(), hornbeam_hooks_call:target(), binary(), Limits) ->
    {ok, pid()}
when
    Limits :: {Timeout :: pos_integer(), Ttl :: pos_integer()}.
start_link(Id, Target, Payload, Limits) ->
    {ok, proc_lib:spawn_link(?MODULE, run, [Id, Target, Payload, Limits])}.

%% @doc The whole life of the process.
-spec run(hornbeam_tasks:id(), hornbeam_hooks_call:target(), binary(), Limits) -> ok when
    Limits :: {Timeout :: pos_integer(), Ttl :: pos_integer()}.
run(Id, Target, Payload, {Timeout, Ttl}) ->
    Answer = hornbeam_caller:encoded(hornbeam_hooks_call:execute(Target, Payload, Timeout)),
    Expires = erlang:monotonic_time(millisecond) + Ttl,
    true = ets:insert(?TABLE, {Id, done, Answer, Expires}),
    ok.

%% @doc The answer of a task whose process, or whose handler's, ended without one.
-spec killed(Reason :: term()) -> hornbeam_caller:answer().
killed(Reason) ->
    hornbeam_services:stripped(hornbeam_services:remote_error(0, exit, Reason, [])).
