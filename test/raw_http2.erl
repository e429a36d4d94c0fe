%% SPDX-License-Identifier: Apache-2.0
%% @doc A client of HTTP/2 with prior knowledge (RFC 9113, 3.3), one request at a time or many
%% streams at once, header by header as the test wants them. Runs in: the test process. Every wait
%% is bounded.
-module(raw_http2).

-export([connect/1, connect/2, request/3, request/4, responses/2, data/4, await/3, close/1]).
-export([get/2, reset/2, ping/1, window/3, settings/1, settled/1, arrived/2, rest/1]).
-export_type([connection/0, options/0, outcome/0]).

-define(TIMEOUT, 30000).

-record(connection, {
    socket :: gen_tcp:socket(),
    buffer = <<>> :: binary(),
    next = 1 :: pos_integer(),
    encoder = cow_hpack:init() :: cow_hpack:state(),
    decoder = cow_hpack:init() :: cow_hpack:state(),
    %% what has come of each stream
    streams = #{} :: #{pos_integer() => {undefined | 100..999, binary()}},
    done = [] :: [{pos_integer(), outcome()}],
    options :: options(),
    settings = #{} :: map(),
    %% how often PING was answered
    pongs = 0 :: non_neg_integer(),
    %% why the server ended the connection
    goaway = none :: atom()
}).
-opaque connection() :: #connection{}.

-type outcome() :: {Status :: 100..999, Body :: binary()} | {reset, atom()}.

-type options() :: #{
    %% Of the client, by cow_http2's names.
    settings => map(),
    %% Whether the server's are acknowledged; true.
    acknowledge => boolean(),
    %% Whether what was received is given back to the windows; true.
    updates => boolean()
}.

-spec connect(inet:port_number()) -> connection().
connect(Port) ->
    connect(Port, #{}).

-spec connect(inet:port_number(), options()) -> connection().
connect(Port, Options) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}], ?TIMEOUT),
    Settings = cow_http2:settings(maps:get(settings, Options, #{})),
    ok = gen_tcp:send(Socket, ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Settings]),
    #connection{socket = Socket, options = Options}.

%% @doc A GET; the number of its stream.
-spec get(binary(), connection()) -> {pos_integer(), connection()}.
get(Path, Connection) ->
    request(<<"GET">>, Path, Connection).

%% @doc Give a stream up.
-spec reset(pos_integer(), connection()) -> connection().
reset(Id, #connection{socket = Socket, streams = Streams} = C) ->
    send(Socket, cow_http2:rst_stream(Id, cancel)),
    C#connection{streams = maps:remove(Id, Streams)}.

%% @doc Wait until the server has read all that was sent, or has closed.
-spec ping(connection()) -> connection().
ping(#connection{socket = Socket, pongs = Pongs} = C) ->
    send(Socket, cow_http2:ping(Pongs)),
    ping(Pongs, C).

ping(Before, #connection{pongs = Before} = C0) ->
    case read(C0) of
        {more, C} -> ping(Before, C);
        {closed, C} -> C
    end;
ping(_, C) ->
    C.

%% @doc Let the server send so many bytes more, of the stream, or of all for 0.
-spec window(non_neg_integer(), pos_integer(), connection()) -> connection().
window(0, Size, #connection{socket = Socket} = C) ->
    send(Socket, cow_http2:window_update(Size)),
    C;
window(Id, Size, #connection{socket = Socket} = C) ->
    send(Socket, cow_http2:window_update(Id, Size)),
    C.

%% @doc What the server said of itself, after at least one response.
-spec settings(connection()) -> map().
settings(#connection{settings = Settings}) -> Settings.

%% @doc Read until something of the stream's body has come; its size so far.
-spec arrived(pos_integer(), connection()) -> {non_neg_integer(), connection()}.
arrived(Id, #connection{streams = Streams} = C0) ->
    case Streams of
        #{Id := {_, <<_, _/binary>> = Body}} -> {byte_size(Body), C0};
        #{Id := _} -> {more, C} = read(C0), arrived(Id, C)
    end.

%% @doc Read until the server closes the connection: the reason it gave, `none' without one.
-spec rest(connection()) -> atom().
rest(C0) ->
    case read(C0) of
        {more, C} -> rest(C);
        {closed, #connection{goaway = Reason}} -> Reason
    end.

%% A server that has closed shows when it is read from.
send(Socket, Bytes) ->
    case gen_tcp:send(Socket, Bytes) of
        ok -> ok;
        {error, Reason} when
            Reason =:= closed; Reason =:= epipe; Reason =:= econnreset; Reason =:= enotconn
        ->
            ok
    end.

%% @doc The settings of the server are read, and acknowledged: what needs them may be used.
-spec settled(connection()) -> connection().
settled(#connection{settings = Settings} = C) when map_size(Settings) > 0 -> C;
settled(C0) ->
    {more, C} = read(C0),
    settled(C).

-spec close(connection()) -> ok.
close(#connection{socket = Socket}) -> gen_tcp:close(Socket).

%% @doc A request without a body; the number of its stream.
-spec request(binary(), binary(), connection()) -> {pos_integer(), connection()}.
request(Method, Path, Connection) ->
    request([{<<":method">>, Method}, {<<":scheme">>, <<"http">>},
        {<<":authority">>, <<"localhost">>},
        {<<":path">>, Path}], none, <<>>, Connection).

%% @doc Headers as given; a body `none', or bytes, and trailers after it when there are any.
%% `open' instead of trailers: the body goes on with `data/4'.
-spec request([{binary(), binary()}], none | binary(),
    Trailers :: <<>> | open | [{binary(), binary()}], connection()) ->
    {pos_integer(), connection()}.
request(Headers, Body, Trailers, #connection{socket = Socket, next = Id, encoder = Encoder0} = C) ->
    {Block, Encoder1} = cow_hpack:encode(Headers, Encoder0),
    {Last, Encoder} =
        case Trailers of
            _ when not is_list(Trailers) -> {[], Encoder1};
            _ -> cow_hpack:encode(Trailers, Encoder1)
        end,
    send(Socket, [
        cow_http2:headers(Id, fin(Body =:= none), Block),
        [cow_http2:data(Id, fin(Trailers =:= <<>>), Body) || Body =/= none],
        [cow_http2:headers(Id, fin, Last) || is_list(Trailers)]
    ]),
    {Id, C#connection{next = Id + 2, encoder = Encoder, streams =
        maps:put(Id, {undefined, <<>>}, C#connection.streams)}}.

fin(true) -> fin;
fin(false) -> nofin.

%% @doc The outcomes of so many streams, in the order in which they ended; or `closed' with those
%% that had.
-spec responses(pos_integer(), connection()) ->
    {[{pos_integer(), outcome()}], connection()} | {closed, list()}.
responses(N, #connection{done = Done} = C) when length(Done) >= N ->
    {lists:reverse(Done), C#connection{done = []}};
responses(N, C0) ->
    case read(C0) of
        {more, C} -> responses(N, C);
        {closed, #connection{done = Done}} -> {closed, lists:reverse(Done)}
    end.

%% One frame, or more bytes.
read(#connection{socket = Socket, buffer = Buffer} = C) ->
    case parse(Buffer) of
        {ok, Frame, Rest} ->
            {more, frame(Frame, C#connection{buffer = Rest})};
        more ->
            case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
                {ok, Bytes} -> {more, C#connection{buffer = <<Buffer/binary, Bytes/binary>>}};
                {error, timeout} -> error({timeout, Buffer});
                {error, _} -> {closed, C}
            end
    end.

%% @doc More of the body of a request.
-spec data(pos_integer(), fin | nofin, iodata(), connection()) -> ok.
data(Id, Fin, Bytes, #connection{socket = Socket}) ->
    send(Socket, cow_http2:data(Id, Fin, Bytes)).

%% @doc Read until an open stream is so far; its status and its body up to there, which is taken.
-spec await(pos_integer(), fun((undefined | 100..999, binary()) -> boolean()), connection()) ->
    {{100..999 | undefined, binary()} | {ended, outcome()}, connection()}.
await(Id, IsEnough, #connection{streams = Streams, done = Done} = C) ->
    case {Streams, lists:keyfind(Id, 1, Done)} of
        {_, {Id, Outcome}} ->
            {{ended, Outcome}, C};
        {#{Id := {Status, Body}}, false} ->
            case IsEnough(Status, Body) of
                true -> {{Status, Body}, C#connection{streams = Streams#{Id := {Status, <<>>}}}};
                false -> {more, Next} = read(C), await(Id, IsEnough, Next)
            end
    end.

%% cowlib takes a part of RST_STREAM for one that is too short.
parse(<<Size:24, _:6/binary, _:Size/binary, _/binary>> = Buffer) ->
    cow_http2:parse(Buffer, 16384);
parse(_) ->
    more.

frame({settings, Settings}, #connection{socket = Socket, options = Options} = C) ->
    _ = maps:get(acknowledge, Options, true) andalso send(Socket, cow_http2:settings_ack()),
    C#connection{settings = Settings};
frame({ping_ack, _}, #connection{pongs = Pongs} = C) ->
    C#connection{pongs = Pongs + 1};
frame({goaway, _, Reason, _}, C) ->
    C#connection{goaway = Reason};
frame({headers, Id, Fin, head_fin, Block}, #connection{decoder = Decoder0, streams = Streams} =
    C) ->
    {Headers, Decoder} = cow_hpack:decode(Block, Decoder0),
    Status = binary_to_integer(proplists:get_value(<<":status">>, Headers, <<"0">>)),
    case Streams of
        #{Id := {_, Body}} ->
            Told = Streams#{Id := {Status, Body}},
            ended(Fin, Id, C#connection{decoder = Decoder, streams = Told});
        #{} ->
            C#connection{decoder = Decoder}
    end;
frame({data, Id, _, _}, #connection{streams = Streams} = C) when not is_map_key(Id, Streams) ->
    C;
frame({data, Id, Fin, Data}, #connection{socket = Socket, streams = Streams} = C) ->
    {Status, Body} = maps:get(Id, Streams),
    Size = byte_size(Data),
    Gives = Size > 0 andalso maps:get(updates, C#connection.options, true),
    _ = Gives andalso
        send(Socket, [cow_http2:window_update(Size), cow_http2:window_update(Id, Size)]),
    ended(Fin, Id, C#connection{streams = Streams#{Id := {Status, <<Body/binary, Data/binary>>}}});
frame({rst_stream, Id, Reason}, #connection{streams = Streams, done = Done} =
    C) when is_map_key(Id, Streams) ->
    C#connection{streams = maps:remove(Id, Streams), done = [{Id, {reset, Reason}} | Done]};
frame(_, C) ->
    C.

ended(nofin, _, C) -> C;
ended(fin, Id, #connection{streams = Streams, done = Done} = C) ->
    {Outcome, Rest} = maps:take(Id, Streams),
    C#connection{streams = Rest, done = [{Id, Outcome} | Done]}.
