%% SPDX-License-Identifier: Apache-2.0
%% @doc How WebSockets end, and what idle ones cost: real connections of a raw client, Cowboy and
%% our handlers; the case itself is the worker (`websocket_served').
-module(websocket_close_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("stdlib/include/assert.hrl").

-import(websocket_served, [
    serve/2, serve/3, tell/2, said/0, is_silent/0, accepted/1
]).

all() -> hornbeam_case:all(?MODULE).

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

client_closes(_) ->
    hornbeam_case:doc("Code and reason of the client reach the application; it is answered with "
        "the same code, and the server ends the connection. (RFC 6455, 7.1)"),
    serve(#{}, fun(Port) ->
        [
            begin
                {_, _, Client} = accepted(Port),
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
        {To, _, Client} = accepted(Port),
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
                {To, _, Client} = accepted(Port),
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
                {_, _, Client} = accepted(Port),
                raw_websocket:send_raw(Frames, Client),
                ?assertMatch({hornbeam_close, Code, _}, said()),
                ?assertMatch({Code, _}, raw_websocket:recv_close(Client)),
                raw_websocket:close(Client)
            end
         || {Code, Frames} <- Table
        ],
        {_, _, Client} = accepted(Port),
        Largest = binary:copy(<<1>>, 1000),
        raw_websocket:send(binary, Largest, Client),
        ?assertEqual({hornbeam_message, binary, Largest}, said()),
        raw_websocket:close(Client)
    end).

client_vanishes(_) ->
    hornbeam_case:doc("A connection that breaks without a CLOSE is 1006."),
    serve(#{}, fun(Port) ->
        {_, _, Client} = accepted(Port),
        raw_websocket:close(Client),
        ?assertEqual({hornbeam_close, 1006, <<>>}, said())
    end).

silence(_) ->
    hornbeam_case:doc("websocket_timeout: a client of which nothing arrives is closed with 1001."),
    serve(#{websocket_timeout => 150, websocket_ping_interval => infinity}, fun(Port) ->
        {_, _, Client} = accepted(Port),
        ?assertMatch({1001, _}, raw_websocket:recv_close(Client)),
        ?assertMatch({hornbeam_close, 1001, _}, said()),
        raw_websocket:close(Client)
    end).

pings(_) ->
    hornbeam_case:doc("websocket_ping_interval: who answers stays, who does not is cut off with "
        "1011, and the application hears 1006."),
    serve(#{websocket_ping_interval => 1500}, fun(Port) ->
        {_, _, Client0} = accepted(Port),
        Client = lists:foldl(
            fun(_, C) ->
                {{0, 9, Data}, Next} = raw_websocket:recv(C),
                raw_websocket:send(pong, Data, Next),
                Next
            end,
            Client0, [1, 2]),
        ?assert(is_silent()),
        ?assertMatch({1011, _}, raw_websocket:recv_close(Client)),
        ?assertMatch({hornbeam_close, 1006, _}, said()),
        raw_websocket:close(Client)
    end).

node_drains(_) ->
    hornbeam_case:doc("What is accepted while the node drains is closed with 1001 at once."),
    serve(#{}, fun(Port) ->
        {ok, Pool} = hornbeam_pool:lookup(websocket_served:pool()),
        ok = hornbeam_pool:set_draining(Pool),
        {_, _, Client} = accepted(Port),
        ?assertEqual({1001, <<>>}, raw_websocket:recv_close(Client)),
        ?assertEqual({hornbeam_close, 1001, <<>>}, said()),
        raw_websocket:close(Client)
    end).

idle_sockets_are_small(_) ->
    hornbeam_case:doc("The process of an idle socket hibernates and holds less than 5 KiB."),
    serve(#{}, fun(Port) ->
        {{Pid, _} = To, _, Client} = accepted(Port),
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
        Accepted = [accepted(Port) || _ <- lists:seq(1, 200)],
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
