%% SPDX-License-Identifier: Apache-2.0
%% @doc A client of WebSockets over HTTP/1.1 (RFC 6455), frame by frame as the test wants them.
%% Runs in: the test process. Every wait is bounded.
-module(raw_websocket).

-export([start/3, start_with/3, answer/1, send/2, send/3, send_raw/2, recv/1, recv_close/1]).
-export([await_end/1, close/1, frame/4, inflated/2]).
-export_type([client/0]).

-define(TIMEOUT, 30000).
-define(KEY, <<"dGhlIHNhbXBsZSBub25jZQ==">>).

-record(client, {socket :: gen_tcp:socket(), buffer = <<>> :: binary()}).
-opaque client() :: #client{}.

%% @doc Send a good handshake with more headers; `answer/1' says what comes of it.
-spec start(inet:port_number(), binary(), [{binary(), binary()}]) -> gen_tcp:socket().
start(Port, Path, More) ->
    start_with(Port, Path, [
        {<<"host">>, <<"localhost">>}, {<<"upgrade">>, <<"websocket">>},
        {<<"connection">>, <<"keep-alive, Upgrade">>}, {<<"sec-websocket-key">>, ?KEY},
        {<<"sec-websocket-version">>, <<"13">>} | More
    ]).

%% @doc The same with these headers and no others.
-spec start_with(inet:port_number(), binary(), [{binary(), binary()}]) -> gen_tcp:socket().
start_with(Port, Path, Headers) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}], ?TIMEOUT),
    ok = gen_tcp:send(Socket, [
        "GET ", Path, " HTTP/1.1\r\n", [[N, ": ", V, "\r\n"] || {N, V} <- Headers], "\r\n"
    ]),
    Socket.

%% @doc Status and headers of the answer; a client when it is 101, else the body.
-spec answer(gen_tcp:socket()) -> {100..999, #{binary() => binary()}, client() | binary()}.
answer(Socket) ->
    {Head, Rest} = head(Socket, <<>>),
    [<<"HTTP/1.1 ", Status:3/binary, _/binary>> | Lines] =
        binary:split(Head, <<"\r\n">>, [global]),
    Answer = maps:from_list([list_to_tuple(binary:split(L, <<": ">>)) || L <- Lines]),
    case binary_to_integer(Status) of
        101 -> {101, Answer, #client{socket = Socket, buffer = Rest}};
        Other -> {Other, Answer, body(Socket, Answer, Rest)}
    end.

head(Socket, Buffer) ->
    case binary:split(Buffer, <<"\r\n\r\n">>) of
        [Head, Rest] -> {Head, Rest};
        [_] -> head(Socket, <<Buffer/binary, (received(Socket))/binary>>)
    end.

received(Socket) ->
    {ok, Data} = gen_tcp:recv(Socket, 0, ?TIMEOUT),
    Data.

body(Socket, #{<<"content-length">> := Length}, Rest) ->
    case binary_to_integer(Length) - byte_size(Rest) of
        0 -> Rest;
        More ->
            {ok, Data} = gen_tcp:recv(Socket, More, ?TIMEOUT),
            <<Rest/binary, Data/binary>>
    end;
body(Socket, #{<<"transfer-encoding">> := <<"chunked">>}, Rest) ->
    chunks(Socket, Rest).

chunks(Socket, Buffer) ->
    case binary:match(Buffer, <<"0\r\n\r\n">>) of
        nomatch -> chunks(Socket, <<Buffer/binary, (received(Socket))/binary>>);
        _ -> Buffer
    end.

-spec send(text | binary | ping | pong, binary(), client()) -> ok.
send(Kind, Data, Client) ->
    send_raw(frame(1, 0, opcode(Kind), Data), Client).

%% @doc A close frame.
-spec send({close, 1000..4999, binary()} | close, client()) -> ok.
send(close, Client) -> send_raw(frame(1, 0, 8, <<>>), Client);
send({close, Code, Reason}, Client) ->
    send_raw(frame(1, 0, 8, <<Code:16, Reason/binary>>), Client).

opcode(text) -> 1;
opcode(binary) -> 2;
opcode(ping) -> 9;
opcode(pong) -> 10.

-spec send_raw(iodata(), client()) -> ok.
send_raw(Bytes, #client{socket = Socket}) ->
    ok = gen_tcp:send(Socket, Bytes).

%% @doc A masked frame.
-spec frame(0..1, 0..7, 0..15, binary()) -> iodata().
frame(Fin, Rsv, Opcode, Data) ->
    Mask = <<1, 2, 3, 4>>,
    Size = byte_size(Data),
    Key = binary:part(binary:copy(Mask, Size div 4 + 1), 0, Size),
    [<<Fin:1, Rsv:3, Opcode:4>>, size_field(Size), Mask, crypto:exor(Data, Key)].

size_field(Size) when Size < 126 -> <<1:1, Size:7>>;
size_field(Size) when Size < 65536 -> <<1:1, 126:7, Size:16>>;
size_field(Size) -> <<1:1, 127:7, Size:64>>.

%% @doc The next frame of the server: it is whole and not masked.
-spec recv(client()) -> {{Rsv :: 0..7, Opcode :: 0..15, binary()}, client()}.
recv(#client{socket = Socket, buffer = Buffer} = Client) ->
    case parse(Buffer) of
        {Frame, Rest} -> {Frame, Client#client{buffer = Rest}};
        more -> recv(Client#client{buffer = <<Buffer/binary, (received(Socket))/binary>>})
    end.

parse(<<1:1, Rsv:3, Op:4, 0:1, Size:7, Data:Size/binary, Rest/binary>>) when Size < 126 ->
    {{Rsv, Op, Data}, Rest};
parse(<<1:1, Rsv:3, Op:4, 0:1, 126:7, Size:16, Data:Size/binary, Rest/binary>>) ->
    {{Rsv, Op, Data}, Rest};
parse(<<1:1, Rsv:3, Op:4, 0:1, 127:7, Size:64, Data:Size/binary, Rest/binary>>) ->
    {{Rsv, Op, Data}, Rest};
parse(_) ->
    more.

%% @doc The code and the reason of the CLOSE that comes next but for pings.
-spec recv_close(client()) -> {1000..4999 | none, binary()}.
recv_close(Client) ->
    case recv(Client) of
        {{0, 8, <<Code:16, Reason/binary>>}, _} -> {Code, Reason};
        {{0, 8, <<>>}, _} -> {none, <<>>};
        {{0, 9, _}, Next} -> recv_close(Next)
    end.

%% @doc The server closes the connection; what still came.
-spec await_end(client()) -> binary().
await_end(#client{socket = Socket, buffer = Buffer}) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, Data} -> await_end(#client{socket = Socket, buffer = <<Buffer/binary, Data/binary>>});
        {error, closed} -> Buffer
    end.

-spec close(client()) -> ok.
close(#client{socket = Socket}) -> gen_tcp:close(Socket).

%% @doc A compressed message of the server.
-spec inflated(binary(), zlib:zstream()) -> binary().
inflated(Data, Z) ->
    iolist_to_binary(zlib:inflate(Z, [Data, <<0, 0, 255, 255>>])).
