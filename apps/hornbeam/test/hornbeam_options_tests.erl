%% SPDX-License-Identifier: Apache-2.0
%% @doc Tables and properties for `hornbeam_options': merging, every check, every error text.
%% Runs in: the EUnit process.
-module(hornbeam_options_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

-define(APP, "myapp:application").

check(Options) ->
    hornbeam_options:check(?APP, Options, []).

defaults_test() ->
    {ok, Config} = check(#{}),
    Expected = #{
        app => <<"myapp:application">>, http_version => ['HTTP/1.1', 'HTTP/2'], keepalive => 2,
        max_connections => 16384, max_concurrent_streams => 128, num_acceptors => 10,
        certfile => undefined, keyfile => undefined, keyfile_password => undefined,
        cacertfile => undefined, verify => none, ciphers => undefined,
        tls_min_version => 'tlsv1.2', worker_class => wsgi,
        workers => erlang:system_info(schedulers_online),
        remote_workers => 0, remote_labels => #{}, remote_clients => 64,
        threads => 1, timeout => 30000, queue_limit => 1000, queue_timeout => 30000,
        max_requests => infinity, max_requests_jitter => 0, graceful_timeout => 30000,
        body_buffer => 65536, max_body => 1073741824, max_headers => 100, max_header_size => 8190,
        max_request_line_size => 8190,
        state_max_entries => 10000000, state_max_bytes => 1073741824,
        cache_max_entries => 100000, cache_max_bytes => 268435456,
        pubsub_backlog => 1024, pubsub_backlog_bytes => 16777216, pubsub_backlog_age => 30000,
        task_result_ttl => 3600000, task_limit => 10000, rpc_allow => all,
        cluster => #{nodes => [], dns => undefined, basename => undefined, interval => 5000},
        erlport => [], pythonpath => [<<".">>], python => undefined,
        venv => undefined, env => [], lifespan => auto, ssl => false,
        websocket_timeout => 60000, websocket_max_frame_size => 16777216,
        hooks => #{}, loop => auto, lifespan_timeout => 30000, max_concurrent => 1000,
        websocket_ping_interval => 20000, websocket_compress => false
    },
    ?assertEqual(Expected, maps:remove(bind, Config)),
    ?assertMatch(#{bind := [#{address := {inet, {127, 0, 0, 1}}, port := 8000}]}, Config).

merge_test_() ->
    [
        {"start/2 wins over sys.config, which wins over the default", fun() ->
            {ok, Config} = hornbeam_options:check(?APP, #{workers => 3},
                [{workers, 7}, {threads, 5}, {pythonpath, ["a"]}]),
            ?assertMatch(#{workers := 3, threads := 5, pythonpath := [<<"a">>], timeout := 30000},
                Config)
        end},
        {"an option of sys.config is checked like any other, and named",
            ?_assertMatch({error, {bad_option, threads, _}},
                hornbeam_options:check(?APP, #{}, [{threads, none}]))},
        {"an unknown option of sys.config is an error",
            ?_assertEqual({error, {unknown_option, worker, {did_you_mean, workers}}},
                hornbeam_options:check(?APP, #{}, [{worker, 4}]))},
        {"the key that OTP adds to every environment is not ours",
            ?_assertMatch({ok, _}, hornbeam_options:check(?APP, #{}, [{included_applications,
                []}]))},
        {"queue_timeout follows timeout",
            ?_assertMatch({ok, #{queue_timeout := 500}}, check(#{timeout => 500}))},
        {"queue_timeout of its own stays",
            ?_assertMatch({ok, #{queue_timeout := 7}}, check(#{timeout => 500,
                queue_timeout => 7}))},
        {"a bad app is told before bad options",
            ?_assertMatch({error, {bad_app, "x", _}}, hornbeam_options:check("x", #{workers => 0},
                []))}
    ].

%% Key, value given, value in the configuration.
good() ->
    [
        {http_version, ['HTTP/1.1'], ['HTTP/1.1']},
        {http_version, ['HTTP/2'], ['HTTP/2']},
        {keepalive, 0, 0}, {keepalive, 0.5, 0.5}, {keepalive, 86400, 86400},
        {workers, 1, 1}, {workers, 1024, 1024},
        {remote_workers, 0, 0}, {remote_workers, 1024, 1024},
        {remote_labels, #{gpu => 1}, #{<<"gpu">> => <<"1">>}},
        {remote_clients, 0, 0}, {remote_clients, 65536, 65536},
        {threads, 1, 1}, {threads, 1024, 1024},
        {timeout, 1, 1}, {timeout, infinity, infinity}, {timeout, 86400000, 86400000},
        {queue_limit, 0, 0}, {queue_limit, 1000000, 1000000},
        {queue_timeout, infinity, infinity},
        {max_requests, 0, infinity}, {max_requests, infinity, infinity}, {max_requests, 1000, 1000},
        {graceful_timeout, 0, 0},
        {body_buffer, 0, 0}, {body_buffer, 16777216, 16777216},
        {max_body, 0, 0}, {max_body, infinity, infinity}, {max_body, 1 bsl 70, 1 bsl 70},
        {max_headers, 1, 1}, {max_header_size, 64, 64}, {max_request_line_size, 32, 32},
        {num_acceptors, 1, 1},
        {max_connections, 1, 1}, {max_connections, infinity, infinity},
        {max_concurrent_streams, 1, 1},
        {verify, none, none}, {verify, verify_none, none},
        {ciphers, undefined, undefined}, {tls_min_version, 'tlsv1.2', 'tlsv1.2'},
        {pythonpath, [], []}, {pythonpath, "lib", [<<"lib">>]}, {pythonpath, <<"lib">>,
            [<<"lib">>]},
        {pythonpath, ["a", <<"b">>], [<<"a">>, <<"b">>]}, {pythonpath, ["é"], [<<"é"/utf8>>]},
        {python, "/usr/bin/python3", <<"/usr/bin/python3">>}, {python, undefined, undefined},
        {venv, <<".venv">>, <<".venv">>},
        {env, #{"B" => "2", <<"A">> => <<"1">>}, [{<<"A">>, <<"1">>}, {<<"B">>, <<"2">>}]},
        {env, [{"A", ""}, {"B", false}], [{<<"A">>, <<>>}, {<<"B">>, false}]},
        {env, #{}, []},
        {worker_class, wsgi, wsgi}, {worker_class, asgi, asgi}, {lifespan, off, off},
        {lifespan, on, on}, {loop, asyncio, asyncio}, {loop, uvloop, uvloop},
        {lifespan_timeout, 1, 1}, {max_concurrent, 1, 1}, {max_concurrent, 65536, 65536},
         {ssl, false, false},
        {websocket_timeout, 1, 1}, {websocket_timeout, infinity, infinity},
        {websocket_ping_interval, 1, 1}, {websocket_ping_interval, infinity, infinity},
        {websocket_max_frame_size, 1, 1}, {websocket_max_frame_size, 33554432, 33554432},
        {rpc_allow, none, []}, {rpc_allow, [lists], [{<<"lists">>, <<"*">>, <<"*">>}]},
        {websocket_compress, true, true}, {hooks, #{}, #{}},
        {hooks, #{on_error => fun erlang:max/2}, #{on_error => fun erlang:max/2}}
    ].

bad() ->
    [
        {bind, ":80"}, {bind, undefined},
        {http_version, []}, {http_version, 'HTTP/1.1'}, {http_version, ['HTTP/3']},
        {http_version, ['HTTP/2', 'HTTP/2']}, {http_version, ['HTTP/2' | x]},
        {keepalive, -1}, {keepalive, 86401}, {keepalive, infinity}, {keepalive, "2"},
        {workers, 0}, {workers, -1},
        {workers, 1025}, {workers, 2.0}, {workers, "4"}, {workers, infinity},
        {threads, 0}, {threads, 1025},
        {remote_workers, -1}, {remote_workers, 1025}, {remote_workers, infinity},
        {remote_labels, [gpu]}, {remote_labels, #{gpu => [gpu]}}, {remote_labels, undefined},
        {remote_clients, -1}, {remote_clients, 65537},
        {timeout, 0}, {timeout, 86400001}, {timeout, -1}, {timeout, undefined},
        {queue_limit, -1}, {queue_limit, 1000001}, {queue_limit, infinity},
        {queue_timeout, 0},
        {max_requests, -1}, {max_requests_jitter, -1},
        {graceful_timeout, -1}, {graceful_timeout, infinity},
        {body_buffer, -1}, {body_buffer, 16777217},
        {max_body, -1}, {max_body, none},
        {task_result_ttl, 0}, {task_result_ttl, infinity}, {task_limit, 0},
        {max_headers, 0}, {max_headers, 10001},
        {max_header_size, 63}, {max_header_size, 1048577},
        {max_request_line_size, 31}, {max_request_line_size, 1048577},
        {num_acceptors, 0},
        {pythonpath, path}, {pythonpath, [""]}, {pythonpath, [lib]}, {pythonpath, ["a" | "b"]},
        {pythonpath, <<255>>}, {pythonpath, ["a\0"]},
        {python, ""}, {python, <<>>}, {python, python3}, {venv, ["a"]},
        {env, "A=1"}, {env, #{a => "1"}}, {env, #{"A" => 1}}, {env, #{"A=B" => "1"}}, {env,
            #{"" => "1"}},
        {env, #{"A" => true}}, {env, [{"A", "1"}, {<<"A">>, "2"}]}, {env, [{"A", "1"} | x]},
        {rpc_allow, lists}, {rpc_allow, "lists"}, {rpc_allow, [{lists}]},
        {loop, trio}, {lifespan_timeout, 0}, {lifespan_timeout, infinity},
        {max_concurrent, 0}, {max_concurrent, 65537}, {max_concurrent, infinity},
        {worker_class, "wsgi"}, {worker_class, tornado}, {lifespan, true}, {ssl, on},
        {certfile, cert}, {certfile, ""}, {keyfile, key}, {cacertfile, []}, {verify, true},
        {verify, peer}, {ciphers, "HIGH"}, {ciphers, "ECDHE-RSA-AES256-GCM-SHA384:!MD5"},
        {ciphers, ""}, {ciphers, []}, {ciphers, [aes]}, {ciphers, ""},
        {tls_min_version, tlsv1}, {tls_min_version, "1.2"},
        {max_connections, 0}, {max_concurrent_streams, 0}, {max_concurrent_streams, infinity},
        {websocket_timeout, 0}, {websocket_ping_interval, 0}, {websocket_compress, deflate},
        {websocket_max_frame_size, 0}, {websocket_max_frame_size, 33554433},
        {hooks, []}, {hooks, #{on_request => fun() -> ok end}}, {hooks, #{on_start => fun(X) ->
            X end}}
    ].

good_test_() ->
    [{name(Key, Value), fun() ->
        {ok, Config} = check(#{Key => Value}),
        ?assertEqual(Normal, maps:get(Key, Config))
    end} || {Key, Value, Normal} <- good()].

bad_test_() ->
    [{name(Key, Value), {timeout, 60, fun() ->
        {error, Reason} = check(#{Key => Value}),
        {bad_option, Key, {expected, Text, got, Got}} = Reason,
        ?assert(Got =:= Value orelse (Key =:= env andalso Got =:= hidden)),
        Sentence = sentence(Reason),
        [?assertNotEqual(nomatch, string:find(Sentence, Part)) || Part <- [atom_to_binary(Key),
            Text]]
    end}} || {Key, Value} <- bad()].

unknown_test_() ->
    [{name(Key, Nearest), fun() ->
        Reason = {unknown_option, Key, {did_you_mean, Nearest}},
        ?assertEqual({error, Reason}, check(#{Key => 1})),
        ?assertEqual(Nearest =/= none, string:find(sentence(Reason), "did you mean") =/= nomatch)
    end} || {Key, Nearest} <- [
        {worker, workers}, {wokers, workers}, {'Workers', workers}, {"workers", workers},
        {<<"bnd">>, bind}, {keep_alive, keepalive}, {time_out, timeout}, {max_request,
            max_requests},
        {python_path, pythonpath}, {max_bodysize, max_body}, {xyzzy, none}, {42, none}, {{a}, none}
    ]].

together_test_() ->
    [
        {"python and venv name two interpreters",
            ?_assertMatch({error, {bad_option, python, _}}, check(#{python => "p", venv => "v"}))},
        {"jitter without max_requests would do nothing",
            ?_assertMatch({error, {bad_option, max_requests_jitter, _}},
                check(#{max_requests => 0, max_requests_jitter => 5}))},
        {"jitter with max_requests",
            ?_assertMatch({ok, #{max_requests := 10, max_requests_jitter := 5}},
                check(#{max_requests => 10, max_requests_jitter => 5}))},
        {"options that are no map",
            ?_assertMatch({error, {bad_options, [{workers, 1}], _}}, check([{workers, 1}]))}
    ].

secret_test() ->
    {error, Reason} = check(#{env => #{"TOKEN" => {secret, 1}}}),
    ?assertEqual(nomatch, string:find(io_lib:format("~p ~ts", [Reason, sentence(Reason)]),
        "secret")).

document_test() ->
    Rows = binary:split(iolist_to_binary(hornbeam_options:document()), <<"\n">>, [global, trim]),
    ?assertEqual(2 + length(hornbeam_options_schema:options()), length(Rows)),
    [?assertEqual(6, length(binary:split(Row, <<"|">>, [global]))) || Row <- Rows].

distance_test_() ->
    [{A ++ " " ++ B, ?_assertEqual(N, hornbeam_options_nearest:distance(A, B))} || {A, B, N} <- [
        {"", "", 0}, {"abc", "abc", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3},
        {"flaw", "lawn", 2}, {"ab", "ba", 2}
    ]].

properties_test_() ->
    [{Text, {timeout, 60, ?_assert(proper:quickcheck(Property, [{to_file, user}, 200]))}} ||
        {Text, Property} <- [
            {"any value of any option gives a configuration or an error with a sentence",
                prop_any_value()},
            {"a checked configuration, given again, stays as it is", prop_normal_form()},
            {"distance is symmetric and keeps the triangle inequality", prop_distance()}
        ]].

key() ->
    elements([Key || #{key := Key} <- hornbeam_options_schema:options()]).

%% Text without ":" keeps `bind' from asking the resolver for random names.
value() ->
    oneof([integer(), float(), atom(), {any(), any()}, list(range(0, 57)), binary_of_digits(),
        variables()]).

atom() ->
    elements([true, false, undefined, infinity, wsgi, asgi, auto, on, none, 'HTTP/2']).

variables() ->
    Name = oneof([atom(), list(range($A, $Z))]),
    Value = oneof([false, list(range(32, 126)), integer()]),
    ?LET(List, list({Name, Value}), oneof([List, maps:from_list(List)])).

binary_of_digits() ->
    ?LET(Digits, list(range($0, $9)), list_to_binary(Digits)).

prop_any_value() ->
    ?FORALL({Key, Value}, {oneof([key(), atom()]), value()},
        case check(#{Key => Value}) of
            {ok, Config} -> is_map_key(Key, Config);
            {error, Reason} -> is_binary(sentence(Reason))
        end).

prop_normal_form() ->
    ?FORALL({Key, Value, _}, elements(good()),
        begin
            {ok, #{app := App} = Config} = check(#{Key => Value}),
            Again = maps:without([app, bind], Config),
            {ok, Same} = hornbeam_options:check(App, Again, []),
            maps:remove(bind, Same) =:= maps:remove(bind, Config)
        end).

prop_distance() ->
    Text = list(range($a, $d)),
    ?FORALL({A, B, C}, {Text, Text, Text},
        begin
            D = fun hornbeam_options_nearest:distance/2,
            D(A, B) =:= D(B, A) andalso D(A, C) =< D(A, B) + D(B, C) andalso (D(A,
                B) =:= 0) =:= (A =:= B)
        end).

sentence(Reason) ->
    Sentence = iolist_to_binary(hornbeam_options:format_error(Reason)),
    ?assert(is_list(unicode:characters_to_list(Sentence))),
    %% Not the one for whatever has none of its own.
    ?assertEqual(nomatch, string:find(Sentence, "The start failed")),
    Sentence.

any_other_reason_test() ->
    Reason = {shutdown, {failed_to_start_child, pool, undef}},
    ?assertMatch(<<"The start failed: ", _/binary>>, hornbeam_options:format_error(Reason)).

name(Key, Value) ->
    lists:flatten(io_lib:format("~tp ~tp", [Key, Value])).
