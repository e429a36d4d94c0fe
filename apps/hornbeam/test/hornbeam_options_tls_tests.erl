%% SPDX-License-Identifier: Apache-2.0
%% @doc Tables for the options of TLS beside one another, and for names of cipher suites.
%% Runs in: the EUnit process.
-module(hornbeam_options_tls_tests).

-include_lib("eunit/include/eunit.hrl").

check(Options) ->
    hornbeam_options:check("app:app", Options, []).

good_test_() ->
    Secure = #{ssl => true, certfile => "c.pem"},
    [?_assertMatch({ok, _}, check(Options)) || Options <- [
        Secure,
        Secure#{keyfile => "k.pem", keyfile_password => "secret"},
        Secure#{cacertfile => "ca.pem", verify => required},
        Secure#{ciphers => "ECDHE-RSA-AES256-GCM-SHA384", tls_min_version => 'tlsv1.2'},
        Secure#{ciphers => ["TLS_AES_128_GCM_SHA256"], tls_min_version => 'tlsv1.3'}
    ]].

bad_test_() ->
    Secure = #{ssl => true, certfile => "c.pem"},
    [{lists:flatten(io_lib:format("~0p", [Options])), fun() ->
        {error, {bad_option, Key, {expected, Text, got, _}} = Reason} = check(Options),
        ?assertNotEqual(nomatch, string:find(Text, Part)),
        ?assertEqual(nomatch, string:find(hornbeam:format_error(Reason), "secret"))
    end} || {Key, Part, Options} <- [
        {certfile, "since ssl is true", #{ssl => true}},
        {certfile, "since ssl is false", #{certfile => "c.pem"}},
        {keyfile, "since ssl is false", #{keyfile => "k.pem", ssl => false}},
        {keyfile_password, "since ssl is false", #{keyfile_password => "secret"}},
        {cacertfile, "since ssl is false", #{cacertfile => "ca.pem"}},
        {verify, "since ssl is false", #{verify => optional}},
        {ciphers, "since ssl is false", #{ciphers => "TLS_AES_128_GCM_SHA256"}},
        {tls_min_version, "since ssl is false", #{tls_min_version => 'tlsv1.3'}},
        {cacertfile, "since verify is none", Secure#{cacertfile => "ca.pem"}},
        {cacertfile, "since verify is required", Secure#{verify => verify_peer}},
        {ciphers, "TLS 1.3", Secure#{ciphers => "AES128-SHA", tls_min_version => 'tlsv1.3'}}
    ]].

%% What is wrong is hidden, too, where the value itself is of the wrong type.
secret_test() ->
    {error, Reason} = check(#{ssl => true, certfile => "c", keyfile_password => {secret, 1}}),
    ?assertEqual(nomatch, string:find(io_lib:format("~p", [Reason]), "secret,1")).

names_of_erlang_test() ->
    {ok, Config} = check(#{ssl => true, certfile => "c", cacertfile => "a", verify => verify_peer}),
    ?assertMatch(#{verify := required}, Config).

names_of_ciphers_test_() ->
    [?_assertEqual({Names, Expected}, {Names, hornbeam_ciphers:check(Names)})
        || {Names, Expected} <- [
            {[<<"ECDHE-RSA-AES256-GCM-SHA384">>], ok},
            {[<<"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384">>, <<"TLS_AES_256_GCM_SHA384">>], ok},
            {[<<"TLS_AES_256_GCM_SHA384">>, <<"HIGH">>], {error, <<"HIGH">>}},
            {[<<"!aNULL">>], {error, <<"!aNULL">>}},
            {[<<>>], {error, <<>>}}
        ]].

suites_test() ->
    Own13 = ssl:cipher_suites(exclusive, 'tlsv1.3'),
    Rsa = ssl:str_to_suite("ECDHE-RSA-AES256-GCM-SHA384"),
    Aes = ssl:str_to_suite("TLS_AES_128_GCM_SHA256"),
    ?assertEqual({ok, Own13 ++ [Rsa]},
        hornbeam_ciphers:suites([<<"ECDHE-RSA-AES256-GCM-SHA384">>], 'tlsv1.2')),
    ?assertEqual({ok, [Aes]},
        hornbeam_ciphers:suites([<<"TLS_AES_128_GCM_SHA256">>], 'tlsv1.3')),
    {ok, [Aes, Next | _] = Suites} =
        hornbeam_ciphers:suites([<<"TLS_AES_128_GCM_SHA256">>], 'tlsv1.2'),
    ?assertNot(lists:member(Next, Own13)),
    ?assert(lists:member(Rsa, Suites)),
    ?assertEqual(none, hornbeam_ciphers:suites([<<"AES128-SHA">>], 'tlsv1.3')).
