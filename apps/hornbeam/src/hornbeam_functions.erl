%% SPDX-License-Identifier: Apache-2.0
%% @doc Erlang functions that Python reaches by name. Readers go straight to the table, which
%% `hornbeam_tables' owns; a function runs in the process of the service that serves the call.
%%
%% Service `call': `[Name :: binary(), Arguments :: list()]'; the result is the function's.
-module(hornbeam_functions).
-behaviour(hornbeam_service).

-export([register/2, register/3, unregister/1, run/2]).
-export([handle/3]).
-export_type([name/0]).

-type name() :: atom() | binary() | string().
-define(TABLE, hornbeam_functions).

%% @doc A fun of one argument: the list of what Python passes.
-spec register(name(), fun(([term()]) -> term())) -> ok.
register(Name, Fun) when is_function(Fun, 1) ->
    insert(Name, Fun);
register(Name, Fun) ->
    error({bad_function, Name, {expected, 'fun of one argument, a list', got, Fun}}).

%% @doc A function of a module: gets the arguments spread.
-spec register(name(), module(), Function :: atom()) -> ok.
register(Name, Module, Function) when is_atom(Module), is_atom(Function) ->
    insert(Name, {Module, Function}).

insert(Name, What) ->
    true = ets:insert(?TABLE, {key(Name), What}),
    ok.

-spec unregister(name()) -> ok.
unregister(Name) ->
    true = ets:delete(?TABLE, key(Name)),
    ok.

%% Python's names are text; they never become atoms.
key(Name) when is_atom(Name) -> atom_to_binary(Name);
key(Name) -> unicode:characters_to_binary(Name).

%% @doc `{ok, Value}' is unwrapped, `{error, Reason}' is a failure, anything else is the value.
-spec run(term(), [term()]) -> {ok, term()} | {error, term()} | {not_registered, term()}.
run(Name, Arguments) ->
    case ets:lookup(?TABLE, Name) of
        [{_, {Module, Function}}] -> outcome(apply(Module, Function, Arguments));
        [{_, Fun}] -> outcome(Fun(Arguments));
        [] -> {not_registered, Name}
    end.

outcome({ok, Value}) -> {ok, Value};
outcome({error, Reason}) -> {error, Reason};
outcome(Value) -> {ok, Value}.

-spec handle(hornbeam_service:arguments(), hornbeam_service:keywords(), Context) ->
    {ok, term()} | {error, term()} | {not_registered, term()} | {bad_term, binary()}
when
    Context :: hornbeam_service:context().
handle([Name, Arguments], _, _) when is_list(Arguments) ->
    run(Name, Arguments);
handle(_, _, _) ->
    {bad_term, <<"the service call takes the name of a function and the list of its arguments">>}.
