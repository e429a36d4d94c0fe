%% SPDX-License-Identifier: Apache-2.0
%% @doc What a connection process remembers of its requests.
-module(hornbeam_request_tests).

-include_lib("eunit/include/eunit.hrl").

limits() ->
    {ok, Config} = hornbeam_options:check("myapp:application", #{}, []),
    hornbeam_edge:limits(Config).

request(Headers) ->
    #{
        method => <<"GET">>, path => <<"/">>, qs => <<>>, version => 'HTTP/1.1',
        headers => Headers#{<<"host">> => <<"a">>}, has_body => false, body_length => 0
    }.

%% One process, as if each request came on the same connection.
checks(Requests) ->
    erase(hornbeam_headers),
    [status(hornbeam_request:check(Request, limits())) || Request <- Requests].

status(ok) -> 200;
status({refuse, Status, _}) -> Status.

headers_that_change_are_checked_each_time_test() ->
    Good = request(#{<<"x">> => <<"y">>}),
    Bad = request(#{<<"x">> => <<1>>}),
    ?assertEqual([200, 200, 400, 400, 200], checks([Good, Good, Bad, Bad, Good])).

the_rest_is_checked_each_time_test() ->
    Good = request(#{}),
    ?assertEqual([200, 400, 200], checks([Good, Good#{path => <<"/a b">>}, Good])).

a_refused_request_vouches_for_nothing_test() ->
    Bad = (request(#{<<"x">> => <<1>>}))#{path => <<"/">>},
    ?assertEqual([400, 400], checks([Bad, Bad])).
