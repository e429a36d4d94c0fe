%% SPDX-License-Identifier: Apache-2.0
%% @doc The node that a Python program starts for itself (`hornbeam_erlang.start'): the program is a
%% client of it, over two pipes, and the node ends when they do, however the program has ended.
%%
%% Runs in: two processes of its own, spawned by `main/0' so that the emulator's boot ends. One
%% starts the node and attaches the program, or tells it why not; the other waits for the end of
%% both.
-module(hornbeam_embedded).

-export([main/0, watch/1]).
-export_type([request/0]).

-include("hornbeam_wire.hrl").

-define(VARIABLE, "HORNBEAM_EMBEDDED").
%% Milliseconds for an orderly end.
-define(END_TIMEOUT, 5000).

%% In, Out: see `hornbeam_port:descriptors()'. The rest are options of the node, by name.
-type request() :: {In :: non_neg_integer(), Out :: non_neg_integer(), #{binary() => term()}}.

%% @doc Called by `erl -s hornbeam_embedded main'; returns at once.
-spec main() -> ok.
main() ->
    ok = hornbeam_command:restore_home(),
    Request = request(),
    _ = spawn(?MODULE, watch, [Request]),
    ok.

%% The term that the program left in the environment, where what this node starts must not find it.
-spec request() -> request().
request() ->
    Hex = os:getenv(?VARIABLE, ""),
    true = os:unsetenv(?VARIABLE),
    {_In, _Out, _Options} = binary_to_term(binary:decode_hex(list_to_binary(Hex)), [safe]).

%% @doc Start, and wait for the end. No deadline: the node lives as long as the program's end of the
%% pipes. A crash while starting is a bug and was logged with its stack; the node must not idle
%% after it.
-spec watch(request()) -> no_return().
watch(Request) ->
    Self = self(),
    {Starter, Monitor} = spawn_monitor(fun() -> Self ! {started, start(Request)} end),
    receive
        {started, {ok, Client}} -> follow(Client);
        {started, {error, _}} -> halt(1);
        {'DOWN', Monitor, process, Starter, Reason} -> exit(crashed(Reason))
    end.

%% Slower than halt/1, and the log is written.
crashed(Reason) ->
    ok = init:stop(1),
    Reason.


-spec follow(pid()) -> no_return().
follow(Client) ->
    Monitor = monitor(process, Client),
    receive
        {'DOWN', Monitor, process, Client, _} -> stop()
    end.

%% Whoever reads what is written here may be gone: it is not waited for. `init:stop/0' takes a
%% second.
-spec stop() -> no_return().
stop() ->
    {ok, _} = timer:apply_after(?END_TIMEOUT, erlang, halt, [1, [{flush, false}]]),
    _ = application:stop(hornbeam),
    halt(0, [{flush, false}]).

start({In, Out, Options}) ->
    _ = application:load(hornbeam),
    case check(Options) of
        {ok, Config} ->
            {ok, _} = application:ensure_all_started(hornbeam),
            ok = hornbeam:configure(Config),
            hornbeam_clients:attach(#{descriptors => {In, Out}});
        {error, Reason} ->
            ok = refuse({In, Out}, unicode:characters_to_binary(hornbeam:format_error(Reason))),
            {error, Reason}
    end.

check(Options) ->
    %% Once these modules are loaded, the names of options and of their parts have atoms.
    _ = {hornbeam_options_schema:node_options(), hornbeam_cluster_options:none()},
    case hornbeam_options:check_node(named(Options), application:get_all_env(hornbeam)) of
        {ok, Config} -> possible(hornbeam_cluster_options:is_possible(Config), Config);
        {error, _} = Error -> Error
    end.

possible(ok, Config) -> {ok, Config};
possible({error, _} = Error, _) -> Error.

%% What has no atom is no option, nor a part of one, and is refused as that.
named(#{} = Options) ->
    maps:fold(fun(Name, Value, Map) -> Map#{existing(Name) => named(Value)} end, #{}, Options);
named(Value) ->
    Value.

existing(Name) ->
    try
        binary_to_existing_atom(Name)
    catch
        error:badarg -> Name
    end.

%% ERROR is legal at any time, also before HELLO (PROTOCOL.md, section 4).
refuse(Descriptors, Text) ->
    {ok, Port} = hornbeam_port:open(#{descriptors => Descriptors}),
    Error = {?ERROR, <<"bad_option">>, hornbeam_wire:cut_text(Text)},
    _ = hornbeam_port:send(Port, hornbeam_wire:encode([Error])),
    hornbeam_port:close(Port).
