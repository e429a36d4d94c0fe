%% SPDX-License-Identifier: Apache-2.0
%% @doc Tests of `hornbeam_edge': what it says of requests as Cowboy hands them over, and the table
%% `edge_cases' sent as bytes to a real Cowboy that asks it.
%% Runs in: the EUnit process, against a listener on port 0.
-module(hornbeam_edge_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

limits() ->
    limits(edge_cases:options()).

limits(Options) ->
    {ok, Config} = hornbeam_options:check("myapp:application", Options, []),
    hornbeam_edge:limits(Config).

request() ->
    #{
        ref => ?MODULE, pid => self(), streamid => 1, peer => {{127, 0, 0, 1}, 1},
        sock => {{127, 0, 0, 1}, 2}, cert => undefined, method => <<"GET">>, scheme => <<"http">>,
        host => <<"a">>, port => 80, path => <<"/">>, qs => <<>>, version => 'HTTP/1.1',
        headers => #{<<"host">> => <<"a">>}, has_body => false, body_length => 0
    }.

status(Request) ->
    status(Request, limits()).

status(Request, Limits) ->
    case hornbeam_edge:check(Request, Limits) of
        ok -> 200;
        {refuse, Status, Reason} when is_binary(Reason) -> Status
    end.

%% What HTTP/1.1 cannot show, because Cowboy's parser stands before it.
pure_test_() ->
    R = request(),
    H2 = R#{version => 'HTTP/2', headers => #{}},
    [{Sentence, ?_assertEqual(Status, status(Request))} || {Sentence, Request, Status} <- [
        {"a plain request passes", R, 200},
        {"an empty method is refused", R#{method => <<>>}, 400},
        {"a method with a space is refused", R#{method => <<"GE T">>}, 400},
        {"a long method is refused", R#{method => binary:copy(<<"M">>, 600)}, 501},
        {"an empty path is refused", R#{path => <<>>}, 400},
        {"a path that is one byte of no path is refused", R#{path => <<"x">>}, 400},
        {"a body of unknown length passes", R#{has_body => true, body_length => undefined}, 200},
        {"the same over HTTP/1.0 does not",
            R#{has_body => true, body_length => undefined, version => 'HTTP/1.0'}, 400},
        {"HTTP/2 without host header passes", H2, 200},
        {"HTTP/2 with the same host passes", H2#{headers => #{<<"host">> => <<"A:80">>}}, 200},
        {"HTTP/2 with another host is refused", H2#{headers => #{<<"host">> => <<"b">>}}, 400},
        {"HTTP/2 with another port is refused", H2#{headers => #{<<"host">> => <<"a:81">>}}, 400},
        {"HTTP/2 with an authority of two hosts is refused", H2#{host => <<"a,b">>}, 400},
        {"HTTP/2 with an empty authority is refused", H2#{host => <<>>}, 400},
        {"HTTP/2 with port 0 is refused", H2#{port => 0}, 400},
        {"HTTP/2 with a port of six digits is refused", H2#{port => 100000}, 400},
        {"HTTP/2 with scheme https passes", H2#{scheme => <<"https">>}, 200},
        {"HTTP/2 with a host header that is no text is refused",
            H2#{headers => #{<<"host">> => <<255>>}}, 400},
        {"an expectation that is no text is refused",
            R#{headers => #{<<"host">> => <<"a">>, <<"expect">> => <<255>>}}, 417},
        {"HTTP/2 with another scheme is refused", H2#{scheme => <<"gopher">>}, 400},
        {"HTTP/2 with a space in the path is refused", H2#{path => <<"/a b">>}, 400}
    ]].

%% What may differ between requests with the same header fields is checked in each of them.
same_headers_test_() ->
    R = (request())#{headers => #{<<"host">> => <<"a">>, <<"content-length">> => <<"7">>}},
    [{Sentence, ?_assertEqual(Status, again(R, maps:merge(R, Changed)))} ||
        {Sentence, Changed, Status} <- [
            {"the same request passes again", #{}, 200},
            {"another target passes", #{path => <<"/b">>, qs => <<"c=d">>}, 200},
            {"a method that is no token is refused", #{method => <<"G T">>}, 400},
            {"a path with a space is refused", #{path => <<"/a b">>}, 400},
            {"a query with a control character is refused", #{qs => <<1>>}, 400},
            {"a long target is refused", #{path => <<"/", (binary:copy(<<"a">>, 9000))/binary>>},
                414},
            {"a body over the limit is refused", #{has_body => true, body_length => 1 bsl 80}, 413},
            {"a body of unknown length over HTTP/1.0 is refused",
                #{has_body => true, body_length => undefined, version => 'HTTP/1.0'}, 400},
            {"another authority over HTTP/2 is refused", #{version => 'HTTP/2', host => <<"b">>},
                400}
        ]].

%% Both ways of asking must agree.
again(Passed, Request) ->
    200 = status(Passed),
    Status = status(Request),
    ?assertEqual(
        hornbeam_edge:check(Request, limits()), hornbeam_edge:check_again(Request, limits())
    ),
    Status.

version_test_() ->
    R = request(),
    H2 = R#{version => 'HTTP/2', headers => #{}},
    [{lists:flatten(io_lib:format("~p of ~p", [V, Given])),
        ?_assertEqual(Status, status(Request, limits(#{http_version => Given})))} ||
        {Given, Request = #{version := V}, Status} <- [
            {['HTTP/1.1', 'HTTP/2'], R, 200}, {['HTTP/1.1', 'HTTP/2'], H2, 200},
            {['HTTP/2', 'HTTP/1.1'], R, 200}, {['HTTP/2', 'HTTP/1.1'], H2, 200},
            {['HTTP/1.1'], R, 200}, {['HTTP/1.1'], R#{version => 'HTTP/1.0'}, 200},
            {['HTTP/1.1'], H2, 505}, {['HTTP/2'], H2, 200}, {['HTTP/2'], R, 505}
        ]].

body_test_() ->
    Body = fun(Size) ->
        Headers = #{<<"host">> => <<"a">>, <<"content-length">> => integer_to_binary(Size)},
        (request())#{has_body => Size > 0, body_length => Size, headers => Headers}
    end,
    [
        {"one below max_body", ?_assertEqual(200, status(Body(999)))},
        {"max_body", ?_assertEqual(200, status(Body(1000)))},
        {"one over max_body", ?_assertEqual(413, status(Body(1001)))},
        {"no max_body", ?_assertEqual(200, status(Body(1 bsl 80),
            limits(#{max_body => infinity})))},
        {"max_body 0, no body", ?_assertEqual(200, status(Body(0), limits(#{max_body => 0})))},
        {"max_body 0, a body", ?_assertEqual(413, status(Body(1), limits(#{max_body => 0})))}
    ].

properties_test_() ->
    [
        {"a value is refused just when a byte of it is a control character other than tab",
            ?PROPERTY(prop_value(), 1000)},
        {"a path is refused just when a byte of it is not visible ASCII", ?PROPERTY(prop_path(),
            1000)},
        {"a name is refused just when a byte of it is no token character, or an underscore",
            ?PROPERTY(prop_name(), 1000)}
    ].

%% Mostly good bytes, so that a bad one falls on every offset within four.
mostly(Good) ->
    ?LET(Bytes, list(frequency([{20, Good}, {1, range(0, 255)}])), list_to_binary(Bytes)).

prop_value() ->
    ?FORALL(Value, mostly(oneof([range(32, 126), $\t, range(128, 255)])),
        begin
            Bad = [C || <<C>> <= Value, C < 32 andalso C =/= $\t orelse C =:= 127],
            Request = (request())#{headers => #{<<"host">> => <<"a">>, <<"x">> => Value}},
            (Bad =:= []) =:= (status(Request, limits(#{})) =:= 200)
        end).

prop_path() ->
    ?FORALL(Path, mostly(range(33, 126)),
        begin
            Bad = [C || <<C>> <= Path, C =< 32 orelse C >= 127],
            Request = (request())#{path => <<"/", Path/binary>>},
            Query = (request())#{qs => Path},
            [Bad =:= [], Bad =:= []] =:= [status(R, limits(#{})) =:= 200 || R <- [Request, Query]]
        end).

prop_name() ->
    Token = "!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    ?FORALL(Name, mostly(elements(Token)),
        begin
            Good = Name =/= <<>> andalso [C || <<C>> <= Name, not lists:member(C, Token)] =:= [],
            Request = (request())#{headers => #{<<"host">> => <<"a">>, Name => <<"x">>}},
            Good =:= (status(Request, limits(#{})) =:= 200)
        end).

live_test_() ->
    {setup,
        fun() -> edge_handler:listen(?MODULE, limits()) end,
        fun(_) -> ok = cowboy:stop_listener(?MODULE) end,
        fun(Port) ->
            [{Sentence, fun() -> served(Expected, raw_http:exchange(Port, Bytes)) end} ||
                {Sentence, Bytes, Expected} <- edge_cases:cases()] ++
            [{Sentence ++ ", byte by byte", fun() -> served(Expected, drip(Port, Bytes)) end} ||
                {Sentence, Bytes, Expected} <- edge_cases:limits()]
        end}.

served({closed, or_status, Statuses}, Response) ->
    ?assert(element(1, Response) =:= closed orelse lists:member(element(1, Response), Statuses));
served(Status, Response) ->
    ?assertEqual(Status, element(1, Response)).

%% Cowboy looks at limits whenever bytes arrive: it must not matter how they do.
drip(Port, Bytes) ->
    Socket = raw_http:connect(Port),
    [raw_http:send(Socket, <<Byte>>) || <<Byte>> <= iolist_to_binary(Bytes)],
    Response = raw_http:response(Socket),
    ok = raw_http:close(Socket),
    Response.
