%% SPDX-License-Identifier: Apache-2.0
%% @doc Options of an ErlPort instance and of its calls, and the worker that it drives. Runs in the
%% process of the instance.
%%
%%   {call_timeout, Ms | infinity}    what a call may take that does not say; default: infinity
%%   {values, erlport | hornbeam}     how values are converted (hornbeam_erlport_terms);
%%                                    default: erlport
%%   {worker, Index}                  the worker of the application, from 1; default: the one that
%%                                    has least to do
%% Those of ErlPort that say how to start a Python process are refused: the application's options
%% say that.
-module(hornbeam_erlport_options).

-export([check/1, worker/1, call/5]).
-export_type([given/0, options/0]).

-type given() :: [{atom(), term()} | atom()].
-type options() :: #{
    call_timeout := pos_integer(),
    values := hornbeam_erlport_terms:values(),
    worker => pos_integer()
}.

%% Milliseconds: 49 days, the longest that a call can be given.
-define(INFINITY, 16#FFFFFFFF).
%% The application whose workers are driven.
-define(POOL, root).

-spec check(given()) -> {ok, options()} | {error, term()}.
check(Given) ->
    check(Given, #{call_timeout => ?INFINITY, values => erlport}).

check([{call_timeout, Timeout} = Option | Rest], Options) ->
    case timeout(Timeout) of
        {ok, Ms} -> check(Rest, Options#{call_timeout => Ms});
        error -> {error, {invalid_option, Option}}
    end;
check([{values, Values} | Rest], Options) when Values =:= erlport; Values =:= hornbeam ->
    check(Rest, Options#{values => Values});
check([{worker, Index} | Rest], Options) when is_integer(Index), Index > 0 ->
    check(Rest, Options#{worker => Index});
check([Option | _], _) ->
    {error, {invalid_option, Option, hint(Option)}};
check([], Options) ->
    {ok, Options}.

hint({Name, _}) -> hint(Name);
hint(Name) ->
    InApplication = [python, python_path, cd, env, start_timeout, compressed, packet, use_stdio,
        nouse_stdio, stderr_to_stdout, buffer_size],
    case lists:member(Name, InApplication) of
        true -> "an instance drives a worker that runs: set it in the options of hornbeam:start/2";
        false -> "known are call_timeout, values and worker"
    end.

timeout(infinity) -> {ok, ?INFINITY};
timeout(Ms) when is_integer(Ms), Ms > 0, Ms =< ?INFINITY -> {ok, Ms};
timeout(_) -> error.

%% @doc The worker, and the process that ends with its Python process.
-spec worker(options()) -> {ok, pid(), Events :: pid()} | {error, term()}.
worker(Options) ->
    case hornbeam_pool:lookup(?POOL) of
        {ok, Pool} -> worker(allowed(Pool), Options, Pool);
        error -> {error, {no_application, "start one with hornbeam:start/2"}}
    end.

worker([], _, _) ->
    {error, {not_allowed, "name Python modules in the option erlport of hornbeam:start/2"}};
worker([_ | _], Options, Pool) ->
    running(candidates(Options, Pool)).

allowed(Pool) -> maps:get(erlport, hornbeam_pool:config(Pool)).

candidates(#{worker := Index}, Pool) ->
    [Worker || {I, Worker} <- indexed(Pool), I =:= Index];
candidates(_, Pool) ->
    Costs = [{hornbeam_pool:busy(I, Pool), rand:uniform(), W} || {I, W} <- indexed(Pool)],
    [Worker || {_, _, Worker} <- lists:sort(Costs)].

%% Those that take work.
indexed(Pool) ->
    Workers = hornbeam_pool:workers(Pool),
    Indexed = lists:zip(lists:seq(1, length(Workers)), Workers),
    [{Index, Worker} || {Index, Worker} <- Indexed, hornbeam_pool:limit(Index, Pool) > 0].

running([Worker | Others]) ->
    case hornbeam_worker:events(Worker) of
        {ok, Events} -> {ok, Worker, Events};
        {error, gone} -> running(Others)
    end;
running([]) ->
    {error, {no_worker, "no such worker of the application takes work"}}.

%% @doc Whether a function may be called, and how long the call may take, milliseconds.
-spec call(term(), term(), term(), term(), options()) -> {ok, pos_integer()} | {error, term()}.
call(Module, Function, Arguments, Given, Options) when
    is_atom(Module), is_atom(Function), is_list(Arguments), is_list(Given)
->
    case is_allowed(atom_to_binary(Module)) of
        true -> call_timeout(Given, Options);
        false -> {error, {not_allowed, Module, "name it in the option erlport of hornbeam:start/2"}}
    end;
call(Module, Function, Arguments, Given, _) ->
    {error, {invalid_call, {Module, Function, Arguments, Given}}}.

call_timeout(Given, #{call_timeout := Default}) ->
    case proplists:get_value(timeout, Given) of
        undefined -> {ok, Default};
        Timeout ->
            case timeout(Timeout) of
                {ok, Ms} -> {ok, Ms};
                error -> {error, {invalid_option, {timeout, Timeout}}}
            end
    end.

%% A module that is named brings those below it.
is_allowed(Module) ->
    case hornbeam_pool:lookup(?POOL) of
        {ok, Pool} -> lists:any(fun(Name) -> covers(Name, Module) end, allowed(Pool));
        error -> false
    end.

covers(<<"*">>, _) -> true;
covers(Name, Name) -> true;
covers(Name, Module) ->
    string:prefix(Module, <<Name/binary, ".">>) =/= nomatch.
