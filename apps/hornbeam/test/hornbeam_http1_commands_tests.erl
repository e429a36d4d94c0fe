%% SPDX-License-Identifier: Apache-2.0
%% @doc Tables for `hornbeam_http1_commands': commands of a stream handler, bytes for the client.
%% Runs in: the EUnit process.
-module(hornbeam_http1_commands_tests).

-include_lib("eunit/include/eunit.hrl").

-define(CLOSE, "connection: close\r\n").
-define(CHUNKED, "transfer-encoding: chunked\r\n").
-define(OK, "HTTP/1.1 200 OK\r\n").

a_get() -> #{method => <<"GET">>, headers => #{}}.
a_head() -> #{method => <<"HEAD">>, headers => #{}}.
te(Value) -> #{method => <<"GET">>, headers => #{<<"te">> => Value}}.

%% Sentence, request, commands, effects with the bytes between them joined.
cases() ->
    File = {sendfile, 1, 5, <<"/f">>},
    FileEffect = {sendfile, <<"/f">>, 1, 5},
    [
        {"a whole response closes", a_get(), [{response, 200, #{}, <<"hi">>}, stop],
            [?OK ?CLOSE "\r\nhi", stop]},
        {"the handler's connection header gives way", a_get(),
            [{response, 200, #{<<"connection">> => <<"keep-alive">>}, <<>>}], [?OK ?CLOSE "\r\n"]},
        {"a status as text", a_get(), [{response, <<"299 Fine">>, #{}, <<>>}],
            ["HTTP/1.1 299 Fine\r\n" ?CLOSE "\r\n"]},
        {"each cookie has a line", a_get(),
            [{response, 200, #{<<"set-cookie">> => [<<"a=1">>, <<"b=2">>]}, <<>>}],
            [?OK ?CLOSE "set-cookie: a=1\r\nset-cookie: b=2\r\n\r\n"]},
        {"a whole response of a file", a_get(), [{response, 200, #{}, File}],
            [?OK ?CLOSE "\r\n", FileEffect]},
        {"HEAD has no body", a_head(), [{response, 200, #{}, <<"hi">>}], [?OK ?CLOSE "\r\n"]},
        {"304 has no body", a_get(), [{response, 304, #{}, <<"hi">>}],
            ["HTTP/1.1 304 Not Modified\r\n" ?CLOSE "\r\n"]},
        {"informational responses come before", a_get(),
            [{inform, 100, #{}}, {inform, 103, #{<<"link">> => <<"l">>}}, {response, 200, #{},
                <<>>}],
            ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: "
                "l\r\n\r\n" ?OK ?CLOSE "\r\n"]},
        {"an error response is sent before a head", a_get(), [{error_response, 400, #{}, <<"no">>}],
            ["HTTP/1.1 400 Bad Request\r\n" ?CLOSE "\r\nno"]},
        {"and not after it", a_get(), [{response, 200, #{}, <<>>}, {error_response, 400, #{},
            <<"no">>}],
            [?OK ?CLOSE "\r\n"]},
        {"chunks", a_get(),
            [{headers, 200, #{}}, {data, nofin, <<"hello world!">>}, {data, nofin, <<>>}, {data,
                fin, <<"x">>}],
            [?OK ?CLOSE ?CHUNKED "\r\nC\r\nhello world!\r\n1\r\nx\r\n0\r\n\r\n"]},
        {"chunks that end empty", a_get(), [{headers, 200, #{}}, {data, fin, []}],
            [?OK ?CLOSE ?CHUNKED "\r\n0\r\n\r\n"]},
        {"a chunk of a file", a_get(), [{headers, 200, #{}}, {data, fin, File}],
            [?OK ?CLOSE ?CHUNKED "\r\n5\r\n", FileEffect, "\r\n0\r\n\r\n"]},
        {"a stopped stream has no last chunk", a_get(), [{headers, 200, #{}}, {data, nofin,
            <<"x">>}, stop],
            [?OK ?CLOSE ?CHUNKED "\r\n1\r\nx\r\n", stop]},
        {"a body of known length", a_get(),
            [{headers, 200, #{<<"content-length">> => <<"7">>}}, {data, nofin, <<"hi">>}, {data,
                fin, File}],
            [?OK ?CLOSE "content-length: 7\r\n\r\nhi", FileEffect]},
        {"one byte over the known length", a_get(),
            [{headers, 200, #{<<"content-length">> => <<"2">>}}, {data, nofin, <<"hi">>}, {data,
                fin, <<"!">>}],
            [?OK ?CLOSE "content-length: 2\r\n\r\nhi", {fail, response_body_too_large}]},
        {"a streamed 204", a_get(), [{headers, 204, #{}}, {data, fin, <<>>}, stop],
            ["HTTP/1.1 204 No Content\r\n" ?CLOSE "\r\n", stop]},
        {"a streamed answer to HEAD", a_head(),
            [{headers, 200, #{<<"content-length">> => <<"7">>}}, {data, nofin, <<"hi">>}, {data,
                fin, File}, stop],
            [?OK ?CLOSE "content-length: 7\r\n\r\n", stop]},
        {"trailers for a client that takes them", te(<<"gzip;q=0.5, Trailers">>),
            [{headers, 200, #{<<"trailer">> => <<"x">>}}, {trailers, #{<<"x">> => <<"1">>}}],
            [?OK ?CLOSE "trailer: x\r\n" ?CHUNKED "\r\n0\r\nx: 1\r\n\r\n"]},
        {"trailers for one that does not", te(<<"gzip, trailersx">>),
            [{headers, 200, #{<<"trailer">> => <<"x">>}}, {trailers, #{<<"x">> => <<"1">>}}],
            [?OK ?CLOSE ?CHUNKED "\r\n0\r\n\r\n"]},
        {"trailers after a body of known length", te(<<"trailers">>),
            [{headers, 200, #{<<"content-length">> => <<"0">>}}, {trailers, #{<<"x">> => <<"1">>}}],
            [?OK ?CLOSE "content-length: 0\r\n\r\n"]},
        {"flow", a_get(), [{flow, 5}], [{flow, 5}]},
        {"options that mean nothing here", a_get(), [{set_options, #{idle_timeout => 1}}], []},
        {"a push", a_get(), [{push, <<"GET">>, <<"http">>, <<"a">>, 80, <<"/">>, <<>>, #{}}], []},
        {"a log event", a_get(), [{log, error, "x~n", []}], [{log, error, "x~n", []}]},
        {"an error of the handler", a_get(), [{internal_error, reason, 'Text.'}], [{fail, reason}]},
        {"an unknown command", a_get(), [{unheard_of, 1}], [{fail, {bad_command, unheard_of}}]},
        {"data before a head", a_get(), [{data, fin, <<>>}], [{fail, {bad_command, data}}]},
        {"trailers before a head", a_get(), [{trailers, #{}}], [{fail, {bad_command, trailers}}]},
        {"a second response", a_get(), [{response, 200, #{}, <<>>}, {response, 200, #{}, <<>>}],
            [?OK ?CLOSE "\r\n", {fail, {bad_command, response}}]},
        {"data after the end", a_get(), [{response, 200, #{}, <<>>}, {data, fin, <<"x">>}],
            [?OK ?CLOSE "\r\n"]}
    ].

commands_test_() ->
    [{Sentence, fun() ->
        {Effects, _} = run(Commands, hornbeam_http1_commands:new(Req)),
        ?assertEqual(joined(Expected), joined([brief(E) || E <- Effects]))
    end} || {Sentence, Req, Commands, Expected} <- cases()].

headless_test_() ->
    [{Sentence, fun() ->
        {_, Output} = run(Commands, hornbeam_http1_commands:new(a_get())),
        ?assertEqual(Expected, hornbeam_http1_commands:is_headless(Output))
    end} || {Sentence, Commands, Expected} <- [
        {"at first there is no head", [], true},
        {"an informational response is none", [{inform, 100, #{}}, {flow, 1}], true},
        {"a response has one", [{response, 200, #{}, <<>>}], false},
        {"a stream has one", [{headers, 200, #{}}], false}
    ]].

one_write_test() ->
    {_, Output} = run([{headers, 200, #{}}], hornbeam_http1_commands:new(a_get())),
    ?assertMatch({[{send, _}], _}, hornbeam_http1_commands:run({data, fin, <<"x">>}, Output)).

run(Commands, Output) ->
    lists:foldl(fun(Command, {Effects, Before}) ->
        {More, After} = hornbeam_http1_commands:run(Command, Before),
        {Effects ++ More, After}
    end, {[], Output}, Commands).

brief({send, Data}) -> Data;
brief({fail, {internal_error, Reason, Text}}) when is_atom(Text) -> {fail, Reason};
brief(Effect) -> Effect.

joined([A, B | Rest]) when not is_tuple(A), not is_tuple(B), A =/= stop, B =/= stop ->
    joined([[A, B] | Rest]);
joined([A | Rest]) when is_tuple(A); A =:= stop -> [A | joined(Rest)];
joined([A | Rest]) -> [iolist_to_binary(A) | joined(Rest)];
joined([]) -> [].
