%% SPDX-License-Identifier: Apache-2.0
%% @doc Chunked requests over a real Cowboy listener that hands them to `hornbeam_http1_chunked',
%% with the small stream handler `chunked_handler'.
%% Runs in: the EUnit process; the handler tells it what it was asked. Port 0, every wait bounded.
-module(hornbeam_http1_chunked_tests).

-include_lib("eunit/include/eunit.hrl").

-define(TIMEOUT, 30000).
-define(MAX_BODY, 100000).

-define(WITH(Sentence, Opts, Test),
    {Sentence, {timeout, 120, fun() -> with(Opts, fun(Port) -> Test end) end}}
).

with(Opts, Test) ->
    {ok, Config} = hornbeam_options:check("a:b", #{max_body => ?MAX_BODY, max_headers => 4}, []),
    Port = chunked_handler:listen(?MODULE, hornbeam_edge:limits(Config), Opts),
    Level = maps:get(level, logger:get_primary_config()),
    %% Handlers crash on purpose here.
    ok = logger:set_primary_config(level, none),
    try
        Test(Port)
    after
        ok = logger:set_primary_config(level, Level),
        %% A test may have done so itself.
        [ok = cowboy:stop_listener(?MODULE) || is_map_key(?MODULE, ranch:info())],
        flush()
    end.

flush() ->
    receive
        _ -> flush()
    after 0 -> ok
    end.

head(Path) -> head(Path, []).

head(Path, Headers) ->
    ["POST ", Path, " HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n", Headers, "\r\n"].

chunks(Bodies) -> [[cow_http_te:chunk(Body) || Body <- Bodies], "0\r\n\r\n"].

told(Tag) ->
    receive
        Told when element(1, Told) =:= Tag -> Told
    after ?TIMEOUT -> error({not_told, Tag, process_info(self(), messages)})
    end.

%% What ended the exchange that was taken over. The first end is the one on the way there.
ended() ->
    {terminate, switch_protocol} = told(terminate),
    {terminate, Reason} = told(terminate),
    Reason.

body_test_() ->
    Post = fun(Port, Path, Body) -> raw_http:exchange(Port, [head(Path), Body]) end,
    [
        ?WITH("a body is echoed and the connection announced closed", #{}, begin
            {200, Headers, <<"hello">>, <<>>} = Post(Port, "/", chunks(["he", "llo"])),
            ?assertEqual({<<"connection">>, <<"close">>}, lists:keyfind(<<"connection">>, 1,
                Headers)),
            ?assertEqual(2, length(proplists:get_all_values(<<"set-cookie">>, Headers))),
            ?assertEqual(normal, ended())
        end),
        ?WITH("trailers end a body and are no request", #{}, begin
            {200, _, <<"x">>, <<>>} = Post(Port, "/", "1\r\nx\r\n0\r\nx-sum: 42\r\nx-b: c\r\n\r\n"),
            ?assertEqual(normal, ended())
        end),
        ?WITH("a body comes byte by byte", #{}, begin
            Socket = raw_http:connect(Port),
            Bytes = iolist_to_binary([head("/"), chunks(["hello", " ", "world"])]),
            [ok = raw_http:send(Socket, <<Byte>>) || <<Byte>> <= Bytes],
            ?assertMatch({200, _, <<"hello world">>, <<>>}, raw_http:response(Socket))
        end),
        ?WITH("a body larger than every buffer is echoed in a stream", #{}, begin
            Body = binary:copy(<<"0123456789">>, ?MAX_BODY div 10),
            Pieces = [binary:part(Body, N, 1000) || N <- lists:seq(0, ?MAX_BODY - 1000, 1000)],
            ?assertMatch({200, _, Body, <<>>}, Post(Port, "/stream", chunks(Pieces)))
        end),
        ?WITH("response trailers reach a client that takes them", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, [head("/trailers", "te: trailers\r\n"), chunks(["x"])]),
            ?assertMatch({match, _}, re:run(raw_http:rest(Socket), "\r\n1\r\nx\r\n0\r\nx-sum: "
                "42\r\n\r\n$"))
        end),
        ?WITH("a part of a file is sent", #{}, begin
            {ok, <<_:4/binary, Part:8/binary, _/binary>>} =
                file:read_file(code:which(chunked_handler)),
            ?assertMatch({200, _, Part, <<>>}, Post(Port, "/file", chunks(["x"])))
        end),
        ?WITH("100 Continue is sent before the body is", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, head("/continue", "expect: 100-continue\r\n")),
            {100, _, <<>>, <<>>} = raw_http:response(Socket),
            ok = raw_http:send(Socket, chunks(["hello"])),
            ?assertMatch({200, _, <<"hello">>, <<>>}, raw_http:response(Socket))
        end),
        ?WITH("a request of known length on the connection before it is none of ours", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
            {200, _, <<"not chunked">>, <<>>} = raw_http:response(Socket),
            {terminate, normal} = told(terminate),
            ok = raw_http:send(Socket, [head("/"), chunks(["hello"])]),
            ?assertMatch({200, _, <<"hello">>, <<>>}, raw_http:response(Socket))
        end)
    ].

refused_test_() ->
    [?WITH("a body of " ++ lists:flatten(io_lib:format("~tp", [Body])) ++ " is refused", #{}, begin
        {Status, Headers, _, <<>>} = raw_http:exchange(Port, [head("/"), Body]),
        ?assertEqual({<<"connection">>, <<"close">>}, lists:keyfind(<<"connection">>, 1, Headers)),
        ?assertMatch({connection_error, Reason, _}, ended())
    end) || {Body, Status, Reason} <- [
        {" 5\r\nhello\r\n0\r\n\r\n", 400, bad_size},
        {"+5\r\nhello\r\n0\r\n\r\n", 400, bad_size},
        {"0x5\r\nhello\r\n0\r\n\r\n", 400, bad_size},
        {";x\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n", 400, bad_size},
        {"5\r\nhello!\r\n0\r\n\r\n", 400, bad_chunk_end},
        {"186a1\r\n", 413, body_too_large},
        {"0\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\n\r\n", 431, too_many_trailers},
        {"0\r\nhost: b\r\n\r\n", 400, forbidden_trailer}
    ]].

ending_test_() ->
    Bad = "zz\r\n",
    [
        ?WITH("what follows the body is no request", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, [head("/"), chunks(["x"]), "GET /smuggled "
                "HTTP/1.1\r\nhost: a\r\n\r\n"]),
            {200, _, <<"x">>, <<>>} = raw_http:response(Socket),
            ?assertEqual(<<>>, raw_http:rest(Socket)),
            {init, <<"/">>, _} = told(init),
            {body, <<"x">>} = told(body),
            ?assertEqual(normal, ended()),
            ?assertEqual(none, receive Told -> Told after 0 -> none end)
        end),
        ?WITH("an answer before the body is over is delivered whole", #{}, begin
            {200, _, <<"early">>, <<>>} = raw_http:exchange(Port, [head("/early"), "3e8\r\n",
                bytes(500)]),
            ?assertEqual(normal, ended())
        end),
        ?WITH("a bad chunk after the head breaks the response off", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, [head("/early-head"), Bad]),
            Rest = raw_http:rest(Socket),
            ?assertMatch({match, _}, re:run(Rest, "\r\n5\r\nearly\r\n$")),
            ?assertMatch({connection_error, bad_size, _}, ended())
        end),
        ?WITH("a handler that gives up after the head breaks the response off", #{}, begin
            ?assertMatch({closed, <<_/binary>>}, raw_http:exchange(Port, [head("/break"),
                chunks(["x"])])),
            ?assertMatch({internal_error, broken, _}, ended())
        end),
        ?WITH("a file that is not there breaks the response off", #{}, begin
            ?assertMatch({closed, _}, raw_http:exchange(Port, [head("/no-file"), chunks(["x"])])),
            ?assertMatch({socket_error, enoent, _}, ended())
        end),
        ?WITH("a client that goes within the body is told to the handler", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, [head("/"), "5\r\nhe"]),
            _ = told(init),
            ok = raw_http:close(Socket),
            ?assertMatch({socket_error, closed, _}, ended())
        end),
        ?WITH("a client that goes before the answer is told to the handler", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, [head("/later"), chunks(["x"])]),
            {body, <<"x">>} = told(body),
            ok = raw_http:close(Socket),
            ?assertMatch({socket_error, closed, _}, ended())
        end),
        ?WITH("a client that does not close is closed", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, head("/later")),
            {init, _, Connection} = told(init),
            Monitor = monitor(process, Connection),
            ok = raw_http:send(Socket, chunks(["x"])),
            Connection ! {{Connection, 1}, {commands, [{response, 200, #{}, <<"x">>}, stop]}},
            receive
                {'DOWN', Monitor, process, _, Reason} -> ?assertEqual({shutdown, normal}, Reason)
            after 30000 -> error(still_open)
            end,
            ok = raw_http:close(Socket)
        end)
    ].

pipeline_test_() ->
    Get = fun(Path) -> ["GET ", Path, " HTTP/1.1\r\nhost: a\r\n\r\n"] end,
    Answer = {commands, [{response, 200, #{<<"content-length">> => <<"1">>}, <<"x">>}, stop]},
    [
        ?WITH("a chunked request behind an unanswered one is refused, and what follows is not "
            "served",
            #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, [Get("/later"), head("/"), chunks(["hello"]),
                Get("/later")]),
            {init, <<"/later">>, Connection} = told(init),
            Connection ! {{Connection, 1}, Answer},
            Answers = raw_http:rest(Socket),
            ?assertMatch({match, _}, re:run(Answers, "^HTTP/1.1 200 [^$]*\r\n\r\nxHTTP/1.1 411 ")),
            ?assertEqual(1, length(binary:split(Answers, <<"HTTP/1.1 200">>, [global])) - 1),
            ?assertEqual(none, receive {init, _, _} = Told -> Told after 0 -> none end)
        end),
        ?WITH("a chunked request behind an answered one is taken over", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, [Get("/"), head("/"), chunks(["hello"])]),
            {200, _, <<"not chunked">>, Rest} = raw_http:response(Socket),
            ?assertMatch({match, _}, re:run([Rest, raw_http:rest(Socket)], "hello$"))
        end),
        ?WITH("content-length beside transfer-encoding is refused or not believed, and the end",
            #{},
            begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, [head("/", "content-length: 3\r\n"), chunks(["hello"]),
                Get("/")]),
            {Status, Headers, Body, Rest} = raw_http:response(Socket),
            %% Cowboy 2.8 hides the header from us, later ones refuse.
            ?assert({Status, Body} =:= {200, <<"hello">>} orelse Status =:= 400),
            ?assertEqual({<<"connection">>, <<"close">>}, lists:keyfind(<<"connection">>, 1,
                Headers)),
            ?assertEqual(<<>>, <<Rest/binary, (raw_http:rest(Socket))/binary>>)
        end)
    ].

crash_test_() ->
    [?WITH("a handler that fails in " ++ Path ++ " is answered 500", #{}, begin
        {500, _, _, <<>>} = raw_http:exchange(Port, [head(Path), chunks(["x"])]),
        ok
    end) || Path <- ["/crash-init", "/crash-data", "/bad-command", "/nothing"]] ++
    [
        ?WITH("a handler that fails on a message is answered 500 and told its end", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, head("/later")),
            {init, _, Connection} = told(init),
            Connection ! {{Connection, 1}, crash},
            {500, _, _, <<>>} = raw_http:response(Socket),
            ?assertMatch({internal_error, {error, armed}, _}, ended())
        end)
    ].

flow_test_() ->
    [
        ?WITH("no more is read than the handler asks for", #{initial_stream_flow_size => 1000},
            begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, head("/flow")),
            {init, _, Connection} = told(init),
            _ = spawn_link(fun() ->
                [raw_http:send(Socket, cow_http_te:chunk(bytes(1000))) || _ <- lists:seq(1, 90)],
                ok = raw_http:send(Socket, "0\r\n\r\n")
            end),
            Taken = taken(0, 1000),
            ?assert(Taken >= 1000 andalso Taken < 90000),
            ?assertEqual(nothing, receive {data, _, _} -> data after 200 -> nothing end),
            ask(Connection, ?MAX_BODY),
            ?assertEqual(90000, taken(Taken, 90000)),
            {200, _, <<"done">>, <<>>} = raw_http:response(Socket),
            ?assertEqual(normal, ended())
        end)
    ].

ask(Connection, Bytes) ->
    Connection ! {{Connection, 1}, {commands, [{flow, Bytes}]}}.

taken(Taken, Wanted) when Taken >= Wanted -> Taken;
taken(Taken, Wanted) ->
    {data, _, Data} = told(data),
    taken(Taken + byte_size(Data), Wanted).

process_test_() ->
    [
        ?WITH("the end of the parent ends the exchange without a clean end of the response", #{},
            begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, head("/early-head")),
            {init, _, _} = told(init),
            ok = cowboy:stop_listener(?MODULE),
            ?assertMatch({match, _}, re:run(raw_http:rest(Socket), "\r\n5\r\nearly\r\n$")),
            ?assertMatch({stop, {exit, shutdown}, _}, ended())
        end),
        ?WITH("it answers system messages and supervisor calls", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, head("/later")),
            {init, _, Connection} = told(init),
            ?assertMatch({status, Connection, {module, hornbeam_http1_chunked}, _},
                sys:get_status(Connection)),
            ?assertEqual([], supervisor:which_children(Connection)),
            ok = sys:terminate(Connection, armed),
            ?assertMatch({stop, {exit, armed}, _}, ended()),
            ok = raw_http:close(Socket)
        end),
        ?WITH("messages for earlier requests and stray ones change nothing", #{}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, head("/later")),
            {init, _, Connection} = told(init),
            Connection ! {{Connection, 7}, crash},
            Connection ! stray,
            Connection ! {{Connection, 1}, {commands, [{response, 200, #{}, <<"x">>}, stop]}},
            ?assertMatch({200, _, <<"x">>, <<>>}, raw_http:response(Socket))
        end),
        ?WITH("a silent exchange ends", #{inactivity_timeout => 100}, begin
            Socket = raw_http:connect(Port),
            ok = raw_http:send(Socket, head("/later")),
            ?assertMatch({internal_error, timeout, _}, ended()),
            ?assertMatch({closed, _}, raw_http:response(Socket))
        end)
    ].

bytes(N) -> binary:copy(<<"b">>, N).
