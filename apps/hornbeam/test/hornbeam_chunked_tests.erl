%% SPDX-License-Identifier: Apache-2.0
%% @doc Tables and properties for `hornbeam_chunked': each input whole, byte by byte, and cut in
%% two at every place.
%% Runs in: the EUnit process.
-module(hornbeam_chunked_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

-define(MAX_BODY, 100).
-define(MAX_TRAILERS, 3).
-define(MAX_TRAILER, 40).

limits() ->
    #{max_body => ?MAX_BODY, max_headers => ?MAX_TRAILERS, max_header_size => ?MAX_TRAILER}.

%% Sentence, bytes, body, trailers, rest.
good() ->
    [
        {"no body", "0\r\n\r\n", "", [], ""},
        {"one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", [], ""},
        {"three chunks", "1\r\nh\r\n2\r\nel\r\n2\r\nlo\r\n0\r\n\r\n", "hello", [], ""},
        {"digits in both cases", ["a\r\n", bytes(10), "\r\nA\r\n", bytes(10), "\r\n0\r\n\r\n"],
            bytes(20), [], ""},
        {"leading zeros", "0000000000000005\r\nhello\r\n0000\r\n\r\n", "hello", [], ""},
        {"data that looks like "
            "chunks", "8\r\n0\r\n\r\n1\r\n\r\n0\r\n\r\n", "0\r\n\r\n1\r\n", [], ""},
        {"the next request follows", "1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "x", [],
            "GET / HTTP/1.1\r\n\r\n"},
        {"extensions", "1;a=b\r\nx\r\n1;a;b=\"c d\"\r\ny\r\n0;last\r\n\r\n", "xy", [], ""},
        {"extensions of as much as is allowed", ["1;", bytes(4096), "\r\nx\r\n0\r\n\r\n"], "x",
            [], ""},
        {"a body at the limit", ["64\r\n", bytes(100), "\r\n0\r\n\r\n"], bytes(100), [], ""},
        {"a trailer", "1\r\nx\r\n0\r\nX-Sum: "
            "42\r\n\r\nrest", "x", [{<<"x-sum">>, <<"42">>}], "rest"},
        {"a trailer with white space around", "0\r\na: \t b c\t \r\n\r\n", "", [{<<"a">>,
            <<"b c">>}], ""},
        {"an empty trailer", "0\r\na:\r\n\r\n", "", [{<<"a">>, <<>>}], ""},
        {"a trailer with bytes above ASCII", <<"0\r\na: ", 233, "\r\n\r\n">>, "", [{<<"a">>,
            <<233>>}], ""},
        {"as many trailers as are allowed, one twice", "0\r\na: 1\r\nb: 2\r\na: 3\r\n\r\n", "",
            [{<<"a">>, <<"1">>}, {<<"b">>, <<"2">>}, {<<"a">>, <<"3">>}], ""},
        {"a trailer at the limit", ["0\r\na:", bytes(38), "\r\n\r\n"], "", [{<<"a">>, bytes(38)}],
            ""}
    ].

bad() ->
    Size = [{"a chunk size of " ++ io_lib:format("~tp", [Text]), [Text, "\r\nhello\r\n0\r\n\r\n"],
        bad_size} ||
        Text <- ["", "x", "g", "-5", "+5", "0x5", "0X5", "5_0", " 5", "5 ", "\t5", "5\t", "5 "
            ";a", "5.0", "5,",
            "\r5", "\n5", "5\n", "5\r", "5\0", "5h", "00000000000000005", "10000000000000005",
                <<233>>]],
    Trailer = [{"a trailer of " ++ io_lib:format("~tp", [Text]), ["0\r\n", Text, "\r\n\r\n"],
        bad_trailer} ||
        Text <- ["a", ": b", "a : b", " a: b", "a b: c", "a: b\rc", "a: b\nc: d", "a: "
            "b\n", "a_b: c", "a: \0",
            "(a): b", "GET / HTTP/1.1"]],
    Forbidden = [{"the trailer " ++ Name, ["0\r\n", Name, ": x\r\n\r\n"], forbidden_trailer} ||
        Name <- ["Host", "content-length", "Transfer-Encoding", "cookie", "authorization",
            "if-match",
            "trailer", "connection", "content-type", "set-cookie", "expect", "te", "upgrade"]],
    Size ++ Trailer ++ Forbidden ++ [
        {"a bare LF after the size", "5\nhello\r\n0\r\n\r\n", bad_size},
        {"a bare LF after the data", "5\r\nhello\n0\r\n\r\n", bad_chunk_end},
        {"a CR that is not followed by LF", "5\r\nhello\rx0\r\n\r\n", bad_chunk_end},
        {"data longer than its size", "5\r\nhello!\r\n0\r\n\r\n", bad_chunk_end},
        {"data shorter than its size", "5\r\nhell\r\n0\r\n\r\n", bad_chunk_end},
        {"a size followed by CR alone", "5\rhello\r\n", bad_size},
        {"a control character in an extension", "5;a\0\r\nhello\r\n", bad_extension},
        {"a bare LF in an extension", "5;a\nhello\r\n", bad_extension},
        {"a bare CR in an extension", "5;a\rb\r\nhello\r\n", bad_size},
        {"an extension without end", ["1;", bytes(4097)], extensions_too_long},
        {"extensions that are too long "
            "together", ["1;", bytes(2048), "\r\nx\r\n1;", bytes(2049), "\r\n"],
            extensions_too_long},
        {"a body one over the limit", ["65\r\n"], body_too_large},
        {"chunks over the limit together", ["64\r\n", bytes(100), "\r\n1\r\n"], body_too_large},
        {"a chunk of 64 bits", "ffffffffffffffff\r\n", body_too_large},
        {"one trailer too many", "0\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n\r\n", too_many_trailers},
        {"a trailer one over the limit", ["0\r\na:", bytes(39), "\r\n\r\n"], trailer_too_large},
        {"a trailer without end", ["0\r\na:", bytes(40)], trailer_too_large}
    ].

%% Each is the beginning of something good, and never an error.
unfinished_test_() ->
    [{Sentence, fun() ->
        Bytes = iolist_to_binary(Input),
        Body = byte_size(Bytes) - length(Rest),
        [?assertMatch({more, _, _}, whole(binary:part(Bytes, 0, Size))) || Size <- lists:seq(0,
            Body - 1)]
    end} || {Sentence, Input, _, _, Rest} <- good()].

good_test_() ->
    [{Sentence, fun() ->
        Bytes = iolist_to_binary(Input),
        Expected = {done, iolist_to_binary(Body), Trailers, iolist_to_binary(Rest)},
        [?assertEqual(Expected, fed(Pieces)) || Pieces <- cuts(Bytes)]
    end} || {Sentence, Input, Body, Trailers, Rest} <- good()].

bad_test_() ->
    [{lists:flatten(Sentence), fun() ->
        Bytes = iolist_to_binary(Input),
        [?assertEqual({error, Reason}, fed(Pieces)) || Pieces <- cuts(Bytes)]
    end} || {Sentence, Input, Reason} <- bad()].

refusal_test_() ->
    [{atom_to_list(Reason), fun() ->
        {Status, Text} = hornbeam_chunked:refusal(Reason),
        ?assert(Status >= 400 andalso Status < 500 andalso is_binary(Text))
    end} || Reason <- lists:usort([Reason || {_, _, Reason} <- bad()])].

no_limit_test() ->
    State = hornbeam_chunked:init((limits())#{max_body => infinity}),
    ?assertMatch({more, [<<"x">>], _}, hornbeam_chunked:feed(<<"ffffffffffffffff\r\nx">>, State)).

not_copied_test() ->
    Bytes = <<"64\r\n", (bytes(100))/binary, "\r\n">>,
    {more, [Piece], _} = hornbeam_chunked:feed(Bytes, hornbeam_chunked:init(limits())),
    ?assertEqual(binary:referenced_byte_size(Bytes), binary:referenced_byte_size(Piece)).

properties_test_() ->
    [
        {"what is encoded comes back, however it is cut", ?PROPERTY(prop_round_trip())},
        {"any bytes give a value or an error, the same whole and cut", ?PROPERTY(prop_any_bytes(),
            1000)}
    ].

prop_round_trip() ->
    Chunk = ?SUCHTHAT(Bytes, binary(), Bytes =/= <<>>),
    ?FORALL({Chunks, Trailers, Rest, Cut}, {list(Chunk), trailers(), binary(), pos_integer()},
        begin
            Bytes = iolist_to_binary([[cow_http_te:chunk(C) || C <- Chunks], "0\r\n",
                [[N, ": ", V, "\r\n"] || {N, V} <- Trailers], "\r\n", Rest]),
            Limits = #{max_body => infinity, max_headers => 1000, max_header_size => 1000},
            {done, iolist_to_binary(Chunks), Trailers, Rest} =:= fed(slices(Bytes, Cut), Limits)
        end).

trailers() ->
    Text = ?LET(Chars, list(range($a, $z)), list_to_binary(["x", Chars])),
    list({Text, Text}).

%% Bytes that chunked bodies are made of, so that most do not end at the first.
prop_any_bytes() ->
    Byte = frequency([{10, elements("0123abF\r\n; :x")}, {1, range(0, 255)}, {3, elements(["\r\n",
        "1\r\nx\r\n"])}]),
    ?FORALL({Input, Cut}, {list(Byte), pos_integer()},
        begin
            Bytes = iolist_to_binary(Input),
            whole(Bytes) =:= fed(slices(Bytes, Cut))
        end).

whole(Bytes) -> fed([Bytes]).

bytes(N) -> binary:copy(<<"v">>, N).

%% Whole, byte by byte, and in two at every place.
cuts(Bytes) ->
    Places = lists:seq(0, min(byte_size(Bytes), 300)),
    [[Bytes], slices(Bytes, 1) | [[binary:part(Bytes, 0, N), binary:part(Bytes, N,
        byte_size(Bytes) - N)] ||
        N <- Places]].

slices(Bytes, Size) when byte_size(Bytes) =< Size -> [Bytes];
slices(Bytes, Size) ->
    <<Slice:Size/binary, Rest/binary>> = Bytes,
    [Slice | slices(Rest, Size)].

fed(Pieces) -> fed(Pieces, limits()).

fed(Pieces, Limits) -> fed(Pieces, hornbeam_chunked:init(Limits), []).

%% The bytes after the body are what is left of the piece in which it ended and of those after it.
fed([Piece | Pieces], State0, Body) ->
    case hornbeam_chunked:feed(Piece, State0) of
        {more, Data, State} when Pieces =:= [] -> {more, iolist_to_binary([Body, Data]), State};
        {more, Data, State} -> fed(Pieces, State, [Body, Data]);
        {done, Data, Trailers, Rest} ->
            [?assertNotEqual(<<>>, D) || D <- Data],
            {done, iolist_to_binary([Body, Data]), Trailers, iolist_to_binary([Rest | Pieces])};
        {error, Reason} -> {error, Reason}
    end.
