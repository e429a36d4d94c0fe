%% SPDX-License-Identifier: Apache-2.0
%% @doc The node's half of the `hornbeam' command: starts the one application it was started for.
%%
%% Runs in: two processes of its own, spawned by `main/0' so that the emulator's boot ends and
%% SIGTERM is obeyed while the application still loads. One starts the application, says where it
%% serves, or stops the node with the reason and status 1. The other reads standard input, a pipe
%% that the command holds open: at its end the command is gone, and the node follows it.
-module(hornbeam_command).

-export([main/0, restore_home/0]).

-define(VARIABLE, "HORNBEAM_COMMAND").

%% @doc Called by `erl -s hornbeam_command main'; returns at once.
-spec main() -> ok.
main() ->
    ok = restore_home(),
    {App, Options} = request(),
    _ = spawn(fun follow_command/0),
    _ = spawn(fun() -> watch(App, Options) end),
    ok.

%% @doc The emulator has read its cookie from a home directory of its own, which goes now: whoever
%% made it may be killed before it can remove it. What this node starts has the user's.
-spec restore_home() -> ok.
restore_home() ->
    case os:getenv("HORNBEAM_HOME") of
        false ->
            ok;
        Home ->
            Private = os:getenv("HOME"),
            ok = file:delete(filename:join(Private, ".erlang.cookie")),
            %% Whatever else may be in it is not ours.
            _ = file:del_dir(Private),
            true = os:unsetenv("HORNBEAM_HOME"),
            true = os:putenv("HOME", Home),
            ok
    end.

%% The term the command left in the environment, where the workers must not find it.
request() ->
    Hex = os:getenv(?VARIABLE, ""),
    true = os:unsetenv(?VARIABLE),
    %% Once the module is loaded, the names of options and of their values are known to the decoder.
    _ = hornbeam_options_schema:options(),
    {_App, _Options} = binary_to_term(binary:decode_hex(list_to_binary(Hex)), [safe]).

%% No deadline: it waits for as long as the command lives.
follow_command() ->
    case io:get_line(standard_io, "") of
        eof -> init:stop();
        {error, _} -> init:stop();
        _Ignored -> follow_command()
    end.

%% A crash while starting is a bug and was logged with its stack; the node must not idle after it.
watch(App, Options) ->
    {Pid, Monitor} = spawn_monitor(fun() -> start(App, Options) end),
    receive
        {'DOWN', Monitor, process, Pid, normal} -> ok;
        {'DOWN', Monitor, process, Pid, Reason} -> fail(io_lib:format("~tp", [Reason]))
    end.

start(App, Options) ->
    case hornbeam:start(App, Options) of
        ok -> announce(hornbeam:info(), interface(Options));
        {error, Reason} -> fail(hornbeam:format_error(Reason))
    end.

interface(#{worker_class := asgi}) -> <<"asgi">>;
interface(#{worker_class := wsgi}) -> <<"wsgi">>;
interface(#{}) -> <<"wsgi">>.

announce(#{app := App, addresses := Addresses}, Interface) ->
    {ok, Version} = application:get_key(hornbeam, vsn),
    io:format("Hornbeam ~ts serves ~ts (~ts) on ~ts~ts~n",
        [Version, App, Interface, lists:join(", ", Addresses), as_node(node())]).

as_node(nonode@nohost) -> "";
as_node(Node) -> [" as ", atom_to_list(Node)].

fail(Text) ->
    io:format(standard_error, "hornbeam: ~ts~n", [Text]),
    init:stop(1).
