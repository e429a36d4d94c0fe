%% SPDX-License-Identifier: Apache-2.0
%% @doc Every option of the edge reaches Cowboy or the stream handler. Pure but for the pool's
%% persistent term.
-module(hornbeam_listener_options_tests).

-include_lib("eunit/include/eunit.hrl").

-define(WINDOW, 1000).

options_test_() ->
    {setup,
        fun() -> hornbeam_pool:new(?MODULE, #{size => 1, queue_limit => 0, queue_timeout => 1}) end,
        fun(_) -> hornbeam_pool:delete(?MODULE) end,
        fun(Pool) ->
            [{lists:flatten(io_lib:format("~0p: ~0p", [Given, Path])),
                ?_assertEqual(Expected, at(Path, cowboy(Given, Pool)))}
                    || {Given, Path, Expected} <- table(Pool)]
        end}.

cowboy(Given, Pool) ->
    {ok, Config} = hornbeam_options:check("app:app", Given, []),
    hornbeam_listener_options:cowboy(Config, some_name, Pool, ?WINDOW).

at(Path, Options) ->
    lists:foldl(fun(Key, Map) -> maps:get(Key, Map) end, Options, Path).

table(Pool) ->
    Asgi = #{worker_class => asgi},
    Timeouts = #{timeout => 3000, queue_timeout => 500, keepalive => 2},
    [
        {#{}, [stream_handlers], [hornbeam_stream]},
        {#{hooks => #{on_request => fun erlang:hd/1}}, [stream_handlers],
            [hornbeam_request_hooks_stream]},
        {#{hooks => #{on_request => fun erlang:hd/1}}, [hornbeam, hooks],
            #{on_request => fun erlang:hd/1}},
        {#{}, [hornbeam, pool], Pool},
        {#{}, [hornbeam, response_window], ?WINDOW},
        {#{}, [idle_timeout], infinity},
        {#{http_version => ['HTTP/1.1']}, [protocols], [http]},
        {#{http_version => ['HTTP/2']}, [protocols], [http2]},
        {#{http_version => ['HTTP/1.1', 'HTTP/2']}, [protocols], [http2, http]},
        {#{max_concurrent_streams => 7}, [max_concurrent_streams], 7},
        {#{max_concurrent_streams => 7}, [hornbeam, max_streams], 7},
        {#{max_concurrent_streams => 7}, [max_reset_stream_rate], {100, 10000}},
        {#{max_concurrent_streams => 700}, [max_reset_stream_rate], {1400, 10000}},
        {#{}, [hornbeam, scheme], <<"http">>},
        {#{ssl => true, certfile => "c.pem"}, [hornbeam, scheme], <<"https">>},
        {#{}, [hornbeam, name], some_name},
        {#{keepalive => 3}, [hornbeam, keepalive], 3000},
        {#{keepalive => 0.25}, [hornbeam, keepalive], 250},
        {#{keepalive => 0}, [max_keepalive], 1},
        {#{keepalive => 3}, [request_timeout], 3000},
        %% Not less than a second for the first request.
        {#{keepalive => 0}, [request_timeout], 1000},
        {#{timeout => 700}, [hornbeam, body_timeout], 700},
        {#{timeout => infinity}, [hornbeam, body_timeout], infinity},
        %% As long as a WebSocket may be silent, 60 s.
        {Timeouts, [inactivity_timeout], 13500},
        {Timeouts#{keepalive => 90}, [inactivity_timeout], 100000},
        {Timeouts#{timeout => 70000}, [inactivity_timeout], 80500},
        {Timeouts#{timeout => infinity}, [inactivity_timeout], infinity},
        {maps:merge(Timeouts, Asgi), [inactivity_timeout], infinity},
        {Asgi, [enable_connect_protocol], true},
        {Asgi, [hornbeam, websocket], #{
            timeout => 60000, ping_interval => 20000, max_size => 16777216, compress => false
        }},
        {Asgi#{websocket_timeout => 7}, [hornbeam, websocket, timeout], 7},
        {Asgi#{websocket_ping_interval => 7}, [hornbeam, websocket, ping_interval], 7},
        {Asgi#{websocket_max_frame_size => 7}, [hornbeam, websocket, max_size], 7},
        {Asgi#{websocket_compress => true}, [hornbeam, websocket, compress], true},
        {#{body_buffer => 10}, [hornbeam, body_buffer], 10},
        {#{body_buffer => 10}, [initial_stream_flow_size], 65535},
        {#{body_buffer => 100000}, [initial_stream_flow_size], 100001},
        {#{max_body => 5}, [hornbeam, max_body], 5},
        {#{max_body => 5}, [hornbeam, limits, max_body], 5},
        {#{max_headers => 7}, [hornbeam, limits, max_headers], 7},
        {#{max_headers => 7}, [max_headers], 7},
        {#{max_header_size => 70}, [hornbeam, limits, max_header_size], 70},
        {#{max_request_line_size => 90}, [max_request_line_length], 91}
    ].

ranch_test_() ->
    Ranch = fun hornbeam_listener_options:ranch/1,
    [?_assertEqual(Expected, Ranch(#{num_acceptors => Acceptors, max_connections => Max}))
        || {Acceptors, Max, Expected} <- [
            {10, infinity, #{num_acceptors => 10, max_connections => infinity}},
            {10, 1, #{num_acceptors => 10, num_conns_sups => 1, max_connections => 1}},
            {10, 16384, #{num_acceptors => 10, num_conns_sups => 8, max_connections => 2048}},
            {10, 13, #{num_acceptors => 10, num_conns_sups => 1, max_connections => 13}},
            {10, 30, #{num_acceptors => 10, num_conns_sups => 10, max_connections => 3}}
        ]].

tls_test_() ->
    Options = fun(Given) ->
        {ok, Config} = hornbeam_options:check("app:app", Given, []),
        hornbeam_listener_options:tls(Config)
    end,
    Secure = #{ssl => true, certfile => "c.pem"},
    [?_assertEqual(undefined, Options(#{}))
        | [?_assertEqual({Given, Expected}, {Given, lists:keyfind(Key, 1, Options(Given))})
            || {Given, Key, Expected} <- [
                {Secure, alpn_preferred_protocols,
                    {alpn_preferred_protocols, [<<"h2">>, <<"http/1.1">>]}},
                {Secure#{http_version => ['HTTP/2']}, alpn_preferred_protocols,
                    {alpn_preferred_protocols, [<<"h2">>]}},
                {Secure#{http_version => ['HTTP/1.1']}, alpn_preferred_protocols,
                    {alpn_preferred_protocols, [<<"http/1.1">>]}},
                {Secure, versions, {versions, ['tlsv1.3', 'tlsv1.2']}},
                {Secure#{tls_min_version => 'tlsv1.3'}, versions, {versions, ['tlsv1.3']}},
                {Secure#{tls_min_version => 'tlsv1.3'}, client_renegotiation, false},
                {Secure, client_renegotiation, {client_renegotiation, false}},
                {Secure, ciphers, false}
            ]]].
