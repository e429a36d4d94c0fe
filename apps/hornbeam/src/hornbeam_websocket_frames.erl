%% SPDX-License-Identifier: Apache-2.0
%% @doc Frames of RFC 6455, and of RFC 7692 (permessage-deflate): bytes of a client to whole
%% messages, messages to bytes for it.
%%
%% Pure but for zlib's contexts, which belong to the process that runs it: the connection process.
%% A message is unmasked, inflated and checked once it is there, so that nothing is done twice for
%% what comes in small pieces; its size is checked before it is awaited, inflated ones as they grow.
-module(hornbeam_websocket_frames).

-export([new/2, feed/2, next/1, encode/3, ping/0, pong/1, close/2]).
-export_type([decoder/0, event/0, deflate/0]).

-type event() ::
    {text | binary | ping | pong, binary()}
    %% 1005 where the client gave no code.
    | {close, Code :: 1000..4999, Reason :: binary()}.

%% A context for one direction, and whether it lives from message to message.
-type deflate() :: {zlib:zstream(), takeover | no_takeover} | none.

-record(message, {
    kind :: text | binary,
    compressed :: boolean(),
    %% unmasked payloads, newest first, and their bytes together
    parts = [] :: [binary()],
    size = 0 :: non_neg_integer()
}).

-record(frame, {
    fin :: 0..1,
    opcode :: 0..15,
    mask :: binary()
}).

-record(decoder, {
    %% bytes of a message
    max :: pos_integer(),
    inflate = none :: deflate(),
    buffer = <<>> :: binary(),
    %% the frame whose payload is not there whole: its pieces, newest first, and what is missing
    partial = none :: none | {#frame{}, [binary()], Missing :: non_neg_integer()},
    %% the message whose last fragment is not there
    message = none :: none | #message{}
}).
-opaque decoder() :: #decoder{}.

-define(MAX_CONTROL, 125).
%% Bytes from which on a call into the crypto library pays.
-define(LONG, 64).
-define(BAD(Code, Reason), {error, Code, <<Reason>>}).

%% @doc Max: bytes of a message, uncompressed.
-spec new(Max :: pos_integer(), deflate()) -> decoder().
new(Max, Inflate) ->
    #decoder{max = Max, inflate = Inflate}.

%% @doc Bytes of the client, for `next/1'.
-spec feed(binary(), decoder()) -> decoder().
feed(Bytes, #decoder{partial = {Frame, Pieces, Missing}} = D) when Missing > 0 ->
    case Bytes of
        <<Last:Missing/binary, Rest/binary>> ->
            D#decoder{partial = {Frame, [Last | Pieces], 0}, buffer = Rest};
        _ ->
            D#decoder{partial = {Frame, [Bytes | Pieces], Missing - byte_size(Bytes)}}
    end;
feed(Bytes, #decoder{buffer = <<>>} = D) ->
    D#decoder{buffer = Bytes};
feed(Bytes, #decoder{buffer = Buffer} = D) ->
    D#decoder{buffer = <<Buffer/binary, Bytes/binary>>}.

%% @doc The next message or control frame; an error is to be sent as CLOSE, and ends it all.
-spec next(decoder()) ->
    {event(), decoder()} | {more, decoder()} | {error, 1002 | 1007 | 1009, Reason :: binary()}.
next(#decoder{partial = {Frame, Pieces, 0}} = D) ->
    payload(iolist_to_binary(lists:reverse(Pieces)), Frame, D#decoder{partial = none});
next(#decoder{partial = {_, _, _}} = D) ->
    {more, D};
next(#decoder{buffer = Buffer} = D) ->
    header(Buffer, D).

%% Whole bytes: the emulator takes single bits out of binaries at some cost.
header(<<First, Second, Mask:4/binary, Rest/binary>>, D) when Second >= 128, Second < 254 ->
    frame(First, Mask, Second - 128, Rest, D);
header(<<First, 254, Size:16, Mask:4/binary, Rest/binary>>, D) when Size > 125 ->
    frame(First, Mask, Size, Rest, D);
header(<<First, 255, Size:64, Mask:4/binary, Rest/binary>>, D) when
    Size > 16#FFFF, Size < 16#8000000000000000
->
    frame(First, Mask, Size, Rest, D);
header(<<_:8, 0:1, _/bitstring>>, _) ->
    ?BAD(1002, "a frame of a client is masked");
header(<<_:9, 126:7, Size:16, _/binary>>, _) when Size < 126 ->
    ?BAD(1002, "the length is not in its shortest form");
header(<<_:9, 127:7, Size:64, _/binary>>, _) when
    Size < 16#10000; Size >= 16#8000000000000000
->
    ?BAD(1002, "the length is not in its shortest form");
header(Buffer, D) ->
    {more, D#decoder{buffer = Buffer}}.

frame(First, Mask, Size, Rest, D) ->
    Frame = #frame{fin = First bsr 7, opcode = First band 15, mask = Mask},
    frame_of(Frame, (First bsr 4) band 7, Size, Rest, D).

frame_of(#frame{opcode = Opcode} = Frame, Rsv, Size, Rest, D) when Opcode >= 8 ->
    case control(Frame, Rsv, Size) of
        ok -> await(Frame, Size, Rest, D);
        Error -> Error
    end;
frame_of(#frame{opcode = Opcode} = Frame, Rsv, Size, Rest, D0) ->
    case data(Opcode, Rsv, D0) of
        {ok, #decoder{message = #message{size = Before}, max = Max}} when Before + Size > Max ->
            ?BAD(1009, "the message is too large");
        {ok, D} ->
            await(Frame, Size, Rest, D);
        Error ->
            Error
    end.

control(#frame{opcode = Opcode}, _, _) when Opcode > 10 -> ?BAD(1002, "unknown opcode");
control(#frame{fin = 0}, _, _) -> ?BAD(1002, "a control frame in fragments");
control(_, Rsv, _) when Rsv =/= 0 -> ?BAD(1002, "a reserved bit is set");
control(_, _, Size) when Size > ?MAX_CONTROL -> ?BAD(1002, "a long control frame");
control(#frame{opcode = 8}, _, 1) -> ?BAD(1002, "half a close code");
control(_, _, _) -> ok.

%% The message that a data frame starts or goes on with.
data(0, _, #decoder{message = none}) -> ?BAD(1002, "nothing to continue");
data(0, 0, D) -> {ok, D};
data(1, Rsv, #decoder{message = none} = D) -> start(text, Rsv, D);
data(2, Rsv, #decoder{message = none} = D) -> start(binary, Rsv, D);
data(Opcode, _, _) when Opcode > 2 -> ?BAD(1002, "unknown opcode");
data(0, _, _) -> ?BAD(1002, "a reserved bit is set");
data(_, _, _) -> ?BAD(1002, "a message within the fragments of another").

%% The first reserved bit says that a message is compressed. (RFC 7692, 6)
start(Kind, 0, D) ->
    {ok, D#decoder{message = #message{kind = Kind, compressed = false}}};
start(Kind, 4, #decoder{inflate = {_, _}} = D) ->
    {ok, D#decoder{message = #message{kind = Kind, compressed = true}}};
start(_, _, _) ->
    ?BAD(1002, "a reserved bit is set").

await(Frame, Size, Rest, D) ->
    case Rest of
        <<Payload:Size/binary, Later/binary>> ->
            payload(Payload, Frame, D#decoder{buffer = Later});
        _ ->
            Missing = Size - byte_size(Rest),
            {more, D#decoder{buffer = <<>>, partial = {Frame, [Rest], Missing}}}
    end.

payload(Masked, #frame{opcode = Opcode, mask = Mask}, D) when Opcode >= 8 ->
    control_event(Opcode, unmask(Masked, Mask), D);
payload(Masked, #frame{fin = Fin, mask = Mask}, #decoder{message = Message0} = D) ->
    #message{parts = Parts, size = Size} = Message0,
    Message = Message0#message{
        parts = [unmask(Masked, Mask) | Parts], size = Size + byte_size(Masked)
    },
    case Fin of
        0 -> next(D#decoder{message = Message});
        1 -> whole(Message, D#decoder{message = none})
    end.

control_event(9, Data, D) ->
    {{ping, Data}, D};
control_event(10, Data, D) ->
    {{pong, Data}, D};
control_event(8, <<>>, D) ->
    {{close, 1005, <<>>}, D};
control_event(8, <<Code:16, Reason/binary>>, D) ->
    case {is_close_code(Code), hornbeam_utf8:is_valid(Reason)} of
        {true, true} -> {{close, Code, Reason}, D};
        {false, _} -> ?BAD(1002, "a close code that nobody may send");
        {_, false} -> ?BAD(1007, "the reason is no UTF-8")
    end.

%% RFC 6455, 7.4, and what was registered since.
is_close_code(Code) ->
    (Code >= 1000 andalso Code =< 1003) orelse (Code >= 1007 andalso Code =< 1014) orelse
        (Code >= 3000 andalso Code =< 4999).

whole(#message{kind = Kind, compressed = Compressed, parts = Parts}, D) ->
    case plain(Compressed, joined(Parts), D) of
        {ok, Data} when Kind =:= binary -> {{binary, Data}, D};
        {ok, Data} -> text(hornbeam_utf8:is_valid(Data), Data, D);
        Error -> Error
    end.

text(true, Data, D) -> {{text, Data}, D};
text(false, _, _) -> ?BAD(1007, "the text is no UTF-8").

joined([Part]) -> Part;
joined(Parts) -> iolist_to_binary(lists:reverse(Parts)).

plain(false, Data, _) ->
    {ok, Data};
plain(true, Data, #decoder{inflate = {Z, Takeover}, max = Max}) ->
    try inflate(zlib:safeInflate(Z, [Data, <<0, 0, 255, 255>>]), Z, Max, []) of
        Outcome ->
            _ = Takeover =:= no_takeover andalso zlib:inflateReset(Z),
            Outcome
    catch
        error:_ -> ?BAD(1002, "the message cannot be inflated")
    end.

%% A few bytes may unfold to gigabytes: never more than a piece beyond the limit.
inflate({More, Out}, Z, Left0, Done) ->
    case {Left0 - iolist_size(Out), More} of
        {Left, _} when Left < 0 -> ?BAD(1009, "the message is too large");
        {_, finished} -> {ok, iolist_to_binary(lists:reverse(Done, [Out]))};
        {Left, continue} -> inflate(zlib:safeInflate(Z, []), Z, Left, [Out | Done])
    end.

unmask(<<>>, _) ->
    <<>>;
unmask(Data, Mask) when byte_size(Data) >= ?LONG ->
    Size = byte_size(Data),
    Key = binary:copy(Mask, (Size + 3) div 4),
    crypto:exor(Data, binary:part(Key, 0, Size));
unmask(Data, <<Mask:32>>) ->
    unmask(Data, Mask, <<>>).

unmask(<<Word:32, Rest/binary>>, Mask, Done) ->
    unmask(Rest, Mask, <<Done/binary, (Word bxor Mask):32>>);
unmask(Rest, Mask, Done) ->
    Bits = bit_size(Rest),
    <<Last:Bits>> = Rest,
    <<Done/binary, (Last bxor (Mask bsr (32 - Bits))):Bits>>.

%%% Out

%% @doc A message for the client, in one frame.
-spec encode(text | binary, binary(), deflate()) -> iolist().
encode(Kind, Data, Deflate) when Deflate =:= none; Data =:= <<>> ->
    frame(opcode(Kind), 0, Data);
encode(Kind, Data, {Z, Takeover}) ->
    Deflated = iolist_to_binary(zlib:deflate(Z, Data, sync)),
    _ = Takeover =:= no_takeover andalso zlib:deflateReset(Z),
    %% It ends with an empty block, which is not sent. (RFC 7692, 7.2.1)
    frame(opcode(Kind), 4, binary:part(Deflated, 0, byte_size(Deflated) - 4)).

opcode(text) -> 1;
opcode(binary) -> 2.

-spec ping() -> iolist().
ping() -> frame(9, 0, <<>>).

%% @doc The answer to a ping.
-spec pong(binary()) -> iolist().
pong(Data) -> frame(10, 0, Data).

%% @doc 1005 says nothing of a code.
-spec close(1000..4999, Reason :: binary()) -> iolist().
close(1005, _) -> frame(8, 0, <<>>);
close(Code, Reason) -> frame(8, 0, <<Code:16, Reason/binary>>).

frame(Opcode, Rsv, Data) ->
    First = 128 bor (Rsv bsl 4) bor Opcode,
    case byte_size(Data) of
        Size when Size < 126 -> [<<First, Size>>, Data];
        Size when Size =< 16#FFFF -> [<<First, 126, Size:16>>, Data];
        Size -> [<<First, 127, Size:64>>, Data]
    end.
