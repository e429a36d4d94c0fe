%% SPDX-License-Identifier: Apache-2.0
%% @doc A stream handler for tests of `hornbeam_http1_chunked'. The path of a request says what it
%% does; each call of Cowboy's or the takeover's is told to the test process (option `test').
%% Runs in: the connection processes of a test's listener.
-module(chunked_handler).
-behaviour(cowboy_stream).

-export([listen/3, init/3, data/4, info/3, terminate/3, early_error/5]).

-record(stream, {path, test, body = []}).

%% @doc A Cowboy listener on port 0 of 127.0.0.1.
-spec listen(ranch:ref(), hornbeam_edge:limits(), cowboy:opts()) -> inet:port_number().
listen(Ref, Limits, Opts) ->
    {ok, _} = application:ensure_all_started(cowboy),
    {ok, _} = cowboy:start_clear(Ref, [{ip, {127, 0, 0, 1}}, {port, 0}],
        Opts#{stream_handlers => [?MODULE], hornbeam => #{limits => Limits}, test => self()}),
    ranch:get_port(Ref).

-spec init(cowboy_stream:streamid(), cowboy_req:req(), cowboy:opts()) ->
    {cowboy_stream:commands(), #stream{}}.
init(Id, #{path := Path} = Req, #{test := Test}) ->
    Stream = #stream{path = Path, test = Test},
    case {hornbeam_http1_turn:is_cut(), Req} of
        {true, _} ->
            {[], Stream#stream{path = cut}};
        {false, #{hornbeam_body := strict}} ->
            Test ! {init, Path, self()},
            {started(Path), Stream};
        {false, #{body_length := undefined, has_body := true}} ->
            {due(hornbeam_http1_turn:take_over(Id), Id, Req), Stream#stream{path = cut}};
        {false, #{path := <<"/later">>}} ->
            Test ! {init, Path, self()},
            {[], Stream};
        {false, #{}} ->
            {[whole(<<"not chunked">>), stop], Stream}
    end.

due(now, Id, Req) -> [{switch_protocol, #{}, hornbeam_http1_chunked, {Id, Req, ?MODULE}}];
due(never, _, _) -> [{response, 411, #{<<"connection">> => <<"close">>}, <<>>}, stop].

started(<<"/early">>) -> [whole(<<"early">>), stop];
started(<<"/early-head">>) -> [{headers, 200, #{}}, {data, nofin, <<"early">>}];
started(<<"/continue">>) -> [{inform, 100, #{}}];
started(<<"/nothing">>) -> [stop];
started(<<"/crash-init">>) -> error(armed);
started(<<"/stream">>) -> [{headers, 200, #{}}];
started(<<"/bad-command">>) -> [{unheard_of, 1}];
started(_) -> [].

-spec data(cowboy_stream:streamid(), cowboy_stream:fin(), binary(), #stream{}) ->
    {cowboy_stream:commands(), #stream{}}.
data(_, _, _, #stream{path = cut} = Stream) ->
    {[], Stream};
data(_, _, _, #stream{path = <<"/crash-data">>}) ->
    error(armed);
data(_, Fin, Data, #stream{path = <<"/flow">>, test = Test} = Stream) ->
    Test ! {data, Fin, Data},
    {ending(Fin, <<"done">>), Stream};
data(_, Fin, Data, #stream{path = <<"/stream">>} = Stream) ->
    {[{data, Fin, Data}, {flow, byte_size(Data) + 1} | [stop || Fin =:= fin]], Stream};
data(_, Fin, Data, #stream{body = Body0, path = Path, test = Test} = Stream) ->
    Body = [Body0, Data],
    Fin =:= fin andalso (Test ! {body, iolist_to_binary(Body)}),
    {[{flow, byte_size(Data) + 1} | finished(Fin, Path, Body)], Stream#stream{body = Body}}.

ending(nofin, _) -> [];
ending(fin, Body) -> [whole(Body), stop].

finished(nofin, _, _) -> [];
finished(fin, <<"/later">>, _) -> [];
finished(fin, <<"/trailers">>, Body) ->
    [{headers, 200, #{<<"trailer">> => <<"x-sum">>}}, {data, nofin, Body},
        {trailers, #{<<"x-sum">> => <<"42">>}}, stop];
finished(fin, <<"/break">>, _) ->
    [{headers, 200, #{}}, {data, nofin, <<"half">>}, {internal_error, broken, 'Half.'}];
finished(fin, <<"/file">>, _) ->
    Path = code:which(?MODULE),
    [{headers, 200, #{}}, {data, nofin, {sendfile, 4, 8, Path}}, {data, fin, <<>>}, stop];
finished(fin, <<"/no-file">>, _) ->
    [{headers, 200, #{}}, {data, nofin, {sendfile, 0, 8, "/no such file"}}, {data, fin, <<>>},
        stop];
finished(fin, _, Body) ->
    [whole(Body), stop].

whole(Body) ->
    Length = integer_to_binary(iolist_size(Body)),
    {response, 200, #{<<"content-length">> => Length, <<"set-cookie">> => [<<"a=1">>, <<"b=2">>]},
        Body}.

-spec info(cowboy_stream:streamid(), term(), #stream{}) -> {cowboy_stream:commands(), #stream{}}.
info(_, {inform, 101, _}, Stream) -> {[], Stream};
info(_, {commands, Commands}, Stream) -> {Commands, Stream};
info(_, crash, _) -> error(armed);
info(_, {response, _, _, _} = Response, Stream) -> {[Response], Stream};
info(_, _, Stream) -> {[], Stream}.

-spec terminate(cowboy_stream:streamid(), cowboy_stream:reason(), #stream{}) -> ok.
terminate(Id, Reason, #stream{test = Test}) ->
    ok = hornbeam_http1_turn:ended(Id),
    Test ! {terminate, Reason},
    ok.

-spec early_error(cowboy_stream:streamid(), cowboy_stream:reason(), cowboy_stream:partial_req(),
    Response, cowboy:opts()) -> Response.
early_error(_, _, _, Response, _) -> Response.
