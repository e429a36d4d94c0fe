%% SPDX-License-Identifier: Apache-2.0
%% @doc Functions of other nodes, called by Python through `erpc'. As services of the node:
%%
%%   rpc.call        [Node, Module, Function, Arguments]            what the function returned
%%   rpc.cast        [Node, Module, Function, Arguments]            undefined, at once
%%   rpc.multicall   [Nodes, Module, Function, Arguments, Ms]       for each node, in that order,
%%                   `{"ok", Value}' or `{"fault", Name, Details}', as FAULT has them
%%
%% Names are text or atoms, see `hornbeam_names'; `hornbeam_rpc_allow' says what may be called.
%% Runs in a process for each call, which the worker process kills at the caller's deadline, and
%% rpc.multicall in one more for each node: a connection that takes no more bytes holds up nobody
%% else. The function on the other node goes on then, as `erpc' has it; the answer meets nobody.
-module(hornbeam_rpc).
-behaviour(hornbeam_service).

-export([handle/3]).

%% Nodes of one rpc.multicall.
-define(MOST_NODES, 10000).
%% Arguments of a function.
-define(MOST_ARGUMENTS, 255).
%% Milliseconds that a node has for its first answer before it is cast to.
-define(CAST_TIMEOUT, 5000).
%% Casts whose senders may wait at a time, because the connection to a node takes no more bytes.
-define(MOST_CASTS, 4096).

-type target() :: {node(), module(), Function :: atom(), Arguments :: [term()]}.
%% Nothing was called.
-type refusal() ::
    hornbeam_names:failure()
    | {refused, Text :: binary()}
    | {node_down, Node :: binary(), Text :: binary()}.
-type failure() ::
    refusal()
    | timeout
    | {raised, error | exit | throw, Reason :: term(), Stack :: list()}.

-spec handle(hornbeam_service:arguments(), hornbeam_service:keywords(), Context) ->
    {ok, term()} | failure()
when
    Context :: hornbeam_service:context().
handle([Node, Module, Function, Arguments], _, #{service := <<"rpc.call">>}) ->
    %% No time of its own: the worker process ends this process when the time is over.
    with_target(Node, Module, Function, Arguments, fun(Target) -> call(Target, infinity) end);
handle([Node, Module, Function, Arguments], _, #{service := <<"rpc.cast">>}) ->
    with_target(Node, Module, Function, Arguments, fun cast/1);
handle([Nodes, Module, Function, Arguments, Ms], _, #{service := <<"rpc.multicall">>}) when
    length(Nodes) =< ?MOST_NODES, is_integer(Ms), Ms > 0
->
    Call = fun(Node) ->
        with_target(Node, Module, Function, Arguments, fun(Target) -> call(Target, Ms) end)
    end,
    {ok, each(Call, Nodes, erlang:monotonic_time(millisecond) + Ms)};
handle(_, _, #{service := Service}) ->
    {bad_term, <<Service/binary, ": arguments of other number or type than documented">>}.

%%% What may be called

with_target(Node, Module, Function, Arguments, Run) ->
    case target(Node, Module, Function, Arguments) of
        {ok, Target} -> Run(Target);
        Failure -> Failure
    end.

%% Whether it is allowed comes first: a name that is refused does not become an atom.
-spec target(term(), term(), term(), term()) -> {ok, target()} | refusal().
target(Node, Module, Function, Arguments) when length(Arguments) =< ?MOST_ARGUMENTS ->
    case hornbeam_rpc_allow:is_call_allowed(Node, Module, Function) of
        true -> named([{node, Node}, {module, Module}, {function, Function}], Arguments, []);
        false -> {refused, hornbeam_rpc_allow:refusal(Node, Module, Function)}
    end;
target(_, _, _, _) ->
    {bad_term, <<"the arguments of a function are a list of at most 255">>}.

named([{Kind, Name} | Names], Arguments, Atoms) ->
    case hornbeam_names:atom(Kind, Name) of
        {ok, Atom} -> named(Names, Arguments, [Atom | Atoms]);
        {error, Failure} -> Failure
    end;
named([], Arguments, [Function, Module, Node]) ->
    case hornbeam_nodes:is_in_reach(Node) of
        true -> {ok, {Node, Module, Function, adapted(Module, Function, Arguments)}};
        {false, Why} -> {node_down, atom_to_binary(Node), Why}
    end.

%% The one function that people call from Python by name and that takes an atom where they write
%% text: `rpc_cast(node, "logger", "log", ["info", "User logged in"])'.
adapted(logger, log, [Level | Rest] = Arguments) ->
    case [Atom || Atom <- levels(), atom_to_binary(Atom) =:= Level] of
        [Atom] -> [Atom | Rest];
        [] -> Arguments
    end;
adapted(_, _, Arguments) ->
    Arguments.

levels() -> [emergency, alert, critical, error, warning, notice, info, debug].

%%% Calls

-spec call(target(), timeout()) -> {ok, term()} | failure().
call({Node, _, _, _} = Target, Timeout) ->
    case hornbeam_nodes:print_on(Node, Timeout) of
        ok -> asked(Target, Timeout);
        {error, noconnection} -> lost(Node);
        {error, timeout} -> timeout
    end.

asked({Node, Module, Function, Arguments}, Timeout) ->
    try
        {ok, erpc:call(Node, Module, Function, Arguments, Timeout)}
    catch
        throw:Reason -> {raised, throw, Reason, []};
        exit:{exception, Reason} -> {raised, exit, Reason, []};
        exit:{signal, Reason} -> {raised, exit, Reason, []};
        error:{exception, Reason, Stack} -> {raised, error, Reason, Stack};
        error:{erpc, noconnection} -> lost(Node);
        error:{erpc, timeout} -> timeout;
        error:{erpc, Reason} -> {raised, error, {erpc, Reason}, []}
    end.

lost(Node) ->
    {node_down, atom_to_binary(Node), hornbeam_nodes:why(Node, node())}.

%% Nobody waits for a cast, and nobody ends one that cannot be sent: so they are counted.
cast({Node, _, _, _} = Target) ->
    try hornbeam_nodes:waiting(Node, 1) =< ?MOST_CASTS of
        true -> sent(Target);
        false -> {overloaded, <<"casts that wait for a node">>, ?MOST_CASTS}
    after
        _ = hornbeam_nodes:waiting(Node, -1)
    end.

sent({Node, Module, Function, Arguments}) ->
    case hornbeam_nodes:print_on(Node, ?CAST_TIMEOUT) of
        ok ->
            ok = erpc:cast(Node, Module, Function, Arguments),
            {ok, undefined};
        {error, noconnection} ->
            lost(Node);
        {error, timeout} ->
            timeout
    end.

%%% Several nodes

%% Linked, so that the end of this process, which may be killed, is theirs.
each(Call, Nodes, Deadline) ->
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), Call(Node)} end) || Node <- Nodes],
    [answer(Pid, Deadline) || Pid <- Pids].

answer(Pid, Deadline) ->
    receive
        {Pid, {ok, Value}} -> {<<"ok">>, Value};
        {Pid, Failure} -> fault(Failure)
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        true = unlink(Pid),
        true = exit(Pid, kill),
        fault(timeout)
    end.

fault(Failure) ->
    {Name, Details} = hornbeam_service:fault(Failure),
    {<<"fault">>, Name, Details}.
