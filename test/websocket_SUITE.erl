%% SPDX-License-Identifier: Apache-2.0
%% @doc WebSockets with an application, and over HTTP/2: from a raw client to Python and back, or to
%% the case itself (`websocket_served').
-module(websocket_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("stdlib/include/assert.hrl").

-import(websocket_served, [
    serve/2, opened/0, answer/2, answer/3, said/0
]).

all() -> hornbeam_case:all(?MODULE).

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

%%% With an application

do_serve_app(Options, Fun) ->
    Port = hornbeam_case:start("websocket_app:app", Options#{worker_class => asgi}),
    try
        Fun(Port)
    after
        ok = hornbeam:stop()
    end.

do_welcomed(Port) ->
    {101, _, Client} = raw_websocket:answer(raw_websocket:start(Port, <<"/echo">>, [])),
    {{0, 1, <<"welcome">>}, Next} = raw_websocket:recv(Client),
    Next.

do_websockets() ->
    #{websockets := N} = hornbeam:info(),
    N.

%% Process id of the worker, and the close codes that the application has seen.
do_ends(Port) ->
    {200, Text} = hornbeam_case:fetch(Port, "/ends"),
    [Pid | Codes] = binary:split(Text, <<" ">>, [global, trim_all]),
    {binary_to_integer(Pid), Codes}.

echo(_) ->
    hornbeam_case:doc("Messages come back as they went in; an open socket holds no slot, info/0 "
        "counts it, and nothing of it is left when it has gone."),
    do_serve_app(#{max_concurrent => 1}, fun(Port) ->
        Clients = [do_welcomed(Port) || _ <- lists:seq(1, 3)],
        hornbeam_case:await(fun() -> do_websockets() =:= 3 end),
        [
            begin
                raw_websocket:send(text, <<"grüße"/utf8>>, C0),
                {{0, 1, <<"grüße"/utf8>>}, C1} = raw_websocket:recv(C0),
                Bytes = crypto:strong_rand_bytes(300000),
                raw_websocket:send(binary, Bytes, C1),
                {{0, 2, Bytes}, C2} = raw_websocket:recv(C1),
                raw_websocket:send({close, 3000, <<"done">>}, C2),
                {3000, _} = raw_websocket:recv_close(C2)
            end
         || C0 <- Clients
        ],
        hornbeam_case:await_idle(),
        ?assertEqual(0, do_websockets()),
        {_, Codes} = do_ends(Port),
        ?assertEqual([<<"3000">>, <<"3000">>, <<"3000">>], Codes)
    end).

worker_is_killed(_) ->
    hornbeam_case:doc("Sockets of a worker that is killed are closed with 1012 at once; the next "
        "worker takes new ones."),
    do_serve_app(#{}, fun(Port) ->
        Clients = [do_welcomed(Port) || _ <- lists:seq(1, 3)],
        _ = os:cmd("kill -9 " ++ integer_to_list(hornbeam_case:pid())),
        [?assertMatch({1012, _}, raw_websocket:recv_close(C)) || C <- Clients],
        [raw_websocket:close(C) || C <- Clients],
        raw_websocket:close(do_welcomed(Port)),
        hornbeam_case:await_idle()
    end).

worker_is_replaced(_) ->
    hornbeam_case:doc("A worker that has served max_requests closes its sockets with 1012, for "
        "clients and application."),
    do_serve_app(#{max_requests => 4}, fun(Port) ->
        Clients = [do_welcomed(Port) || _ <- lists:seq(1, 3)],
        {First, []} = do_ends(Port),
        [?assertMatch({1012, _}, raw_websocket:recv_close(C)) || C <- Clients],
        [raw_websocket:close(C) || C <- Clients],
        hornbeam_case:await(fun() -> element(1, do_ends(Port)) =/= First end),
        hornbeam_case:await_idle()
    end).

node_stops(_) ->
    hornbeam_case:doc("A node that stops closes its sockets with 1001 and does not wait for them."),
    Before = erlang:monotonic_time(millisecond),
    [Client] = do_serve_app(#{graceful_timeout => 20000}, fun(Port) -> [do_welcomed(Port)] end),
    ?assertEqual({1001, <<>>}, raw_websocket:recv_close(Client)),
    ?assert(erlang:monotonic_time(millisecond) - Before < 20000),
    raw_websocket:close(Client).

nothing_is_left(_) ->
    hornbeam_case:doc("Clients that leave in every phase of a WebSocket leave no process, no slot, "
        "no exchange behind."),
    do_serve_app(#{}, fun(Port) ->
        raw_websocket:close(do_welcomed(Port)),
        hornbeam_case:await_idle(),
        Processes = length(processes()),
        [do_leave(N rem 5, Port) || N <- lists:seq(1, 300)],
        hornbeam_case:await_idle(),
        hornbeam_case:await(fun() ->
            do_websockets() =:= 0 andalso length(processes()) =< Processes + 5
        end),
        {_, Codes} = do_ends(Port),
        ?assert(length(Codes) >= 120)
    end).

%% In the handshake, after it, with a message under way, within a frame, in the closing.
do_leave(0, Port) ->
    gen_tcp:close(raw_websocket:start(Port, <<"/echo">>, []));
do_leave(Phase, Port) ->
    Client = do_welcomed(Port),
    case Phase of
        1 -> ok;
        2 -> raw_websocket:send(text, <<"x">>, Client);
        3 -> raw_websocket:send_raw(<<16#81, 16#FE, 1>>, Client);
        4 -> raw_websocket:send({close, 1000, <<>>}, Client)
    end,
    raw_websocket:close(Client).

%%% HTTP/2 (RFC 8441)

connect(Port, Version) -> connect(Port, Version, <<"websocket">>).

connect(Port, Version, Protocol) ->
    Connection = raw_http2:settled(raw_http2:connect(Port)),
    {Id, Open} = raw_http2:request([
        {<<":method">>, <<"CONNECT">>}, {<<":protocol">>, Protocol},
        {<<":scheme">>, <<"http">>}, {<<":authority">>, <<"localhost">>}, {<<":path">>, <<"/h2">>},
        {<<"sec-websocket-version">>, Version}, {<<"sec-websocket-protocol">>, <<"chat">>}
    ], <<>>, open, Connection),
    {Id, Open}.

over_http2(_) ->
    hornbeam_case:doc("Over HTTP/2 a WebSocket is a stream: 200, frames in DATA both ways, CLOSE, "
        "the end of the stream; the connection goes on."),
    serve(#{}, fun(Port) ->
        {Id, C0} = connect(Port, <<"13">>),
        {To, Request} = opened(),
        [Socket] = binary_to_term(iolist_to_binary(hornbeam_wire:encode_opens([{1, 0, Request}]))),
        ?assertMatch({37, 1, 0, <<"/h2">>, <<>>, <<"2">>, _, _, [<<"chat">>]}, Socket),
        answer(To, {accept, <<"chat">>, #{}}),
        answer(To, {text, <<"welcome">>}),
        {{200, <<16#81, 7, "welcome">>}, C1} = raw_http2:await(Id, fun(S, Body) ->
            S =:= 200 andalso byte_size(Body) >= 9
        end, C0),
        ok = raw_http2:data(Id, nofin, raw_websocket:frame(1, 0, 1, <<"hello">>), C1),
        ?assertEqual({hornbeam_message, text, <<"hello">>}, said()),
        ok = raw_http2:data(Id, nofin, raw_websocket:frame(1, 0, 8, <<1000:16, "bye">>), C1),
        ?assertEqual({hornbeam_close, 1000, <<"bye">>}, said()),
        {[{Id, {200, <<16#88, 2, 1000:16>>}}], C2} = raw_http2:responses(1, C1),
        {Next, C3} = raw_http2:request(<<"GET">>, <<"/">>, C2),
        {Other, _} = opened(),
        answer(2, Other, {response, 200, #{}, <<"ok">>}),
        {[{Next, {200, <<"ok">>}}], C4} = raw_http2:responses(1, C3),
        raw_http2:close(C4)
    end).

closed_over_http2(_) ->
    hornbeam_case:doc("Over HTTP/2, too: the application closes; a client that ends its stream or "
        "its connection is 1006."),
    serve(#{}, fun(Port) ->
        {Id, C0} = connect(Port, <<"13">>),
        {To, _} = opened(),
        answer(To, {accept, undefined, #{}}),
        answer(To, {close, 3000, <<>>}),
        {{200, <<16#88, 2, 3000:16>>}, C1} = raw_http2:await(Id, fun(_, Body) ->
            Body =/= <<>>
        end, C0),
        ok = raw_http2:data(Id, nofin, raw_websocket:frame(1, 0, 8, <<3000:16>>), C1),
        {[{Id, {200, _}}], C2} = raw_http2:responses(1, C1),
        raw_http2:close(C2),
        [
            begin
                {Stream, C} = connect(Port, <<"13">>),
                {Opened, _} = opened(),
                answer(Opened, {accept, undefined, #{}}),
                {{200, <<>>}, Accepted} = raw_http2:await(Stream, fun(S, _) -> S =:= 200 end, C),
                ok = End(Stream, Accepted),
                ?assertEqual({hornbeam_close, 1006, <<>>}, said()),
                raw_http2:close(Accepted)
            end
         || End <- [
                fun(Stream, C) -> raw_http2:data(Stream, fin, <<>>, C) end,
                fun(_, C) -> raw_http2:close(C) end
            ]
        ]
    end).

denied_over_http2(_) ->
    hornbeam_case:doc("Over HTTP/2 a denial is a response; another version of WebSocket is 400, "
        "another protocol 501."),
    serve(#{}, fun(Port) ->
        {Id, C0} = connect(Port, <<"13">>),
        {To, _} = opened(),
        answer(To, {response, 403, #{}, <<"no">>}),
        {[{Id, {403, <<"no">>}}], C1} = raw_http2:responses(1, C0),
        raw_http2:close(C1),
        {Other, C2} = connect(Port, <<"12">>),
        {[{Other, {400, _}}], C3} = raw_http2:responses(1, C2),
        raw_http2:close(C3),
        {Unknown, C4} = connect(Port, <<"13">>, <<"chat">>),
        {[{Unknown, {501, _}}], C5} = raw_http2:responses(1, C4),
        raw_http2:close(C5)
    end).
