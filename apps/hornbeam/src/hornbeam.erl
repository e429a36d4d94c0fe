%% SPDX-License-Identifier: Apache-2.0
%% @doc Serve a Python web application from this node.
%%
%% ```
%% ok = hornbeam:start("myapp:application", #{workers => 4}).
%% '''
%% Everything here runs in the calling process; nothing is left running when a start fails.
-module(hornbeam).

-export([start/1, start/2, stop/0, info/0, reload_certificates/0, format_error/1]).
-export([register_function/2, register_function/3, unregister_function/1]).
-export([configure/1]).
-export_type([reason/0]).

%% The one application that is served at the root.
-define(NAME, root).
%% Bytes under way per exchange, in each direction.
-define(WINDOW, 262144).
%% Milliseconds between signs of life of a worker.
-define(HEARTBEAT, 1000).
%% Milliseconds a worker may take to load the application.
-define(BOOT_TIMEOUT, 120000).
%% What a worker that has nothing left to do may take to end, milliseconds, beside its lifespan.
-define(STOP_TIMEOUT, 5000).

-type reason() ::
    hornbeam_options:reason()
    | {no_python, binary()}
    | {already_started, binary()}
    | {app_failed, Name :: binary(), Text :: binary()}
    | hornbeam_certificates:reason()
    | {listen, Address :: binary(), inet:posix() | term()}
    | boot_timeout
    | {not_distributed, Option :: atom()}
    | stopped
    | term().

%% @doc As `start(AppSpec, #{})'.
-spec start(string() | binary()) -> ok | {error, reason()}.
start(AppSpec) ->
    start(AppSpec, #{}).

%% @doc Load the application in every worker, then listen. AppSpec: `module:callable',
%% `module:obj.attr' or `module:factory()'. The options are those of the README; they win over the
%% environment of the OTP application `hornbeam' (sys.config). The error is for `format_error/1'.
-spec start(string() | binary(), map()) -> ok | {error, reason()}.
start(AppSpec, Options) ->
    _ = application:load(hornbeam),
    case hornbeam_options:check(AppSpec, Options, application:get_all_env(hornbeam)) of
        {ok, Config} -> start_in_cluster(Config);
        {error, _} = Error -> Error
    end.

start_in_cluster(Config) ->
    case hornbeam_cluster_options:is_possible(Config) of
        ok -> start_python(Config);
        {error, _} = Error -> Error
    end.

start_python(Config) ->
    {ok, _} = application:ensure_all_started(hornbeam),
    case {hornbeam_python:interpreter(Config), hornbeam_pool:lookup(?NAME)} of
        {{ok, Python}, error} -> start_pool(Python, Config);
        {{ok, _}, {ok, Pool}} -> already_started(Pool);
        {{error, _} = Error, _} -> Error
    end.

already_started(Pool) ->
    {error, {already_started, maps:get(app, hornbeam_pool:config(Pool))}}.

start_pool(Python, #{workers := Size} = Config) ->
    %% An alias: what workers report after this start is over reaches nobody.
    Starter = alias(),
    case locked(fun() -> claim(worker_options(Python, Starter, Config), Config) end) of
        {ok, Pool, Supervisor} ->
            Monitor = monitor(process, Supervisor),
            Booted = await_workers(Size, deadline(boot_timeout(Config)), Starter, Monitor),
            _ = demonitor(Monitor, [flush]),
            ok = forget(Starter),
            locked(fun() -> served(Booted, Pool, Config) end);
        {error, _} = Error ->
            ok = forget(Starter),
            Error
    end.

%% Starts and stops take turns, but for the loading of the application, which a stop may interrupt.
locked(Fun) ->
    global:trans({?MODULE, self()}, Fun, [node()]).

claim(Options, Config) ->
    case hornbeam_pool:lookup(?NAME) of
        {ok, Pool} ->
            already_started(Pool);
        error ->
            case hornbeam_tls:open(?NAME, Config) of
                ok -> claim_pool(Options, Config);
                {error, _} = Error -> Error
            end
    end.

claim_pool(Options, Config) ->
    ok = configure(Config),
    Pool = hornbeam_pool:new(?NAME, pool_config(Options, Config)),
    case hornbeam_pools_sup:start_pool(?NAME, Pool, Options) of
        {ok, Supervisor} -> {ok, Pool, Supervisor};
        {error, _} = Error -> undo(Error)
    end.

%% `remote': what workers that attach themselves have in common with the node's own.
pool_config(Options, #{workers := Local, remote_workers := Remote} = Config) ->
    Kept = [app, queue_limit, queue_timeout, erlport, remote_workers, remote_labels],
    (maps:with(Kept, Config))#{
        size => Local + Remote,
        local => Local,
        remote => Options
    }.

%% @doc Set the options of the services of this node (`hornbeam_options:check_node/2'), which all
%% its applications and clients have in common.
-spec configure(hornbeam_options:services()) -> ok.
configure(Config) ->
    ok = hornbeam_state_bounds:set_limits(Config),
    ok = hornbeam_clients:configure(Config),
    ok = hornbeam_cache_server:configure(Config),
    ok = hornbeam_pubsub_registry:configure(Config),
    ok = hornbeam_rpc_allow:set(maps:get(rpc_allow, Config)),
    ok = hornbeam_cluster_join:configure(maps:get(cluster, Config)),
    hornbeam_tasks:configure(Config).

%% Whoever stopped this start meanwhile left nothing of it; what is there now is somebody else's.
served(Booted, Pool, Config) ->
    case {hornbeam_pool:lookup(?NAME), Booted} of
        {{ok, Pool}, ok} -> listen(Pool, Config);
        {{ok, Pool}, {error, _}} -> undo(Booted);
        {_, {error, _}} -> Booted;
        {_, ok} -> {error, stopped}
    end.

worker_options(Python, Starter, Config) ->
    #{env := Env} = Config,
    Kept = [timeout, worker_class, threads, max_concurrent, max_requests, max_requests_jitter],
    (maps:with(Kept, Config))#{
        python => Python,
        env => [{unicode:characters_to_list(K), value(V)} || {K, V} <- Env],
        response_window => ?WINDOW,
        request_window => ?WINDOW,
        heartbeat => ?HEARTBEAT,
        boot_timeout => boot_timeout(Config),
        stop_timeout => ?STOP_TIMEOUT + lifespan_timeout(Config),
        starter => Starter,
        boot => boot(Config)
    }.

boot_timeout(Config) -> ?BOOT_TIMEOUT + lifespan_timeout(Config).

%% What an application may take for its startup, and for its shutdown, in milliseconds.
lifespan_timeout(#{worker_class := asgi, lifespan := Mode, lifespan_timeout := Timeout}) when
    Mode =/= off
->
    Timeout;
lifespan_timeout(_) ->
    0.

%% PROTOCOL.md, section 4.1.
boot(#{app := App, worker_class := Interface} = Config) ->
    #{workers := Size, remote_workers := Remote} = Config,
    #{pythonpath := PythonPath, threads := Threads, loop := Loop, lifespan := Lifespan} = Config,
    #{
        <<"app">> => App,
        <<"interface">> => atom_to_binary(Interface),
        <<"pythonpath">> => PythonPath,
        <<"threads">> => Threads,
        <<"script_name">> => <<>>,
        <<"response_window">> => ?WINDOW,
        <<"request_window">> => ?WINDOW,
        <<"heartbeat">> => ?HEARTBEAT,
        <<"multiprocess">> => Size + Remote > 1,
        <<"erlport">> => maps:get(erlport, Config) =/= [],
        <<"loop">> => atom_to_binary(Loop),
        <<"lifespan">> => atom_to_binary(Lifespan),
        <<"lifespan_timeout">> => maps:get(lifespan_timeout, Config),
        <<"max_concurrent">> => maps:get(max_concurrent, Config)
    }.

value(false) -> false;
value(Value) -> unicode:characters_to_list(Value).

deadline(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

await_workers(0, _, _, _) ->
    ok;
await_workers(N, Deadline, Starter, Monitor) ->
    receive
        {Starter, _, ready} -> await_workers(N - 1, Deadline, Starter, Monitor);
        {Starter, _, {failed, Reason}} -> {error, Reason};
        {'DOWN', Monitor, process, _, _} -> {error, stopped}
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        {error, boot_timeout}
    end.

forget(Starter) ->
    _ = unalias(Starter),
    flush(Starter).

flush(Starter) ->
    receive
        {Starter, _, _} -> flush(Starter)
    after 0 -> ok
    end.

listen(Pool, #{bind := Binds} = Config) ->
    Options = (maps:with([num_acceptors, max_connections, graceful_timeout], Config))#{
        binds => Binds,
        pool => Pool,
        tls => hornbeam_listener_options:tls(Config),
        cowboy => hornbeam_listener_options:cowboy(Config, ?NAME, Pool, ?WINDOW)
    },
    case hornbeam_listeners_sup:start_listener(?NAME, Options) of
        {ok, _} -> ok;
        {error, {{shutdown, Reason}, _Child}} -> undo({error, Reason});
        {error, Reason} -> undo({error, Reason})
    end.

undo(Error) ->
    ok = stop_all(),
    Error.

%% @doc Stop accepting, let open requests finish within `graceful_timeout', end the workers. A start
%% that is still loading the application returns `{error, stopped}'.
-spec stop() -> ok.
stop() ->
    locked(fun stop_all/0).

stop_all() ->
    _ = whereis(hornbeam_listeners_sup) =/= undefined andalso stop_children(),
    hornbeam_pool:delete(?NAME).

stop_children() ->
    _ = hornbeam_listeners_sup:stop_listener(?NAME),
    ok = hornbeam_tls:close(?NAME),
    ok = hornbeam_cluster_join:configure(hornbeam_cluster_options:none()),
    hornbeam_pools_sup:stop_pool(?NAME).

%% @doc What is served where, and the state of queue and workers.
-spec info() ->
    #{status := stopped}
    | #{status := running, app := binary(), addresses := [binary()], open := integer(),
        queued := integer(), websockets := non_neg_integer(), workers := [map()],
        %% The hornbeam nodes of the cluster, with this one.
        cluster := #{node() => #{hooks := [binary()], functions := [binary()]}}}.
info() ->
    case hornbeam_pool:lookup(?NAME) of
        error ->
            #{status => stopped};
        {ok, Pool} ->
            #{app := App} = hornbeam_pool:config(Pool),
            Workers = workers(Pool),
            #{
                status => running,
                app => App,
                addresses => addresses(),
                open => hornbeam_pool:open_count(Pool),
                queued => hornbeam_pool:queued(Pool),
                websockets => lists:sum([N || #{websockets := N} <- Workers]),
                workers => Workers,
                cluster => hornbeam_cluster:nodes()
            }
    end.

%% Those from other machines that have left are still in their slots.
workers(Pool) ->
    [Info || Pid <- hornbeam_pool:workers(Pool), {ok, Info} <- [hornbeam_worker:info(Pid)]].

addresses() ->
    lists:append([hornbeam_listener:addresses(P) || P <- hornbeam_listeners_sup:listeners()]).

%% @doc Read the files of `certfile', `keyfile' and `cacertfile' again: new connections get what is
%% in them, those that are open go on. When something is wrong with them all stays as it is. The
%% server looks for changed files itself every few seconds; this is for those who want to know.
-spec reload_certificates() -> ok | {error, hornbeam_certificates:reason() | no_tls}.
reload_certificates() ->
    case hornbeam_listeners_sup:listeners() of
        [Listener] -> hornbeam_listener:reload_certificates(Listener);
        [] -> {error, no_tls}
    end.

%% @doc Make a fun of one argument, the list of what Python passes, callable as `call(Name, …)'.
-spec register_function(hornbeam_functions:name(), fun(([term()]) -> term())) -> ok.
register_function(Name, Fun) ->
    {ok, _} = application:ensure_all_started(hornbeam),
    hornbeam_functions:register(Name, Fun).

%% @doc Make `Module:Function' callable as `call(Name, …)'; it gets the arguments spread.
-spec register_function(hornbeam_functions:name(), module(), atom()) -> ok.
register_function(Name, Module, Function) ->
    {ok, _} = application:ensure_all_started(hornbeam),
    hornbeam_functions:register(Name, Module, Function).

-spec unregister_function(hornbeam_functions:name()) -> ok.
unregister_function(Name) ->
    {ok, _} = application:ensure_all_started(hornbeam),
    hornbeam_functions:unregister(Name).

%% @doc One clear text for the reason of a failed start.
-spec format_error(reason()) -> iodata().
format_error({no_python, Python}) ->
    ["there is no Python interpreter ", Python, ": set the option python or venv"];
format_error({already_started, App}) ->
    ["this node serves ", App, " already: call hornbeam:stop() first"];
format_error({app_failed, _, Text}) ->
    Text;
format_error({bad_file, Option, Path, What}) ->
    ["the option ", atom_to_list(Option), ": the file ", Path, " ", What];
format_error(no_tls) ->
    "nothing is served over TLS: there is no certificate to reload";
format_error({listen, Address, eaddrinuse}) ->
    ["the address ", Address, " is in use by another program: stop it, or set the option bind"];
format_error({listen, Address, eacces}) ->
    ["this user may not listen on ", Address, ": ports below 1024 need more rights"];
format_error({listen, Address, Reason}) ->
    ["cannot listen on ", Address, ": ", posix(Reason)];
format_error({worker_exited, Status}) ->
    ["the worker ended with status ", io_lib:format("~0p", [Status]),
        " before it had loaded the application; what it printed says why"];
format_error({python, Python, Reason}) ->
    ["cannot run ", Python, ": ", posix(Reason)];
format_error({version_mismatch, Theirs, Ours}) ->
    io_lib:format(
        "the Python package hornbeam speaks protocol versions ~p, this node ~p: install the "
        "version that belongs to this node",
        [Theirs, Ours]
    );
format_error({protocol, {_, Text}}) ->
    ["the worker broke the protocol: ", Text];
format_error({worker_error, Name, Text}) ->
    ["the worker gave the connection up: ", Name, ": ", Text];
format_error({ledger, Path, Reason}) ->
    ["cannot create ", Path, ": ", posix(Reason)];
format_error({not_distributed, Option}) ->
    ["the option ", atom_to_list(Option), " names other nodes, and this node has no name: start it "
        "with hornbeam --name NAME@HOST (or --sname; in Erlang erl -name NAME@HOST; in Python "
        "start(name=...))"];
format_error(stopped) ->
    "the application was stopped while it was being loaded";
format_error(boot_timeout) ->
    ["the application was not loaded within ", integer_to_list(?BOOT_TIMEOUT div 1000),
        " seconds, beside the lifespan_timeout of its startup"];
format_error(Reason) ->
    hornbeam_options:format_error(Reason).

posix(Reason) when is_atom(Reason) -> inet:format_error(Reason);
posix(Reason) -> io_lib:format("~0p", [Reason]).
