%% SPDX-License-Identifier: Apache-2.0
%% @doc The configuration of an application as Cowboy's protocol options. Pure.
-module(hornbeam_listener_options).

-export([cowboy/4, ranch/1, tls/1]).

%% Milliseconds beyond every deadline of ours: then Cowboy gives a connection up.
-define(SAFETY, 10000).

%% @doc Options of `ssl', but for certificates.
-spec tls(hornbeam_options:config()) -> [ssl:tls_server_option()] | undefined.
tls(#{ssl := true} = Config) -> hornbeam_tls:listen_options(Config);
tls(#{ssl := false}) -> undefined.

%% @doc Limits of ranch. It counts connections in several processes, each for itself, and accepts
%% a few more than the limit of each; there are as many as divide the limit evenly.
-spec ranch(#{num_acceptors := pos_integer(), max_connections := pos_integer() | infinity,
    _ => _}) -> ranch:opts().
ranch(#{num_acceptors := Acceptors, max_connections := infinity}) ->
    #{num_acceptors => Acceptors, max_connections => infinity};
ranch(#{num_acceptors := Acceptors, max_connections := Max}) ->
    Counters = lists:max([N || N <- lists:seq(1, min(Acceptors, Max)), Max rem N =:= 0]),
    #{num_acceptors => Acceptors, num_conns_sups => Counters, max_connections => Max div Counters}.

%% @doc Options of Cowboy's protocols; `Window' is the response window in bytes.
-spec cowboy(hornbeam_options:config(), hornbeam_pool:name(), hornbeam_pool:pool(),
    pos_integer()) -> cowboy:opts().
cowboy(Config, Name, Pool, Window) ->
    #{keepalive := Keepalive, body_buffer := Buffer, http_version := Versions} = Config,
    Limits = hornbeam_edge:limits(Config),
    (maps:merge(hornbeam_edge:cowboy_limits(Limits), http2(Config, Window)))#{
        stream_handlers => handlers(Config),
        hornbeam => (edge(Config, Limits, Pool, Window))#{name => Name},
        protocols => protocols(Versions),
        %% Until the first request; between requests hornbeam_stream sets the idle timeout.
        request_timeout => max(1000, milliseconds(Keepalive)),
        %% It would cut long responses; every wait during a request has a deadline of its own.
        idle_timeout => infinity,
        inactivity_timeout => inactivity(Config),
        max_keepalive => keepalive(Keepalive),
        %% One more than may be gathered, so that the limit is seen before the flow stops.
        initial_stream_flow_size => max(65535, Buffer + 1)
    }.

%% Options that a version of Cowboy does not know mean nothing to it.
http2(#{max_concurrent_streams := Streams, max_header_size := Header} = Config, Window) ->
    #{worker_class := Interface} = Config,
    #{
        max_concurrent_streams => Streams,
        %% Many small uploads at once; what a large one gets depends on who reads it.
        initial_connection_window_size => 1048576,
        %% Beyond this Cowboy raises an alarm, and the worker gets no more credit.
        max_stream_buffer_size => Window,
        %% Small windows must not hold data back.
        stream_window_data_threshold => 1,
        %% A flood is many small frames; a fast upload in frames of 16 KiB must not count as one.
        max_received_frame_rate => {200000, 10000},
        %% Resets of ours: when a worker dies it costs every response it was sending, not the
        %% connection. (CVE-2019-9514)
        max_reset_stream_rate => {max(100, 2 * Streams), 10000},
        %% From Cowboy 2.11 and 2.12 on: streams that the client resets (CVE-2023-44487, see
        %% hornbeam_http2_streams), heads in many frames.
        max_cancel_stream_rate => {500, 10000},
        max_fragmented_header_block_size => max(32768, 2 * Header),
        %% WebSocket over HTTP/2 (RFC 8441).
        enable_connect_protocol => Interface =:= asgi
    }.

%% A wrapper only where there are hooks: without them no request pays for them.
handlers(#{hooks := Hooks}) when map_size(Hooks) > 0 -> [hornbeam_request_hooks_stream];
handlers(_) -> [hornbeam_stream].

edge(Config, Limits, Pool, Window) ->
    #{body_buffer := Buffer, max_body := MaxBody} = Config,
    #{timeout := Timeout, keepalive := Keepalive, max_concurrent_streams := Streams} = Config,
    (websocket(Config))#{
        pool => Pool,
        limits => Limits,
        body_buffer => Buffer,
        max_body => MaxBody,
        body_timeout => Timeout,
        response_window => Window,
        keepalive => milliseconds(Keepalive),
        max_streams => Streams,
        scheme => scheme(Config),
        hooks => maps:get(hooks, Config)
    }.

scheme(#{ssl := true}) -> <<"https">>;
scheme(#{ssl := false}) -> <<"http">>.

%% WSGI has none: to its applications a handshake is a request like any other.
websocket(#{worker_class := wsgi}) ->
    #{};
websocket(#{worker_class := asgi} = Config) ->
    #{websocket_timeout := Timeout, websocket_ping_interval := Interval} = Config,
    #{websocket_max_frame_size := MaxSize, websocket_compress := Compress} = Config,
    #{
        websocket => #{
            timeout => Timeout, ping_interval => Interval, max_size => MaxSize, compress => Compress
        }
    }.

protocols(['HTTP/2']) -> [http2];
protocols(['HTTP/1.1']) -> [http];
protocols(_) -> [http2, http].

milliseconds(Seconds) -> round(Seconds * 1000).

%% A connection may carry as many requests as it likes; `keepalive => 0' allows one.
keepalive(0) -> 1;
keepalive(_) -> 1 bsl 58.

%% Nothing can be silent for longer than the queue and the worker together, but a WebSocket and the
%% stream of a coroutine that has nothing to tell.
inactivity(#{worker_class := asgi}) ->
    infinity;
inactivity(#{timeout := Timeout, queue_timeout := Queue, keepalive := Keepalive}) when
    is_integer(Timeout), is_integer(Queue)
->
    max(Timeout + Queue, milliseconds(Keepalive)) + ?SAFETY;
inactivity(_) ->
    infinity.
