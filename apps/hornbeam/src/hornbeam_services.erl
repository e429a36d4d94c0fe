%% SPDX-License-Identifier: Apache-2.0
%% @doc What a worker may call on the node: the table of services, and where each of them runs.
%%
%% call/3 and cast/3 run in the worker process. An inline service runs there, too: no process, no
%% timer. Any other one, and an inline one with long arguments, runs in a process of its own.
-module(hornbeam_services).

-export([context/4, call/3, cast/3, perform/4, is_inline/2]).
-export([attempt/2, guarded/3, stripped/1, remote_error/4]).
-export([node_down/0]).

-include("hornbeam_wire.hrl").
-include_lib("kernel/include/logger.hrl").

%% Bytes of arguments up to which the work of an inline service is bounded.
-define(MAX_INLINE, 16384).
%% Milliseconds that a cast may wait for others: its caller set none.
-define(CAST_TIMEOUT, 30000).

%% Name, where it runs, and the module, which documents the terms it takes.
services() ->
    #{
        <<"await_result">> => {process, hornbeam_tasks},
        <<"call">> => {process, hornbeam_functions},
        <<"publish">> => {process, hornbeam_pubsub_service},
        <<"subscribe">> => {process, hornbeam_pubsub_service},
        <<"unsubscribe">> => {process, hornbeam_pubsub_service},
        <<"topics.join">> => {process, hornbeam_pubsub_service},
        <<"topics.leave">> => {process, hornbeam_pubsub_service},
        <<"cache.abandon">> => {process, hornbeam_cache_service},
        <<"cache.claim">> => {process, hornbeam_cache_service},
        <<"cache.clear">> => {process, hornbeam_cache_service},
        <<"cache.get">> => {inline, hornbeam_cache_service},
        <<"cache.stats">> => {inline, hornbeam_cache_service},
        <<"cache.store">> => {process, hornbeam_cache_service},
        <<"erlport.call">> => {process, hornbeam_erlport_service},
        <<"erlport.cast">> => {inline, hornbeam_erlport_service},
        <<"hooks">> => {inline, hornbeam_hooks_table},
        <<"nodes.connect">> => {process, hornbeam_nodes_service},
        <<"nodes.disconnect">> => {process, hornbeam_nodes_service},
        <<"nodes.list">> => {inline, hornbeam_nodes_service},
        <<"nodes.ping">> => {process, hornbeam_nodes_service},
        <<"nodes.self">> => {inline, hornbeam_nodes_service},
        <<"rpc.call">> => {process, hornbeam_rpc},
        <<"rpc.cast">> => {process, hornbeam_rpc},
        <<"rpc.multicall">> => {process, hornbeam_rpc},
        <<"state.add">> => {inline, hornbeam_state_service},
        <<"state.cas">> => {inline, hornbeam_state_service},
        <<"state.clear">> => {process, hornbeam_state_service},
        <<"state.delete">> => {inline, hornbeam_state_service},
        <<"state.delete_multi">> => {inline, hornbeam_state_service},
        <<"state.get">> => {inline, hornbeam_state_service},
        <<"state.get_multi">> => {inline, hornbeam_state_service},
        <<"state.incr">> => {inline, hornbeam_state_service},
        <<"state.info">> => {inline, hornbeam_state_service},
        <<"state.keys">> => {process, hornbeam_state_service},
        <<"state.pipeline">> => {inline, hornbeam_state_service},
        <<"state.scan">> => {process, hornbeam_state_service},
        <<"state.set">> => {inline, hornbeam_state_service},
        <<"state.set_multi">> => {inline, hornbeam_state_service},
        <<"state.update">> => {inline, hornbeam_state_service}
    }.

%% A `payload' service runs in a process, too, and gets its arguments as they came.
-spec service(binary()) -> {inline | process | payload, module()} | none.
service(<<"execute/", _/binary>>) -> {payload, hornbeam_hooks_call};
service(<<"execute?", _/binary>>) -> {payload, hornbeam_hooks_call};
service(<<"task/", _/binary>>) -> {payload, hornbeam_tasks};
service(Name) ->
    case services() of
        #{Name := Service} -> Service;
        _ -> none
    end.

%% @doc What a service is told of who asks: for the innermost call of the chain, or for a cast.
-spec context(binary(), hornbeam_caller:chain(), Origin :: integer(), pos_integer()) ->
    hornbeam_service:context().
context(Service, [{Worker, Incarnation, Id} | _] = Chain, Exchange, Timeout) ->
    #{service => Service, worker => Worker, incarnation => Incarnation, call => Id,
        exchange => Exchange, chain => Chain, timeout => Timeout};
context(Service, [], Exchange, Timeout) ->
    #{service => Service, worker => self(), incarnation => undefined, call => 0,
        exchange => Exchange, chain => [], timeout => Timeout}.

%% @doc Serve a call (or stream) of a worker. When it is done the message answers it; else the
%% process that runs it is monitored, and its answer goes to the worker process.
-spec call(Code, hornbeam_service:context(), binary()) ->
    {done, hornbeam_wire:message()} | {running, pid(), reference()}
when
    Code :: non_neg_integer().
call(?STREAM, #{service := <<"execute", Next, _/binary>>} = Context, Payload) when
    Next =:= $/; Next =:= $?
->
    start(Context, fun() -> hornbeam_hooks_call:stream_handle(Context, Payload) end);
call(?STREAM, #{service := Service, call := Id}, _) ->
    {done, result({not_registered, Service}, Id)};
call(?CALL, #{service := Service, call := Id} = Context, Payload) ->
    case service(Service) of
        {inline, Module} when byte_size(Payload) =< ?MAX_INLINE ->
            {done, answer(Module, Context, Payload)};
        {payload, Module} ->
            start(Context, fun() -> result(Module:handle_payload(Payload, Context), Id) end);
        {_, Module} ->
            start(Context, fun() -> answer(Module, Context, Payload) end);
        none ->
            {done, result({not_registered, Service}, Id)}
    end.

start(#{worker := Worker, incarnation := Incarnation, call := Id, chain := Chain}, Run) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        ok = hornbeam_caller:set_chain(Chain),
        Worker ! {hornbeam_calls, {done, {Incarnation, Id}, Run()}}
    end),
    {running, Pid, Monitor}.

%% @doc Run a service for a cast: nobody waits, so a failure is logged.
-spec cast(pid(), binary(), binary()) -> ok.
cast(Worker, Service, Payload) ->
    Context = (context(Service, [], 0, ?CAST_TIMEOUT))#{worker := Worker},
    case service(Service) of
        {inline, Module} when byte_size(Payload) =< ?MAX_INLINE ->
            noted(Service, answer(Module, Context, Payload));
        {payload, _} ->
            noted(Service, result({not_registered, Service}, 0));
        {_, Module} ->
            _ = spawn(fun() -> noted(Service, answer(Module, Context, Payload)) end),
            ok;
        none ->
            noted(Service, result({not_registered, Service}, 0))
    end.

noted(_, {?RESULT, _, _}) ->
    ok;
noted(Service, {?FAULT, _, Name, Details}) ->
    {ok, Reason} = hornbeam_wire:decode_value(Details),
    ?LOG_WARNING(
        #{what => cast_failed, service => Service, fault => Name, reason => Reason},
        #{domain => [hornbeam, services]}
    ).

%% @doc Serve a request of a process that is no worker, in this process, with terms as they are. It
%% waits Timeout milliseconds.
-spec perform(binary(), Arguments, Keywords, Timeout :: pos_integer()) ->
    {ok, term()} | {error, hornbeam_caller:fault()}
when
    Arguments :: hornbeam_service:arguments(), Keywords :: hornbeam_service:keywords().
perform(Service, Arguments, Keywords, Timeout) ->
    case service(Service) of
        none ->
            {error, hornbeam_service:fault({not_registered, Service})};
        {_, Module} ->
            try Module:handle(Arguments, Keywords, context(Service, [], 0, Timeout)) of
                {ok, Value} -> {ok, Value};
                {encoded, Answer} -> decoded(hornbeam_caller:outcome(Answer));
                Failure -> {error, hornbeam_service:fault(Failure)}
            catch
                Class:Reason:Stack -> {error, hornbeam_service:fault(Class, Reason, Stack)}
            end
    end.

decoded({error, Name}) when is_atom(Name) -> {error, {atom_to_binary(Name), #{}}};
decoded(Outcome) -> Outcome.

%% @doc Whether perform/4 does bounded work.
-spec is_inline(binary(), hornbeam_service:arguments()) -> boolean().
is_inline(Service, Arguments) ->
    case service(Service) of
        {inline, _} -> erlang:external_size(Arguments) =< ?MAX_INLINE;
        _ -> false
    end.

%% Runs the service in this process.
answer(Module, Context, Payload) ->
    guarded(Context, Payload, fun(Arguments, Keywords) ->
        Module:handle(Arguments, Keywords, Context)
    end).

%% @doc The message that answers a call which Run serves, with the arguments in Payload.
-spec guarded(hornbeam_service:context(), binary(), Run) -> hornbeam_wire:message() when
    Run :: fun((hornbeam_service:arguments(), hornbeam_service:keywords()) ->
        hornbeam_service:result()).
guarded(#{call := Id}, Payload, Run) ->
    case hornbeam_wire:decode_value(Payload) of
        {ok, [Arguments, Keywords]} when is_list(Arguments), is_map(Keywords) ->
            attempt(Id, fun() -> Run(Arguments, Keywords) end);
        {ok, _} ->
            result({bad_term, <<"arguments are no [Positional, Keyword]">>}, Id);
        {error, bad_term} ->
            result({bad_term, <<"the arguments cannot be decoded">>}, Id)
    end.

%% @doc The message that answers a call which Run serves.
-spec attempt(non_neg_integer(), fun(() -> hornbeam_service:result())) -> hornbeam_wire:message().
attempt(Id, Run) ->
    try
        result(Run(), Id)
    catch
        Class:Reason:Stack -> remote_error(Id, Class, Reason, Stack)
    end.

result({ok, Value}, Id) ->
    case hornbeam_wire:encode_value(Value) of
        {ok, Payload} -> {?RESULT, Id, Payload};
        {error, too_large} -> result({bad_term, <<"the result is too large">>}, Id)
    end;
result({encoded, {result, Payload}}, Id) ->
    {?RESULT, Id, Payload};
result({encoded, {fault, Name, Payload}}, Id) ->
    {?FAULT, Id, Name, Payload};
result(Failure, Id) ->
    fault(Id, hornbeam_service:fault(Failure)).

%% @doc FAULT `remote_error': what failed on the node, as text.
-spec remote_error(non_neg_integer(), error | exit | throw, term(), list()) ->
    hornbeam_wire:message().
remote_error(Id, Class, Reason, Stack) ->
    fault(Id, hornbeam_service:fault(Class, Reason, Stack)).

%% @doc The answer to a call that was with a worker when it ended.
-spec node_down() -> hornbeam_caller:answer().
node_down() ->
    Details = #{node => atom_to_binary(node()), reason => <<"the worker ended">>},
    {fault, <<"node_down">>, term_to_binary(Details)}.

%% @doc An answer without the id of its call.
-spec stripped(hornbeam_wire:message()) -> hornbeam_caller:answer().
stripped({?RESULT, _, Payload}) -> {result, Payload};
stripped({?FAULT, _, Name, Payload}) -> {fault, Name, Payload}.

fault(Id, {Name, Details}) ->
    {?FAULT, Id, Name, term_to_binary(Details)}.
