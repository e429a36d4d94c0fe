%% SPDX-License-Identifier: Apache-2.0
%% @doc What a worker may call on the node: the table of services, and where each of them runs.
%%
%% call/5 and cast/3 run in the worker process. An inline service runs there, too: no process, no
%% timer. Any other one, and an inline one with long arguments, runs in a process of its own.
-module(hornbeam_services).

-export([call/5, cast/3, remote_error/4]).

-include("hornbeam_wire.hrl").
-include_lib("kernel/include/logger.hrl").

%% Bytes of arguments up to which the work of an inline service is bounded.
-define(MAX_INLINE, 16384).

%% Name, where it runs, and the module, which documents the terms it takes.
services() ->
    #{
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

-spec service(binary()) -> {inline | process, module()} | none.
service(Name) ->
    case services() of
        #{Name := Service} -> Service;
        _ -> none
    end.

%% @doc Serve call Id of Worker. When it is done the message answers it; else the process that runs
%% it is monitored, and its answer goes to the worker process.
-spec call(pid(), hornbeam_wire:call_id(), Origin :: integer(), binary(), binary()) ->
    {done, hornbeam_wire:message()} | {running, pid(), reference()}.
call(Worker, Id, Exchange, Service, Payload) ->
    case service(Service) of
        {inline, Module} when byte_size(Payload) =< ?MAX_INLINE ->
            {done, answer(Module, context(Worker, Id, Exchange, Service), Payload)};
        {_, Module} ->
            {Pid, Monitor} = spawn_monitor(fun() ->
                put(hornbeam_origin, {Worker, Id}),
                Answer = answer(Module, context(Worker, Id, Exchange, Service), Payload),
                Worker ! {hornbeam_calls, {done, Id, Answer}}
            end),
            {running, Pid, Monitor};
        none ->
            {done, result({not_registered, Service}, Id)}
    end.

%% @doc Run a service for a cast: nobody waits, so a failure is logged.
-spec cast(pid(), binary(), binary()) -> ok.
cast(Worker, Service, Payload) ->
    Context = context(Worker, 0, 0, Service),
    case service(Service) of
        {inline, Module} when byte_size(Payload) =< ?MAX_INLINE ->
            noted(Service, answer(Module, Context, Payload));
        {_, Module} ->
            _ = spawn(fun() -> noted(Service, answer(Module, Context, Payload)) end),
            ok;
        none ->
            noted(Service, result({not_registered, Service}, 0))
    end.

context(Worker, Id, Exchange, Service) ->
    #{service => Service, worker => Worker, call => Id, exchange => Exchange}.

noted(_, {?RESULT, _, _}) ->
    ok;
noted(Service, {?FAULT, _, Name, Details}) ->
    {ok, Reason} = hornbeam_wire:decode_value(Details),
    ?LOG_WARNING(
        #{what => cast_failed, service => Service, fault => Name, reason => Reason},
        #{domain => [hornbeam, services]}
    ).

answer(Module, #{call := Id} = Context, Payload) ->
    case hornbeam_wire:decode_value(Payload) of
        {ok, [Arguments, Keywords]} when is_list(Arguments), is_map(Keywords) ->
            try
                result(Module:handle(Arguments, Keywords, Context), Id)
            catch
                Class:Reason:Stack -> remote_error(Id, Class, Reason, Stack)
            end;
        {ok, _} ->
            result({bad_term, <<"arguments are no [Positional, Keyword]">>}, Id);
        {error, bad_term} ->
            result({bad_term, <<"the arguments cannot be decoded">>}, Id)
    end.

result({ok, Value}, Id) ->
    case hornbeam_wire:encode_value(Value) of
        {ok, Payload} -> {?RESULT, Id, Payload};
        {error, too_large} -> result({bad_term, <<"the result is too large">>}, Id)
    end;
result(Failure, Id) ->
    fault(Id, hornbeam_service:fault(Failure)).

%% @doc FAULT `remote_error': what failed on the node, as text.
-spec remote_error(non_neg_integer(), error | exit | throw, term(), list()) ->
    hornbeam_wire:message().
remote_error(Id, Class, Reason, Stack) ->
    fault(Id, hornbeam_service:fault(Class, Reason, Stack)).

fault(Id, {Name, Details}) ->
    {?FAULT, Id, Name, term_to_binary(Details)}.
