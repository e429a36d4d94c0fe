%% SPDX-License-Identifier: Apache-2.0
%% @doc What one worker holds, and how it comes and goes: requests out, answers in, slots of the
%% pool.
%%
%% Runs in the worker process (`hornbeam_worker_proc', which knows when a worker may have
%% traffic). The rules are in `hornbeam_exchanges' and `hornbeam_calls', their effects are carried
%% out by `hornbeam_worker_effects'.
-module(hornbeam_worker_traffic).

-export([new/3, renew/1]).
-export([open/3, refuse/2, events/3, close_websockets/4]).
-export([packet/3, messages/3, call_event/4, call_down/4]).
-export([overdue/2, give_away/2, fail_all/2]).
-export([open_limit/1, close_limit/1, retry/1, ask/2, ready/2, closed/1, delete_pool/1]).
-export([count/1, calls/1, given/1, answered/1, silent_for/1, info/1]).
-export_type([state/0, options/0, event/0]).

-include("hornbeam_wire.hrl").

-type options() :: #{
    worker_class := wsgi | asgi,
    %% Requests that the worker runs at once: of a WSGI application, of an ASGI application.
    threads := pos_integer(),
    max_concurrent := pos_integer(),
    %% Milliseconds.
    timeout := timeout(),
    %% Bytes.
    response_window := pos_integer(),
    request_window := pos_integer(),
    %% See hornbeam_worker_proc.
    renew => again | never,
    _ => _
}.

%% What streams say about requests that are open already, see hornbeam_worker.
-type event() ::
    {hornbeam_body, hornbeam_wire:exchange_id(), Fin :: boolean(), binary()}
    | {hornbeam_credit, hornbeam_wire:exchange_id(), pos_integer()}
    | {hornbeam_cancel, hornbeam_wire:exchange_id(), Reason :: binary()}
    | {hornbeam_cancel, hornbeam_exchanges:to()}
    | {hornbeam_message, hornbeam_wire:exchange_id(), text | binary, binary()}
    | {hornbeam_close, hornbeam_wire:exchange_id(), Code :: 1000..4999, Reason :: binary()}.

-record(traffic, {
    pool :: hornbeam_pool:pool(),
    index :: hornbeam_pool:index(),
    options :: options(),
    exchanges :: hornbeam_exchanges:state(),
    calls :: hornbeam_calls:state(),
    prefetch :: hornbeam_prefetch:state(),
    %% subscriptions of the process of now
    events = undefined :: pid() | undefined,
    %% limits last written to the pool
    limits = {0, 0} :: hornbeam_prefetch:limits(),
    %% microseconds: when packets of OPENs left, by the lowest id in each, newest first
    sent = [] :: [{hornbeam_wire:exchange_id(), integer()}],
    %% microseconds: the last answer
    answered_at = 0 :: integer(),
    %% milliseconds: the last sign of life
    heard :: integer(),
    %% requests that the process of now has answered
    answered = 0 :: non_neg_integer()
}).
-opaque state() :: #traffic{}.

%% @doc No traffic, and none allowed before `open_limit/1'.
-spec new(hornbeam_pool:pool(), hornbeam_pool:index(), options()) -> state().
new(Pool, Index, Options) ->
    close_limit(#traffic{
        pool = Pool,
        index = Index,
        options = Options,
        exchanges = hornbeam_exchanges:new(windows(Options)),
        calls = new_calls(Pool, Index, Options),
        prefetch = prefetch(Options),
        heard = now_ms()
    }).

new_calls(Pool, Index, Options) ->
    Next = maps:get(renew, Options, again),
    hornbeam_calls:new(hornbeam_pool:calls(Index, Pool), Next).

%% A coroutine that waits for something to tell its client holds nobody; a thread is held.
windows(#{worker_class := wsgi} = Options) ->
    maps:with([timeout, response_window, request_window], Options);
windows(#{worker_class := asgi} = Options) ->
    Windows = maps:with([timeout, response_window, request_window], Options),
    Windows#{stream_timeout => infinity}.

%% An event loop starts whatever it is given: nothing waits behind anything.
prefetch(#{worker_class := wsgi, threads := Threads}) ->
    hornbeam_prefetch:new(Threads, erlang:system_info(schedulers_online));
prefetch(#{worker_class := asgi, max_concurrent := Max}) ->
    hornbeam_prefetch:fixed(Max, erlang:system_info(schedulers_online)).

%% @doc The same for the next operating-system process of the worker.
-spec renew(state()) -> state().
renew(#traffic{pool = Pool, index = Index, options = Options, exchanges = X, calls = Calls}) ->
    {ok, Events} = hornbeam_worker_events:start_link(self()),
    %% Ids go on: what a stream still says about an exchange of the last process means none of the
    %% next.
    (new(Pool, Index, Options))#traffic{exchanges = X, calls = Calls, events = Events}.

%%% Requests out

%% @doc Requests whose slots are claimed, in one packet.
-spec open([{hornbeam_exchanges:to(), hornbeam_wire:request()}, ...], Link, state()) -> state() when
    Link :: hornbeam_link:link().
open(Requests, Link, #traffic{exchanges = X0, sent = Sent} = T) ->
    NowUs = now_us(),
    Now = NowUs div 1000,
    {[{First, _, _} | _] = Opens, X} = lists:mapfoldl(
        fun({To, Request}, Acc) -> hornbeam_exchanges:open(To, Request, Now, Acc) end, X0, Requests
    ),
    ok = hornbeam_link:open_exchanges(Opens, Link),
    T#traffic{exchanges = X, sent = [{First, NowUs} | Sent]}.

%% @doc A request that was sent here just before the limit became 0 goes back to the queue.
-spec refuse({hornbeam_exchanges:to(), hornbeam_wire:request()}, state()) -> ok.
refuse(Request, #traffic{index = Index, pool = Pool}) ->
    _ = hornbeam_pool:release(Index, 1, Pool),
    hornbeam_queue:requeue([Request], Pool).

%% @doc What streams and WebSockets say about what is open, in one packet; nothing for what the
%% worker has closed meanwhile.
-spec events([event()], hornbeam_link:link() | undefined, state()) -> state().
events(Events, Link, #traffic{exchanges = X0} = T) ->
    {Messages, X} = lists:mapfoldl(fun event/2, X0, Events),
    ok = hornbeam_link:send(lists:append(Messages), Link),
    T#traffic{exchanges = X}.

event({hornbeam_body, Id, Fin, Data}, X) ->
    hornbeam_exchanges:body(Id, Fin, Data, now_ms(), X);
event({hornbeam_credit, Id, N}, X) ->
    hornbeam_exchanges:credit(Id, N, now_ms(), X);
event({hornbeam_cancel, Id, Reason}, X) ->
    hornbeam_exchanges:cancel(Id, Reason, now_ms(), X);
event({hornbeam_cancel, To}, X) ->
    hornbeam_exchanges:leave(To, now_ms(), X);
event({hornbeam_message, Id, Kind, Data}, X) ->
    hornbeam_exchanges:message(Id, Kind, Data, X);
event({hornbeam_close, Id, Code, Reason}, X) ->
    hornbeam_exchanges:close(Id, Code, Reason, now_ms(), X).

%% @doc Every WebSocket is closed, for clients and application.
-spec close_websockets(Code, Reason, hornbeam_link:link() | undefined, state()) -> state() when
    Code :: 1000..4999, Reason :: binary().
close_websockets(Code, Reason, Link, #traffic{exchanges = X0} = T) ->
    {Effects, Messages, X} = hornbeam_exchanges:close_websockets(Code, Reason, now_ms(), X0),
    ok = hornbeam_link:send(Messages, Link),
    0 = carry_out(Effects, T),
    T#traffic{exchanges = X}.

%%% Answers in

%% @doc One packet of the worker. After an error the connection cannot go on; what came before it
%% counts.
-spec packet(binary(), hornbeam_link:link(), state()) ->
    {ok, state()} | {error, {atom(), binary()}, state()}.
packet(Packet, Link, T) ->
    case hornbeam_wire:decode(Packet) of
        {ok, Messages} -> messages(Messages, Link, T);
        {error, Error} -> {error, Error, T}
    end.

%% @doc The same for messages that are decoded already.
-spec messages([hornbeam_wire:message()], hornbeam_link:link(), state()) ->
    {ok, state()} | {error, {atom(), binary()}, state()}.
messages(Messages, Link, #traffic{exchanges = X0} = T0) ->
    T = T0#traffic{heard = now_ms()},
    case handle(Messages, [], X0, [], T) of
        {ok, Effects, X, Replies, T1} ->
            ok = reply(Replies, Link),
            {ok, answers(Effects, T1#traffic{exchanges = X})};
        {error, Error, Effects, X, Replies, T1} ->
            ok = reply(Replies, Link),
            {error, Error, answers(Effects, T1#traffic{exchanges = X})}
    end.

reply(NewestFirst, Link) ->
    Portions = hornbeam_wire:answers(lists:reverse(NewestFirst)),
    lists:foreach(fun(Answers) -> ok = hornbeam_link:send(Answers, Link) end, Portions).

%% Effects, and replies to calls, are newest first.
handle([], Effects, X, Replies, T) ->
    {ok, Effects, X, Replies, T};
handle([{?DRAIN} | Rest], Effects, X, Replies, T) ->
    %% What came with it counts first.
    self() ! hornbeam_drain,
    handle(Rest, Effects, X, Replies, T);
handle([Message | Rest], Effects, X0, Replies, #traffic{heard = Now} = T) when
    ?IS_OF_EXCHANGE(element(1, Message))
->
    case hornbeam_exchanges:handle(Message, Now, X0) of
        {ok, [Effect], X} -> handle(Rest, [Effect | Effects], X, Replies, T);
        {ok, More, X} -> handle(Rest, More ++ Effects, X, Replies, T);
        {error, Error} -> {error, Error, Effects, X0, Replies, T}
    end;
handle([{?EVENT_CREDIT, Id, N} | Rest], Effects, X, Replies, #traffic{events = Events} = T) ->
    ok = hornbeam_worker_events:credit(Events, Id, N),
    handle(Rest, Effects, X, Replies, T);
handle([Message | Rest], Effects, X, Replies, #traffic{calls = Calls0} = T) ->
    case hornbeam_calls:handle(Message, self(), Calls0) of
        {ok, More, Calls} -> handle(Rest, Effects, X, More ++ Replies, T#traffic{calls = Calls});
        {error, Error} -> {error, Error, Effects, X, Replies, T}
    end.

answers(NewestFirst, T0) ->
    Effects = lists:reverse(NewestFirst),
    %% First the limits: the queue gives away at once what it gets back.
    #traffic{answered = Before} = T = returned(lists:keymember(requeue, 1, Effects), T0),
    case carry_out(Effects, T) of
        Answers when Answers > 0 ->
            sample(Effects, Answers, T#traffic{answered = Before + Answers});
        _ ->
            T
    end.

returned(false, T) -> T;
returned(true, #traffic{prefetch = P} = T) ->
    relimit(T#traffic{prefetch = hornbeam_prefetch:returned(P)}).

%% The worker was busy with these answers since its last ones, or since it was sent the first of
%% them, when that was later: until then it waited for the node.
sample(Effects, Answers, #traffic{prefetch = P0, answered_at = Last, sent = Sent} = T) ->
    Now = now_us(),
    {Since, Left} = sent_at(first_id(Effects), Sent, Last),
    P = hornbeam_prefetch:sample(max(0, Now - max(Last, Since)), Answers, P0),
    relimit(T#traffic{prefetch = P, answered_at = Now, sent = Left}).

first_id([{event, _, Id, _} | _]) -> Id;
first_id([_ | Rest]) -> first_id(Rest);
first_id([]) -> 0.

%% Packets older than the one with this id are answered, or as good as that.
sent_at(0, Sent, Default) ->
    {Default, Sent};
sent_at(Id, Sent, Default) ->
    case lists:splitwith(fun({First, _}) -> First > Id end, Sent) of
        {Newer, [{_, At} = Packet | _]} -> {At, Newer ++ [Packet]};
        {Newer, []} -> {Default, Newer}
    end.

carry_out(Effects, #traffic{pool = Pool, index = Index}) ->
    hornbeam_worker_effects:carry_out(Effects, Index, Pool).

%%% Calls

%% @doc An event of a caller, a service or a timer.
-spec call_event(Event, hornbeam_calls:phase(), Link, state()) -> state() when
    Event :: hornbeam_calls:event() | hornbeam_worker_events:event(),
    Link :: hornbeam_link:link() | undefined.
call_event({events, Pid, Messages}, _, Link, #traffic{events = Pid} = T) ->
    ok = hornbeam_link:send(Messages, Link),
    T;
call_event({events, _, _}, _, _, T) ->
    %% Of an earlier process.
    T;
call_event(Event, Phase, Link, #traffic{calls = Calls} = T) ->
    called(hornbeam_calls:event(Event, Phase, Calls), Link, T).

%% @doc The worker is ready: its handlers are known from now on, and what has waited for them goes
%% out.
-spec ready(hornbeam_link:link(), state()) -> state().
ready(Link, #traffic{pool = Pool, index = Index, calls = Calls} = T) ->
    Labels = hornbeam_link:labels(Link),
    ok = hornbeam_hooks_table:started(Pool, Index, Labels, hornbeam_link:hooks(Link)),
    called(hornbeam_calls:ready(Calls), Link, T).

%% @doc The worker process ends.
-spec closed(state()) -> ok.
closed(#traffic{pool = Pool, index = Index}) ->
    hornbeam_hooks_table:stopped(Pool, Index).

%% @doc The pool was that of this worker alone, and ends with it.
-spec delete_pool(state()) -> ok.
delete_pool(#traffic{pool = Pool}) ->
    hornbeam_pool:delete(hornbeam_pool:name(Pool)).

%% @doc A monitored process has ended.
-spec call_down(pid(), term(), hornbeam_link:link() | undefined, state()) -> state().
call_down(Pid, Reason, Link, #traffic{calls = Calls} = T) ->
    called(hornbeam_calls:down(Pid, Reason, Calls), Link, T).

called({Messages, Calls}, Link, T) ->
    ok = hornbeam_link:send(Messages, Link),
    T#traffic{calls = Calls}.

%%% What goes wrong

%% @doc Requests without progress are answered; the ids of those that hold the worker all the same.
-spec overdue(hornbeam_link:link(), state()) -> {Stuck :: [hornbeam_wire:exchange_id()], state()}.
overdue(Link, #traffic{exchanges = X0} = T) ->
    {Effects, Messages, Stuck, X} = hornbeam_exchanges:overdue(now_ms(), X0),
    ok = hornbeam_link:send(Messages, Link),
    _ = carry_out(Effects, T),
    {Stuck, T#traffic{exchanges = X}}.

%% @doc What the worker has not started goes to others.
-spec give_away(hornbeam_link:link(), state()) -> state().
give_away(Link, #traffic{exchanges = X0} = T) ->
    {Effects, X} = hornbeam_exchanges:give_away(hornbeam_link:forbid(Link), X0),
    _ = carry_out(Effects, T),
    T#traffic{exchanges = X}.

%% @doc The process is dead: what it had started has failed, the rest goes to others, callers are
%% told.
-spec fail_all(StartedUpTo :: non_neg_integer(), state()) -> state().
fail_all(Started, #traffic{exchanges = X0, calls = Calls, events = Events} = T) ->
    #traffic{pool = Pool, index = Index, options = Options} = T,
    _ = is_pid(Events) andalso hornbeam_worker_events:stop(Events),
    {Effects, X} = hornbeam_exchanges:fail_all(Started, X0),
    ok = hornbeam_calls:fail_all(Calls),
    _ = carry_out(Effects, T),
    New = new_calls(Pool, Index, Options),
    T#traffic{exchanges = X, calls = New, events = undefined}.

%%% The limit of the pool

%% @doc The worker may hold as many requests as was measured.
-spec open_limit(state()) -> state().
open_limit(#traffic{prefetch = P} = T) ->
    write_limits(hornbeam_prefetch:limits(P), T).

%% @doc The worker gets nothing new.
-spec close_limit(state()) -> state().
close_limit(#traffic{index = Index, pool = Pool} = T) ->
    ok = hornbeam_pool:set_limits(Index, {0, 0}, Pool),
    T#traffic{limits = {0, 0}}.

%% @doc A worker that has handed requests back is tried again; called now and then.
-spec retry(state()) -> state().
retry(#traffic{prefetch = P} = T) ->
    relimit(T#traffic{prefetch = hornbeam_prefetch:resumed(P)}).

%% A limit of 0 was set by whoever closed it.
relimit(#traffic{limits = {0, 0}} = T) -> T;
relimit(T) -> open_limit(T).

write_limits(Limits, #traffic{limits = Limits} = T) ->
    T;
write_limits({_, Limit} = Limits, #traffic{index = Index, pool = Pool, limits = {_, Before}} = T) ->
    ok = hornbeam_pool:set_limits(Index, Limits, Pool),
    _ = Limit > Before andalso hornbeam_pool:queued(Pool) > 0 andalso hornbeam_queue:capacity(Pool),
    T#traffic{limits = Limits}.

%%% Questions

%% @doc Who serves the subscriptions of the worker; the connection process of its WebSocket.
-spec ask(events | {socket, hornbeam_wire:exchange_id()} | term(), state()) ->
    {ok, pid()} | {error, gone | unknown_call}.
ask(events, #traffic{events = Events}) when is_pid(Events) -> {ok, Events};
ask(events, _) -> {error, gone};
ask({socket, Id}, #traffic{exchanges = X}) -> hornbeam_exchanges:socket(Id, X);
ask(_, _) -> {error, unknown_call}.

%%% Figures

-spec count(state()) -> non_neg_integer().
count(#traffic{exchanges = X}) -> hornbeam_exchanges:count(X).

%% @doc Calls of the node that the worker has not answered.
-spec calls(state()) -> non_neg_integer().
calls(#traffic{calls = Calls}) -> hornbeam_calls:count(Calls).

%% @doc Requests that were given away and that the worker still has to hand back.
-spec given(state()) -> non_neg_integer().
given(#traffic{exchanges = X}) -> hornbeam_exchanges:given(X).

-spec answered(state()) -> non_neg_integer().
answered(#traffic{answered = Answered}) -> Answered.

%% @doc Milliseconds since the worker has last said anything.
-spec silent_for(state()) -> non_neg_integer().
silent_for(#traffic{heard = Heard}) -> max(0, now_ms() - Heard).

-spec info(state()) -> #{
    load := integer(), limit := non_neg_integer(), served := non_neg_integer(),
    websockets := non_neg_integer()
}.
info(#traffic{index = Index, pool = Pool, limits = {_, Limit}, answered = Answered} = T) ->
    #{
        load => hornbeam_pool:load(Index, Pool),
        limit => Limit,
        served => Answered,
        websockets => hornbeam_exchanges:websockets(T#traffic.exchanges)
    }.

now_ms() -> erlang:monotonic_time(millisecond).
now_us() -> erlang:monotonic_time(microsecond).
