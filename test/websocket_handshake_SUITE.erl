%% SPDX-License-Identifier: Apache-2.0
%% @doc Handshakes of WebSockets and their refusal: real connections of a raw client, Cowboy and
%% our handlers; the case itself is the worker (`websocket_served').
-module(websocket_handshake_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("stdlib/include/assert.hrl").

-import(websocket_served, [
    serve/2, serve/3, opened/0, answer/2, tell/2, said/0, offered/2
]).

-define(TIMEOUT, 30000).

all() -> hornbeam_case:all(?MODULE).

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

accept(_) ->
    hornbeam_case:doc("101 with the key's answer, the subprotocol and the application's headers; "
        "what it sends right behind the acceptance arrives. (RFC 6455, 4.2.2)"),
    serve(#{}, fun(Port) ->
        {To, Client} = offered(Port, [{<<"sec-websocket-protocol">>, <<"chat, superchat">>}]),
        answer(To, {accept, <<"superchat">>, #{<<"x-a">> => <<"b">>,
            <<"set-cookie">> => [<<"a=1">>, <<"b=2">>]}}),
        tell(To, {text, <<"welcome">>}),
        {101, Headers, Socket} = Client(),
        ?assertMatch(#{
            <<"sec-websocket-accept">> := <<"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=">>,
            <<"sec-websocket-protocol">> := <<"superchat">>, <<"x-a">> := <<"b">>,
            <<"set-cookie">> := _
        }, Headers),
        {{0, 1, <<"welcome">>}, _} = raw_websocket:recv(Socket),
        raw_websocket:close(Socket),
        ?assertEqual({hornbeam_close, 1006, <<>>}, said())
    end).

what_the_worker_hears(_) ->
    hornbeam_case:doc("The worker is told path, query, headers and what subprotocols are offered."),
    serve(#{}, fun(Port) ->
        Socket = raw_websocket:start(Port, <<"/chat?a=b">>,
            [{<<"sec-websocket-protocol">>, <<"a,b , c">>}]),
        {To, Request} = opened(),
        Packet = iolist_to_binary(hornbeam_wire:encode_opens([{1, 0, Request}])),
        [{37, 1, 0, <<"/chat">>, <<"a=b">>, <<"1.1">>, Headers, Connection, Offered}] =
            binary_to_term(Packet),
        ?assertMatch(#{<<"host">> := <<"localhost">>, <<"upgrade">> := <<"websocket">>}, Headers),
        ?assertMatch({<<"http">>, <<"127.0.0.1">>, _, <<"127.0.0.1">>, Port},
            binary_to_term(Connection)),
        ?assertEqual([<<"a">>, <<"b">>, <<"c">>], Offered),
        answer(To, {response, 403, #{}, <<>>}),
        {403, _, <<>>} = raw_websocket:answer(Socket)
    end).

bad_handshakes(_) ->
    hornbeam_case:doc("What is no handshake is refused before the worker hears of it."),
    Good = [
        {<<"host">>, <<"localhost">>}, {<<"upgrade">>, <<"websocket">>},
        {<<"connection">>, <<"Upgrade">>}, {<<"sec-websocket-version">>, <<"13">>},
        {<<"sec-websocket-key">>, <<"dGhlIHNhbXBsZSBub25jZQ==">>}
    ],
    With = fun(Name, Value) -> lists:keystore(Name, 1, Good, {Name, Value}) end,
    Table = [
        {426, With(<<"sec-websocket-version">>, <<"12">>)},
        {426, lists:keydelete(<<"sec-websocket-version">>, 1, Good)},
        {400, With(<<"connection">>, <<"keep-alive">>)},
        {400, lists:keydelete(<<"connection">>, 1, Good)},
        {400, With(<<"sec-websocket-key">>, <<"c2hvcnQ=">>)},
        {400, With(<<"sec-websocket-key">>, <<"***">>)},
        {400, lists:keydelete(<<"sec-websocket-key">>, 1, Good)},
        {400, With(<<"sec-websocket-protocol">>, <<"a b">>)},
        {400, With(<<"content-length">>, <<"1">>)}
    ],
    serve(#{}, fun(Port) ->
        [
            begin
                Socket = raw_websocket:start_with(Port, <<"/">>, Headers),
                {Got, Answer, _} = raw_websocket:answer(Socket),
                ?assertEqual({Status, Headers}, {Got, Headers}),
                ?assertEqual(Status =:= 426,
                    maps:get(<<"sec-websocket-version">>, Answer, none) =:= <<"13">>)
            end
         || {Status, Headers} <- Table
        ],
        receive
            {hornbeam_open, _, _} -> error(heard)
        after 0 -> ok
        end
    end).

other_upgrades_are_requests(_) ->
    hornbeam_case:doc("An upgrade to something else is a request like any other."),
    serve(#{}, fun(Port) ->
        Socket = raw_websocket:start_with(Port, <<"/">>, [{<<"host">>, <<"localhost">>},
            {<<"upgrade">>, <<"h2c">>}, {<<"connection">>, <<"upgrade">>}]),
        {To, Request} = opened(),
        ?assertNot(hornbeam_wire:is_websocket(Request)),
        answer(To, {response, 200, #{}, <<"plain">>}),
        {200, _, <<"plain">>} = raw_websocket:answer(Socket)
    end).

wsgi_takes_none(_) ->
    hornbeam_case:doc("To a WSGI application a handshake is a request like any other."),
    serve(#{worker_class => wsgi}, fun(Port) ->
        {To, Client} = offered(Port, []),
        answer(To, {response, 200, #{}, <<"plain">>}),
        {200, _, <<"plain">>} = Client()
    end).

denials(_) ->
    hornbeam_case:doc("A denial is an ordinary response, without any 101; so are failures."),
    Headers = #{<<"x-why">> => <<"no">>},
    Table = [
        {403, [{response, 403, Headers, <<"denied">>}], <<"denied">>},
        {401, [{head, 401, Headers}, {data, <<"den">>}, {data, <<"ied">>}, {fin, #{}}], chunked},
        {500, [{abort, <<"app_error">>, <<>>}], any},
        {502, [{failed, worker_gone}], any},
        {504, [{failed, timeout}], any}
    ],
    serve(#{}, fun(Port) ->
        [
            begin
                {To, Client} = offered(Port, []),
                [answer(To, Event) || Event <- Events],
                {Got, Answer, Text} = Client(),
                ?assertEqual(Status, Got),
                ?assertEqual(<<"close">>, maps:get(<<"connection">>, Answer)),
                ?assertNot(is_map_key(<<"sec-websocket-accept">>, Answer)),
                ?assert(Body =:= any orelse Body =:= chunked orelse Text =:= Body)
            end
         || {Status, Events, Body} <- Table
        ]
    end).

queue_full(_) ->
    hornbeam_case:doc("A handshake that no worker has room for is answered 503."),
    serve(#{}, 0, fun(Port) ->
        {503, #{<<"retry-after">> := _}, _} =
            raw_websocket:answer(raw_websocket:start(Port, <<"/">>, []))
    end).

client_leaves_in_the_handshake(_) ->
    hornbeam_case:doc("A client that leaves before the answer: its handshake is taken back."),
    serve(#{}, fun(Port) ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary]),
        ok = gen_tcp:send(Socket, [
            "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ]),
        {_, _} = opened(),
        ok = gen_tcp:close(Socket),
        ?assertEqual(cancelled, said())
    end).

pipelined_handshake(_) ->
    hornbeam_case:doc("A handshake behind a request that is not answered is refused."),
    serve(#{}, fun(Port) ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
        ok = gen_tcp:send(Socket, [
            "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n"
            "GET /2 HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ]),
        {To, _} = opened(),
        answer(To, {response, 200, #{}, <<"first">>}),
        Text = do_read_all(Socket, <<>>),
        ?assertMatch({_, _}, binary:match(Text, <<"first">>)),
        ?assertMatch({_, _}, binary:match(Text, <<"HTTP/1.1 400">>))
    end).

do_read_all(Socket, Text) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, More} -> do_read_all(Socket, <<Text/binary, More/binary>>);
        {error, closed} -> Text
    end.
