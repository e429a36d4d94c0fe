%% SPDX-License-Identifier: Apache-2.0
%% @doc A handler is executed: the choice between workers and Erlang, and the run of Erlang ones.
%%
%% execute/3 and stream/4 run in the process of an Erlang caller or of a task; execute_here/4 and
%% stream_here/4, too, and in that of a call of another node (`hornbeam_cluster_call').
%% handle_payload/2 and stream_handle/2 run in the process of a service, for a worker's
%% `execute/Path' that no worker of this node serves (`hornbeam_calls' sends the others to their
%% worker without coming here). What nobody has here is executed on a node that has it.
-module(hornbeam_hooks_call).
-behaviour(hornbeam_service).

-export([execute/3, execute_here/4, stream/4, stream_here/4, path/1]).
-export([handle_payload/2, stream_handle/2]).
-export_type([target/0]).

%% Items that a stream may send before more are granted (PROTOCOL.md, section 4.3).
-define(WINDOW, 16).

-type target() :: hornbeam_hooks_table:path() | {hornbeam_hooks_table:path(),
    hornbeam_labels:labels()}.
-type outcome() :: hornbeam_caller:answer() | {error, hornbeam_caller:fault()}.

%% @doc Payload is the encoded `[[Action | Arguments], Keywords]'; the answer is encoded, too.
%% With labels it is for workers that have them alone.
-spec execute(target(), binary(), pos_integer()) -> outcome().
execute(Target, Payload, Timeout) ->
    case execute_here(Target, Payload, Timeout, none) of
        none ->
            Chain = hornbeam_caller:chain(),
            Run = fun() ->
                ok = hornbeam_caller:set_chain(Chain),
                elsewhere(hornbeam_cluster_call:execute(Target, Payload, Timeout), path(Target))
            end,
            hornbeam_caller:in_time(Run, Timeout, none);
        Outcome ->
            Outcome
    end.

elsewhere(none, Path) -> hornbeam_services:stripped(not_registered(Path, 0));
elsewhere(Outcome, _) -> Outcome.

not_registered(Path, Id) ->
    hornbeam_services:attempt(Id, fun() -> {not_registered, Path} end).

%% @doc The path of a target.
-spec path(target()) -> hornbeam_hooks_table:path().
path({Path, _}) -> Path;
path(Path) -> Path.

%% Which worker of this node is to do it, or whether Erlang is; handlers in Erlang have no labels.
place({Path, Labels}) ->
    case hornbeam_hooks_table:choose(Path, Labels, undefined) of
        {ok, Worker} -> {worker, Worker};
        none -> none
    end;
place(Path) ->
    case {hornbeam_hooks_table:choose(Path, undefined), hornbeam_hooks_table:is_served(Path)} of
        {{ok, Worker}, _} -> {worker, Worker};
        {none, true} -> erlang;
        {none, false} -> none
    end.

hook(Target, Payload) -> {<<"hook/", (path(Target))/binary>>, Payload}.

%% @doc The same by a handler of this node; `none' when it has none.
-spec execute_here(target(), binary(), pos_integer(), hornbeam_caller:watch()) -> outcome() | none.
execute_here(Target, Payload, Timeout, Watch) ->
    case place(Target) of
        {worker, Worker} ->
            hornbeam_caller:hook(Worker, hook(Target, Payload), Timeout, Watch);
        erlang ->
            Run = answering(context(Target, Timeout), Payload),
            hornbeam_caller:in_time(Run, Timeout, Watch);
        none ->
            none
    end.

context(Target, Timeout) ->
    Service = <<"execute/", (path(Target))/binary>>,
    Context = hornbeam_services:context(Service, [], 0, Timeout),
    Context#{chain := hornbeam_caller:chain()}.

%% An Erlang handler has the deadline that one in Python has.
answering(#{chain := Chain} = Context, Payload) ->
    fun() ->
        ok = hornbeam_caller:set_chain(Chain),
        answer(Context, Payload)
    end.

answer(Context, Payload) ->
    Run = fun(Arguments, Keywords) -> handle(Arguments, Keywords, Context) end,
    hornbeam_services:stripped(hornbeam_services:guarded(Context, Payload, Run)).

%% @doc The items of the handler folded; see `hornbeam_hooks:stream/6'.
-spec stream(target(), binary(), pos_integer(), {Fun, Acc}) ->
    {ok, Acc} | {error, hornbeam_hooks:error()}
when
    Fun :: fun((term(), Acc) -> {ok, Acc} | {stop, Acc}).
stream(Target, Payload, Timeout, {Fun, Acc}) ->
    case place(Target) of
        {worker, Worker} ->
            hornbeam_caller:stream(Worker, hook(Target, Payload), Timeout, {Fun, Acc});
        Place ->
            Context = context(Target, Timeout),
            Produce = producer(Place, Context, Target, Payload),
            Relay = relay(self(), maps:get(chain, Context), Produce),
            case relayed(Relay, {Timeout, none}, Fun, Acc) of
                {ok, _} = Folded -> Folded;
                Answer -> hornbeam_caller:outcome(Answer)
            end
    end.

%% @doc The same by a handler of this node, with encoded items; `none' when it has none.
-spec stream_here(target(), binary(), Limits, {Fun, Acc}) ->
    {ok, Acc} | outcome() | none
when
    Limits :: {Timeout :: pos_integer(), hornbeam_caller:watch()},
    Fun :: fun((binary(), Acc) -> {ok, Acc} | {stop, Acc}).
stream_here(Target, Payload, {Timeout, _} = Limits, {Fun, Acc}) ->
    case place(Target) of
        {worker, Worker} ->
            hornbeam_caller:stream_encoded(Worker, hook(Target, Payload), Limits, {Fun, Acc});
        erlang ->
            Context = context(Target, Timeout),
            Produce = producer(erlang, Context, Target, Payload),
            Relay = relay(self(), maps:get(chain, Context), Produce),
            relayed(Relay, Limits, fun(Item, Before) -> Fun(encoded(Item), Before) end, Acc);
        none ->
            none
    end.

encoded(Item) ->
    case hornbeam_wire:encode_value(Item) of
        {ok, Encoded} -> Encoded;
        {error, too_large} -> error({too_large, item})
    end.

%% Calls Emit with each item of an Erlang handler, or of a handler of another node; the answer.
producer(erlang, Context, _, Payload) ->
    fun(Emit) ->
        Run = items(Context, Emit),
        hornbeam_services:stripped(hornbeam_services:guarded(Context, Payload, Run))
    end;
producer(none, #{timeout := Timeout}, Target, Payload) ->
    fun(Emit) ->
        Decoded = fun(Encoded) ->
            {ok, Item} = hornbeam_wire:decode_value(Encoded),
            Emit(Item)
        end,
        Outcome = hornbeam_cluster_call:stream(Target, Payload, Timeout, Decoded),
        elsewhere(Outcome, path(Target))
    end.

%% The handler is one item ahead of its reader.
relay(Reader, Chain, Produce) ->
    fun() ->
        ok = hornbeam_caller:set_chain(Chain),
        Emit = fun(Item) ->
            Reader ! {self(), item, Item},
            receive
                {hornbeam_credit, 1} -> ok
            end
        end,
        Reader ! {self(), answer, Produce(Emit)}
    end.

relayed(Relay, Limits, Fun, Acc) ->
    {Pid, Monitor, _} = Helper = hornbeam_caller:start_helper(Relay),
    try
        fold({Pid, Monitor}, Limits, Fun, Acc)
    after
        ok = hornbeam_caller:end_helper(Helper),
        flush(Pid)
    end.

fold({Pid, Monitor} = Stream, {Timeout, Watch} = Limits, Fun, Acc) ->
    receive
        {Pid, item, Item} ->
            Pid ! {hornbeam_credit, 1},
            case Fun(Item, Acc) of
                {ok, Next} -> fold(Stream, Limits, Fun, Next);
                {stop, Next} -> {ok, Next}
            end;
        {Pid, answer, {result, _}} ->
            {ok, Acc};
        {Pid, answer, Answer} ->
            Answer;
        {'DOWN', Monitor, process, _, Reason} ->
            hornbeam_task:killed(Reason);
        {'DOWN', Watch, process, _, _} ->
            {ok, Acc}
    after Timeout -> {error, timeout}
    end.

flush(Pid) ->
    receive
        {Pid, _, _} -> flush(Pid)
    after 0 -> ok
    end.

%%% For workers

%% @doc The service `execute/Path', or `execute?Labels/Path': `[Action | Arguments], Keywords'.
-spec handle_payload(binary(), hornbeam_service:context()) ->
    {encoded, hornbeam_caller:answer()} | {not_registered, binary()}.
handle_payload(Payload, #{service := Service, timeout := Timeout} = Context) ->
    Target = target(Service),
    case is_here(Target) of
        true ->
            {encoded, answer(Context, Payload)};
        false ->
            case hornbeam_cluster_call:execute(Target, Payload, Timeout) of
                none -> {not_registered, path(Target)};
                Outcome -> {encoded, hornbeam_caller:encoded(Outcome)}
            end
    end.

target(<<"execute/", Path/binary>>) -> Path;
target(<<"execute?", Target/binary>>) -> hornbeam_labels:split(Target).

%% No worker has been chosen, so nobody here has the labels.
is_here({_, _}) -> false;
is_here(Path) -> hornbeam_hooks_table:is_served(Path).

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
stream_handle(#{service := Service, call := Id} = Context, Payload) ->
    _ = put(hornbeam_credit, ?WINDOW),
    Target = target(Service),
    case is_here(Target) of
        true ->
            Emit = fun(Item) -> emit(encoded(Item), Context) end,
            hornbeam_services:guarded(Context, Payload, items(Context, Emit));
        false ->
            Emit = fun(Item) -> emit(Item, Context) end,
            #{timeout := Timeout} = Context,
            case hornbeam_cluster_call:stream(Target, Payload, Timeout, Emit) of
                none -> not_registered(path(Target), Id);
                Outcome -> message(hornbeam_caller:encoded(Outcome), Id)
            end
    end.

message(Answer, Id) ->
    hornbeam_services:attempt(Id, fun() -> {encoded, Answer} end).

emit(Encoded, #{worker := Worker, incarnation := Incarnation, call := Id}) ->
    Worker ! {hornbeam_calls, {item, {Incarnation, Id}, Encoded}},
    spend().

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
