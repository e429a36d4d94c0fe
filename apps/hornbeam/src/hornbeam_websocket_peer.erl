%% SPDX-License-Identifier: Apache-2.0
%% @doc One accepted WebSocket between its client and its worker: bytes, events of the worker and
%% the time go in, effects come out.
%%
%% Pure but for zlib's contexts. Runs in the connection process, for `hornbeam_websocket' (HTTP/1.1)
%% and `hornbeam_websocket_stream' (HTTP/2), which carry the effects out in their order. Messages of
%% the client are decoded only while the worker takes them (PROTOCOL.md, section 4.2): the rest
%% stays in the buffer, and `reads/1' says that nothing more should be read.
-module(hornbeam_websocket_peer).

-export([new/1, received/3, event/3, published/2, tick/2, next_tick/1, gone/2, shutdown/2]).
-export([reads/1, worker/1]).
-export_type([peer/0, options/0, effect/0]).

-include("hornbeam_wire.hrl").

-type options() :: #{
    worker := pid(),
    exchange := hornbeam_wire:exchange_id(),
    %% Milliseconds without anything from the client; until a ping, which awaits an answer as long.
    timeout := timeout(),
    ping_interval := timeout(),
    %% Bytes of a message.
    max_size := pos_integer(),
    inflate := hornbeam_websocket_frames:deflate(),
    deflate := hornbeam_websocket_frames:deflate(),
    %% Bytes granted to the worker, by the worker.
    response_window := pos_integer(),
    request_window := pos_integer(),
    now := integer()
}.

-type effect() ::
    {send, iodata()}
    %% For the worker; credit when what came before it has been sent.
    | {message, text | binary, binary()}
    | {credit, pos_integer()}
    | {close, Code :: 1000..4999, Reason :: binary()}
    %% What next_tick/1 said has changed.
    | arm
    %% Both sides have closed, or the client need not be heard any more.
    | finish.

-record(peer, {
    worker :: pid(),
    exchange :: hornbeam_wire:exchange_id(),
    timeout :: timeout(),
    ping_interval :: timeout(),
    window :: pos_integer(),
    frames :: hornbeam_websocket_frames:decoder(),
    deflate :: hornbeam_websocket_frames:deflate(),
    %% what the worker still takes, bytes; the last message may overdraw it
    credit :: integer(),
    %% what the client has taken and the worker was not granted again
    owed = 0 :: non_neg_integer(),
    %% closing: CLOSE was sent, that of the client is awaited until the deadline
    phase = open :: open | closing | closed,
    %% milliseconds: when the client was last heard, when it was sent a ping, until when it may take
    %% to close
    heard :: integer(),
    pinged = undefined :: integer() | undefined,
    deadline = infinity :: integer() | infinity
}).
-opaque peer() :: #peer{}.

%% Milliseconds that a client may take to answer CLOSE.
-define(CLOSE_TIMEOUT, 5000).

-spec new(options()) -> peer().
new(#{worker := Worker, exchange := Id, timeout := Timeout, now := Now} = Options) ->
    #{max_size := Max, inflate := Inflate, deflate := Deflate, ping_interval := Ping} = Options,
    #{response_window := Window, request_window := Credit} = Options,
    #peer{
        worker = Worker,
        exchange = Id,
        timeout = Timeout,
        ping_interval = Ping,
        window = Window,
        frames = hornbeam_websocket_frames:new(Max, Inflate),
        deflate = Deflate,
        credit = Credit,
        heard = Now
    }.

%% @doc Who is told of it, and under which id.
-spec worker(peer()) -> {pid(), hornbeam_wire:exchange_id()}.
worker(#peer{worker = Worker, exchange = Id}) -> {Worker, Id}.

%% @doc Whether bytes of the client are wanted. To a closed one nobody listens.
-spec reads(peer()) -> boolean().
reads(#peer{phase = open, credit = Credit}) -> Credit > 0;
reads(#peer{phase = Phase}) -> Phase =/= closed.

%%% The client

-spec received(binary(), Now :: integer(), peer()) -> {[effect()], peer()}.
received(Bytes, Now, #peer{phase = Phase, frames = Frames} = Peer) when
    Phase =:= open; Phase =:= closing
->
    decode([], Peer#peer{
        frames = hornbeam_websocket_frames:feed(Bytes, Frames), heard = Now, pinged = undefined
    });
received(_, _, Peer) ->
    {[], Peer}.

%% Effects are newest first.
decode(Effects, #peer{phase = open, credit = Credit} = Peer) when Credit =< 0 ->
    {lists:reverse(Effects), Peer};
decode(Effects, #peer{frames = Frames0} = Peer) ->
    case hornbeam_websocket_frames:next(Frames0) of
        {more, Frames} ->
            {lists:reverse(Effects), Peer#peer{frames = Frames}};
        {error, Code, Reason} ->
            failed(Code, Reason, Effects, Peer);
        {Event, Frames} ->
            client(Event, Effects, Peer#peer{frames = Frames})
    end.

client({close, Code, Reason}, Effects, #peer{phase = open} = Peer) ->
    Close = [{send, hornbeam_websocket_frames:close(Code, <<>>)}, {close, Code, Reason}, finish],
    {lists:reverse(Effects, Close), Peer#peer{phase = closed}};
client({close, _, _}, Effects, #peer{phase = closing} = Peer) ->
    {lists:reverse(Effects, [finish]), Peer#peer{phase = closed}};
client(_, Effects, #peer{phase = closing} = Peer) ->
    decode(Effects, Peer);
client({ping, Data}, Effects, Peer) ->
    decode([{send, hornbeam_websocket_frames:pong(Data)} | Effects], Peer);
client({pong, _}, Effects, Peer) ->
    decode(Effects, Peer);
client({Kind, Data}, Effects, #peer{credit = Credit} = Peer) ->
    Left = Credit - byte_size(Data) - ?WEBSOCKET_MESSAGE,
    decode([{message, Kind, Data} | Effects], Peer#peer{credit = Left}).

%% What follows is not understood any more, so the answer of the client is not awaited (RFC 6455,
%% 7.1.7).
failed(Code, Reason, Effects, #peer{phase = open} = Peer) ->
    Close = [{close, Code, Reason}, {send, hornbeam_websocket_frames:close(Code, Reason)}, finish],
    {lists:reverse(Effects, Close), Peer#peer{phase = closed}};
failed(_, _, Effects, Peer) ->
    {lists:reverse(Effects, [finish]), Peer#peer{phase = closed}}.

%% The client has a while to answer, so that it gets the code before the connection ends.
close(Code, Reason, Now, Peer) ->
    {[{send, hornbeam_websocket_frames:close(Code, Reason)}, arm], Peer#peer{
        phase = closing, deadline = Now + ?CLOSE_TIMEOUT
    }}.

%% @doc The connection is gone, or the process that holds it ends: the worker is told.
-spec gone(1000..4999, peer()) -> {[effect()], peer()}.
gone(Code, #peer{phase = open} = Peer) ->
    {[{close, Code, <<>>}], Peer#peer{phase = closed}};
gone(_, Peer) ->
    {[], Peer#peer{phase = closed}}.

%% @doc The node stops; client and worker are told.
-spec shutdown(Now :: integer(), peer()) -> {[effect()], peer()}.
shutdown(Now, #peer{phase = open} = Peer) ->
    {Effects, Closing} = close(1001, <<>>, Now, Peer),
    {[{close, 1001, <<>>} | Effects], Closing};
shutdown(_, Peer) ->
    {[], Peer}.

%%% The worker

%% @doc What the worker says, see `hornbeam_exchanges:event()'. It has closed the exchange, or knows
%% that it is closed, where the event ends it.
-spec event(hornbeam_exchanges:event(), Now :: integer(), peer()) -> {[effect()], peer()}.
event(Event, Now, #peer{phase = open} = Peer) -> worker(Event, Now, Peer);
event(_, _, Peer) -> {[], Peer}.

worker({Kind, Data}, _, #peer{deflate = Deflate} = Peer) when Kind =:= text; Kind =:= binary ->
    Frame = hornbeam_websocket_frames:encode(Kind, Data, Deflate),
    owe({send, Frame}, byte_size(Data) + ?WEBSOCKET_MESSAGE, Peer);
worker({credit, N}, _, #peer{credit = Credit} = Peer) ->
    decode([], Peer#peer{credit = Credit + N});
worker({close, Code, Reason}, Now, Peer) ->
    close(Code, Reason, Now, Peer);
worker({abort, _, _}, Now, Peer) ->
    close(1011, <<"the application failed">>, Now, Peer);
worker({failed, _}, Now, Peer) ->
    close(1012, <<"the worker died">>, Now, Peer).

%% @doc Messages of topics that the client has joined; they cost the worker nothing.
-spec published([{text | binary, binary()}], peer()) -> {[effect()], peer()}.
published(Messages, #peer{phase = open, deflate = Deflate} = Peer) ->
    Frames = [hornbeam_websocket_frames:encode(Kind, Data, Deflate) || {Kind, Data} <- Messages],
    {[{send, Frame} || Frame <- Frames], Peer};
published(_, Peer) ->
    {[], Peer}.

%% In quarters of the window, not per message.
owe(Send, Bytes, #peer{owed = Owed, window = Window} = Peer) when (Owed + Bytes) * 4 >= Window ->
    {[Send, {credit, Owed + Bytes}], Peer#peer{owed = 0}};
owe(Send, Bytes, #peer{owed = Owed} = Peer) ->
    {[Send], Peer#peer{owed = Owed + Bytes}}.

%%% The time

%% @doc To be called at `next_tick/1', or later.
-spec tick(Now :: integer(), peer()) -> {[effect()], peer()}.
tick(Now, #peer{phase = open} = Peer) ->
    case reads(Peer) of
        true -> silence(Now, Peer);
        %% Who is not listened to cannot be called silent.
        false -> {[], Peer#peer{heard = Now, pinged = undefined}}
    end;
tick(Now, #peer{deadline = Deadline} = Peer) when Now >= Deadline ->
    {[finish], Peer#peer{phase = closed}};
tick(_, Peer) ->
    {[], Peer}.

%% (A number is less than an atom.)
silence(Now, #peer{heard = Heard, timeout = Timeout} = Peer) when Now - Heard >= Timeout ->
    {Effects, Closing} = close(1001, <<"nothing arrived in time">>, Now, Peer),
    {[{close, 1001, <<"nothing arrived in time">>} | Effects], Closing};
silence(Now, #peer{pinged = undefined, heard = Heard, ping_interval = Ping} = Peer) when
    Now - Heard >= Ping
->
    {[{send, hornbeam_websocket_frames:ping()}], Peer#peer{pinged = Now}};
silence(Now, #peer{pinged = Pinged, ping_interval = Ping} = Peer) when
    is_integer(Pinged), Now - Pinged >= Ping
->
    Close = hornbeam_websocket_frames:close(1011, <<"the ping was not answered">>),
    {[{send, Close}, {close, 1006, <<"the ping was not answered">>}, finish],
        Peer#peer{phase = closed}};
silence(_, Peer) ->
    {[], Peer}.

%% @doc When `tick/2' is due, in milliseconds of the clock; it may be called earlier.
-spec next_tick(peer()) -> integer() | infinity.
next_tick(#peer{phase = open, timeout = Timeout, ping_interval = Ping} = Peer) ->
    #peer{heard = Heard, pinged = Pinged} = Peer,
    Since =
        case Pinged of
            undefined -> Heard;
            _ -> Pinged
        end,
    min(later(Heard, Timeout), later(Since, Ping));
next_tick(#peer{deadline = Deadline}) ->
    Deadline.

later(_, infinity) -> infinity;
later(Since, Milliseconds) -> Since + Milliseconds.
