%% SPDX-License-Identifier: Apache-2.0
%% @doc Tables for `hornbeam_app_spec': the forms that name an application, and those that do not.
%% Runs in: the EUnit process.
-module(hornbeam_app_spec_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

good() ->
    [
        {"myapp:application", <<"myapp:application">>},
        {<<"myapp:application">>, <<"myapp:application">>},
        {"package.sub.module:app", <<"package.sub.module:app">>},
        {"module:object.attribute", <<"module:object.attribute">>},
        {"module:factory()", <<"module:factory()">>},
        {"module:object.factory()", <<"module:object.factory()">>},
        {"_m1:_a2", <<"_m1:_a2">>},
        {"é.модуль:приложение", <<"é.модуль:приложение"/utf8>>},
        {<<"été:app"/utf8>>, <<"été:app"/utf8>>}
    ].

%% The value, and a part of what is said about it.
bad() ->
    [
        {"", "empty"},
        {"myapp", "callable is missing"},
        {"myapp.application", "callable is missing"},
        {"myapp.py", "names a file"},
        {"myapp:", "callable after"},
        {":app", "module before"},
        {"src/myapp:app", "is a path"},
        {"my-app:app", "module before"},
        {"1app:app", "module before"},
        {"a..b:app", "module before"},
        {".a:app", "module before"},
        {"a:b c", "callable after"},
        {"a:b\n", "callable after"},
        {"a:b:c", "callable after"},
        {"a:()", "factory"},
        {"a:b(1)", "factory"},
        {"a:b()()", "factory"},
        {"a:b.", "callable after"},
        {"a:b\0", "not text"},
        {myapp, "not text"},
        {<<"a:", 255>>, "not text"},
        {[a, b], "not text"},
        {[$a | $b], "not text"},
        {42, "not text"}
    ].

good_test_() ->
    [{Text, ?_assertEqual({ok, Text}, hornbeam_app_spec:check(Value))} || {Value, Text} <- good()].

bad_test_() ->
    [{lists:flatten(io_lib:format("~tp", [Value])), fun() ->
        {error, {bad_app, Value, What}} = hornbeam_app_spec:check(Value),
        ?assertNotEqual(nomatch, string:find(What, Part))
    end} || {Value, Part} <- bad()].

any_term_test_() ->
    {"any term is accepted or refused, and what is accepted once is accepted again as it is",
        {timeout, 60, ?_assert(proper:quickcheck(prop_any_term(), [{to_file, user}, 200]))}}.

prop_any_term() ->
    ?FORALL(Value, oneof([any(), list(oneof([$a, $:, $., $(, $), $_, 233])), binary()]),
        case hornbeam_app_spec:check(Value) of
            {ok, Text} -> hornbeam_app_spec:check(Text) =:= {ok, Text};
            {error, {bad_app, Value, What}} -> is_binary(What)
        end).
