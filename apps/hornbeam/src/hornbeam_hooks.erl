%% SPDX-License-Identifier: Apache-2.0
%% @doc Hooks from Erlang: handlers that Python may execute, and handlers of Python executed from
%% here.
%%
%% ```
%% ok = hornbeam_hooks:register("geo", fun(<<"distance">>, [A, B], _) -> geo:distance(A, B) end).
%% {ok, Vector} = hornbeam_hooks:execute("embeddings", encode, [<<"some text">>]).
%% {ok, Chunks} = hornbeam_hooks:stream("llm", generate, [Prompt],
%%     fun(Chunk, Acc) -> {ok, [Chunk | Acc]} end, []).
%% '''
%% Runs in the calling process. A handler is a fun of (Action, Arguments, Keywords), or a module:
%% its function named Action gets the arguments spread, and the keywords as a map behind them when
%% there are any. `{ok, V}' is unwrapped, `{error, R}' is RemoteError in Python. For a stream it
%% returns a list, or `{stream, fun((Emit) -> _)}', whose Emit waits until the reader has room.
-module(hornbeam_hooks).

-export([register/2, unregister/1, info/0]).
-export([execute/3, execute/4, stream/5, stream/6]).
-export([execute_async/3, execute_async/4, await_result/1, await_result/2]).
-export_type([name/0, options/0, error/0]).

-compile({no_auto_import, [unregister/1]}).

-type name() :: atom() | binary() | string().
-type options() :: #{
    %% Keyword arguments; Python wants names. Default: none.
    keywords => #{atom() | binary() => term()},
    %% Those that whoever runs it must have: workers on other machines. Default: none.
    labels => #{name() => name() | integer()},
    %% Milliseconds: for the result, for each item of a stream, for the whole of a task.
    %% Default: 30000, of a task 3600000.
    timeout => pos_integer()
}.

%% The details are those of FAULT in section 4.3 of the protocol, for example `handler_error' with
%% type, message and traceback.
-type error() ::
    {not_registered, Path :: binary()}
    | {Fault :: binary(), Details :: term()}
    | hornbeam_caller:fault().

-define(TIMEOUT, 30000).

%% @doc Make Handler serve Path, for Python and Erlang. It replaces an earlier one, and goes before
%% handlers of that name in Python.
-spec register(name(), hornbeam_hooks_table:handler()) -> ok.
register(Path, Handler) when is_function(Handler, 3) ->
    ok = started(),
    hornbeam_hooks_table:register(text(Path), Handler);
register(Path, Handler) when is_atom(Handler) ->
    %% The names of its functions are known once it is loaded, and only known ones can be called.
    case code:ensure_loaded(Handler) of
        {module, Handler} ->
            ok = started(),
            hornbeam_hooks_table:register(text(Path), Handler);
        {error, Why} ->
            error({bad_handler, Path, {no_module, Handler, Why}})
    end;
register(Path, Handler) ->
    error({bad_handler, Path, {expected, 'fun of three arguments, or a module', got, Handler}}).

%% @doc Take the Erlang handler of Path away; those in Python stay.
-spec unregister(name()) -> ok.
unregister(Path) ->
    ok = started(),
    hornbeam_hooks_table:unregister(text(Path)).

%% @doc What is registered: in how many workers, and whether in Erlang.
-spec info() -> #{binary() => #{workers := non_neg_integer(), erlang := boolean()}}.
info() ->
    ok = started(),
    hornbeam_hooks_table:paths().

started() ->
    {ok, _} = application:ensure_all_started(hornbeam),
    ok.

%% @doc As `execute(Path, Action, Arguments, #{})'.
-spec execute(name(), name(), [term()]) -> {ok, term()} | {error, error()}.
execute(Path, Action, Arguments) ->
    execute(Path, Action, Arguments, #{}).

%% @doc Execute an action of a handler, in Python or in Erlang, and wait for its result.
-spec execute(name(), name(), [term()], options()) -> {ok, term()} | {error, error()}.
execute(Path, Action, Arguments, Options) ->
    case payload(Action, Arguments, Options) of
        {ok, Payload} ->
            Outcome = hornbeam_hooks_call:execute(target(Path, Options), Payload, timeout(Options)),
            hornbeam_caller:outcome(Outcome);
        {error, _} = Error ->
            Error
    end.

%% @doc As `stream(Path, Action, Arguments, Fun, Acc, #{})'.
-spec stream(name(), name(), [term()], fun((term(), Acc) -> {ok, Acc} | {stop, Acc}), Acc) ->
    {ok, Acc} | {error, error()}.
stream(Path, Action, Arguments, Fun, Acc) ->
    stream(Path, Action, Arguments, Fun, Acc, #{}).

%% @doc Fold the items that an action yields, as they come; the handler is never more than a few
%% items ahead. `{stop, Acc}' ends it: the generator is closed. An error after some items is the
%% result; what Fun did with them has been done.
-spec stream(
    name(), name(), [term()], fun((term(), Acc) -> {ok, Acc} | {stop, Acc}), Acc, options()
) -> {ok, Acc} | {error, error()}.
stream(Path, Action, Arguments, Fun, Acc, Options) ->
    case payload(Action, Arguments, Options) of
        {ok, Payload} ->
            Target = target(Path, Options),
            hornbeam_hooks_call:stream(Target, Payload, timeout(Options), {Fun, Acc});
        {error, _} = Error ->
            Error
    end.

%% @doc As `execute_async(Path, Action, Arguments, #{})'.
-spec execute_async(name(), name(), [term()]) -> {ok, hornbeam_tasks:id()} | {error, error()}.
execute_async(Path, Action, Arguments) ->
    execute_async(Path, Action, Arguments, #{}).

%% @doc Execute an action in the background; `await_result/2' has its result.
-spec execute_async(name(), name(), [term()], options()) ->
    {ok, hornbeam_tasks:id()} | {error, error()}.
execute_async(Path, Action, Arguments, Options) ->
    case payload(Action, Arguments, Options) of
        {ok, Payload} ->
            Timeout = maps:get(timeout, Options, hornbeam_tasks:default_timeout()),
            hornbeam_tasks:start(target(Path, Options), Payload, Timeout);
        {error, _} = Error ->
            Error
    end.

%% @doc As `await_result(Id, 30000)'.
-spec await_result(hornbeam_tasks:id()) -> {ok, term()} | {error, error()}.
await_result(Id) ->
    await_result(Id, ?TIMEOUT).

%% @doc The result of a task, as often as it is asked for until it expires; from any process, also
%% when the task was started in Python. Timeout in milliseconds.
-spec await_result(hornbeam_tasks:id(), pos_integer()) -> {ok, term()} | {error, error()}.
await_result(Id, Timeout) ->
    hornbeam_caller:outcome(hornbeam_tasks:await(text(Id), Timeout)).

target(Path, Options) ->
    Given = maps:get(labels, Options, #{}),
    case hornbeam_labels:check(Given) of
        {ok, Labels} when map_size(Labels) =:= 0 -> text(Path);
        {ok, Labels} -> {text(Path), Labels};
        error -> error({bad_option, labels, {expected, 'names and values', got, Given}})
    end.

timeout(Options) -> maps:get(timeout, Options, ?TIMEOUT).

payload(Action, Arguments, Options) ->
    Keywords = maps:fold(
        fun(Name, Value, Map) -> Map#{text(Name) => Value} end,
        #{},
        maps:get(keywords, Options, #{})
    ),
    hornbeam_wire:encode_value([[text(Action) | Arguments], Keywords]).

text(Name) when is_atom(Name) -> atom_to_binary(Name);
text(Name) -> <<_/binary>> = unicode:characters_to_binary(Name).
