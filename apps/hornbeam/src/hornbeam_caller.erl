%% SPDX-License-Identifier: Apache-2.0
%% @doc Calls of a worker, from any process of the node: what the calling process does.
%%
%% The worker process (`hornbeam_calls') is told `{hornbeam_calls, Event}' and answers to an alias
%% with encoded values, which are decoded here, where they are wanted. A late answer meets a dead
%% alias. The process dictionary of a service knows for which calls it works (`hornbeam_chain'), so
%% that a call back into a worker that waits runs on the thread that waits.
-module(hornbeam_caller).

-export([call/4, cast/3, hook/4, stream/4, stream_encoded/4]).
-export([in_time/3, start_helper/1, end_helper/1]).
-export([outcome/1, encoded/1, chain/0, set_chain/1]).
-export_type([watch/0, helper/0]).
-export_type([chain/0, fault/0, answer/0]).

-include("hornbeam_wire.hrl").

%% The workers' calls in whose service something is done, the innermost first. An incarnation is
%% one operating-system process of a worker: ids start anew with it.
-type chain() :: [{pid(), Incarnation :: reference(), hornbeam_wire:call_id()}].

%% Name and details of FAULT, PROTOCOL.md section 4.3; or no worker to call, or no answer in time.
-type fault() :: {Name :: binary(), Details :: term()} | timeout | node_down | too_large | bad_term.

%% What the worker process sends to the alias.
-type answer() :: {result, Payload :: binary()} | {fault, Name :: binary(), Payload :: binary()}.

%% A monitor of whoever wants the result: when it has gone the call is revoked.
-type watch() :: reference() | none.

%% A process that works for another one, its monitor, and who watches over both.
-type helper() :: {pid(), Monitor :: reference(), Guard :: pid()}.

%% Items that a stream may send before more are granted (PROTOCOL.md, section 4.3).
-define(WINDOW, 16).

%% @doc See `hornbeam_worker:call/4'.
-spec call(pid(), binary(), [term()], pos_integer()) -> {ok, term()} | {error, fault()}.
call(Worker, Service, Arguments, Timeout) ->
    case hornbeam_wire:encode_value([Arguments, #{}]) of
        {ok, Payload} ->
            Ref = monitor(process, Worker, [{alias, reply_demonitor}]),
            Call = {call, {alias, Ref}, chain(), Timeout, Service, Payload},
            Worker ! {hornbeam_calls, Call},
            outcome(await(Ref, Worker, Timeout, none));
        {error, too_large} ->
            {error, too_large}
    end.

%% @doc See `hornbeam_worker:cast/3'.
-spec cast(pid(), binary(), [term()]) -> ok | {error, too_large}.
cast(Worker, Service, Arguments) ->
    case hornbeam_wire:encode_value([Arguments, #{}]) of
        {ok, Payload} ->
            Worker ! {hornbeam_calls, {cast, Service, Payload}},
            ok;
        {error, too_large} = Error ->
            Error
    end.

%% @doc A call of a handler that `hornbeam_hooks_table' chose; the answer is not decoded.
-spec hook(pid(), {Service :: binary(), Payload :: binary()}, pos_integer(), watch()) ->
    answer() | {error, timeout | node_down}.
hook(Worker, {Service, Payload}, Timeout, Watch) ->
    Ref = monitor(process, Worker, [{alias, reply_demonitor}]),
    Worker ! {hornbeam_calls, {hook, ?CALL, {alias, Ref}, chain(), Timeout, Service, Payload}},
    await(Ref, Worker, Timeout, Watch).

await(Ref, Worker, Timeout, Watch) ->
    receive
        {Ref, Answer} -> Answer;
        {'DOWN', Ref, process, _, _} -> {error, node_down};
        {'DOWN', Watch, process, _, _} -> revoked(Ref, Worker)
    after Timeout -> revoked(Ref, Worker)
    end.

%% From here on the alias is dead: an answer on its way is dropped.
revoked(Ref, Worker) ->
    _ = demonitor(Ref, [flush]),
    Worker ! {hornbeam_calls, {revoke, {alias, Ref}}},
    receive
        {Ref, Answer} -> Answer
    after 0 -> {error, timeout}
    end.

%% @doc Run in a process of its own that is killed at the deadline, or when the watched one goes.
-spec in_time(fun(() -> Result), pos_integer(), watch()) -> Result | answer() | {error, timeout}.
in_time(Run, Timeout, Watch) ->
    Caller = alias([reply]),
    {_, Monitor, _} = Helper = start_helper(fun() -> Caller ! {Caller, Run()} end),
    receive
        {Caller, Result} ->
            ok = end_helper(Helper),
            Result;
        {'DOWN', Monitor, process, _, Reason} ->
            _ = unalias(Caller),
            ok = end_helper(Helper),
            hornbeam_task:killed(Reason);
        {'DOWN', Watch, process, _, _} ->
            given_up(Caller, Helper)
    after Timeout ->
        given_up(Caller, Helper)
    end.

given_up(Caller, Helper) ->
    _ = unalias(Caller),
    ok = end_helper(Helper),
    {error, timeout}.

%% @doc Run in a process of its own, which is killed when the calling one ends, even if that is
%% killed itself.
-spec start_helper(fun(() -> _)) -> helper().
start_helper(Run) ->
    Begin = fun() -> receive go -> Run() end end,
    %% Linked until it is guarded, and does nothing until then.
    {Pid, Monitor} = spawn_opt(Begin, [link, monitor]),
    Guard = guard(fun() -> exit(Pid, kill) end),
    true = unlink(Pid),
    Pid ! go,
    {Pid, Monitor, Guard}.

%% @doc It is of no use any more.
-spec end_helper(helper()) -> ok.
end_helper({Pid, Monitor, Guard}) ->
    _ = demonitor(Monitor, [flush]),
    true = exit(Pid, kill),
    dismiss(Guard).

%% A process that sees to it, if the calling one ends before it dismisses it.
guard(Clean) ->
    Guarded = self(),
    spawn(fun() ->
        Monitor = monitor(process, Guarded),
        receive
            {'DOWN', Monitor, process, _, _} -> Clean();
            dismissed -> ok
        end
    end).

dismiss(Guard) ->
    Guard ! dismissed,
    ok.

%% @doc The same for a stream: Fun folds the items until it says stop. Timeout is for each item.
-spec stream(pid(), {Service :: binary(), Payload :: binary()}, pos_integer(), {Fun, Acc}) ->
    {ok, Acc} | {error, fault()}
when
    Fun :: fun((term(), Acc) -> {ok, Acc} | {stop, Acc}).
stream(Worker, Call, Timeout, {Fun, Acc}) ->
    Decoded = fun(Payload, Before) ->
        case hornbeam_wire:decode_value(Payload) of
            {ok, Item} -> Fun(Item, Before);
            {error, bad_term} = Error -> Error
        end
    end,
    case stream_encoded(Worker, Call, {Timeout, none}, {Decoded, Acc}) of
        {ok, _} = Folded -> Folded;
        Answer -> outcome(Answer)
    end.

%% @doc The same with items, and an answer that is a failure, as they came.
-spec stream_encoded(pid(), {Service :: binary(), Payload :: binary()}, Limits, {Fun, Acc}) ->
    {ok, Acc} | answer() | {error, fault()}
when
    Limits :: {Timeout :: pos_integer(), watch()},
    Fun :: fun((binary(), Acc) -> {ok, Acc} | {stop, Acc} | {error, bad_term}).
stream_encoded(Worker, {Service, Payload}, {Timeout, _} = Limits, {Fun, Acc}) ->
    Ref = monitor(process, Worker, [{alias, explicit_unalias}]),
    %% Of no effect when the stream has ended.
    Revoke = fun() -> Worker ! {hornbeam_calls, {revoke, {alias, Ref}}} end,
    Guard = guard(Revoke),
    Worker ! {hornbeam_calls, {hook, ?STREAM, {alias, Ref}, chain(), Timeout, Service, Payload}},
    try
        fold(Ref, {Worker, Limits}, 0, Fun, Acc)
    after
        ok = dismiss(Guard),
        _ = unalias(Ref),
        _ = demonitor(Ref, [flush]),
        _ = Revoke(),
        flush(Ref)
    end.

fold(Ref, {Worker, {Timeout, Watch}} = From, Used, Fun, Acc) ->
    receive
        {Ref, {item, Payload}} -> folded(Payload, Ref, From, Used + 1, Fun, Acc);
        {Ref, {result, _}} -> {ok, Acc};
        {Ref, Answer} -> Answer;
        {'DOWN', Ref, process, Worker, _} -> {error, node_down};
        {'DOWN', Watch, process, _, _} -> {ok, Acc}
    after Timeout -> {error, timeout}
    end.

folded(Payload, Ref, {Worker, _} = From, Used, Fun, Acc) ->
    case Fun(Payload, Acc) of
        {ok, Next} -> fold(Ref, From, grant(Used, Ref, Worker), Fun, Next);
        {stop, Next} -> {ok, Next};
        {error, bad_term} = Error -> Error
    end.

%% Half a window at a time.
grant(Used, Ref, Worker) when Used * 2 >= ?WINDOW ->
    Worker ! {hornbeam_calls, {credit, {alias, Ref}, Used}},
    0;
grant(Used, _, _) ->
    Used.

flush(Ref) ->
    receive
        {Ref, _} -> flush(Ref)
    after 0 -> ok
    end.

%% @doc An encoded answer as its caller gets it.
-spec outcome(answer() | {error, fault()}) -> {ok, term()} | {error, fault()}.
outcome({result, Payload}) ->
    hornbeam_wire:decode_value(Payload);
outcome({fault, <<"node_down">>, _}) ->
    {error, node_down};
outcome({fault, Name, Payload}) ->
    case hornbeam_wire:decode_value(Payload) of
        {ok, Details} -> {error, {Name, Details}};
        {error, bad_term} -> {error, {Name, #{}}}
    end;
outcome({error, _} = Error) ->
    Error.

%% @doc The same, still encoded.
-spec encoded(answer() | {error, timeout | node_down}) -> answer().
encoded({error, timeout}) -> {fault, <<"timeout">>, term_to_binary(#{})};
encoded({error, node_down}) -> hornbeam_services:node_down();
encoded(Answer) -> Answer.

%% @doc For which calls of workers this process works; set in the process of a service.
-spec chain() -> chain().
chain() ->
    case get(hornbeam_chain) of
        undefined -> [];
        Chain -> Chain
    end.

-spec set_chain(chain()) -> ok.
set_chain(Chain) ->
    _ = put(hornbeam_chain, Chain),
    ok.
