%% SPDX-License-Identifier: Apache-2.0
%% @doc Tables for what a client speaks, whole and byte by byte.
%% Runs in: the EUnit process.
-module(hornbeam_preface_tests).

-include_lib("eunit/include/eunit.hrl").

table() ->
    Get = <<"GET / HTTP/1.1\r\nhost: a\r\n">>,
    Upgrade = <<"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk">>,
    [
        {<<"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n">>, http2},
        {<<"PRI * HTTP/1.1\r\n\r\n">>, {http1, <<"PRI * HTTP/1.1\r\n\r\n">>}},
        {<<Get/binary, "\r\n">>, {http1, <<Get/binary, "\r\n">>}},
        {<<Get/binary, "connection: upgrade\r\nupgrade: websocket\r\n\r\n">>,
            {http1, <<Get/binary, "connection: upgrade\r\nupgrade: websocket\r\n\r\n">>}},
        {<<Get/binary, Upgrade/binary, "\r\nx: y\r\n\r\nhttp2-settings: body">>,
            {http1, <<Get/binary, "x: y\r\nconnection: close\r\n\r\nhttp2-settings: body">>}},
        {<<Get/binary, "x-connection: y\r\n", Upgrade/binary, "\r\n\r\n">>,
            {http1, <<Get/binary, "x-connection: y\r\nconnection: close\r\n\r\n">>}}
    ].

look_test_() ->
    [?_assertEqual(Expected, hornbeam_preface:look(Bytes)) || {Bytes, Expected} <- table()].

%% As long as the head, or the line that the preface starts with, is not there: more.
byte_by_byte_test_() ->
    [?_assertEqual(more, hornbeam_preface:look(binary:part(Bytes, 0, Size)))
        || {Bytes, Expected} <- table(), Size <- lists:seq(0, decided_at(Bytes, Expected) - 1)].

decided_at(_, http2) ->
    byte_size(<<"PRI * HTTP/2.0\r\n">>);
decided_at(Bytes, _) ->
    {Start, 4} = binary:match(Bytes, <<"\r\n\r\n">>),
    Start + 4.

is_upgrade_test_() ->
    Headers = #{
        <<"connection">> => <<"keep-alive, Upgrade,HTTP2-Settings">>,
        <<"upgrade">> => <<"foo, H2C">>,
        <<"http2-settings">> => <<"AAMAAABk">>
    },
    [
        ?_assert(hornbeam_preface:is_upgrade(Headers)),
        ?_assertNot(hornbeam_preface:is_upgrade(Headers#{<<"upgrade">> := <<"websocket">>})),
        ?_assertNot(hornbeam_preface:is_upgrade(Headers#{<<"connection">> := <<"upgrade">>})),
        ?_assertNot(hornbeam_preface:is_upgrade(maps:remove(<<"http2-settings">>, Headers))),
        ?_assertNot(hornbeam_preface:is_upgrade(#{}))
    ].
