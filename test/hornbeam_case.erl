%% SPDX-License-Identifier: Apache-2.0
%% @doc What the suites share: a node that serves test/apps, conditions to wait for, figures of
%% processes.
-module(hornbeam_case).

-export([all/1, init_quiet_suite/1, end_quiet_suite/1, start/1, start/2, python/0, root/0, apps/0]).
-export([port/0, pids/0, pid/0, fetch/1, fetch/2, await/1, await/2, await_idle/0, async/1]).
-export([doc/1, rss/1, alive/1, quiet/1, free_port/1]).

-define(PATIENCE, 60000).

%% @doc The cases of a suite: every function of one argument but callbacks and helpers, `do_…'.
-spec all(module()) -> [atom()].
all(Suite) ->
    Callbacks = [module_info, init_per_suite, end_per_suite],
    [
        Name
     || {Name, 1} <- Suite:module_info(exports),
        not lists:member(Name, Callbacks),
        string:prefix(atom_to_list(Name), "do_") =:= nomatch
    ].

%% @doc Start the application for a suite whose failures are meant to happen: nothing is logged
%% until its end.
-spec init_quiet_suite(Config) -> Config when Config :: [{atom(), term()}].
init_quiet_suite(Config) ->
    {ok, _} = application:ensure_all_started(hornbeam),
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, none),
    [{level, Level} | Config].

-spec end_quiet_suite([{atom(), term()}]) -> ok | {error, term()}.
end_quiet_suite(Config) ->
    {level, Level} = lists:keyfind(level, 1, Config),
    ok = logger:set_primary_config(level, Level),
    application:stop(hornbeam).

%% @doc Log the sentence that a case checks.
-spec doc(string()) -> ok.
doc(Sentence) ->
    ct:comment(Sentence),
    ct:pal("~s", [Sentence]).

-spec root() -> file:filename().
root() ->
    Parts = filename:split(code:lib_dir(hornbeam)),
    Build = lists:takewhile(fun(Part) -> Part =/= "_build" end, Parts),
    filename:join(Build).

-spec apps() -> file:filename().
apps() -> filename:join([root(), "test", "apps"]).

%% @doc The interpreter of the project's virtual environment: it has the compiled codec.
-spec python() -> file:filename().
python() -> filename:join([root(), ".venv", "bin", "python"]).

%% @doc Serve `wsgi_apps:application' on a port that the kernel chooses; the port.
-spec start(map()) -> inet:port_number().
start(Options) ->
    start("wsgi_apps:application", Options).

-spec start(string(), map()) -> inet:port_number().
start(App, Options) ->
    Defaults = #{bind => "127.0.0.1:0", python => python(), pythonpath => [apps()], workers => 1},
    ok = hornbeam:start(App, maps:merge(Defaults, Options)),
    port().

%% @doc The port of the first address.
-spec port() -> inet:port_number().
port() ->
    #{addresses := [Address | _]} = hornbeam:info(),
    [_, Port] = string:split(Address, ":", trailing),
    binary_to_integer(Port).

%% @doc A port that nobody uses, for what has to know its port before: none of those that the kernel
%% gives to whoever asks for port 0, which would be somebody's the next moment.
-spec free_port(inet:ip4_address()) -> inet:port_number().
free_port(Address) ->
    Port = 10000 + rand:uniform(20000),
    case gen_tcp:listen(Port, [{ip, Address}, {reuseaddr, true}]) of
        {ok, Socket} -> ok = gen_tcp:close(Socket), Port;
        {error, eaddrinuse} -> free_port(Address)
    end.

%% @doc Process ids of the Python workers that are there now.
-spec pids() -> [pos_integer()].
pids() ->
    #{workers := Workers} = hornbeam:info(),
    [Pid || #{os_pid := Pid} <- Workers, is_integer(Pid)].

-spec pid() -> pos_integer().
pid() ->
    [Pid] = pids(),
    Pid.

%% @doc Status and body of a GET on a connection of its own.
-spec fetch(inet:port_number(), iodata()) -> {100..999, binary()} | tuple().
fetch(Port, Target) ->
    Request = ["GET ", Target, " HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"],
    case raw_http:exchange(Port, Request) of
        {Status, _, Body, _} -> {Status, Body};
        Other -> Other
    end.

-spec fetch(iodata()) -> {100..999, binary()} | tuple().
fetch(Target) -> fetch(port(), Target).

%% @doc Wait until the condition holds; fails after a minute, or after the given milliseconds.
-spec await(fun(() -> boolean())) -> ok.
await(Condition) ->
    await(Condition, ?PATIENCE).

-spec await(fun(() -> boolean()), pos_integer()) -> ok.
await(Condition, Patience) ->
    await_until(Condition, erlang:monotonic_time(millisecond) + Patience).

await_until(Condition, Deadline) ->
    case Condition() of
        true ->
            ok;
        false ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true ->
                    receive
                    after 20 -> await_until(Condition, Deadline)
                    end;
                false ->
                    error({condition_not_met, Condition})
            end
    end.

%% @doc Wait until no stream is open, nothing waits, and no worker holds a request. The end of a
%% stream follows what its client reads.
-spec await_idle() -> ok.
await_idle() ->
    await(fun() ->
        #{open := Open, queued := Queued, workers := Workers} = hornbeam:info(),
        {Open, Queued, lists:usort([L || #{load := L} <- Workers])} =:= {0, 0, [0]}
    end).

%% @doc Run in a process of its own; the function that is returned waits for the result.
-spec async(fun(() -> Result)) -> fun(() -> Result).
async(Fun) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({result, Fun()}) end),
    fun() ->
        receive
            {'DOWN', Monitor, process, Pid, {result, Result}} -> Result;
            {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
        after ?PATIENCE + 10000 -> error(timeout)
        end
    end.

%% @doc Resident memory of a process, bytes.
-spec rss(pos_integer() | string()) -> non_neg_integer().
rss(Pid) when is_integer(Pid) ->
    rss(integer_to_list(Pid));
rss(Pid) ->
    {ok, Status} = file:read_file(filename:join(["/proc", Pid, "status"])),
    {match, [Kib]} = re:run(Status, "VmRSS:\\s+([0-9]+) kB", [{capture, all_but_first, list}]),
    list_to_integer(Kib) * 1024.

-spec alive(pos_integer()) -> boolean().
alive(Pid) ->
    filelib:is_dir(filename:join("/proc", integer_to_list(Pid))).

%% @doc Run without the log of failures that are meant to happen.
-spec quiet(fun(() -> Result)) -> Result.
quiet(Fun) ->
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, none),
    try
        Fun()
    after
        ok = logger:set_primary_config(level, Level)
    end.
