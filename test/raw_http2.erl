%% SPDX-License-Identifier: Apache-2.0
%% @doc A client of HTTP/2 with prior knowledge (RFC 9113, 3.3), one request at a time or many
%% streams at once, header by header as the test wants them. Runs in: the test process. Every wait
%% is bounded.
-module(raw_http2).

-export([connect/1, request/3, request/4, responses/2, close/1]).
-export_type([connection/0, outcome/0]).

-define(TIMEOUT, 10000).

-record(connection, {
    socket :: gen_tcp:socket(),
    buffer = <<>> :: binary(),
    next = 1 :: pos_integer(),
    encoder = cow_hpack:init() :: cow_hpack:state(),
    decoder = cow_hpack:init() :: cow_hpack:state(),
    %% what has come of each stream
    streams = #{} :: #{pos_integer() => {undefined | 100..999, binary()}},
    done = [] :: [{pos_integer(), outcome()}]
}).
-opaque connection() :: #connection{}.

-type outcome() :: {Status :: 100..999, Body :: binary()} | {reset, atom()}.

-spec connect(inet:port_number()) -> connection().
connect(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}], ?TIMEOUT),
    ok = gen_tcp:send(Socket, ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", cow_http2:settings(#{})]),
    #connection{socket = Socket}.

-spec close(connection()) -> ok.
close(#connection{socket = Socket}) -> gen_tcp:close(Socket).

%% @doc A request without a body; the number of its stream.
-spec request(binary(), binary(), connection()) -> {pos_integer(), connection()}.
request(Method, Path, Connection) ->
    request([{<<":method">>, Method}, {<<":scheme">>, <<"http">>},
        {<<":authority">>, <<"localhost">>},
        {<<":path">>, Path}], none, <<>>, Connection).

%% @doc Headers as given; a body `none', or bytes, and trailers after it when there are any.
-spec request([{binary(), binary()}], none | binary(), Trailers :: <<>> | [{binary(), binary()}],
    connection()) ->
    {pos_integer(), connection()}.
request(Headers, Body, Trailers, #connection{socket = Socket, next = Id, encoder = Encoder0} = C) ->
    {Block, Encoder1} = cow_hpack:encode(Headers, Encoder0),
    {Last, Encoder} =
        case Trailers of
            <<>> -> {[], Encoder1};
            _ -> cow_hpack:encode(Trailers, Encoder1)
        end,
    ok = gen_tcp:send(Socket, [
        cow_http2:headers(Id, fin(Body =:= none), Block),
        [cow_http2:data(Id, fin(Trailers =:= <<>>), Body) || Body =/= none],
        [cow_http2:headers(Id, fin, Last) || Trailers =/= <<>>]
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
responses(N, #connection{socket = Socket, buffer = Buffer, done = Done} = C) ->
    case cow_http2:parse(Buffer, 16384) of
        {ok, Frame, Rest} ->
            responses(N, frame(Frame, C#connection{buffer = Rest}));
        more ->
            case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
                {ok, Bytes} -> responses(N, C#connection{buffer = <<Buffer/binary, Bytes/binary>>});
                {error, _} -> {closed, lists:reverse(Done)}
            end
    end.

frame({settings, _}, #connection{socket = Socket} = C) ->
    ok = gen_tcp:send(Socket, cow_http2:settings_ack()),
    C;
frame({headers, Id, Fin, head_fin, Block}, #connection{decoder = Decoder0, streams = Streams} =
    C) ->
    {Headers, Decoder} = cow_hpack:decode(Block, Decoder0),
    {_, Body} = maps:get(Id, Streams),
    Status = binary_to_integer(proplists:get_value(<<":status">>, Headers, <<"0">>)),
    ended(Fin, Id, C#connection{decoder = Decoder, streams = Streams#{Id := {Status, Body}}});
frame({data, Id, Fin, Data}, #connection{socket = Socket, streams = Streams} = C) ->
    {Status, Body} = maps:get(Id, Streams),
    Size = byte_size(Data),
    ok = gen_tcp:send(Socket,
        [[cow_http2:window_update(Size), cow_http2:window_update(Id, Size)] || Size > 0]),
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
