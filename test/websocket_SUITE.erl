%% SPDX-License-Identifier: Apache-2.0
%% @doc WebSockets as the node serves them: real connections of a raw client, Cowboy and our
%% handlers; the case itself is the worker, so that it says when what happens.
%% Runs in: the process of the case, which is the worker process of the pool.
-module(websocket_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("stdlib/include/assert.hrl").

-define(POOL, websocket_suite).
-define(TIMEOUT, 10000).

all() -> hornbeam_case:all(?MODULE).

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

%%% The node, and this process as its worker

serve(Options, Fun) -> serve(Options, 10, Fun).

serve(Given, Limit, Fun) ->
    {ok, Config} = hornbeam_options:check("app:app",
        maps:merge(#{worker_class => asgi, bind => "127.0.0.1:0"}, Given), []),
    Window = case_window(get(window)),
    Pool = hornbeam_pool:new(?POOL, #{size => 1, queue_limit => 0, queue_timeout => 1000}),
    ok = hornbeam_pool:set_worker(1, self(), Pool),
    ok = hornbeam_pool:set_queue(self(), Pool),
    ok = hornbeam_pool:set_limits(1, {Limit, Limit}, Pool),
    {ok, Listener} = hornbeam_listeners_sup:start_listener(?POOL,
        (maps:with([num_acceptors, max_connections], Config))#{
            binds => maps:get(bind, Config), pool => Pool, tls => undefined,
            graceful_timeout => 1000,
            cowboy => hornbeam_listener_options:cowboy(Config, ?POOL, Pool, Window)
        }),
    [Address] = hornbeam_listener:addresses(Listener),
    [_, Port] = string:split(Address, ":", trailing),
    try
        Fun(binary_to_integer(Port)),
        %% Whatever the case did, nothing may be left open.
        hornbeam_case:await(fun() -> hornbeam_pool:open_count(Pool) =:= 0 end)
    after
        ok = hornbeam_listeners_sup:stop_listener(?POOL),
        ok = hornbeam_pool:delete(?POOL),
        erase(window)
    end.

case_window(undefined) -> 262144;
case_window(Window) -> Window.

%% The next request that the pool hands over.
opened() ->
    receive
        {hornbeam_open, To, Request} -> {To, Request}
    after ?TIMEOUT -> error(no_request)
    end.

%% Before ACCEPT a stream is told; after it the connection process.
answer(To, Event) -> answer(1, To, Event).

answer(Id, {Pid, _} = To, Event) -> Pid ! {To, {hornbeam, self(), Id, Event}}.

tell({Pid, _}, Event) -> Pid ! {hornbeam, self(), 1, Event}.

%% The next thing a socket says.
said() ->
    receive
        {Tag, 1, A, B} when Tag =:= hornbeam_message; Tag =:= hornbeam_close -> {Tag, A, B};
        {hornbeam_credit, 1, N} -> {hornbeam_credit, N};
        %% This process is the queue, too, which hears of clients that leave before their answer.
        {'$gen_cast', {cancel, _}} -> cancelled
    after ?TIMEOUT -> error(nothing_said)
    end.

is_silent() ->
    receive
        {Tag, _, _, _} = Message when Tag =:= hornbeam_message -> {said, Message}
    after 100 -> true
    end.

%% A socket that is accepted: the stream, the client.
do_accepted(Port) -> accepted(Port, undefined, #{}, []).

accepted(Port, Subprotocol, Headers, Offer) ->
    {To, Client} = offered(Port, Offer),
    answer(To, {accept, Subprotocol, Headers}),
    {101, Answer, Socket} = Client(),
    {To, Answer, Socket}.

%% A handshake that the worker has; its end, once it is answered.
offered(Port, Headers) ->
    Socket = raw_websocket:start(Port, <<"/chat?a=b">>, Headers),
    {To, _} = opened(),
    {To, fun() -> raw_websocket:answer(Socket) end}.

%%% Handshakes

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

%%% Messages

messages(_) ->
    hornbeam_case:doc("Text stays text, bytes stay bytes, in order, both ways, empty ones too."),
    serve(#{}, fun(Port) ->
        {To, _, Client0} = do_accepted(Port),
        Messages = [{text, <<"a">>}, {binary, <<0, 255>>}, {text, <<>>}, {binary, <<>>},
            {text, <<"ü"/utf8>>}, {binary, binary:copy(<<7>>, 100000)}],
        [raw_websocket:send(Kind, Data, Client0) || {Kind, Data} <- Messages],
        [?assertEqual({hornbeam_message, Kind, Data}, said()) || {Kind, Data} <- Messages],
        [tell(To, Message) || Message <- Messages],
        Client = lists:foldl(
            fun({Kind, Data}, C) ->
                {{0, Opcode, Got}, Next} = raw_websocket:recv(C),
                ?assertEqual({Kind, Data}, {element(Opcode, {text, binary}), Got}),
                Next
            end,
            Client0, Messages),
        raw_websocket:close(Client)
    end).

fragments_and_pings(_) ->
    hornbeam_case:doc("Fragments are joined; a ping between them is answered with its bytes."),
    serve(#{}, fun(Port) ->
        {_, _, Client} = do_accepted(Port),
        raw_websocket:send_raw([
            raw_websocket:frame(0, 0, 1, <<"frag">>), raw_websocket:frame(1, 0, 9, <<"p">>),
            raw_websocket:frame(1, 0, 0, <<"ment">>)
        ], Client),
        ?assertEqual({hornbeam_message, text, <<"fragment">>}, said()),
        {{0, 10, <<"p">>}, _} = raw_websocket:recv(Client),
        raw_websocket:close(Client)
    end).

worker_takes_no_more(_) ->
    hornbeam_case:doc("Once the credit of the worker is used up the client is not read, until "
        "there is more; nothing is lost."),
    put(window, 1000),
    serve(#{}, fun(Port) ->
        {To, _, Client} = do_accepted(Port),
        Data = binary:copy(<<"x">>, 100),
        [raw_websocket:send(text, Data, Client) || _ <- lists:seq(1, 20)],
        %% 100 bytes cost 164: the seventh overdraws 1000.
        [{hornbeam_message, text, Data} = said() || _ <- lists:seq(1, 7)],
        ?assert(is_silent()),
        tell(To, {credit, 148}),
        ?assert(is_silent()),
        tell(To, {credit, 1}),
        {hornbeam_message, text, Data} = said(),
        ?assert(is_silent()),
        tell(To, {credit, 1000000}),
        [{hornbeam_message, text, Data} = said() || _ <- lists:seq(9, 20)],
        raw_websocket:send(text, <<"last">>, Client),
        {hornbeam_message, text, <<"last">>} = said(),
        raw_websocket:close(Client)
    end).

slow_client(_) ->
    hornbeam_case:doc("A client that does not read stops the credit of its own worker's messages, "
        "and no other socket's; when it reads, they go on."),
    serve(#{}, fun(Port) ->
        {Slow, _, Client} = do_accepted(Port),
        {Quick, _, Other} = do_accepted(Port),
        Data = binary:copy(<<"x">>, 65536),
        %% Only as much as there is credit for: kernel buffers, and a window.
        Sent = do_send_while_granted(Slow, Data, 262144, 0),
        ?assert(Sent < 100 * 1048576),
        tell(Quick, {text, <<"quick">>}),
        {{0, 1, <<"quick">>}, _} = raw_websocket:recv(Other),
        do_recv(Sent div 65536, Client),
        ?assertMatch({hornbeam_credit, _}, said()),
        raw_websocket:close(Client),
        raw_websocket:close(Other)
    end).

do_send_while_granted(To, Data, Credit, Sent) when Credit > 0 ->
    tell(To, {binary, Data}),
    do_send_while_granted(To, Data, Credit - 65536 - 64, Sent + 65536);
do_send_while_granted(To, Data, Credit, Sent) ->
    receive
        {hornbeam_credit, 1, N} -> do_send_while_granted(To, Data, Credit + N, Sent)
    after 500 -> Sent
    end.

do_recv(0, _) ->
    ok;
do_recv(N, Client) ->
    {{0, 2, _}, Next} = raw_websocket:recv(Client),
    do_recv(N - 1, Next).

compression(_) ->
    hornbeam_case:doc("permessage-deflate is spoken where the option says so and the client offers "
        "it. (RFC 7692)"),
    Offer = [{<<"sec-websocket-extensions">>, <<"permessage-deflate; client_max_window_bits">>}],
    Text = binary:copy(<<"hello ">>, 1000),
    serve(#{websocket_compress => true}, fun(Port) ->
        {To, Headers, Client} = accepted(Port, undefined, #{}, Offer),
        ?assertMatch(#{<<"sec-websocket-extensions">> := <<"permessage-deflate", _/binary>>},
            Headers),
        tell(To, {text, Text}),
        {{4, 1, Deflated}, _} = raw_websocket:recv(Client),
        ?assert(byte_size(Deflated) < 200),
        {Inflate, Deflate} = {zlib:open(), zlib:open()},
        ok = zlib:inflateInit(Inflate, -15),
        ok = zlib:deflateInit(Deflate, default, deflated, -15, 8, default),
        ?assertEqual(Text, raw_websocket:inflated(Deflated, Inflate)),
        Mine = iolist_to_binary(zlib:deflate(Deflate, Text, sync)),
        Size = byte_size(Mine) - 4,
        raw_websocket:send_raw(raw_websocket:frame(1, 4, 1, binary:part(Mine, 0, Size)), Client),
        ?assertEqual({hornbeam_message, text, Text}, said()),
        raw_websocket:close(Client),
        {_, Plain, Second} = do_accepted(Port),
        ?assertNot(is_map_key(<<"sec-websocket-extensions">>, Plain)),
        raw_websocket:close(Second)
    end),
    serve(#{}, fun(Port) ->
        {_, Headers, Client} = accepted(Port, undefined, #{}, Offer),
        ?assertNot(is_map_key(<<"sec-websocket-extensions">>, Headers)),
        raw_websocket:close(Client)
    end).

%%% Ends

client_closes(_) ->
    hornbeam_case:doc("Code and reason of the client reach the application; it is answered with "
        "the same code, and the server ends the connection. (RFC 6455, 7.1)"),
    serve(#{}, fun(Port) ->
        [
            begin
                {_, _, Client} = do_accepted(Port),
                raw_websocket:send(Close, Client),
                ?assertEqual({hornbeam_close, Code, Reason}, said()),
                ?assertEqual({Answer, <<>>}, raw_websocket:recv_close(Client)),
                <<>> = raw_websocket:await_end(Client)
            end
         || {Close, Code, Reason, Answer} <- [
                {{close, 1000, <<"bye">>}, 1000, <<"bye">>, 1000},
                {{close, 4321, <<>>}, 4321, <<>>, 4321},
                {close, 1005, <<>>, none}
            ]
        ]
    end).

worker_closes(_) ->
    hornbeam_case:doc("Code and reason of the application reach the client, whose answer ends it; "
        "what the client sends meanwhile is not delivered."),
    serve(#{}, fun(Port) ->
        {To, _, Client} = do_accepted(Port),
        tell(To, {text, <<"last words">>}),
        tell(To, {close, 3001, <<"enough">>}),
        {{0, 1, <<"last words">>}, Next} = raw_websocket:recv(Client),
        {{0, 8, <<3001:16, "enough">>}, Closed} = raw_websocket:recv(Next),
        raw_websocket:send(text, <<"too late">>, Client),
        raw_websocket:send({close, 3001, <<>>}, Client),
        ?assertEqual(<<>>, raw_websocket:await_end(Closed)),
        ?assert(is_silent())
    end).

application_fails(_) ->
    hornbeam_case:doc("An application that raises: 1011; a worker that dies: 1012, at once."),
    serve(#{}, fun(Port) ->
        [
            begin
                {To, _, Client} = do_accepted(Port),
                tell(To, Event),
                {Code, _} = raw_websocket:recv_close(Client),
                raw_websocket:close(Client)
            end
         || {Event, Code} <- [
                {{abort, <<"app_error">>, <<"Traceback">>}, 1011}, {{failed, worker_gone}, 1012}
            ]
        ]
    end).

illegal_frames(_) ->
    hornbeam_case:doc("What is no frame, no UTF-8 or too large is answered with its code, which "
        "the application hears, too. (RFC 6455, 7.4.1)"),
    Table = [
        {1002, raw_websocket:frame(1, 1, 1, <<"a">>)},
        {1002, raw_websocket:frame(1, 0, 0, <<"a">>)},
        {1002, <<16#81, 1, "a">>},
        {1002, raw_websocket:frame(1, 0, 8, <<1005:16>>)},
        {1007, raw_websocket:frame(1, 0, 1, <<16#FF>>)},
        {1009, raw_websocket:frame(1, 0, 2, binary:copy(<<1>>, 1001))},
        {1009, [raw_websocket:frame(0, 0, 2, binary:copy(<<1>>, 600)),
            raw_websocket:frame(1, 0, 0, binary:copy(<<1>>, 600))]}
    ],
    serve(#{websocket_max_frame_size => 1000}, fun(Port) ->
        [
            begin
                {_, _, Client} = do_accepted(Port),
                raw_websocket:send_raw(Frames, Client),
                ?assertMatch({hornbeam_close, Code, _}, said()),
                ?assertMatch({Code, _}, raw_websocket:recv_close(Client)),
                raw_websocket:close(Client)
            end
         || {Code, Frames} <- Table
        ],
        {_, _, Client} = do_accepted(Port),
        Largest = binary:copy(<<1>>, 1000),
        raw_websocket:send(binary, Largest, Client),
        ?assertEqual({hornbeam_message, binary, Largest}, said()),
        raw_websocket:close(Client)
    end).

client_vanishes(_) ->
    hornbeam_case:doc("A connection that breaks without a CLOSE is 1006."),
    serve(#{}, fun(Port) ->
        {_, _, Client} = do_accepted(Port),
        raw_websocket:close(Client),
        ?assertEqual({hornbeam_close, 1006, <<>>}, said())
    end).

silence(_) ->
    hornbeam_case:doc("websocket_timeout: a client of which nothing arrives is closed with 1001."),
    serve(#{websocket_timeout => 150, websocket_ping_interval => infinity}, fun(Port) ->
        {_, _, Client} = do_accepted(Port),
        ?assertMatch({1001, _}, raw_websocket:recv_close(Client)),
        ?assertMatch({hornbeam_close, 1001, _}, said()),
        raw_websocket:close(Client)
    end).

pings(_) ->
    hornbeam_case:doc("websocket_ping_interval: who answers stays, who does not is cut off with "
        "1011, and the application hears 1006."),
    serve(#{websocket_ping_interval => 100}, fun(Port) ->
        {_, _, Client0} = do_accepted(Port),
        Client = lists:foldl(
            fun(_, C) ->
                {{0, 9, Data}, Next} = raw_websocket:recv(C),
                raw_websocket:send(pong, Data, Next),
                Next
            end,
            Client0, lists:seq(1, 4)),
        ?assert(is_silent()),
        ?assertMatch({1011, _}, raw_websocket:recv_close(Client)),
        ?assertMatch({hornbeam_close, 1006, _}, said()),
        raw_websocket:close(Client)
    end).

node_drains(_) ->
    hornbeam_case:doc("What is accepted while the node drains is closed with 1001 at once."),
    serve(#{}, fun(Port) ->
        {ok, Pool} = hornbeam_pool:lookup(?POOL),
        ok = hornbeam_pool:set_draining(Pool),
        {_, _, Client} = do_accepted(Port),
        ?assertEqual({1001, <<>>}, raw_websocket:recv_close(Client)),
        ?assertEqual({hornbeam_close, 1001, <<>>}, said()),
        raw_websocket:close(Client)
    end).

idle_sockets_are_small(_) ->
    hornbeam_case:doc("The process of an idle socket hibernates and holds less than 5 KiB."),
    serve(#{}, fun(Port) ->
        {{Pid, _} = To, _, Client} = do_accepted(Port),
        raw_websocket:send(text, binary:copy(<<"x">>, 10000), Client),
        {hornbeam_message, text, _} = said(),
        tell(To, {text, <<"hello">>}),
        hornbeam_case:await(fun() ->
            {current_function, Current} = process_info(Pid, current_function),
            {memory, Memory} = process_info(Pid, memory),
            element(2, Current) =:= hibernate andalso Memory < 5120
        end),
        tell(To, {text, <<"awake">>}),
        {{0, 1, <<"hello">>}, Next} = raw_websocket:recv(Client),
        {{0, 1, <<"awake">>}, _} = raw_websocket:recv(Next),
        raw_websocket:close(Client)
    end).

idle_sockets_have_small_buffers(_) ->
    hornbeam_case:doc("200 idle sockets hold less than 2 KiB of binaries each, and hibernate at "
        "once; a socket with large messages reads more at a time."),
    serve(#{}, 200, fun(Port) ->
        Before = erlang:memory(binary),
        Accepted = [do_accepted(Port) || _ <- lists:seq(1, 200)],
        Pids = [Pid || {{Pid, _}, _, _} <- Accepted],
        Limit = Before + 200 * 2048,
        hornbeam_case:await(fun() ->
            lists:all(fun do_hibernates/1, Pids) andalso erlang:memory(binary) < Limit
        end),
        [{{Pid, _}, _, Client} | _] = Accepted,
        512 = do_buffer(Pid),
        Large = binary:copy(<<"x">>, 100000),
        raw_websocket:send(text, Large, Client),
        {hornbeam_message, text, Large} = said(),
        16384 = do_buffer(Pid),
        [raw_websocket:close(Each) || {_, _, Each} <- Accepted]
    end).

do_hibernates(Pid) ->
    process_info(Pid, current_function) =:= {current_function, {erlang, hibernate, 3}}.

do_buffer(Pid) ->
    {links, Links} = process_info(Pid, links),
    [Socket] = [Link || Link <- Links, is_port(Link)],
    {ok, [{buffer, Size}]} = inet:getopts(Socket, [buffer]),
    Size.

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
