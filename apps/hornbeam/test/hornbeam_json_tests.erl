%% SPDX-License-Identifier: Apache-2.0
%% JSON text that WebSocket clients get for values of applications.
-module(hornbeam_json_tests).

-include_lib("eunit/include/eunit.hrl").

%% Each value becomes the text beside it, as Python's json.dumps writes it without spaces.
values_test_() ->
    [
        ?_assertEqual({ok, Text}, hornbeam_json:encode(Value))
     || {Value, Text} <- [
            {undefined, <<"null">>},
            {nil, <<"null">>},
            {true, <<"true">>},
            {false, <<"false">>},
            {ok, <<"\"ok\"">>},
            {0, <<"0">>},
            {-(1 bsl 80), <<"-1208925819614629174706176">>},
            {0.1, <<"0.1">>},
            {1.0e-20, <<"1.0e-20">>},
            {<<>>, <<"\"\"">>},
            {<<"a\"b\\c">>, <<"\"a\\\"b\\\\c\"">>},
            {<<"\n\r\t", 0, 31>>, <<"\"\\n\\r\\t\\u0000\\u001f\"">>},
            {<<"zażółć"/utf8>>, <<"\"zażółć\""/utf8>>},
            {<<16#1F600/utf8, "x">>, <<$", 16#1F600/utf8, "x\"">>},
            {<<127>>, <<$", 127, $">>},
            {[], <<"[]">>},
            {[1, [2], <<"x">>], <<"[1,[2],\"x\"]">>},
            {{1, <<"x">>}, <<"[1,\"x\"]">>},
            {#{}, <<"{}">>},
            {#{<<"k">> => [true]}, <<"{\"k\":[true]}">>},
            {#{1 => 2}, <<"{\"1\":2}">>},
            {#{true => 2}, <<"{\"true\":2}">>},
            {#{undefined => 2}, <<"{\"null\":2}">>},
            {#{key => 2}, <<"{\"key\":2}">>}
        ]
    ].

%% What has no JSON form is refused and named.
refused_test_() ->
    [
        ?_assertEqual({error, {not_json, Named}}, hornbeam_json:encode(Value))
     || {Value, Named} <- [
            {{bytes, <<"x">>}, {bytes, <<"x">>}},
            {[{bytes, <<"x">>}], {bytes, <<"x">>}},
            {<<255>>, {bytes, <<255>>}},
            {<<"a", 16#C3>>, {bytes, <<16#C3>>}},
            {self(), self()},
            {[1 | 2], [1 | 2]},
            {#{{1} => 2}, {1}},
            {{ndarray, <<"f4">>, [1], <<0:32>>}, {ndarray, <<"f4">>, [1], <<0:32>>}}
        ]
    ].
