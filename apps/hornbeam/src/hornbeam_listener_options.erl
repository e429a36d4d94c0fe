%% SPDX-License-Identifier: Apache-2.0
%% @doc The configuration of an application as Cowboy's protocol options. Pure.
-module(hornbeam_listener_options).

-export([cowboy/3]).

%% Milliseconds beyond every deadline of ours: then Cowboy gives a connection up.
-define(SAFETY, 10000).

%% @doc Options of `cowboy:start_clear/3'; `Window' is the response window in bytes.
-spec cowboy(hornbeam_options:config(), hornbeam_pool:pool(), pos_integer()) -> cowboy:opts().
cowboy(Config, Pool, Window) ->
    #{keepalive := Keepalive, body_buffer := Buffer, http_version := Versions} = Config,
    Limits = hornbeam_edge:limits(Config),
    (hornbeam_edge:cowboy_limits(Limits))#{
        stream_handlers => handlers(Config),
        hornbeam => edge(Config, Limits, Pool, Window),
        protocols => protocols(Versions),
        %% Until the first request; between requests hornbeam_stream sets the idle timeout.
        request_timeout => max(1000, milliseconds(Keepalive)),
        %% It would cut long responses; every wait during a request has a deadline of its own.
        idle_timeout => infinity,
        inactivity_timeout => inactivity(Config),
        max_keepalive => keepalive(Keepalive),
        %% One more than may be gathered, so that the limit is seen before the flow stops.
        initial_stream_flow_size => max(65535, Buffer + 1),
        %% HTTP/2: beyond this Cowboy raises an alarm, and the worker gets no more credit.
        max_stream_buffer_size => Window,
        %% A flood is many small frames; a fast upload in frames of 16 KiB must not count as one.
        max_received_frame_rate => {200000, 10000},
        %% Small windows of HTTP/2 clients must not hold data back.
        stream_window_data_threshold => 1
    }.

%% A wrapper only where there are hooks: without them no request pays for them.
handlers(#{hooks := Hooks}) when map_size(Hooks) > 0 -> [hornbeam_request_hooks_stream];
handlers(_) -> [hornbeam_stream].

edge(Config, Limits, Pool, Window) ->
    #{body_buffer := Buffer, max_body := MaxBody} = Config,
    #{timeout := Timeout, keepalive := Keepalive} = Config,
    #{
        pool => Pool,
        limits => Limits,
        body_buffer => Buffer,
        max_body => MaxBody,
        body_timeout => Timeout,
        response_window => Window,
        keepalive => milliseconds(Keepalive),
        hooks => maps:get(hooks, Config)
    }.

protocols(['HTTP/2']) -> [http2];
protocols(['HTTP/1.1']) -> [http];
protocols(_) -> [http2, http].

milliseconds(Seconds) -> round(Seconds * 1000).

%% A connection may carry as many requests as it likes; `keepalive => 0' allows one.
keepalive(0) -> 1;
keepalive(_) -> 1 bsl 58.

%% Nothing can be silent for longer than the queue and the worker together.
inactivity(#{timeout := Timeout, queue_timeout := Queue, keepalive := Keepalive}) when
    is_integer(Timeout), is_integer(Queue)
->
    max(Timeout + Queue, milliseconds(Keepalive)) + ?SAFETY;
inactivity(_) ->
    infinity.
