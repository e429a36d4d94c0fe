%% SPDX-License-Identifier: Apache-2.0
%% @doc Tables for `vector_json': what it reads, and what it refuses and where.
%% Runs in: the EUnit process.
-module(vector_json_tests).

-include_lib("eunit/include/eunit.hrl").

good() ->
    [
        {<<"null">>, null},
        {<<" true ">>, true},
        {<<"false\n">>, false},
        {<<"0">>, 0},
        {<<"-12">>, -12},
        {<<"18446744073709551616">>, 18446744073709551616},
        {<<"1.5">>, 1.5},
        {<<"-0.25e2">>, -25.0},
        {<<"-1e3">>, -1000.0},
        {<<"2E-1">>, 0.2},
        {<<"\"\"">>, <<>>},
        {<<"\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"">>, <<"a\"\\/\b\f\n\r\t">>},
        {<<"\"\\u00e9\"">>, <<"é"/utf8>>},
        {<<"\"\\ud83d\\ude00\"">>, <<16#1F600/utf8>>},
        {<<"\"é\""/utf8>>, <<"é"/utf8>>},
        {<<"[]">>, []},
        {<<"[ 1 , [2] ,\"x\" ]">>, [1, [2], <<"x">>]},
        {<<"{}">>, #{}},
        {<<"{ \"a\" : {\"b\":[]} , \"c\":null}">>, #{<<"a">> => #{<<"b">> => []}, <<"c">> => null}}
    ].

bad() ->
    [
        {<<>>, 0, value},
        {<<"nul">>, 0, value},
        {<<"1 2">>, 2, trailing},
        {<<"01">>, 1, trailing},
        {<<"-">>, 0, number},
        {<<"[1,]">>, 3, value},
        {<<"[1 2]">>, 3, comma_or_bracket},
        {<<"[1">>, 2, comma_or_bracket},
        {<<"{\"a\" 1}">>, 5, colon},
        {<<"{a:1}">>, 1, key},
        {<<"{\"a\":1">>, 6, comma_or_brace},
        {<<"{\"a\":1,\"a\":2}">>, 8, {duplicate_key, <<"a">>}},
        {<<"\"abc">>, 4, string},
        {<<"\"a\nb\"">>, 2, string},
        {<<"\"\\x\"">>, 3, escape},
        {<<"\"\\u12g4\"">>, 3, hex},
        {<<"\"\\ud800\"">>, 7, surrogate},
        {<<$", 16#FF, $">>, 1, string}
    ].

reads_test_() ->
    [{Text, ?_assertEqual(Value, vector_json:decode(Text))} || {Text, Value} <- good()].

refuses_test_() ->
    [
        {Text, ?_assertError({bad_json, At, Why}, vector_json:decode(Text))}
     || {Text, At, Why} <- bad()
    ].

unreadable_file_is_named_test() ->
    ?assertError({unreadable, "no/such.json", enoent}, vector_json:read_file("no/such.json")).
