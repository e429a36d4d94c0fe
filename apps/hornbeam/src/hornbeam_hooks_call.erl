%% SPDX-License-Identifier: Apache-2.0
%% @doc A handler is executed: the choice between workers and Erlang, and the run of Erlang ones.
%%
%% execute/3 and stream/4 run in the process of an Erlang caller or of a task. handle/3 and
%% stream_handle/2 run in the process of a service, for a worker's `execute/Path' that no worker
%% serves (`hornbeam_calls' sends the others to their worker without coming here).
-module(hornbeam_hooks_call).
-behaviour(hornbeam_service).

-export([execute/3, stream/4]).
-export([handle/3, stream_handle/2]).

%% Items that a stream may send before more are granted (PROTOCOL.md, section 4.3).
-define(WINDOW, 16).

-type outcome() :: hornbeam_caller:answer() | {error, hornbeam_caller:fault()}.

%% @doc Payload is the encoded `[[Action | Arguments], Keywords]'; the answer is encoded, too.
-spec execute(hornbeam_hooks_table:path(), binary(), pos_integer()) -> outcome().
execute(Path, Payload, Timeout) ->
    case hornbeam_hooks_table:choose(Path, undefined) of
        {ok, Worker} ->
            hornbeam_caller:hook(Worker, {<<"hook/", Path/binary>>, Payload}, Timeout);
        none ->
            in_time(answering(context(Path, Timeout), Payload), Timeout)
    end.

context(Path, Timeout) ->
    Context = hornbeam_services:context(<<"execute/", Path/binary>>, [], 0, Timeout),
    Context#{chain := hornbeam_caller:chain()}.

answering(#{chain := Chain} = Context, Payload) ->
    fun() ->
        ok = hornbeam_caller:set_chain(Chain),
        hornbeam_services:answer(Context, Payload)
    end.

%% An Erlang handler has the deadline that one in Python has.
in_time(Run, Timeout) ->
    Caller = alias([reply]),
    {Pid, Monitor} = spawn_monitor(fun() -> Caller ! {Caller, Run()} end),
    receive
        {Caller, Answer} ->
            _ = demonitor(Monitor, [flush]),
            hornbeam_services:stripped(Answer);
        {'DOWN', Monitor, process, _, Reason} ->
            _ = unalias(Caller),
            hornbeam_task:killed(Reason)
    after Timeout ->
        _ = unalias(Caller),
        _ = demonitor(Monitor, [flush]),
        true = exit(Pid, kill),
        {error, timeout}
    end.

%% @doc The items of the handler folded; see `hornbeam_hooks:stream/6'.
-spec stream(hornbeam_hooks_table:path(), binary(), pos_integer(), {Fun, Acc}) ->
    {ok, Acc} | {error, hornbeam_hooks:error()}
when
    Fun :: fun((term(), Acc) -> {ok, Acc} | {stop, Acc}).
stream(Path, Payload, Timeout, {Fun, Acc}) ->
    case hornbeam_hooks_table:choose(Path, undefined) of
        {ok, Worker} ->
            Call = {<<"hook/", Path/binary>>, Payload},
            hornbeam_caller:stream(Worker, Call, Timeout, {Fun, Acc});
        none ->
            {Pid, Monitor} = spawn_monitor(relay(self(), context(Path, Timeout), Payload)),
            try
                fold({Pid, Monitor}, Timeout, Fun, Acc)
            after
                _ = demonitor(Monitor, [flush]),
                true = exit(Pid, kill),
                flush(Pid)
            end
    end.

%% The handler is one item ahead of its reader.
relay(Reader, Context, Payload) ->
    fun() ->
        ok = hornbeam_caller:set_chain(maps:get(chain, Context)),
        Emit = fun(Item) ->
            Reader ! {self(), item, Item},
            receive
                {hornbeam_credit, 1} -> ok
            end
        end,
        Reader ! {self(), answer, hornbeam_services:guarded(Context, Payload, items(Context, Emit))}
    end.

fold({Pid, Monitor} = Stream, Timeout, Fun, Acc) ->
    receive
        {Pid, item, Item} ->
            Pid ! {hornbeam_credit, 1},
            case Fun(Item, Acc) of
                {ok, Next} -> fold(Stream, Timeout, Fun, Next);
                {stop, Next} -> {ok, Next}
            end;
        {Pid, answer, Answer} ->
            case hornbeam_caller:outcome(hornbeam_services:stripped(Answer)) of
                {ok, _} -> {ok, Acc};
                {error, _} = Error -> Error
            end;
        {'DOWN', Monitor, process, _, Reason} ->
            hornbeam_caller:outcome(hornbeam_task:killed(Reason))
    after Timeout -> {error, timeout}
    end.

flush(Pid) ->
    receive
        {Pid, _, _} -> flush(Pid)
    after 0 -> ok
    end.

%%% Handlers in Erlang

%% @doc The service `execute/Path': `[Action | Arguments], Keywords'.
-spec handle(hornbeam_service:arguments(), hornbeam_service:keywords(), Context) ->
    {ok, term()} | {error, term()} | {not_registered, binary()} | {bad_term, binary()}
when
    Context :: hornbeam_service:context().
handle([Action | Arguments], Keywords, #{service := <<"execute/", Path/binary>>}) when
    is_binary(Action)
->
    case hornbeam_hooks_table:erlang_handler(Path) of
        {ok, Handler} -> result(run(Handler, Action, Arguments, Keywords));
        none -> {not_registered, Path}
    end;
handle(_, _, _) ->
    {bad_term, <<"the action is a text">>}.

run(Handler, Action, Arguments, Keywords) when is_function(Handler) ->
    Handler(Action, Arguments, Keywords);
run(Module, Action, Arguments, Keywords) when map_size(Keywords) =:= 0 ->
    apply(Module, function(Action), Arguments);
run(Module, Action, Arguments, Keywords) ->
    apply(Module, function(Action), Arguments ++ [Keywords]).

%% Never a new atom: what no module has cannot be called.
function(Action) ->
    try
        binary_to_existing_atom(Action)
    catch
        error:badarg -> error({no_such_action, Action})
    end.

result({ok, Value}) -> {ok, Value};
result({error, Reason}) -> {error, Reason};
result(Value) -> {ok, Value}.

%% @doc The same as a stream: items go to the worker process as the reader grants them. What the
%% call is answered with when they are over.
-spec stream_handle(hornbeam_service:context(), Payload :: binary()) -> hornbeam_wire:message().
stream_handle(#{worker := Worker, incarnation := Incarnation, call := Id} = Context, Payload) ->
    Key = {Incarnation, Id},
    Emit = fun(Item) ->
        _ = case hornbeam_wire:encode_value(Item) of
            {ok, Encoded} -> Worker ! {hornbeam_calls, {item, Key, Encoded}};
            {error, too_large} -> error({too_large, item})
        end,
        spend()
    end,
    _ = put(hornbeam_credit, ?WINDOW),
    hornbeam_services:guarded(Context, Payload, items(Context, Emit)).

%% Waits as long as the reader does; the worker process ends this one when the reader has gone.
spend() ->
    case get(hornbeam_credit) of
        1 ->
            receive
                {hornbeam_credit, Items} -> put(hornbeam_credit, Items)
            end;
        Left ->
            put(hornbeam_credit, Left - 1)
    end,
    ok.

items(Context, Emit) ->
    fun(Arguments, Keywords) ->
        case handle(Arguments, Keywords, Context) of
            {ok, {stream, Produce}} when is_function(Produce, 1) ->
                _ = Produce(Emit),
                {ok, undefined};
            {ok, Items} when is_list(Items) ->
                ok = lists:foreach(Emit, Items),
                {ok, undefined};
            {ok, _} ->
                {bad_term, <<"a stream is a list of items or {stream, fun((Emit) -> _)}">>};
            Other ->
                Other
        end
    end.
