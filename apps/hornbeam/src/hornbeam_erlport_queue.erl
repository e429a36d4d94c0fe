%% SPDX-License-Identifier: Apache-2.0
%% @doc Which request of an ErlPort instance runs next. Pure; runs in the process of the instance.
%%
%% One at a time, in the order they come. While Python waits for a call of an Erlang function it
%% serves requests again, on the thread that waits: each such call opens a level, and the innermost
%% one is where the next request runs.
-module(hornbeam_erlport_queue).

-export([new/0, add/2, next/2, done/2, enter/3, leave/2, remove/2, waiting/1]).
-export_type([queue/1]).

-record(level, {
    %% the monitor of the service that Python waits for; none: Python waits for nothing
    owner :: reference() | none,
    chain :: hornbeam_caller:chain(),
    running = none :: reference() | none
}).

-record(queue, {
    %% innermost first
    levels :: [#level{}, ...],
    requests :: queue:queue()
}).
-opaque queue(_Request) :: #queue{}.

-spec new() -> queue(_).
new() ->
    #queue{levels = [#level{owner = none, chain = []}], requests = queue:new()}.

-spec add(Request, queue(Request)) -> queue(Request).
add(Request, #queue{requests = Requests} = Queue) ->
    Queue#queue{requests = queue:in(Request, Requests)}.

%% @doc The request that runs now, in the service of Chain; `none' when none waits, or Python is not
%% free. Id names it for done/2.
-spec next(fun((Request) -> reference()), queue(Request)) ->
    {Request, hornbeam_caller:chain(), queue(Request)} | none.
next(Id, #queue{levels = [#level{running = none, chain = Chain} = Level | Outer]} = Queue) ->
    case queue:out(Queue#queue.requests) of
        {{value, Request}, Rest} ->
            Busy = Level#level{running = Id(Request)},
            {Request, Chain, Queue#queue{levels = [Busy | Outer], requests = Rest}};
        {empty, _} ->
            none
    end;
next(_, _) ->
    none.

%% @doc A request has its result.
-spec done(reference(), queue(Request)) -> queue(Request).
done(Id, #queue{levels = Levels} = Queue) ->
    Queue#queue{levels = [freed(Id, Level) || Level <- Levels]}.

freed(Id, #level{running = Id} = Level) -> Level#level{running = none};
freed(_, Level) -> Level.

%% @doc Python waits for a call, which Chain names.
-spec enter(reference(), hornbeam_caller:chain(), queue(Request)) -> queue(Request).
enter(Owner, Chain, #queue{levels = Levels} = Queue) ->
    Queue#queue{levels = [#level{owner = Owner, chain = Chain} | Levels]}.

%% @doc It does not wait any more. What still runs in it goes on, and keeps nobody waiting.
-spec leave(reference(), queue(Request)) -> queue(Request).
leave(Owner, #queue{levels = Levels} = Queue) ->
    Queue#queue{levels = lists:keydelete(Owner, #level.owner, Levels)}.

%% @doc Take the first request that waits and meets the condition out.
-spec remove(fun((Request) -> boolean()), queue(Request)) -> {Request, queue(Request)} | none.
remove(Condition, #queue{requests = Requests} = Queue) ->
    case lists:splitwith(fun(R) -> not Condition(R) end, queue:to_list(Requests)) of
        {_, []} ->
            none;
        {Before, [Request | After]} ->
            {Request, Queue#queue{requests = queue:from_list(Before ++ After)}}
    end.

%% @doc What waits, in order.
-spec waiting(queue(Request)) -> [Request].
waiting(#queue{requests = Requests}) -> queue:to_list(Requests).
