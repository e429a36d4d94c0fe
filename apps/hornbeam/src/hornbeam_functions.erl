%% SPDX-License-Identifier: Apache-2.0
%% @doc Erlang functions that Python reaches by name. Readers go straight to the table, which
%% `hornbeam_tables' owns; a function runs in the process of the service that serves the call.
%%
%% Service `call': `[Name :: binary(), Arguments :: list()]'; the result is the function's.
-module(hornbeam_functions).
-behaviour(hornbeam_service).

-export([register/2, register/3, unregister/1, names/0, is_registered/1, run/2, call_here/4]).
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
    Key = key(Name),
    true = ets:insert(?TABLE, {Key, What}),
    hornbeam_cluster:changed([{function, Key}]).

-spec unregister(name()) -> ok.
unregister(Name) ->
    Key = key(Name),
    true = ets:delete(?TABLE, Key),
    hornbeam_cluster:changed([{function, Key}]).

%% @doc What is registered on this node.
-spec names() -> [binary()].
names() ->
    [Name || {Name, _} <- ets:tab2list(?TABLE)].

-spec is_registered(binary()) -> boolean().
is_registered(Name) ->
    ets:member(?TABLE, Name).

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
    {ok, term()} | {error, term()} | {encoded, hornbeam_caller:answer()}
    | {not_registered, term()} | {bad_term, binary()}
when
    Context :: hornbeam_service:context().
handle([Name, Arguments], _, #{timeout := Timeout}) when is_list(Arguments) ->
    case run(Name, Arguments) of
        {not_registered, _} = Nowhere -> elsewhere(Name, Arguments, Timeout, Nowhere);
        Result -> Result
    end;
handle(_, _, _) ->
    {bad_term, <<"the service call takes the name of a function and the list of its arguments">>}.

elsewhere(Name, Arguments, Timeout, Nowhere) ->
    case hornbeam_cluster_call:call(Name, Arguments, Timeout) of
        none -> Nowhere;
        Outcome -> {encoded, hornbeam_caller:encoded(Outcome)}
    end.

%% @doc Call a function of this node for another one; the answer is encoded.
-spec call_here(binary(), [term()], pos_integer(), hornbeam_caller:watch()) ->
    hornbeam_caller:answer() | {error, timeout}.
call_here(Name, Arguments, Timeout, Watch) ->
    Chain = hornbeam_caller:chain(),
    Run = fun() ->
        ok = hornbeam_caller:set_chain(Chain),
        hornbeam_services:stripped(hornbeam_services:attempt(0, fun() -> run(Name, Arguments) end))
    end,
    hornbeam_caller:in_time(Run, Timeout, Watch).
