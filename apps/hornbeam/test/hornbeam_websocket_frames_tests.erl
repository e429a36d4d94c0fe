%% SPDX-License-Identifier: Apache-2.0
%% @doc Frames of WebSockets as tables: what a client sends, whole and byte by byte, and what is
%% made of it. Names the sections of RFC 6455 and RFC 7692. Runs in: the EUnit process.
-module(hornbeam_websocket_frames_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

-define(MAX, 1000).

%% {Fin, Rsv, Opcode, Data}, as a client would send it.
frame({Fin, Rsv, Opcode, Data}) ->
    Mask = <<16#37, 16#FA, 16#21, 16#3D>>,
    [<<Fin:1, Rsv:3, Opcode:4>>, size_field(byte_size(Data)), Mask, masked(Data, Mask)].

size_field(Size) when Size < 126 -> <<1:1, Size:7>>;
size_field(Size) when Size < 65536 -> <<1:1, 126:7, Size:16>>;
size_field(Size) -> <<1:1, 127:7, Size:64>>.

masked(Data, Mask) ->
    Key = binary:copy(Mask, byte_size(Data) div 4 + 1),
    << <<(D bxor K)>>
        || {D, K} <- lists:zip(binary_to_list(Data),
            binary_to_list(binary:part(Key, 0, byte_size(Data)))) >>.

frames(Frames) -> iolist_to_binary([frame(F) || F <- Frames]).

%% All events of the bytes, given in portions, and how they end.
decode(Bytes, Portion) -> decode(Bytes, Portion, hornbeam_websocket_frames:new(?MAX, none)).

decode(Bytes, Portion, Decoder) ->
    case hornbeam_websocket_frames:next(Decoder) of
        {more, _} when Bytes =:= <<>> -> [];
        {more, Next} ->
            Size = min(Portion, byte_size(Bytes)),
            <<Now:Size/binary, Later/binary>> = Bytes,
            decode(Later, Portion, hornbeam_websocket_frames:feed(Now, Next));
        {error, Code, Reason} ->
            ?assert(byte_size(Reason) =< 123),
            [{error, Code}];
        {Event, Next} ->
            [Event | decode(Bytes, Portion, Next)]
    end.

good_test_() ->
    Long = binary:copy(<<"0123456789">>, 100),
    Table = [
        {"a text", [{1, 0, 1, <<"Hello">>}], [{text, <<"Hello">>}]},
        {"an empty text", [{1, 0, 1, <<>>}], [{text, <<>>}]},
        {"bytes", [{1, 0, 2, <<0, 255>>}], [{binary, <<0, 255>>}]},
        {"empty bytes", [{1, 0, 2, <<>>}], [{binary, <<>>}]},
        {"125 bytes", [{1, 0, 2, binary:copy(<<7>>, 125)}], [{binary, binary:copy(<<7>>, 125)}]},
        {"126 bytes", [{1, 0, 2, binary:copy(<<7>>, 126)}], [{binary, binary:copy(<<7>>, 126)}]},
        {"as long as it may be", [{1, 0, 1, Long}], [{text, Long}]},
        {"fragments (5.4)", [{0, 0, 1, <<"Hel">>}, {0, 0, 0, <<"l">>}, {1, 0, 0, <<"o">>}],
            [{text, <<"Hello">>}]},
        {"empty fragments", [{0, 0, 2, <<>>}, {0, 0, 0, <<>>}, {1, 0, 0, <<>>}], [{binary, <<>>}]},
        {"a character in two fragments", [{0, 0, 1, <<16#C3>>}, {1, 0, 0, <<16#BC>>}],
            [{text, <<"ü"/utf8>>}]},
        {"control frames between fragments (5.5)",
            [{0, 0, 1, <<"a">>}, {1, 0, 9, <<"p">>}, {1, 0, 10, <<>>}, {1, 0, 0, <<"b">>}],
            [{ping, <<"p">>}, {pong, <<>>}, {text, <<"ab">>}]},
        {"a ping of 125 bytes", [{1, 0, 9, binary:copy(<<1>>, 125)}],
            [{ping, binary:copy(<<1>>, 125)}]},
        {"close without a code (7.1.5)", [{1, 0, 8, <<>>}], [{close, 1005, <<>>}]},
        {"close with a reason", [{1, 0, 8, <<1000:16, "bye">>}], [{close, 1000, <<"bye">>}]},
        {"a close code of the application", [{1, 0, 8, <<4999:16>>}], [{close, 4999, <<>>}]},
        {"message after message", [{1, 0, 1, <<"a">>}, {1, 0, 1, <<"b">>}],
            [{text, <<"a">>}, {text, <<"b">>}]}
    ],
    [{Name ++ ", portions of " ++ integer_to_list(P),
        ?_assertEqual(Expected, decode(frames(Frames), P))}
        || {Name, Frames, Expected} <- Table, P <- [1, 2, 3, 7, 2000]].

bad_test_() ->
    Table = [
        {"a reserved bit (5.2)", [{1, 1, 1, <<"a">>}], 1002},
        {"the bit of compression where there is none", [{1, 4, 1, <<"a">>}], 1002},
        {"an unknown opcode", [{1, 0, 3, <<>>}], 1002},
        {"an unknown opcode of control", [{1, 0, 11, <<>>}], 1002},
        {"a control frame in fragments (5.5)", [{0, 0, 9, <<>>}], 1002},
        {"a long control frame (5.5)", [{1, 0, 9, binary:copy(<<1>>, 126)}], 1002},
        {"a reserved bit of a control frame", [{1, 4, 9, <<>>}], 1002},
        {"nothing to continue (5.4)", [{1, 0, 0, <<"a">>}], 1002},
        {"a message within another (5.4)", [{0, 0, 1, <<"a">>}, {1, 0, 1, <<"b">>}], 1002},
        {"a reserved bit of a fragment", [{0, 0, 1, <<"a">>}, {1, 4, 0, <<"b">>}], 1002},
        {"half a close code (5.5.1)", [{1, 0, 8, <<3>>}], 1002},
        {"a text that is no UTF-8 (8.1)", [{1, 0, 1, <<16#80>>}], 1007},
        {"a text that ends within a character", [{1, 0, 1, <<"a", 16#C3>>}], 1007},
        {"a surrogate", [{1, 0, 1, <<16#ED, 16#A0, 16#80>>}], 1007},
        {"fragments that are no UTF-8", [{0, 0, 1, <<16#C3>>}, {1, 0, 0, <<"b">>}], 1007},
        {"a reason that is no UTF-8", [{1, 0, 8, <<1000:16, 16#FF>>}], 1007},
        {"a byte too long", [{1, 0, 2, binary:copy(<<1>>, ?MAX + 1)}], 1009},
        {"fragments that are too long together",
            [{0, 0, 2, binary:copy(<<1>>, ?MAX)}, {1, 0, 0, <<1>>}], 1009}
    ],
    [{Name ++ ", portions of " ++ integer_to_list(P),
        ?_assertEqual([{error, Code}], decode(frames(Frames), P))}
        || {Name, Frames, Code} <- Table, P <- [1, 5, 5000]].

close_codes_test_() ->
    Legal = [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999],
    Illegal = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535],
    [?_assertEqual([{close, C, <<>>}], decode(frames([{1, 0, 8, <<C:16>>}]), 100)) || C <- Legal] ++
    [?_assertEqual([{error, 1002}], decode(frames([{1, 0, 8, <<C:16>>}]), 100)) || C <- Illegal].

%% Headers that no encoder writes.
headers_test_() ->
    Mask = <<1:32>>,
    Table = [
        {"not masked (5.1)", <<16#81, 16#01, "a">>},
        {"not masked, long", <<16#81, 126, 200:16>>},
        {"16 bits for a short length (5.2)", <<16#82, 16#FE, 125:16, Mask/binary>>},
        {"64 bits for a short length", <<16#82, 16#FF, 65535:64, Mask/binary>>},
        {"a length with the highest bit", <<16#82, 16#FF, (1 bsl 63):64, Mask/binary>>}
    ],
    [{Name, ?_assertEqual([{error, 1002}], decode(Bytes, P))}
        || {Name, Bytes} <- Table, P <- [1, 100]].

%% The length alone is enough to refuse it: nothing of it is awaited.
a_length_is_refused_at_once_test() ->
    Head = <<16#82, 16#FF, (1 bsl 40):64, 1:32>>,
    ?assertEqual([{error, 1009}], decode(Head, 100)).

%%% permessage-deflate (RFC 7692)

contexts(Takeover) ->
    {Inflate, Deflate} = {zlib:open(), zlib:open()},
    ok = zlib:inflateInit(Inflate, -15),
    ok = zlib:deflateInit(Deflate, default, deflated, -15, 8, default),
    {{Inflate, Takeover}, {Deflate, Takeover}}.

%% What the node sends, a client's decoder would read: the same bytes, masked, come back.
compressed_test_() ->
    [{atom_to_list(Takeover), fun() -> there_and_back(Takeover) end}
        || Takeover <- [takeover, no_takeover]].

there_and_back(Takeover) ->
    {Inflate, Deflate} = contexts(Takeover),
    Texts = [<<"Hello">>, <<"Hello">>, <<>>, binary:copy(<<"x">>, ?MAX)],
    Frames = [deflated(hornbeam_websocket_frames:encode(text, T, Deflate)) || T <- Texts],
    ?assertEqual([{text, T} || T <- Texts],
        decode(frames(Frames), 3, hornbeam_websocket_frames:new(?MAX, Inflate))).

%% A server's frame of up to 125 bytes, as one of a client. What is empty is not compressed.
deflated(Frame) ->
    case iolist_to_binary(Frame) of
        <<1:1, 4:3, 1:4, 0:1, Size:7, Data:Size/binary>> when Size > 0 -> {1, 4, 1, Data};
        <<1:1, 0:3, 1:4, 0:8>> -> {1, 0, 1, <<>>}
    end.

in_compressed_fragments_test() ->
    {Inflate, Deflate} = contexts(takeover),
    {1, 4, 1, <<A:3/binary, B/binary>>} =
        deflated(hornbeam_websocket_frames:encode(text, <<"Hello, hello">>, Deflate)),
    ?assertEqual([{text, <<"Hello, hello">>}, {text, <<"plain">>}],
        decode(frames([{0, 4, 1, A}, {1, 0, 0, B}, {1, 0, 1, <<"plain">>}]), 100,
            hornbeam_websocket_frames:new(?MAX, Inflate))).

%% A few bytes must not become gigabytes.
a_bomb_is_refused_test_() -> {timeout, 60, fun a_bomb_is_refused/0}.

a_bomb_is_refused() ->
    {Inflate, {Z, _}} = contexts(takeover),
    Bomb = iolist_to_binary(zlib:deflate(Z, binary:copy(<<0>>, 100000000), sync)),
    Decoder = hornbeam_websocket_frames:new(1000000, Inflate),
    Before = erlang:memory(binary),
    ?assertEqual([{error, 1009}], decode(frames([{1, 4, 2, Bomb}]), 1000000, Decoder)),
    ?assert(erlang:memory(binary) - Before < 20000000).

rubbish_is_refused_test() ->
    {Inflate, _} = contexts(takeover),
    ?assertEqual([{error, 1002}],
        decode(frames([{1, 4, 1, <<255, 255, 255>>}]), 100,
            hornbeam_websocket_frames:new(?MAX, Inflate))).

%%% Out

frames_of_the_server_test_() ->
    Long = binary:copy(<<"x">>, 65536),
    Table = [
        {hornbeam_websocket_frames:encode(text, <<"Hello">>, none), <<16#81, 5, "Hello">>},
        {hornbeam_websocket_frames:encode(binary, <<>>, none), <<16#82, 0>>},
        {hornbeam_websocket_frames:encode(binary, binary:part(Long, 0, 126), none),
            <<16#82, 126, 126:16, (binary:part(Long, 0, 126))/binary>>},
        {hornbeam_websocket_frames:encode(binary, Long, none),
            <<16#82, 127, 65536:64, Long/binary>>},
        {hornbeam_websocket_frames:ping(), <<16#89, 0>>},
        {hornbeam_websocket_frames:pong(<<"p">>), <<16#8A, 1, "p">>},
        {hornbeam_websocket_frames:close(1000, <<"bye">>), <<16#88, 5, 1000:16, "bye">>},
        {hornbeam_websocket_frames:close(1005, <<>>), <<16#88, 0>>}
    ],
    [?_assertEqual(Bytes, iolist_to_binary(Frame)) || {Frame, Bytes} <- Table].

%%% Properties

%% Any bytes are events, an error with a code of the RFC, or more is awaited.
prop_any_bytes_test_() ->
    ?PROPERTY(
        ?FORALL({Bytes, Portion}, {binary(), range(1, 20)},
            lists:all(fun is_outcome/1, decode(Bytes, Portion))),
        1000
    ).

is_outcome({error, Code}) -> lists:member(Code, [1002, 1007, 1009]);
is_outcome({Kind, Data}) -> lists:member(Kind, [text, binary, ping, pong]) andalso is_binary(Data);
is_outcome({close, Code, Reason}) -> is_integer(Code) andalso is_binary(Reason).

%% A message is the same however it is cut into fragments and portions.
prop_fragments_test_() ->
    ?PROPERTY(
        ?FORALL(
            {Data, Cuts, Portion},
            {binary(), list(range(0, 30)), range(1, 50)},
            decode(frames(cut(Data, Cuts, 2)), Portion) =:= [{binary, Data}]
        ),
        500
    ).

cut(Data, [], Opcode) ->
    [{1, 0, Opcode, Data}];
cut(Data, [Size | Cuts], Opcode) ->
    Now = min(Size, byte_size(Data)),
    <<First:Now/binary, Rest/binary>> = Data,
    [{0, 0, Opcode, First} | cut(Rest, Cuts, 0)].
