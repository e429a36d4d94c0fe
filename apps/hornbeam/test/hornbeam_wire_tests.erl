%% SPDX-License-Identifier: Apache-2.0
%% @doc Packets: every frame of the vectors, every hostile term of the message layer, any bytes at
%% all.
%% Runs in: the EUnit process.
-module(hornbeam_wire_tests).

-include_lib("eunit/include/eunit.hrl").
-include("hornbeam_wire.hrl").
-include("properties.hrl").

%%% frames.json

%% What a worker may send is decoded as the vector says, or refused with the error that it names.
frames_of_the_worker_test_() ->
    [{name(Frame), fun() -> from_worker(Frame) end} || Frame <- frames(<<"worker">>)].

from_worker(#{<<"must_fail">> := Error} = Frame) ->
    ?assertEqual(Error, refusal(message_vectors:bytes(Frame)));
from_worker(#{<<"messages">> := Notation} = Frame) ->
    Messages = [message_vectors:message(M) || M <- Notation],
    Packet = message_vectors:bytes(Frame),
    ?assert({ok, Messages} =:= hornbeam_wire:decode(Packet)),
    ?assert({ok, Messages} =:= hornbeam_wire:decode(hornbeam_wire:encode(Messages))),
    ?assertEqual(<<"bad_packet">>, refusal(<<Packet/binary, 0>>)),
    prefixes_fail(Packet).

%% Long packets differ in nothing but the length of what they repeat: a thousand cuts of those.
prefixes_fail(Packet) ->
    Size = byte_size(Packet),
    Step = max(1, Size div 1000),
    [
        ?assertEqual(<<"bad_packet">>, refusal(binary:part(Packet, 0, Cut)))
     || Cut <- lists:seq(0, Size - 1, Step)
    ].

%% What the node sends is what its encoder makes of the messages; the worker's side checks it.
frames_of_the_node_test_() ->
    [{name(Frame), fun() -> from_node(Frame) end} || Frame <- frames(<<"node">>)].

from_node(#{<<"messages">> := Notation} = Frame) ->
    Messages = [message_vectors:message(M) || M <- Notation],
    Packet = message_vectors:bytes(Frame),
    ?assert(Messages =:= binary_to_term(Packet)),
    ?assert(Messages =:= binary_to_term(encoded(Messages)));
%% What is wrong from a node is no better from a worker, but for messages and origins that are a
%% worker's to send.
from_node(#{<<"must_fail">> := Error, <<"name">> := Name} = Frame) ->
    case binary:match(Name, [<<"in the wrong direction">>, <<"Origin is negative">>]) of
        nomatch ->
            ?assert(lists:member(refusal(message_vectors:bytes(Frame)),
                [Error, <<"bad_message">>]));
        _ -> ?assertMatch({accepted, [_]}, refusal(message_vectors:bytes(Frame)))
    end.

%% What opens exchanges has an encoder of its own, packets of nothing else.
encoded(Messages) ->
    case lists:all(fun(M) -> lists:member(element(1, M), [?OPEN, ?WEBSOCKET]) end, Messages) of
        true -> iolist_to_binary(hornbeam_wire:encode_opens([open(M) || M <- Messages]));
        false -> hornbeam_wire:encode(Messages)
    end.

open(Message) ->
    [Code, Id, Timeout | Fields] = tuple_to_list(Message),
    {Id, Timeout, request(Code, list_to_tuple(Fields))}.

request(?OPEN, Fields) -> hornbeam_wire:request(Fields);
request(?WEBSOCKET, Fields) -> hornbeam_wire:websocket(Fields).

%% Nothing is left out: each frame is from one side or the other, each message occurs.
every_frame_is_run_test() ->
    All = message_vectors:read("frames.json", 700),
    ?assertEqual(length(All), length(frames(<<"worker">>)) + length(frames(<<"node">>))),
    Used = [Name || #{<<"messages">> := Messages} <- All, [Name | _] <- Messages],
    ?assertEqual([], [Name || {Name, _} <- message_vectors:names()] -- Used).

frames(From) ->
    [F || #{<<"from">> := Side} = F <- message_vectors:read("frames.json", 700), Side =:= From].

name(#{<<"name">> := Name}) -> binary_to_list(Name).

refusal(Packet) ->
    case hornbeam_wire:decode(Packet) of
        {error, {Name, Text}} when is_binary(Text), Text =/= <<>> -> atom_to_binary(Name);
        {ok, Messages} -> {accepted, Messages}
    end.

%%% hostile_terms.json

%% No packet is a hostile term, nor does one become legal inside a message that may hold any term.
hostile_terms_test_() ->
    [{name(Vector), fun() -> hostile(message_vectors:bytes(Vector)) end} || Vector <- hostile()].

hostile(<<131, Term/binary>> = Packet) ->
    ?assertEqual(<<"bad_packet">>, refusal(Packet)),
    case is_odd_integer(Packet) of
        false -> ?assertEqual(<<"bad_packet">>, refusal(greeting(Term)));
        true -> ?assertMatch({accepted, [_]}, refusal(greeting(Term)))
    end;
hostile(Packet) ->
    ?assertEqual(<<"bad_packet">>, refusal(Packet)).

%% [{?HELLO, 1, 1, #{<<"k">> => Term}}]
greeting(Term) ->
    <<131, 108, 1:32, 104, 4, 97, ?HELLO, 97, 1, 97, 1, 116, 1:32, 109, 1:32, $k, Term/binary,
        106>>.

%% An integer of this layer in a form that is longer than it need be: the worker's decoder refuses
%% it unread, here it is the integer before anybody can look.
is_odd_integer(<<131, Tag, _/binary>> = Packet) when Tag =:= 110; Tag =:= 111 ->
    try binary_to_term(Packet) of
        Integer -> Integer >= -(1 bsl 63) andalso Integer < 1 bsl 64
    catch
        error:badarg -> false
    end;
is_odd_integer(_) ->
    false.

%% All of the message layer, and of both layers those that the node itself can run.
hostile() ->
    Vectors = message_vectors:read("hostile_terms.json", 100),
    Wire = [V || #{<<"layer">> := <<"wire">>} = V <- Vectors],
    Both = [V || #{<<"layer">> := <<"both">>, <<"erlang">> := <<"refuses">>} = V <- Vectors],
    Wire ++ Both.

enough_hostile_terms_test() ->
    ?assert(length(hostile()) >= 80),
    ?assertEqual(2, length([V || V <- hostile(), is_odd_integer(message_vectors:bytes(V))])).

%%% Limits

messages_in_a_packet_test_() ->
    [
        {integer_to_list(N) ++ " messages", ?_assertEqual(Expected, count(packet_of_beats(N)))}
     || {N, Expected} <- [{1, 1}, {65535, 65535}, {65536, 65536}, {65537, bad_packet}]
    ].

packet_of_beats(N) ->
    <<131, 108, N:32, (binary:copy(<<104, 1, 97, ?BEAT>>, N))/binary, 106>>.

count(Packet) ->
    case hornbeam_wire:decode(Packet) of
        {ok, Messages} -> length(Messages);
        {error, {Name, _}} -> Name
    end.

answers_in_portions_test_() ->
    Result = fun(Id, Size) -> {?RESULT, Id, binary:copy(<<0>>, Size)} end,
    Ids = fun(Answers) -> [[element(2, A) || A <- Portion]
        || Portion <- hornbeam_wire:answers(Answers)] end,
    Mebibyte = 1048576,
    [
        {"small answers share a packet, in order", fun() ->
            ?assertEqual([], Ids([])),
            ?assertEqual([[1]], Ids([Result(1, 1)])),
            ?assertEqual([[1, 2, 3]], Ids([Result(1, 1), {?FAULT, 2, <<"f">>, <<>>}, Result(3, 9)]))
        end},
        {"a packet with a mebibyte of them takes no more", fun() ->
            Answers = [Result(N, Mebibyte div 2) || N <- lists:seq(1, 5)],
            ?assertEqual([[1, 2], [3, 4], [5]], Ids(Answers))
        end},
        {"the largest answers fit, whatever came before them", {timeout, 60, fun() ->
            Most = binary:copy(<<0>>, ?MAX_PAYLOAD),
            Answers = [Result(1, Mebibyte - 1), {?RESULT, 2, Most}, {?RESULT, 3, Most}],
            ?assertEqual([[1, 2], [3]], Ids(Answers)),
            Sizes = [byte_size(hornbeam_wire:encode(P)) || P <- hornbeam_wire:answers(Answers)],
            ?assert(lists:max(Sizes) =< ?MAX_PACKET)
        end}}
    ].

payload_of_a_call_test_() ->
    {timeout, 60, [
        ?_assertMatch({ok, [_]}, hornbeam_wire:decode(result(?MAX_PAYLOAD))),
        ?_assertEqual(<<"bad_message">>, refusal(result(?MAX_PAYLOAD + 1))),
        ?_assertMatch({ok, _}, hornbeam_wire:encode_value(binary:copy(<<0>>, ?MAX_PAYLOAD - 6))),
        ?_assertEqual({error, too_large},
            hornbeam_wire:encode_value(binary:copy(<<0>>, ?MAX_PAYLOAD - 5)))
    ]}.

result(Size) -> hornbeam_wire:encode([{?RESULT, 1, binary:copy(<<0>>, Size)}]).

packet_size_test_() -> {timeout, 60, fun packet_size/0}.

packet_size() ->
    Fields = byte_size(hornbeam_wire:encode([{?DATA, 1, <<"x">>}])) - 1,
    Packet = fun(Size) -> hornbeam_wire:encode([{?DATA, 1, binary:copy(<<0>>, Size - Fields)}]) end,
    ?assertMatch({ok, [_]}, hornbeam_wire:decode(Packet(?MAX_PACKET))),
    ?assertEqual(<<"bad_packet">>, refusal(Packet(?MAX_PACKET + 1))).

integers_have_64_bits_test_() ->
    Max = 1 bsl 64 - 1,
    Table = [
        {{?STARTED, Max}, ok}, {{?STARTED, Max + 1}, bad_packet},
        {{?RETURN, [1, Max]}, ok}, {{?RETURN, [1, Max + 1]}, bad_packet},
        {{?SEND_FILE, 1, <<"/f">>, Max, Max}, ok},
        {{?SEND_FILE, 1, <<"/f">>, Max + 1, 1}, bad_packet},
        {{?SEND_FILE, 1, <<"/f">>, 0, Max + 1}, bad_packet},
        {{?CALL, 1, Max, 1, <<"s">>, <<>>}, ok},
            {{?CALL, 1, Max + 1, 1, <<"s">>, <<>>}, bad_packet},
        {{?CALL, 1, 0, 1 bsl 32 - 1, <<"s">>, <<>>}, ok},
        {{?CALL, 1, 0, 1 bsl 32, <<"s">>, <<>>}, bad_message},
        {{?CALL, 1, -(1 bsl 63), 1, <<"s">>, <<>>}, ok},
            {{?CALL, 1, -(1 bsl 63) - 1, 1, <<"s">>, <<>>}, bad_packet},
        {{?READY, #{<<"n">> => -(1 bsl 63)}}, ok},
            {{?READY, #{<<"n">> => -(1 bsl 63) - 1}}, bad_packet},
        {{?BODY_CREDIT, 1, 1 bsl 31}, ok}, {{?BODY_CREDIT, 1, 1 bsl 31 + 1}, bad_message}
    ],
    [{lists:flatten(io_lib:format("~0p", [M])), ?_assertEqual(E, outcome(M))} || {M, E} <- Table].

%% Atoms that the node knows are refused all the same, wherever a term of any kind may stand.
atoms_are_refused_test_() ->
    Table = [
        {{?READY, #{<<"k">> => true}}, ok},
        {{?READY, #{<<"k">> => undefined}}, ok},
        {{?READY, #{<<"k">> => ok}}, bad_packet},
        {{?READY, #{<<"k">> => [{1, #{2 => error}}]}}, bad_packet},
        {{?READY, #{ok => 1}}, bad_packet},
        {{?READY, #{1 => 1}}, bad_message},
        {{?READY, #{true => 1}}, bad_message},
        {{?HELLO, 1, 1, #{<<"k">> => [a | b]}}, bad_packet},
        {{?HEAD, 1, 200, #{<<"a">> => ok}}, bad_packet},
        {{?HEAD, 1, 200, #{<<"a">> => true}}, bad_message},
        {{?END, 1, #{<<"set-cookie">> => [<<"a">>]}}, bad_message},
        {{ok}, bad_packet},
        {{true}, bad_message}
    ],
    [{lists:flatten(io_lib:format("~0p", [M])), ?_assertEqual(E, outcome(M))} || {M, E} <- Table].

outcome(Message) ->
    case hornbeam_wire:decode(hornbeam_wire:encode([Message])) of
        {ok, [Message]} -> ok;
        {error, {Name, _}} -> Name
    end.

atoms_are_not_made_test() ->
    Name = <<"hornbeam_never_seen_",
        (integer_to_binary(erlang:unique_integer([positive])))/binary>>,
    Atom = <<119, (byte_size(Name)), Name/binary>>,
    Before = erlang:system_info(atom_count),
    ?assertEqual(<<"bad_packet">>, refusal(greeting(Atom))),
    ?assertEqual({error, bad_term}, hornbeam_wire:decode_value(<<131, Atom/binary>>)),
    ?assertEqual(Before, erlang:system_info(atom_count)).

texts_are_cut_test_() ->
    Long = binary:copy(<<"ü"/utf8>>, ?MAX_TEXT),
    Table = [
        {<<>>, 0},
        {binary:copy(<<"a">>, ?MAX_TEXT), ?MAX_TEXT},
        {binary:copy(<<"a">>, ?MAX_TEXT + 1), ?MAX_TEXT},
        {Long, ?MAX_TEXT},
        {<<"a", Long/binary>>, ?MAX_TEXT - 1},
        {<<"a", (binary:copy(<<"😀"/utf8>>, ?MAX_TEXT))/binary>>, ?MAX_TEXT - 3},
        {binary:copy(<<16#80>>, ?MAX_TEXT * 2), ?MAX_TEXT - 3}
    ],
    [?_assertEqual(Size, byte_size(hornbeam_wire:cut_text(Text))) || {Text, Size} <- Table].

%%% Properties

%% Any bytes are messages or one named error.
prop_any_bytes_test_() ->
    ?PROPERTY(?FORALL(Bytes, hostile_bytes(), is_outcome(hornbeam_wire:decode(Bytes))), 2000).

hostile_bytes() ->
    oneof([
        binary(),
        ?LET(Bytes, binary(), <<131, Bytes/binary>>),
        ?LET(Bytes, binary(), <<131, 108, 1:32, Bytes/binary>>),
        ?LET({M, At, Byte}, {worker_message(), non_neg_integer(), byte()}, changed(M, At, Byte))
    ]).

changed(Message, At, Byte) ->
    Packet = hornbeam_wire:encode([Message]),
    Before = binary:part(Packet, 0, At rem byte_size(Packet)),
    <<Before:(byte_size(Before))/binary, _, After/binary>> = Packet,
    <<Before/binary, Byte, After/binary>>.

is_outcome({ok, [_ | _]}) -> true;
is_outcome({error, {Name, Text}}) ->
    lists:member(Name, [bad_packet, bad_message]) andalso is_binary(Text).

%% Whatever a worker may say comes back as it was said.
prop_round_trip_test_() ->
    ?PROPERTY(
        ?FORALL(
            Messages,
            non_empty(list(worker_message())),
            {ok, Messages} =:= hornbeam_wire:decode(hornbeam_wire:encode(Messages))
        ),
        500
    ).

worker_message() ->
    oneof([
        {?HELLO, 1, range(1, 255), info()}, {?READY, info()}, {?FAILED, binary(), binary()},
            {?BEAT},
        {?ERROR, binary(), binary()}, {?BODY_CREDIT, id(), range(1, 1 bsl 31)},
        {?RESPONSE, id(), range(200, 999), headers(), binary()},
        {?HEAD, id(), range(200, 999), headers()}, {?DATA, id(), filled()}, {?END, id(), flat()},
        {?SEND_FILE, id(), filled(), range(0, 1 bsl 63), range(1, 1 bsl 63)},
        {?ABORT, id(), binary(), binary()}, {?RETURN, non_empty(list(id()))}, {?STARTED, id()},
        {?CALL, id(), non_neg_integer(), range(1, 1 bsl 32 - 1), binary(), binary()},
        {?RESULT, id(), binary()}, {?FAULT, id(), binary(), binary()}, {?REVOKE, id()},
        {?CAST, binary(), binary()},
        {?INFORM, id(), range(102, 199), headers()}, {?PUSH, id(), filled(), flat()},
        {?ACCEPT, id(), oneof([undefined, binary()]), headers()}, {?TEXT, id(), text()},
        {?BINARY, id(), binary()}, {?CLOSE, id(), range(3000, 4999), binary_of_at_most(123)},
        {?STREAM, id(), integer(), range(1, 1 bsl 32 - 1), binary(), binary()},
        {?ITEM, id(), binary()}, {?ITEM_CREDIT, id(), range(1, 65536)},
        {?EVENT_CREDIT, id(), range(1, 65536)}
    ]).

text() -> ?LET(Characters, list(character()), unicode:characters_to_binary(Characters)).
character() -> oneof([range(0, 16#D7FF), range(16#E000, 16#10FFFF)]).
binary_of_at_most(Size) -> ?LET(N, range(0, Size), binary:copy(<<"r">>, N)).

id() -> oneof([pos_integer(), range(1, 1 bsl 64 - 1)]).
filled() -> ?LET(B, binary(), <<"/", B/binary>>).
flat() -> ?LET(Pairs, list({filled(), binary()}), maps:from_list(Pairs)).
info() ->
    ?LET({Flat, N}, {flat(), integer()},
        Flat#{<<"pid">> => N, <<"more">> => [true, {N, undefined}]}).
headers() ->
    ?LET({Flat, Cookies}, {flat(), list(binary())},
        case Cookies of
            [] -> Flat;
            _ -> Flat#{<<"set-cookie">> => Cookies}
        end).

%% A value of each tag can be decoded by a node that has not loaded anything else.
values_of_each_tag_test_() -> {timeout, 60, fun values_of_each_tag/0}.

values_of_each_tag() ->
    ?assertEqual([bytes, ndarray], hornbeam_wire:value_tags()),
    Code = "{ok, _} = hornbeam_wire:decode_value(base64:decode(<<\"" ++
        base64:encode_to_string(
            term_to_binary([{bytes, <<>>}, {ndarray, <<"f4">>, [1], <<0:32>>}])
        ) ++ "\">>)), io:format(decoded), halt().",
    Path = filename:dirname(code:which(hornbeam_wire)),
    Output = os:cmd("erl -noinput -pa '" ++ Path ++ "' -eval '" ++ Code ++ "'"),
    ?assertEqual("decoded", Output).
