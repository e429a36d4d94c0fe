%% SPDX-License-Identifier: Apache-2.0
-module(hornbeam_wire_large_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").
-include("hornbeam_wire.hrl").

-define(HEADERS, #{<<"content-type">> => <<"text/plain">>, <<"x">> => <<>>}).

packet(Messages) -> hornbeam_wire:encode(Messages).

bytes(Size) -> binary:copy(<<"x">>, Size).

data(Id, Size) -> {?DATA, Id, bytes(Size)}.

response(Id, Size) -> {?RESPONSE, Id, 200, ?HEADERS, bytes(Size)}.

%% Packets of a few large answers are taken, all others are left to binary_to_term.
which_packets_test_() ->
    Cookies = {?RESPONSE, 1, 200, #{<<"set-cookie">> => [<<"a=b">>]}, bytes(65536)},
    Table = [
        {"one response", [response(1, 65536)], taken},
        {"one piece", [data(1, 65536)], taken},
        {"four of any size", [response(1, 65536), data(2, 1), response(3, 0), data(300, 9)],
            taken},
        {"five", [data(Id, 65536) || Id <- lists:seq(1, 5)], left},
        {"small ones", [data(1, 1000), response(2, 1000)], left},
        {"other messages", [{?CALL, 1, 0, 1, <<"s">>, bytes(65536)}], left},
        {"other messages besides", [data(1, 65536), {?END, 1, #{}}], left},
        {"values that are no binaries", [Cookies], left},
        {"ids of many digits", [data(1 bsl 40, 65536)], left}
    ],
    [
        {Name, fun() ->
            Expected =
                case Verdict of
                    taken -> {ok, Messages};
                    left -> none
                end,
            ?assertEqual(Expected, hornbeam_wire_large:messages(packet(Messages))),
            ?assertEqual({ok, Messages}, hornbeam_wire:decode(packet(Messages)))
        end}
     || {Name, Messages, Verdict} <- Table
    ].

%% A body is a part of its packet where it is a good part of it; else it must not keep the packet.
what_is_kept_test() ->
    Packet = packet([response(1, 60000), data(2, 60000), data(3, 1000)]),
    {ok, [{_, _, _, Headers, Body}, {_, _, Large}, {_, _, Small}]} =
        hornbeam_wire_large:messages(Packet),
    [?assertEqual(byte_size(Packet), binary:referenced_byte_size(B)) || B <- [Body, Large]],
    [
        ?assert(binary:referenced_byte_size(B) =< 1000)
     || B <- [Small | maps:keys(Headers) ++ maps:values(Headers)]
    ].

%% What is checked of other packets is checked of these.
illegal_fields_test_() ->
    [
        {Name, ?_assertMatch({error, {bad_message, _}}, hornbeam_wire:decode(packet([Message])))}
     || {Name, Message} <- [
            {"an id of zero", data(0, 65536)},
            {"a negative id", data(-1, 65536)},
            {"a status out of range", {?RESPONSE, 1, 100, #{}, bytes(65536)}},
            {"a set-cookie that is no list", {?RESPONSE, 1, 200, #{<<"set-cookie">> => <<"a">>},
                bytes(65536)}},
            {"an empty name", {?RESPONSE, 1, 200, #{<<>> => <<"a">>}, bytes(65536)}}
        ]
    ].

%% A name that comes twice is no map.
name_twice_test() ->
    Pair = <<109, 1:32, "a", 109, 1:32, "b">>,
    Packet =
        <<131, 108, 1:32, 104, 5, 97, ?RESPONSE, 97, 1, 97, 200, 116, 2:32, Pair/binary,
            Pair/binary, 109, 40000:32, 0:40000/unit:8, 106>>,
    ?assertEqual(none, hornbeam_wire_large:messages(Packet)),
    ?assertMatch({error, {bad_packet, _}}, hornbeam_wire:decode(Packet)).

%% Whatever the bytes: what is taken is what binary_to_term gives.
prop_same_as_binary_to_term_test_() ->
    ?PROPERTY(
        ?FORALL({Messages, At, Byte}, {messages(), non_neg_integer(), byte()},
            lists:all(fun is_same/1, [packet(Messages) | changed(packet(Messages), At, Byte)])),
        200
    ).

messages() ->
    ?LET(Some, non_empty(list(message())), lists:sublist(Some, 5)).

message() ->
    ?LET({Id, Size, Kind}, {integer(-1, 1 bsl 33), oneof([0, 10, 20000, 70000]), byte()},
        case Kind rem 2 of
            0 -> data(Id, Size);
            1 -> response(Id, Size)
        end).

%% One byte of the head is another one; the packet ends early; more follows.
changed(Packet, At, Byte) ->
    Place = At rem min(80, byte_size(Packet)),
    <<Before:Place/binary, _, After/binary>> = Packet,
    [
        <<Before/binary, Byte, After/binary>>,
        binary:part(Packet, 0, byte_size(Packet) - 1 - At rem byte_size(Packet)),
        <<Packet/binary, Byte>>
    ].

is_same(Packet) ->
    case hornbeam_wire_large:messages(Packet) of
        none -> true;
        {ok, Messages} -> {Messages, byte_size(Packet)} =:= binary_to_term(Packet, [safe, used])
    end.
