%% SPDX-License-Identifier: Apache-2.0
%% @doc One WebSocket between client and worker as tables: what comes in, what goes out, when it
%% ends. No processes; the clock is a number.
-module(hornbeam_websocket_peer_tests).

-include_lib("eunit/include/eunit.hrl").

peer() -> peer(#{}).

peer(Options) ->
    hornbeam_websocket_peer:new(maps:merge(#{
        worker => self(), exchange => 7, timeout => 1000, ping_interval => 400, max_size => 1000,
        inflate => none, deflate => none, response_window => 1000, request_window => 200, now => 0
    }, Options)).

client(Opcode, Data) ->
    Size = byte_size(Data),
    Key = binary:part(binary:copy(<<1, 2, 3, 4>>, Size div 4 + 1), 0, Size),
    <<1:1, 0:3, Opcode:4, 1:1, Size:7, 1, 2, 3, 4, (crypto:exor(Data, Key))/binary>>.

text(Data) -> client(1, Data).
close_frame(Code) -> client(8, <<Code:16>>).

%% Steps in order; the effects of each.
play(Steps) -> play(Steps, peer()).

play(Steps, Peer0) ->
    {Effects, Peer} = lists:mapfoldl(fun step/2, Peer0, Steps),
    {[[short(E) || E <- Each] || Each <- Effects], Peer}.

step({bytes, Bytes}, Peer) -> hornbeam_websocket_peer:received(Bytes, 0, Peer);
step({bytes, Now, Bytes}, Peer) -> hornbeam_websocket_peer:received(Bytes, Now, Peer);
step({event, Event}, Peer) -> hornbeam_websocket_peer:event(Event, 0, Peer);
step({tick, Now}, Peer) -> hornbeam_websocket_peer:tick(Now, Peer);
step({gone, Code}, Peer) -> hornbeam_websocket_peer:gone(Code, Peer);
step(shutdown, Peer) -> hornbeam_websocket_peer:shutdown(0, Peer).

%% Frames of the server by opcode and data.
short({send, Frame}) ->
    <<1:1, _:3, Opcode:4, 0:1, Size:7, Data:Size/binary>> = iolist_to_binary(Frame),
    {send, Opcode, Data};
short(Effect) ->
    Effect.

steps_test_() ->
    Table = [
        {"messages both ways",
            [{bytes, text(<<"a">>)}, {event, {binary, <<0>>}}],
            [[{message, text, <<"a">>}], [{send, 2, <<0>>}]]},
        {"what one read brings is handed on together",
            [{bytes, <<(text(<<"a">>))/binary, (client(9, <<"p">>))/binary,
                (text(<<"b">>))/binary>>}],
            [[{message, text, <<"a">>}, {send, 10, <<"p">>}, {message, text, <<"b">>}]]},
        {"credit goes back in quarters of the window, behind what it is for",
            [{event, {text, <<"a">>}}, {event, {text, binary:copy(<<"b">>, 121)}}],
            [[{send, 1, <<"a">>}], [{send, 1, binary:copy(<<"b">>, 121)}, {credit, 250}]]},
        {"the client closes", [{bytes, close_frame(1000)}, {event, {text, <<"late">>}}],
            [[{send, 8, <<1000:16>>}, {close, 1000, <<>>}, finish], []]},
        {"the worker closes, the client answers",
            [{event, {close, 3000, <<"r">>}}, {bytes, text(<<"late">>)},
                {bytes, close_frame(3000)}],
            [[{send, 8, <<3000:16, "r">>}, arm], [], [finish]]},
        {"a second CLOSE of the worker is none",
            [{event, {close, 3000, <<>>}}, {event, {close, 3001, <<>>}}],
            [[{send, 8, <<3000:16>>}, arm], []]},
        {"the worker dies", [{event, {failed, worker_gone}}],
            [[{send, 8, <<1012:16, "the worker died">>}, arm]]},
        {"the connection breaks", [{gone, 1006}, {gone, 1006}], [[{close, 1006, <<>>}], []]},
        {"the connection breaks while it closes", [{event, {close, 1000, <<>>}}, {gone, 1006}],
            [[{send, 8, <<1000:16>>}, arm], []]},
        {"the node stops", [shutdown, shutdown],
            [[{close, 1001, <<>>}, {send, 8, <<1001:16>>}, arm], []]},
        {"an illegal frame; nothing after it counts, and no answer is awaited",
            [{bytes, <<16#83, 16#80, 0:32>>}, {bytes, close_frame(1000)}],
            [[{close, 1002, <<"unknown opcode">>}, {send, 8, <<1002:16, "unknown opcode">>},
                finish], []]},
        {"a ping after silence, cut off after more of it",
            [{tick, 399}, {tick, 400}, {tick, 799}, {tick, 800}],
            [[], [{send, 9, <<>>}], [], [
                {send, 8, <<1011:16, "the ping was not answered">>},
                {close, 1006, <<"the ping was not answered">>}, finish]]},
        {"any bytes are an answer to the ping",
            [{tick, 400}, {bytes, 700, text(<<"a">>)}, {tick, 1099}, {tick, 1100}],
            [[{send, 9, <<>>}], [{message, text, <<"a">>}], [], [{send, 9, <<>>}]]},
        {"a client that does not answer CLOSE has five seconds",
            [{event, {close, 1000, <<>>}}, {tick, 4999}, {tick, 5000}],
            [[{send, 8, <<1000:16>>}, arm], [], [finish]]}
    ],
    [{Name, ?_assertEqual(Expected, element(1, play(Steps)))} || {Name, Steps, Expected} <- Table].

silence_without_pings_test() ->
    {Effects, _} = play([{tick, 999}, {tick, 1000}], peer(#{ping_interval => infinity})),
    Reason = <<"nothing arrived in time">>,
    ?assertEqual([[], [{close, 1001, Reason}, {send, 8, <<1001:16, Reason/binary>>}, arm]],
        Effects).

%% 200 bytes of credit: messages of a byte cost 65.
credit_of_the_worker_test() ->
    Bytes = iolist_to_binary([text(<<N>>) || N <- "abcdef"]),
    {[First], Peer} = play([{bytes, Bytes}]),
    ?assertEqual([{message, text, <<N>>} || N <- "abcd"], First),
    ?assertNot(hornbeam_websocket_peer:reads(Peer)),
    {Later, Next} = play([{event, {credit, 60}}, {event, {credit, 1}}], Peer),
    ?assertEqual([[], [{message, text, <<"e">>}]], Later),
    {[[{message, text, <<"f">>}]], Last} = play([{event, {credit, 1000}}], Next),
    ?assert(hornbeam_websocket_peer:reads(Last)).

%% Who is not read cannot be called silent, and gets the whole time once it is read again.
not_read_is_not_silent_test() ->
    Bytes = iolist_to_binary([text(<<N>>) || N <- "abcdef"]),
    {_, Peer} = play([{bytes, Bytes}, {tick, 100000}]),
    ?assertEqual(100400, hornbeam_websocket_peer:next_tick(Peer)),
    {Effects, _} = play([{event, {credit, 1000}}, {tick, 100399}], Peer),
    ?assertMatch([[_, _], []], Effects).

next_look_test_() ->
    Table = [
        {#{}, [], 400}, {#{ping_interval => infinity}, [], 1000},
        {#{ping_interval => infinity, timeout => infinity}, [], infinity},
        {#{}, [{tick, 400}], 800}, {#{}, [{event, {close, 1000, <<>>}}], 5000}
    ],
    [?_assertEqual(At, hornbeam_websocket_peer:next_tick(element(2, play(Steps, peer(Options)))))
     || {Options, Steps, At} <- Table].
