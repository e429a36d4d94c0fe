%% SPDX-License-Identifier: Apache-2.0
%% @doc Options of an application: merged, checked once, and normalised into one map.
%% Defaults give way to the application environment (sys.config), which gives way to the map of
%% `hornbeam:start/2'; an option is replaced whole. Pure, but for host names in `bind', which are
%% resolved; runs in the process that calls `hornbeam:start'.
-module(hornbeam_options).

-export([check/3, check_node/2, value/2, document/0, format_error/1]).
-export_type([config/0, services/0, reason/0]).

-type config() :: #{
    app := hornbeam_app_spec:app_spec(),
    bind := [hornbeam_bind:bind(), ...],
    http_version := ['HTTP/1.1' | 'HTTP/2', ...],
    %% Seconds.
    keepalive := number(),
    %% For each address.
    max_connections := pos_integer() | infinity,
    %% For each HTTP/2 connection.
    max_concurrent_streams := pos_integer(),
    num_acceptors := pos_integer(),
    ssl := boolean(),
    certfile := binary() | undefined,
    keyfile := binary() | undefined,
    keyfile_password := binary() | undefined,
    cacertfile := binary() | undefined,
    verify := none | optional | required,
    ciphers := [binary(), ...] | undefined,
    tls_min_version := 'tlsv1.2' | 'tlsv1.3',
    worker_class := wsgi | asgi,
    workers := non_neg_integer(),
    %% From other machines, at once.
    remote_workers := non_neg_integer(),
    remote_labels := hornbeam_labels:labels(),
    remote_clients := non_neg_integer(),
    threads := pos_integer(),
    %% Milliseconds, as all below whose name ends in timeout.
    timeout := pos_integer() | infinity,
    queue_limit := non_neg_integer(),
    queue_timeout := pos_integer() | infinity,
    max_requests := pos_integer() | infinity,
    max_requests_jitter := non_neg_integer(),
    graceful_timeout := non_neg_integer(),
    %% Bytes, as all sizes below.
    body_buffer := non_neg_integer(),
    max_body := non_neg_integer() | infinity,
    max_headers := pos_integer(),
    max_header_size := pos_integer(),
    max_request_line_size := pos_integer(),
    %% Of the shared state of the whole node.
    state_max_entries := pos_integer() | infinity,
    state_max_bytes := pos_integer() | infinity,
    cache_max_entries := pos_integer() | infinity,
    cache_max_bytes := pos_integer() | infinity,
    pubsub_backlog := pos_integer(),
    pubsub_backlog_bytes := pos_integer(),
    pubsub_backlog_age := pos_integer(),
    %% Milliseconds.
    task_result_ttl := pos_integer(),
    task_limit := pos_integer(),
    rpc_allow := hornbeam_rpc_allow:allowed(),
    cluster := hornbeam_cluster_options:cluster(),
    %% Modules that Erlang code may call as ErlPort does.
    erlport := [binary()],
    pythonpath := [binary()],
    python := binary() | undefined,
    venv := binary() | undefined,
    %% Ordered by name, each name once.
    env := [{Name :: binary(), Value :: binary() | false}],
    loop := auto | asyncio | uvloop,
    lifespan := auto | on | off,
    lifespan_timeout := pos_integer(),
    %% Requests of one ASGI worker.
    max_concurrent := pos_integer(),
    websocket_timeout := pos_integer() | infinity,
    websocket_ping_interval := pos_integer() | infinity,
    websocket_max_frame_size := pos_integer(),
    websocket_compress := boolean(),
    hooks := #{on_request | on_response | on_error => fun()}
}.

%% The part of it that a node has once, whatever it serves.
-type services() :: #{
    state_max_entries := pos_integer() | infinity,
    state_max_bytes := pos_integer() | infinity,
    cache_max_entries := pos_integer() | infinity,
    cache_max_bytes := pos_integer() | infinity,
    pubsub_backlog := pos_integer(),
    pubsub_backlog_bytes := pos_integer(),
    pubsub_backlog_age := pos_integer(),
    task_result_ttl := pos_integer(),
    task_limit := pos_integer(),
    rpc_allow := hornbeam_rpc_allow:allowed(),
    remote_clients := non_neg_integer(),
    cluster := hornbeam_cluster_options:cluster(),
    _ => _
}.

-type reason() ::
    hornbeam_app_spec:reason()
    | {bad_option, Key :: atom(), {expected, Text :: binary(), got, Value :: term()}}
    | {unknown_option, Key :: term(), {did_you_mean, Nearest :: atom()}}
    | {bad_options, Value :: term(), Text :: binary()}.

%% @doc The complete, normalised configuration, or the first thing that is wrong with it.
%% `Env' is what `application:get_all_env(hornbeam)' returns.
-spec check(term(), term(), [{atom(), term()}]) -> {ok, config()} | {error, reason()}.
check(AppSpec, Options, Env) when is_map(Options) ->
    Given = given(Options, Env),
    Schema = hornbeam_options_schema:options(),
    case hornbeam_app_spec:check(AppSpec) of
        {ok, App} ->
            steps(#{app => App}, [
                fun(Config) -> known(Given, Schema, Config) end,
                fun(Config) -> fill(Schema, Given, Config) end,
                fun together/1,
                fun hornbeam_options_tls:together/1
            ]);
        {error, _} = Error ->
            Error
    end;
check(_, Options, _) ->
    {error, {bad_options, Options, <<"options are given as a map, #{workers => 4}">>}}.

%% @doc The same for a node without an application: the options of its services alone.
-spec check_node(#{atom() | binary() => term()}, [{atom(), term()}]) ->
    {ok, services()} | {error, reason()}.
check_node(Options, Env) ->
    Schema = hornbeam_options_schema:node_options(),
    Keys = [Key || #{key := Key} <- Schema],
    Given = maps:merge(maps:with(Keys, given(#{}, Env)), Options),
    steps(#{}, [
        fun(Config) -> known(Options, Schema, Config) end,
        fun(Config) -> fill(Schema, Given, Config) end
    ]).

%% An OTP release adds a key to every environment.
given(Options, Env) ->
    maps:merge(maps:from_list(lists:keydelete(included_applications, 1, Env)), Options).

%% @doc One option that depends on no other, as check/3 takes it from the environment.
-spec value(Key :: atom(), [{atom(), term()}]) -> {ok, term()} | {error, reason()}.
value(Key, Env) ->
    [Option] = [O || #{key := K} = O <- hornbeam_options_schema:options(), K =:= Key],
    checked(Option, maps:from_list(Env), #{}).

steps(Config, []) ->
    {ok, Config};
steps(Config0, [Step | Steps]) ->
    case Step(Config0) of
        {ok, Config} -> steps(Config, Steps);
        {error, _} = Error -> Error
    end.

known(Given, Schema, Config) ->
    Keys = [Key || #{key := Key} <- Schema],
    case lists:sort(maps:keys(Given) -- Keys) of
        [] -> {ok, Config};
        [Unknown | _] -> {error, {unknown_option, Unknown, {did_you_mean, nearest(Unknown, Keys)}}}
    end.

nearest(Unknown, Keys) ->
    Name = unicode:characters_to_list(io_lib:format("~ts", [shown_name(Unknown)])),
    hornbeam_options_nearest:nearest(Name, [{atom_to_list(Key), Key} || Key <- Keys]).

shown_name(Key) when is_atom(Key) -> atom_to_list(Key);
shown_name(Key) ->
    case hornbeam_options_type:text(Key) of
        {ok, Text} -> Text;
        error -> show(Key)
    end.

fill([#{key := Key} = Option | Schema], Given, Config) ->
    case checked(Option, Given, Config) of
        {ok, Value} -> fill(Schema, Given, Config#{Key => Value});
        {error, _} = Error -> Error
    end;
fill([], _, Config) ->
    {ok, Config}.

checked(#{key := Key, type := Type} = Option, Given, Config) ->
    Value = case Given of
        #{Key := Value0} -> Value0;
        #{} -> default(maps:get(default, Option), Config)
    end,
    case hornbeam_options_type:check(Type, Value) of
        {ok, Normal} -> {ok, normal(Key, Normal)};
        error -> {error, bad(Option, <<>>, Value)};
        {error, What} -> {error, bad(Option, <<" (", What/binary, ")">>, Value)}
    end.

default({value, Value}, _) -> Value;
default({derived, Derive, _}, Config) -> Derive(Config).

normal(max_requests, 0) -> infinity;
normal(verify, verify_none) -> none;
normal(verify, verify_peer) -> required;
normal(_, Value) -> Value.

bad(#{key := Key, type := Type} = Option, What, Value) ->
    Got = case Option of
        #{hidden := true} -> hidden;
        _ -> Value
    end,
    {bad_option, Key, {expected, <<(hornbeam_options_type:expected(Type))/binary, What/binary>>,
        got, Got}}.

%% What one option alone cannot show: that with another it has no effect.
together(#{python := Python, venv := Venv}) when is_binary(Python), is_binary(Venv) ->
    {error, {bad_option, python, {expected,
        <<"no value, since venv is given and has an interpreter">>, got, Python}}};
together(#{max_requests := infinity, max_requests_jitter := Jitter}) when Jitter > 0 ->
    {error, {bad_option, max_requests_jitter, {expected, <<"0, since max_requests is not given">>,
        got, Jitter}}};
together(#{workers := 0, remote_workers := 0}) ->
    {error, {bad_option, workers, {expected,
        <<"at least 1, since no remote_workers may attach themselves">>, got, 0}}};
together(Config) ->
    {ok, Config}.

%% @doc The options as a Markdown table, for the README.
-spec document() -> binary().
document() ->
    Rows = [document_row(Option) || Option <- hornbeam_options_schema:options()],
    iolist_to_binary(["| option | default | unit | meaning |\n|---|---|---|---|\n" | Rows]).

document_row(#{key := Key, default := Default, unit := Unit, doc := Doc}) ->
    ["| `", atom_to_list(Key), "` | ", document_default(Default), " | ", Unit, " | ", Doc,
        " |\n"].

document_default({value, Value}) -> ["`", show(Value), "`"];
document_default({derived, _, Text}) -> Text.

%% @doc One sentence for people, UTF-8: what is wrong, and what to do.
-spec format_error(reason() | term()) -> binary().
format_error(Reason) ->
    iolist_to_binary(sentence(Reason)).

sentence({bad_app, Value, What}) ->
    ["The application ", show(Value), " is not of the form \"module:callable\": ", What, "."];
sentence({bad_option, Key, {expected, Text, got, hidden}}) ->
    ["The option ", atom_to_list(Key), " is wrong: expected ", Text, "."];
sentence({bad_option, Key, {expected, Text, got, Value}}) ->
    ["The option ", atom_to_list(Key), " is wrong: expected ", Text, ", got ", show(Value), "."];
sentence({unknown_option, Key, {did_you_mean, none}}) ->
    ["There is no option ", show(Key), "; remove it."];
sentence({unknown_option, Key, {did_you_mean, Nearest}}) ->
    ["There is no option ", show(Key), "; did you mean ", atom_to_list(Nearest), "?"];
sentence({bad_options, Value, Text}) ->
    ["The options are wrong: ", Text, ", got ", show(Value), "."];
sentence(Reason) ->
    %% A process below that crashed: its log says more.
    ["The start failed: ", show(Reason), "."].

%% Cut short: the value can be anything. As UTF-8, so that the result is iodata.
show(Value) ->
    unicode:characters_to_binary(io_lib:format("~tp", [Value], [{chars_limit, 200}])).
