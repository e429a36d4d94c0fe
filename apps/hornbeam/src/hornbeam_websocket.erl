%% SPDX-License-Identifier: Apache-2.0
%% @doc The connection of a WebSocket over HTTP/1.1, from the moment its application has accepted
%% it: taken over from Cowboy, what happens is decided by `hornbeam_websocket_peer'.
%%
%% Runs in the connection process, in place of `cowboy_http'. Its worker sends
%% `{hornbeam, Worker, ExchangeId, Event}' (`hornbeam_exchanges:event()'). An idle socket
%% hibernates, so that it costs little more than its state. Cowboy's own loop ends without having
%% heard the client's CLOSE, hands on one message at a time and unfolds compressed ones without a
%% limit.
-module(hornbeam_websocket).

-export([takeover/7, wake/1]).
-export([system_continue/3, system_terminate/4, system_code_change/4]).
-export_type([start/0]).

-include_lib("kernel/include/logger.hrl").

-type start() :: {hornbeam_websocket_peer:peer(), hornbeam_pool:pool()}.

-record(state, {
    parent :: pid(),
    socket :: inet:socket(),
    transport :: module(),
    %% Names of the socket's messages.
    names :: {atom(), atom(), atom(), atom()},
    pool :: hornbeam_pool:pool(),
    peer :: hornbeam_websocket_peer:peer(),
    topics = hornbeam_websocket_topics:new() :: hornbeam_websocket_topics:topics(),
    %% Reads after which the socket stops; 0: it has stopped.
    reads = 0 :: non_neg_integer(),
    %% It reads more at once than it did in the beginning.
    reads_more = false :: boolean(),
    %% Turns since it woke up, as far as they are counted.
    turns = 0 :: non_neg_integer(),
    %% Due at the peer's next tick; its message is an atom, for which no memory is kept.
    timer = undefined :: undefined | reference()
}).

%% Reads until the socket asks whether to go on, and how few of them are left when it is told to
%% before: the emulator polls a socket that goes on with less work than one that was stopped.
-define(READS, 100).
-define(FEW_READS, 40).
%% Events of the worker that are carried out, and sent, together.
-define(BATCH, 32).
%% Bytes of a read after which the next one should be larger: three quarters of the first buffer.
-define(FULL, 384).
%% Milliseconds of silence after which the process hibernates.
-define(IDLE, 1000).
%% Words. A connection of requests has a larger heap, and so has one of these after some turns: one
%% message fills half of the small one, which costs a collection each time.
-define(MIN_HEAP_SIZE, 233).
-define(BUSY_HEAP_SIZE, 610).
-define(BUSY, 32).
-define(DOMAIN, #{domain => [hornbeam, websocket]}).

%% @doc Called by Cowboy for `{switch_protocol, Headers, ?MODULE, {Peer, Pool}}'. `Buffer' is what
%% has come behind the handshake; the socket is passive.
-spec takeover(
    pid(), ranch:ref(), inet:socket(), module(), cowboy:opts(), binary(), start()
) -> no_return().
takeover(Parent, _Ref, Socket, Transport, _Opts, Buffer, {Peer, Pool}) ->
    %% Cowboy 2.12 has switched it off; the client is to be told when the parent ends.
    _ = process_flag(trap_exit, true),
    ok = small(),
    ok = hornbeam_pool:opened(Pool),
    State = #state{
        parent = Parent, socket = Socket, transport = Transport, names = Transport:messages(),
        pool = Pool, peer = Peer
    },
    %% Even for a socket that is not idle: the heap that the handshake has left is far too large,
    %% and where thousands connect at once nothing of it would go back to the system.
    run(fun() -> hibernate(begun(Buffer, State)) end, Peer, Pool).

%% So little of it lives on that a heap of two generations is only larger. Of what requests of this
%% connection have left nothing is needed; tools are told what it is now.
small() ->
    _ = process_flag(min_heap_size, ?MIN_HEAP_SIZE),
    _ = process_flag(fullsweep_after, 0),
    _ = erase(),
    _ = put('$initial_call', {?MODULE, takeover, 7}),
    ok.

%% A crash is a bug of ours, of which the worker must hear: nobody watches this process.
-spec run(fun(() -> no_return()), hornbeam_websocket_peer:peer(), hornbeam_pool:pool()) ->
    no_return().
run(Loop, Peer, Pool) ->
    try
        Loop()
    catch
        exit:{shutdown, hornbeam_websocket} ->
            exit(normal);
        Class:Reason:Stacktrace ->
            ?LOG_ERROR(#{what => websocket_failed, class => Class, reason => Reason,
                stacktrace => Stacktrace}, ?DOMAIN),
            {Worker, Id} = hornbeam_websocket_peer:worker(Peer),
            ok = hornbeam_worker:close(Worker, Id, 1011, <<>>),
            ok = hornbeam_pool:closed(Pool),
            exit({shutdown, Reason})
    end.

begun(Buffer, #state{pool = Pool} = State0) ->
    State = armed(received(Buffer, State0)),
    case hornbeam_pool:is_draining(Pool) of
        true -> stop(State);
        false -> State
    end.

-spec hibernate(#state{}) -> no_return().
hibernate(#state{turns = Turns} = State) ->
    _ = Turns > ?BUSY andalso process_flag(min_heap_size, ?MIN_HEAP_SIZE),
    proc_lib:hibernate(?MODULE, wake, [State#state{turns = 0}]).

%% @doc Out of hibernation.
-spec wake(#state{}) -> no_return().
wake(#state{peer = Peer, pool = Pool} = State) ->
    run(fun() -> loop(State) end, Peer, Pool).

-spec loop(#state{}) -> no_return().
loop(#state{socket = Socket, names = {Data, Closed, Error, Passive}} = State) ->
    receive
        {hornbeam, _, _, Event} ->
            loop(events(more_events([Event], ?BATCH - 1), turn(State)));
        {Data, Socket, Bytes} ->
            loop(received(Bytes, read_more(Bytes, turn(State))));
        {Passive, Socket} ->
            loop(read(State#state{reads = 0}));
        tick ->
            loop(tick(State));
        {Closed, Socket} ->
            gone(State);
        {Error, Socket, _} ->
            gone(State);
        Message ->
            loop(other(Message, State))
    after ?IDLE ->
        hibernate(State)
    end.

turn(#state{turns = Turns} = State) when Turns > ?BUSY ->
    State;
turn(#state{turns = ?BUSY} = State) ->
    _ = process_flag(min_heap_size, ?BUSY_HEAP_SIZE),
    State#state{turns = ?BUSY + 1};
turn(#state{turns = Turns} = State) ->
    State#state{turns = Turns + 1}.

%% What is in the mailbox already; nothing is waited for.
more_events(Events, 0) ->
    lists:reverse(Events);
more_events(Events, N) ->
    receive
        {hornbeam, _, _, Event} -> more_events([Event | Events], N - 1)
    after 0 -> lists:reverse(Events)
    end.

other({Topic, _} = Event, State) when Topic =:= hornbeam_channel; Topic =:= hornbeam_left ->
    topic(Event, State);
other({hornbeam_joined, _, _} = Event, State) ->
    topic(Event, State);
other({'EXIT', Parent, _}, #state{parent = Parent} = State) ->
    over(stop(State));
other({'EXIT', _, _}, State) ->
    State;
other({system, From, Request}, #state{parent = Parent} = State) ->
    sys:handle_system_msg(Request, From, Parent, ?MODULE, [], State);
other({'$gen_call', From, Call}, State) ->
    %% To its supervisor this process is one, too.
    _ = cowboy_children:handle_supervisor_call(Call, From, [], ?MODULE),
    State;
other(_, State) ->
    ?LOG_WARNING(#{what => stray_message_dropped, process => ?MODULE}, ?DOMAIN),
    State.

%%% What happens

received(Bytes, #state{peer = Peer0, reads = Reads} = State) ->
    {Effects, Peer} = hornbeam_websocket_peer:received(Bytes, now_ms(), Peer0),
    read(perform(Effects, State#state{peer = Peer, reads = max(0, Reads - 1)})).

events([Event], #state{peer = Peer0} = State) ->
    {Effects, Peer} = hornbeam_websocket_peer:event(Event, now_ms(), Peer0),
    read(perform(Effects, State#state{peer = Peer}));
events(Events, #state{peer = Peer0} = State) ->
    Now = now_ms(),
    {Effects, Peer} = lists:mapfoldl(
        fun(Event, Acc) -> hornbeam_websocket_peer:event(Event, Now, Acc) end, Peer0, Events
    ),
    read(perform(lists:append(Effects), State#state{peer = Peer})).

topic(Event, #state{peer = Peer0, topics = Topics0} = State) ->
    {Messages, Topics} = hornbeam_websocket_topics:event(Event, self(), Topics0),
    {Effects, Peer} = hornbeam_websocket_peer:published(Messages, Peer0),
    perform(Effects, State#state{peer = Peer, topics = Topics}).

tick(#state{peer = Peer0} = State) ->
    {Effects, Peer} = hornbeam_websocket_peer:tick(now_ms(), Peer0),
    read(armed(perform(Effects, State#state{peer = Peer, timer = undefined}))).

stop(#state{peer = Peer0} = State) ->
    {Effects, Peer} = hornbeam_websocket_peer:shutdown(now_ms(), Peer0),
    perform(Effects, State#state{peer = Peer}).

-spec gone(#state{}) -> no_return().
gone(#state{peer = Peer0} = State) ->
    {Effects, Peer} = hornbeam_websocket_peer:gone(1006, Peer0),
    over(perform(Effects, State#state{peer = Peer})).

%% The socket is asked for bytes, or told to keep them, where that has changed.
read(#state{peer = Peer, reads = Reads, transport = Transport, socket = Socket} = State) ->
    case hornbeam_websocket_peer:reads(Peer) of
        true when Reads > ?FEW_READS ->
            State;
        true when Reads > 0 ->
            %% It adds to what is left.
            More = ?READS - Reads,
            asked(Transport:setopts(Socket, [{active, More}]), ?READS, State);
        true ->
            asked(hornbeam_connection:active(Transport, Socket, ?READS), ?READS, State);
        false when Reads > 0 ->
            asked(Transport:setopts(Socket, [{active, false}]), 0, State);
        false ->
            State
    end.

asked(ok, Reads, State) -> State#state{reads = Reads};
asked({error, _}, _, State) -> gone(State).

%% Larger reads, once a read has filled the buffer of the beginning.
read_more(Bytes, #state{reads_more = false, transport = Transport, socket = Socket} = State) when
    byte_size(Bytes) >= ?FULL
->
    ok = hornbeam_connection:read_more(Transport, Socket),
    State#state{reads_more = true};
read_more(_, State) ->
    State.

armed(#state{peer = Peer, timer = Before} = State) ->
    _ = Before =/= undefined andalso erlang:cancel_timer(Before),
    case hornbeam_websocket_peer:next_tick(Peer) of
        infinity ->
            State#state{timer = undefined};
        At ->
            State#state{timer = erlang:send_after(At, self(), tick, [{abs, true}])}
    end.

%%% Effects

%% What is to be sent goes out in one write where nothing has to come between.
perform(Effects, State) -> perform(Effects, [], State).

perform([{send, Data} | Rest], Out, State) ->
    perform(Rest, [Out, Data], State);
perform([{message, Kind, Data} | Rest], Out, #state{peer = Peer} = State) ->
    {Worker, Id} = hornbeam_websocket_peer:worker(Peer),
    ok = hornbeam_worker:message(Worker, Id, Kind, Data),
    perform(Rest, Out, State);
perform([{close, Code, Reason} | Rest], Out, #state{peer = Peer} = State) ->
    {Worker, Id} = hornbeam_websocket_peer:worker(Peer),
    ok = hornbeam_worker:close(Worker, Id, Code, Reason),
    perform(Rest, Out, State);
perform([{credit, N} | Rest], Out, State0) ->
    State = #state{peer = Peer} = sent(Out, State0),
    {Worker, Id} = hornbeam_websocket_peer:worker(Peer),
    ok = hornbeam_worker:credit(Worker, Id, N),
    perform(Rest, [], State);
perform([arm | Rest], Out, State) ->
    perform(Rest, Out, armed(State));
perform([finish | _], Out, State) ->
    finish(sent(Out, State));
perform([], Out, State) ->
    sent(Out, State).

sent([], State) ->
    State;
sent(Out, #state{transport = Transport, socket = Socket} = State) ->
    case Transport:send(Socket, Out) of
        ok -> State;
        {error, _} -> gone(State)
    end.

%%% The end

-spec finish(#state{}) -> no_return().
finish(#state{transport = Transport, socket = Socket} = State) ->
    %% The client is to read the CLOSE.
    ok = hornbeam_linger:close(Transport, Socket),
    over(State).

-spec over(#state{}) -> no_return().
over(#state{transport = Transport, socket = Socket, pool = Pool}) ->
    _ = Transport:close(Socket),
    ok = hornbeam_pool:closed(Pool),
    exit({shutdown, hornbeam_websocket}).

now_ms() -> erlang:monotonic_time(millisecond).

%%% Callbacks of sys

-spec system_continue(pid(), [sys:debug_option()], #state{}) -> no_return().
system_continue(_, _, State) ->
    loop(State).

-spec system_terminate(term(), pid(), [sys:debug_option()], #state{}) -> no_return().
system_terminate(_, _, _, State) ->
    gone(State).

-spec system_code_change(#state{}, module(), term(), term()) -> {ok, #state{}}.
system_code_change(State, _, _, _) ->
    {ok, State}.
