%% SPDX-License-Identifier: Apache-2.0
%% @doc What Python's `hornbeam_erlang.erlport' asks of the node. Runs where `hornbeam_services'
%% says.
%%
%%   erlport.call    [Instance, Module, Function, Arguments]    what the Erlang function returned
%%   erlport.cast    [Instance, Pid, Message]                   undefined; sent to the process
%%
%% Module and function are atoms, which exist; the option `rpc_allow' says which may be called.
-module(hornbeam_erlport_service).
-behaviour(hornbeam_service).

-export([handle/3]).

-spec handle(hornbeam_service:arguments(), hornbeam_service:keywords(), Context) ->
    {ok, term()} | {bad_term, binary()} | {refused, binary()}
when
    Context :: hornbeam_service:context().
handle([Instance, Pid, Message], _, #{service := <<"erlport.cast">>}) when
    is_pid(Instance), is_pid(Pid)
->
    ok = hornbeam_erlport:send(Instance, Pid, Message),
    {ok, undefined};
handle([Instance, Module, Function, Arguments], _, #{service := <<"erlport.call">>} = Context) when
    is_pid(Instance), is_atom(Module), is_atom(Function), is_list(Arguments)
->
    case hornbeam_rpc_allow:is_call_allowed(node(), Module, Function) of
        true -> call(Instance, {Module, Function, Arguments}, Context);
        false -> {refused, hornbeam_rpc_allow:refusal(node(), Module, Function)}
    end;
handle(_, _, #{service := Service}) ->
    {bad_term, <<Service/binary, ": arguments of other number or type than documented">>}.

call(Instance, {Module, Function, Arguments}, #{chain := Chain}) ->
    Values = hornbeam_erlport:enter(Instance, Chain),
    Given = hornbeam_erlport_terms:from_python(Arguments, Values),
    case hornbeam_erlport_terms:to_python(apply(Module, Function, Given), Values) of
        {ok, Value} -> {ok, Value};
        {error, {opaque, _, Text}} -> {bad_term, Text}
    end.
