%% SPDX-License-Identifier: Apache-2.0
%% @doc What a worker may call on the node. Every call runs in a process of its own, made by
%% start/5.
%%
%% Services: `call' runs a registered function (`hornbeam_functions'): `[Name, Arguments]'.
-module(hornbeam_services).

-export([start/5, start/3, remote_error/4]).

-include("hornbeam_wire.hrl").
-include_lib("kernel/include/logger.hrl").

%% @doc Run a service for call Id of Worker; the answer goes to the worker process.
-spec start(pid(), hornbeam_wire:call_id(), non_neg_integer(), binary(), binary()) ->
    {pid(), reference()}.
start(Worker, Id, _Exchange, Service, Payload) ->
    spawn_monitor(fun() ->
        put(hornbeam_origin, {Worker, Id}),
        Worker ! {hornbeam_calls, {done, Id, answer(Id, Service, Payload)}}
    end).

%% @doc Run a service for a cast: nobody waits, so a failure is logged.
-spec start(pid(), binary(), binary()) -> ok.
start(_Worker, Service, Payload) ->
    _ = spawn(fun() ->
        case answer(1, Service, Payload) of
            {?RESULT, _, _} -> ok;
            {?FAULT, _, Name, Details} -> log_failed_cast(Service, Name, Details)
        end
    end),
    ok.

log_failed_cast(Service, Name, Details) ->
    {ok, Reason} = hornbeam_wire:decode_value(Details),
    ?LOG_WARNING(
        #{what => cast_failed, service => Service, fault => Name, reason => Reason},
        #{domain => [hornbeam, services]}
    ).

answer(Id, Service, Payload) ->
    case hornbeam_wire:decode_value(Payload) of
        {ok, [Arguments, Keywords]} when is_list(Arguments), is_map(Keywords) ->
            try
                result(Id, run(Service, Arguments, Keywords))
            catch
                Class:Reason:Stack -> remote_error(Id, Class, Reason, Stack)
            end;
        {ok, _} ->
            fault(Id, <<"bad_term">>, #{reason => <<"arguments are no [Positional, Keyword]">>});
        {error, bad_term} ->
            fault(Id, <<"bad_term">>, #{reason => <<"the arguments cannot be decoded">>})
    end.

run(<<"call">>, [Name, Arguments], _) when is_list(Arguments) ->
    hornbeam_functions:run(Name, Arguments);
run(Service, _, _) ->
    {not_registered, Service}.

result(Id, {not_registered, Name}) ->
    fault(Id, <<"not_registered">>, #{service => text(Name)});
result(Id, {ok, Value}) ->
    case hornbeam_wire:encode_value(Value) of
        {ok, Payload} -> {?RESULT, Id, Payload};
        {error, too_large} -> fault(Id, <<"bad_term">>, #{reason => <<"the result is too large">>})
    end;
result(Id, {error, Reason}) ->
    remote_error(Id, error, Reason, []).

%% @doc FAULT `remote_error': what failed on the node, as text.
-spec remote_error(hornbeam_wire:call_id(), atom(), term(), list()) -> hornbeam_wire:message().
remote_error(Id, Class, Reason, Stack) ->
    fault(Id, <<"remote_error">>, #{
        class => atom_to_binary(Class), reason => text(Reason), stack => text(Stack)
    }).

fault(Id, Name, Details) ->
    {?FAULT, Id, Name, term_to_binary(Details)}.

text(Text) when is_binary(Text) -> Text;
text(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
text([]) -> <<>>;
text(Term) ->
    hornbeam_wire:cut_text(unicode:characters_to_binary(io_lib:format("~0tP", [Term, 200]))).
