%% SPDX-License-Identifier: Apache-2.0
%% @doc Who serves which hook: workers whose Python program has registered a handler, and handlers
%% in Erlang.
%%
%% The table belongs to `hornbeam_tables'; everything here runs in the process that calls it.
%% choose/2 is asked for every call of a handler. Worker processes write what their program
%% announces (started/4, with READY) and registers later (the service `hooks': `["register", Path]'
%% or `["unregister", Path]').
%%
%% Rows name a slot of a pool, not a process: while the process of a worker is replaced its rows
%% stay, nobody who can be had is passed over for them, and calls that go there all the same wait
%% in the worker process (`hornbeam_calls'). The READY of the next process replaces them.
-module(hornbeam_hooks_table).
-behaviour(hornbeam_service).

-export([started/4, stopped/2, register/2, unregister/1]).
-export([erlang_handler/1, is_served/1, choose/2, choose/3, paths/0]).
-export([handle/3]).
-export_type([path/0, handler/0]).

-compile({no_auto_import, [unregister/1]}).

%% UTF-8 text.
-type path() :: binary().
-type handler() :: fun((Action :: binary(), [term()], Keywords :: map()) -> term()) | module().

%% {Path, worker, PoolName, Index, Labels} | {Path, erlang, Handler} |
%% {WorkerPid, PoolName, Index, Labels}
-define(TABLE, hornbeam_hooks).

%% @doc The program of a worker is ready and has registered Paths.
-spec started(hornbeam_pool:pool(), hornbeam_pool:index(), hornbeam_labels:labels(), [path()]) ->
    ok.
started(Pool, Index, Labels, Paths) ->
    ok = stopped(Pool, Index),
    Name = hornbeam_pool:name(Pool),
    true = ets:insert(?TABLE, {self(), Name, Index, Labels}),
    true = ets:insert(?TABLE, [{Path, worker, Name, Index, Labels} || Path <- Paths]),
    announce(Paths).

announce(Paths) ->
    hornbeam_cluster:changed([{hook, Path} || Path <- Paths]).

%% @doc The worker serves nothing any more.
-spec stopped(hornbeam_pool:pool(), hornbeam_pool:index()) -> ok.
stopped(Pool, Index) ->
    Name = hornbeam_pool:name(Pool),
    Paths = ets:match(?TABLE, {'$1', worker, Name, Index, '_'}),
    true = ets:match_delete(?TABLE, {'_', worker, Name, Index, '_'}),
    true = ets:match_delete(?TABLE, {'_', Name, Index, '_'}),
    announce(lists:append(Paths)).

%% @doc An Erlang handler takes all calls of its path, whoever else has it. It replaces an earlier
%% one.
-spec register(path(), handler()) -> ok.
register(Path, Handler) ->
    true = ets:match_delete(?TABLE, {Path, erlang, '_'}),
    true = ets:insert(?TABLE, {Path, erlang, Handler}),
    announce([Path]).

-spec unregister(path()) -> ok.
unregister(Path) ->
    true = ets:match_delete(?TABLE, {Path, erlang, '_'}),
    announce([Path]).

-spec erlang_handler(path()) -> {ok, handler()} | none.
erlang_handler(Path) ->
    case [Handler || {_, erlang, Handler} <- ets:lookup(?TABLE, Path)] of
        [Handler] -> {ok, Handler};
        [] -> none
    end.

%% @doc Whether anybody on this node serves Path.
-spec is_served(path()) -> boolean().
is_served(Path) ->
    ets:member(?TABLE, Path).

%% @doc The worker that has least to do among those that serve Path, already counted as having one
%% call more; `none' when an Erlang handler does, or nobody. Caller is a worker process whose
%% program waits for the result: what it waits in costs it nothing.
-spec choose(path(), Caller :: pid() | undefined) -> {ok, pid()} | none.
choose(Path, Caller) ->
    chosen(least(ets:lookup(?TABLE, Path), Caller, none)).

%% @doc The same among those that have the labels. Handlers in Erlang have none.
-spec choose(path(), hornbeam_labels:labels(), Caller :: pid() | undefined) -> {ok, pid()} | none.
choose(Path, Wanted, Caller) ->
    Rows = ets:lookup(?TABLE, Path),
    Having = [R || {_, worker, _, _, Has} = R <- Rows, hornbeam_labels:are_in(Wanted, Has)],
    chosen(least(Having, Caller, none)).

chosen(Least) ->
    case Least of
        {_, Pool, Index, Worker} ->
            ok = hornbeam_pool:count(1, hornbeam_pool:calls(Index, Pool)),
            {ok, Worker};
        none ->
            none
    end.

least([{_, erlang, _} | _], _, _) ->
    none;
least([{_, worker, Name, Index, _} | Rest], Caller, Best) ->
    case hornbeam_pool:lookup(Name) of
        {ok, Pool} ->
            Worker = hornbeam_pool:worker(Index, Pool),
            Cost = cost(Index, Pool, Worker =:= Caller),
            least(Rest, Caller, better(Best, {Cost, Pool, Index, Worker}, Cost));
        error ->
            least(Rest, Caller, Best)
    end;
least([], _, Best) ->
    Best.

better(none, New, _) -> New;
better({Cost, _, _, _}, New, Less) when Less < Cost -> New;
better(Best, _, _) -> Best.

%% Those that take nothing now come last, and the caller before its equals: it is there already.
cost(Index, Pool, IsCaller) ->
    Busy = hornbeam_pool:busy(Index, Pool),
    case {hornbeam_pool:limit(Index, Pool), IsCaller} of
        {_, true} -> {0, Busy - 1, 0};
        {0, false} -> {1, Busy, 1};
        {_, false} -> {0, Busy, 1}
    end.

%% @doc What is registered, and how often.
-spec paths() -> #{path() => #{workers := non_neg_integer(), erlang := boolean()}}.
paths() ->
    lists:foldl(fun counted/2, #{}, ets:tab2list(?TABLE)).

counted({Path, worker, _, _, _}, Paths) ->
    #{workers := N} = Entry = maps:get(Path, Paths, #{workers => 0, erlang => false}),
    Paths#{Path => Entry#{workers := N + 1}};
counted({Path, erlang, _}, Paths) ->
    Entry = maps:get(Path, Paths, #{workers => 0, erlang => false}),
    Paths#{Path => Entry#{erlang := true}};
counted({Worker, _, _, _}, Paths) when is_pid(Worker) ->
    Paths.

%% @doc The service `hooks': the program of a worker registers a handler, or takes it back.
-spec handle(hornbeam_service:arguments(), hornbeam_service:keywords(), Context) ->
    {ok, undefined} | {error, worker_not_ready} | {bad_term, binary()}
when
    Context :: hornbeam_service:context().
handle([What, Path], _, #{worker := Worker}) when is_binary(Path) ->
    case ets:lookup(?TABLE, Worker) of
        [{_, Name, Index, Labels}] -> changed(What, {Path, worker, Name, Index, Labels});
        [] -> {error, worker_not_ready}
    end;
handle(_, _, _) ->
    {bad_term, <<"hooks takes [\"register\" or \"unregister\", Path]">>}.

changed(<<"register">>, {Path, _, _, _, _} = Row) ->
    true = ets:insert(?TABLE, Row),
    ok = announce([Path]),
    {ok, undefined};
changed(<<"unregister">>, {Path, _, _, _, _} = Row) ->
    true = ets:delete_object(?TABLE, Row),
    ok = announce([Path]),
    {ok, undefined};
changed(_, _) ->
    {bad_term, <<"hooks takes \"register\" or \"unregister\"">>}.
