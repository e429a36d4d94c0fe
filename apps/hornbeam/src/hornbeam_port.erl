%% SPDX-License-Identifier: Apache-2.0
%% @doc The operating-system process of a worker: start it on a port, kill it. Or the port of a
%% client: of the process that has started this node, and holds the other ends of two pipes.
%%
%% Runs in the worker process, which owns the port. Frames travel on descriptors 3 and 4 of the
%% child, so that whatever the application prints goes where the node's own output goes (OTP:
%% `open_port/2', `nouse_stdio').
-module(hornbeam_port).

-export([open/1, os_pid/1, send/2, close/1, kill/1, library_dir/0]).
-export_type([options/0, descriptors/0]).

-type options() :: #{
    %% Path of the Python interpreter.
    python => binary(),
    %% Variables of the worker's environment; `false' unsets one.
    env => [{Name :: string(), Value :: string() | false}],
    %% Instead of both: a client that is there already.
    descriptors => descriptors(),
    _ => _
}.

%% Inherited by this node's process: what it reads from, what it writes to.
-type descriptors() :: {In :: non_neg_integer(), Out :: non_neg_integer()}.

-define(PACKETS, [
    {packet, 4}, binary, {busy_limits_port, disabled}, {busy_limits_msgq, disabled}
]).

%% @doc Start the interpreter. The port's limits are off: credit bounds what is under way to a
%% worker, and the owner must stay able to act on deadlines while the worker does not read. A client
%% is not started; it ends with `{'EXIT', Port, _}', there is no exit status.
-spec open(options()) -> {ok, port()} | {error, {python, binary(), file:posix() | atom()}}.
open(#{descriptors := {In, Out}}) ->
    {ok, open_port({fd, In, Out}, ?PACKETS)};
open(#{python := Python, env := Env}) ->
    Options = [
        nouse_stdio, exit_status,
        {args, ["-m", "hornbeam_erlang.worker"]},
        {env, environment(Env)}
        | ?PACKETS
    ],
    try
        {ok, open_port({spawn_executable, binary_to_list(Python)}, Options)}
    catch
        error:Reason -> {error, {python, Python, Reason}}
    end.

%% The library that belongs to this node goes in front of what the interpreter has installed.
environment(Env) ->
    case library_dir() of
        {ok, Dir} ->
            Given = proplists:get_value("PYTHONPATH", Env, os:getenv("PYTHONPATH", "")),
            Path = lists:flatten(lists:join($:, [P || P <- [Dir, Given], is_list(P), P =/= ""])),
            lists:keystore("PYTHONPATH", 1, Env, {"PYTHONPATH", Path});
        error ->
            Env
    end.

%% @doc Where the Python half lies beside this application: in a release under priv, in a checkout
%% in the root. `error' where it is installed for the interpreter itself.
-spec library_dir() -> {ok, file:filename()} | error.
library_dir() ->
    case code:priv_dir(hornbeam) of
        {error, bad_name} ->
            error;
        Priv ->
            Places = [filename:join(Priv, "python") | checkout(filename:absname(Priv))],
            case [D || D <- Places, filelib:is_dir(filename:join(D, "hornbeam_erlang"))] of
                [Dir | _] -> {ok, Dir};
                [] -> error
            end
    end.

%% <root>/_build/<profile>/lib/hornbeam/priv and <root>/apps/hornbeam/priv.
checkout(Priv) ->
    Parts = filename:split(Priv),
    Roots = [lists:sublist(Parts, length(Parts) - N) || N <- [3, 5], length(Parts) > N],
    [filename:join(Root ++ ["python"]) || Root <- Roots].

-spec os_pid(port()) -> non_neg_integer() | undefined.
os_pid(Port) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} -> Pid;
        undefined -> undefined
    end.

%% @doc Write one packet; false when the port is closed already (its exit status is on its way).
-spec send(port(), iodata()) -> boolean().
send(Port, Packet) ->
    try
        port_command(Port, Packet)
    catch
        error:badarg -> false
    end.

-spec close(port()) -> ok.
close(Port) ->
    try port_close(Port) of
        true -> ok
    catch
        error:badarg -> ok
    end.

%% @doc SIGKILL: the only signal that a stopped process, or one stuck in C, cannot outlive.
-spec kill(non_neg_integer() | undefined) -> ok.
kill(undefined) ->
    ok;
kill(Pid) ->
    _ = os:cmd("kill -KILL " ++ integer_to_list(Pid) ++ " 2>/dev/null"),
    ok.
