%% SPDX-License-Identifier: Apache-2.0
%% @doc Requests of one application that no worker has room for: a bounded queue with deadlines.
%%
%% Runs in its own process, one per pool. Takes messages only, so that no connection process waits
%% for it:
%%   {enqueue, To, Request}   from a stream that found no slot
%%   {requeue, [{To, Request}]}   from a worker that gives up what it has not started; they go first
%%   {cancel, To}   the client has left; the request may be here, at a worker, or between the two
%%   capacity   a worker has released slots and saw that somebody waits
%% Whoever enqueues counts first and claims afterwards, whoever releases releases first and reads
%% the count afterwards: one of the two always sees the other.
-module(hornbeam_queue).
-behaviour(gen_server).

-export([start_link/1]).
-export([enqueue/3, requeue/2, cancel/2, capacity/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    pool :: hornbeam_pool:pool(),
    waiting = queue:new() :: queue:queue(item()),
    %% who has left while a worker had the request, since then and in the period before; the worker
    %% may have handed it back before it hears of that
    left = {0, #{}, #{}} :: {Since :: integer(), streams(), streams()},
    timer = undefined :: undefined | reference()
}).

-type streams() :: #{hornbeam_exchanges:to() => true}.
-type item() :: {
    hornbeam_exchanges:to(), hornbeam_wire:request(), Deadline :: integer() | infinity
}.

%% Milliseconds for which clients that left are remembered, once to twice: much longer than a
%% message is under way between two processes.
-define(PERIOD, 10000).

-spec start_link(hornbeam_pool:pool()) -> {ok, pid()}.
start_link(Pool) ->
    gen_server:start_link(?MODULE, Pool, []).

%% @doc Wait for a slot. `full' when `queue_limit' requests wait already: answer 503 at once.
-spec enqueue(hornbeam_exchanges:to(), hornbeam_wire:request(), hornbeam_pool:pool()) ->
    ok | full.
enqueue(To, Request, Pool) ->
    #{queue_limit := Limit} = hornbeam_pool:config(Pool),
    case hornbeam_pool:enqueued(1, Pool) of
        N when N =< Limit ->
            gen_server:cast(hornbeam_pool:queue(Pool), {enqueue, To, Request});
        _ ->
            _ = hornbeam_pool:enqueued(-1, Pool),
            full
    end.

%% @doc Back to the head of the queue, in this order; they were accepted once, the limit is not
%% asked.
-spec requeue([{hornbeam_exchanges:to(), hornbeam_wire:request()}], hornbeam_pool:pool()) -> ok.
requeue([], _) ->
    ok;
requeue(Items, Pool) ->
    _ = hornbeam_pool:enqueued(length(Items), Pool),
    gen_server:cast(hornbeam_pool:queue(Pool), {requeue, Items}).

%% @doc The client of a request has left that waits here, or that some worker has.
-spec cancel(hornbeam_exchanges:to(), hornbeam_pool:pool()) -> ok.
cancel(To, Pool) ->
    gen_server:cast(hornbeam_pool:queue(Pool), {cancel, To}).

-spec capacity(hornbeam_pool:pool()) -> ok.
capacity(Pool) ->
    gen_server:cast(hornbeam_pool:queue(Pool), capacity).

-spec init(hornbeam_pool:pool()) -> {ok, #state{}}.
init(Pool) ->
    %% After a crash the count still holds what the crashed process had.
    _ = hornbeam_pool:enqueued(-hornbeam_pool:queued(Pool), Pool),
    hornbeam_pool:set_queue(self(), Pool),
    {ok, #state{pool = Pool}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({enqueue, To, Request}, #state{waiting = Waiting} = State) ->
    Item = {To, Request, deadline(State)},
    {noreply, dispatch(State#state{waiting = queue:in(Item, Waiting)})};
handle_cast({requeue, Items}, #state{pool = Pool, waiting = Waiting} = State) ->
    Deadline = deadline(State),
    Wanted = [{To, Request, Deadline} || {To, Request} <- Items, not has_left(To, State)],
    _ = hornbeam_pool:enqueued(length(Wanted) - length(Items), Pool),
    {noreply, dispatch(State#state{waiting = queue:join(queue:from_list(Wanted), Waiting)})};
handle_cast({cancel, To}, State) ->
    {noreply, cancelled(To, State)};
handle_cast(capacity, State) ->
    {noreply, dispatch(State)}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(expire, State) ->
    {noreply, expire(State#state{timer = undefined})};
handle_info(_, State) ->
    {noreply, State}.

deadline(#state{pool = Pool}) ->
    case hornbeam_pool:config(Pool) of
        #{queue_timeout := infinity} -> infinity;
        #{queue_timeout := Timeout} -> now_ms() + Timeout
    end.

%% Hand over as long as somebody waits and a slot is free.
dispatch(#state{pool = Pool, waiting = Waiting0} = State) ->
    case queue:out(Waiting0) of
        {empty, _} ->
            State;
        {{value, {To, Request, _}}, Waiting} ->
            case hornbeam_pool:claim(Pool) of
                {ok, Index} ->
                    _ = hornbeam_pool:enqueued(-1, Pool),
                    hornbeam_worker:open(hornbeam_pool:worker(Index, Pool), To, Request),
                    dispatch(State#state{waiting = Waiting});
                full ->
                    arm(State)
            end
    end.

%% One timer, for the request at the head; a requeued one may make it ring early, never late by more
%% than a queue_timeout.
arm(#state{timer = undefined, waiting = Waiting} = State) ->
    case queue:peek(Waiting) of
        empty -> State;
        {value, {_, _, infinity}} -> State;
        {value, {_, _, Deadline}} ->
            Ms = max(1, Deadline - now_ms()),
            State#state{timer = erlang:send_after(Ms, self(), expire)}
    end;
arm(State) ->
    State.

expire(#state{pool = Pool, waiting = Waiting} = State) ->
    Now = now_ms(),
    {Late, Rest} = lists:partition(fun({_, _, D}) -> D =< Now end, queue:to_list(Waiting)),
    _ = hornbeam_pool:enqueued(-length(Late), Pool),
    lists:foreach(fun({To, _, _}) -> hornbeam_worker:event(To, {failed, queue_timeout}) end, Late),
    dispatch(State#state{waiting = queue:from_list(Rest)}).

cancelled(To, #state{pool = Pool, waiting = Waiting} = State) ->
    case lists:keymember(To, 1, queue:to_list(Waiting)) of
        true ->
            _ = hornbeam_pool:enqueued(-1, Pool),
            State#state{waiting = queue:filter(fun({T, _, _}) -> T =/= To end, Waiting)};
        false ->
            %% A worker has it, or has handed it back and that is on its way here.
            [hornbeam_worker:cancel(Pid, To) || Pid <- hornbeam_pool:workers(Pool)],
            State#state{left = leave(To, now_ms(), State#state.left)}
    end.

leave(To, Now, {Since, New, _}) when Now - Since > ?PERIOD -> {Now, #{To => true}, New};
leave(To, _, {Since, New, Old}) -> {Since, New#{To => true}, Old}.

has_left(To, #state{left = {_, New, Old}}) -> is_map_key(To, New) orelse is_map_key(To, Old).

now_ms() -> erlang:monotonic_time(millisecond).
