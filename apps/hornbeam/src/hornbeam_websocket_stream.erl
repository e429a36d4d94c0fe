%% SPDX-License-Identifier: Apache-2.0
%% @doc WebSockets as `hornbeam_stream' sees them: the handshake, and over HTTP/2 (RFC 8441) the
%% whole of it; over HTTP/1.1 an accepted one is `hornbeam_websocket'.
%%
%% Runs in the connection process. What happens on a socket is decided by `hornbeam_websocket_peer';
%% here its effects become Cowboy's commands. Cowboy's own support of RFC 8441 takes a process per
%% stream.
-module(hornbeam_websocket_stream).

-export([check/2, accept/4, early/2]).
-export([data/3, info/2, terminate/2]).

-export_type([options/0, state/0]).

-type options() :: #{
    %% Milliseconds.
    timeout := timeout(),
    ping_interval := timeout(),
    %% Bytes of a message.
    max_size := pos_integer(),
    compress := boolean()
}.

-record(state, {
    edge :: hornbeam_stream:edge(),
    to :: hornbeam_exchanges:to(),
    peer :: hornbeam_websocket_peer:peer(),
    topics = hornbeam_websocket_topics:new() :: hornbeam_websocket_topics:topics(),
    %% bytes that Cowboy may read again once the worker takes more
    unread = 0 :: non_neg_integer(),
    %% Cowboy's buffers that are full, and the credit that is kept from the worker meanwhile; what
    %% topics have is not looked at, newest first
    full = [] :: [atom()],
    kept = 0 :: non_neg_integer(),
    put_off = [] :: [hornbeam_websocket_topics:event()],
    timer = undefined :: undefined | reference()
}).
-opaque state() :: #state{}.

%% @doc Whether a request is the handshake of a WebSocket, and a good one. Only where the
%% application speaks ASGI is it more than a request.
-spec check(cowboy_req:req(), hornbeam_stream:edge()) ->
    none
    | {ok, hornbeam_websocket_handshake:handshake()}
    | {refuse, 400..599, Reason :: binary(), cowboy:http_headers()}.
check(#{version := 'HTTP/1.1', streamid := Id} = Req, #{websocket := #{}}) ->
    case hornbeam_websocket_handshake:check(Req) of
        {ok, _} = Handshake -> turn(hornbeam_http1_turn:take_over(Id), Handshake);
        Other -> Other
    end;
check(Req, #{websocket := #{}}) ->
    hornbeam_websocket_handshake:check(Req);
check(#{protocol := _}, _) ->
    {refuse, 501, <<"the application takes no WebSockets">>, #{}};
check(_, _) ->
    none.

%% What the client sends behind the handshake is no request.
turn(now, Handshake) ->
    ok = hornbeam_http1_turn:cut(),
    Handshake;
turn(never, _) ->
    {refuse, 400, <<"a WebSocket handshake cannot be pipelined behind another request">>, #{}}.

%% @doc The application accepts: Cowboy's commands, and the state of the stream that goes on.
-spec accept(
    hornbeam_websocket_handshake:handshake(),
    {Subprotocol :: binary() | undefined, cowboy:http_headers()},
    {Worker :: pid(), hornbeam_wire:exchange_id(), hornbeam_exchanges:to()},
    hornbeam_stream:edge()
) -> {cowboy_stream:commands(), state() | taken_over}.
accept(Handshake, {Subprotocol, More}, {Worker, Id, To}, Edge) ->
    #{websocket := Options, response_window := Window, pool := Pool} = Edge,
    {Headers, Inflate, Deflate} = hornbeam_websocket_handshake:accept(
        Handshake, Subprotocol, More, maps:get(compress, Options)
    ),
    Peer = hornbeam_websocket_peer:new((maps:remove(compress, Options))#{
        worker => Worker, exchange => Id, inflate => Inflate, deflate => Deflate,
        response_window => Window, request_window => Window, now => now_ms()
    }),
    case Handshake of
        #{version := 'HTTP/2'} ->
            begun(hornbeam_response:head(200, Headers, context()), Edge, To, Peer);
        #{} ->
            {[{switch_protocol, Headers, hornbeam_websocket, {Peer, Pool}}], taken_over}
    end.

context() -> #{method => <<"CONNECT">>, version => 'HTTP/2', close => false}.

begun(Head, #{pool := Pool} = Edge, To, Peer) ->
    State = armed(#state{edge = Edge, to = To, peer = Peer}),
    case hornbeam_pool:is_draining(Pool) of
        true ->
            {Effects, Closing} = hornbeam_websocket_peer:shutdown(now_ms(), Peer),
            {More, Next} = perform(Effects, State#state{peer = Closing}),
            {Head ++ More, Next};
        false ->
            {Head, State}
    end.

%% @doc What a client of HTTP/2 has sent before it had the answer.
-spec early(hornbeam_request_body:body(), Accepted) -> Accepted when
    Accepted :: {cowboy_stream:commands(), state()}.
early(Body, {Commands, State} = Accepted) ->
    case hornbeam_request_body:take(Body) of
        {<<>>, _} ->
            Accepted;
        {Data, _} ->
            {More, Next} = data(nofin, Data, State),
            {Commands ++ More, Next}
    end.

%%% Callbacks of the stream

-spec data(cowboy_stream:fin(), binary(), state()) -> {cowboy_stream:commands(), state()}.
data(Fin, Data, #state{peer = Peer0, unread = Unread} = State0) ->
    {Effects, Peer} = hornbeam_websocket_peer:received(Data, now_ms(), Peer0),
    State = State0#state{peer = Peer, unread = Unread + byte_size(Data)},
    {Commands, Next} = read(perform(Effects, State)),
    case Fin of
        nofin -> {Commands, Next};
        fin -> gone(Commands, Next)
    end.

%% The client's half of the stream is closed: over TCP that were the end of the connection.
gone(Commands, #state{peer = Peer0} = State) ->
    {Effects, Peer} = hornbeam_websocket_peer:gone(1006, Peer0),
    {More, Next} = perform(Effects, State#state{peer = Peer}),
    case lists:member(stop, Commands) of
        true -> {Commands, Next};
        false -> {Commands ++ More ++ [{data, fin, <<>>}, stop], Next}
    end.

-spec info(term(), state()) -> {cowboy_stream:commands(), state()}.
info({hornbeam, _, _, Event}, #state{peer = Peer0} = State) ->
    {Effects, Peer} = hornbeam_websocket_peer:event(Event, now_ms(), Peer0),
    read(perform(Effects, State#state{peer = Peer}));
info(websocket_tick, #state{peer = Peer0} = State) ->
    {Effects, Peer} = hornbeam_websocket_peer:tick(now_ms(), Peer0),
    {Commands, Next} = perform(Effects, State#state{peer = Peer, timer = undefined}),
    read({Commands, armed(Next)});
info({alarm, Buffer, on}, #state{full = Full} = State) ->
    {[], State#state{full = [Buffer | Full]}};
info({alarm, Buffer, off}, #state{full = Full, kept = Kept, put_off = Events} = State) ->
    Room = credit(Kept, State#state{full = lists:delete(Buffer, Full), kept = 0, put_off = []}),
    topics(lists:reverse(Events), Room);
info({Topic, _} = Event, State) when Topic =:= hornbeam_channel; Topic =:= hornbeam_left ->
    topic(Event, State);
info({hornbeam_joined, _, _} = Event, State) ->
    topic(Event, State);
info(_, State) ->
    {[], State}.

topics(Events, State) ->
    {Commands, Next} = lists:mapfoldl(fun topic/2, State, Events),
    {lists:append(Commands), Next}.

topic(Event, #state{full = [_ | _], put_off = Events} = State) ->
    {[], State#state{put_off = [Event | Events]}};
topic(Event, #state{to = To, peer = Peer0, topics = Topics0} = State) ->
    {Messages, Topics} = hornbeam_websocket_topics:event(Event, To, Topics0),
    {Effects, Peer} = hornbeam_websocket_peer:published(Messages, Peer0),
    perform(Effects, State#state{peer = Peer, topics = Topics}).

%% @doc The stream is over.
-spec terminate(cowboy_stream:reason(), state()) -> ok.
terminate(Reason, #state{edge = Edge, peer = Peer0, timer = Timer, to = To} = State) ->
    #{pool := Pool, keepalive := Keepalive} = Edge,
    {_, StreamID} = To,
    ok = hornbeam_http2_streams:ended(StreamID, Reason, Keepalive),
    {Effects, Peer} = hornbeam_websocket_peer:gone(1006, Peer0),
    _ = perform(Effects, State#state{peer = Peer}),
    %% After the worker has been told: see hornbeam_pubsub_service.
    ok = hornbeam_pubsub:detach_all(To),
    _ = Timer =/= undefined andalso erlang:cancel_timer(Timer) =:= false andalso
        receive
            {To, websocket_tick} -> ok
        after 0 -> ok
        end,
    hornbeam_pool:closed(Pool).

%% Cowboy reads on once the worker takes more.
read({Commands, #state{unread = Unread, peer = Peer} = State}) when Unread > 0 ->
    case hornbeam_websocket_peer:reads(Peer) of
        true -> {[{flow, Unread} | Commands], State#state{unread = 0}};
        false -> {Commands, State}
    end;
read(Done) ->
    Done.

armed(#state{peer = Peer, to = To, timer = Before} = State) ->
    _ = Before =/= undefined andalso erlang:cancel_timer(Before),
    case hornbeam_websocket_peer:next_tick(Peer) of
        infinity ->
            State#state{timer = undefined};
        At ->
            Timer = erlang:send_after(At, self(), {To, websocket_tick}, [{abs, true}]),
            State#state{timer = Timer}
    end.

%%% Effects

perform(Effects, State) -> perform(Effects, [], State).

perform([{send, Data} | Rest], Commands, State) ->
    perform(Rest, [{data, nofin, Data} | Commands], State);
perform([{message, Kind, Data} | Rest], Commands, #state{peer = Peer} = State) ->
    {Worker, Id} = hornbeam_websocket_peer:worker(Peer),
    ok = hornbeam_worker:message(Worker, Id, Kind, Data),
    perform(Rest, Commands, State);
perform([{close, Code, Reason} | Rest], Commands, #state{peer = Peer} = State) ->
    {Worker, Id} = hornbeam_websocket_peer:worker(Peer),
    ok = hornbeam_worker:close(Worker, Id, Code, Reason),
    perform(Rest, Commands, State);
perform([{credit, N} | Rest], Commands, State) ->
    perform(Rest, Commands, credit(N, State));
perform([arm | Rest], Commands, State) ->
    perform(Rest, Commands, armed(State));
perform([finish | _], Commands, State) ->
    {lists:reverse(Commands, [{data, fin, <<>>}, stop]), State};
perform([], Commands, State) ->
    {lists:reverse(Commands), State}.

%% The frames are in Cowboy's buffers, which raise an alarm when they are full.
credit(0, State) ->
    State;
credit(N, #state{full = [], peer = Peer} = State) ->
    {Worker, Id} = hornbeam_websocket_peer:worker(Peer),
    ok = hornbeam_worker:credit(Worker, Id, N),
    State;
credit(N, #state{kept = Kept} = State) ->
    State#state{kept = Kept + N}.

now_ms() -> erlang:monotonic_time(millisecond).
