%% SPDX-License-Identifier: Apache-2.0
%% @doc Handlers and functions that only other nodes have: calls, nested calls, streams, deadlines,
%% nodes that stop or die meanwhile.
%%
%% Three nodes: `home' serves an application whose handler is called home, `away' one whose handler
%% is away, `third' has no application. One worker with one thread each.
-module(cluster_calls_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await/1, async/1]).
-import(cluster_nodes, [call/4, call/5, name/1, signal/2]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) ->
    Peers = [cluster_nodes:start(Name) || Name <- [home, away, third]],
    [Home, Away, Third] = Peers,
    Ports = [do_serve(Peer, Handler) || {Peer, Handler} <- [{Home, "home"}, {Away, "away"}]],
    [cluster_nodes:connect(X, Y) || {X, Y} <- [{Home, Away}, {Home, Third}, {Away, Third}]],
    [await(fun() -> 3 =:= map_size(do_nodes(Peer)) end) || Peer <- Peers],
    await(fun() -> do_has(Home, Away, hooks, <<"away">>) end),
    await(fun() -> do_has(Away, Home, hooks, <<"home">>) end),
    [{peers, Peers}, {ports, Ports} | Config].

end_per_suite(Config) ->
    lists:foreach(fun cluster_nodes:stop/1, ?config(peers, Config)).

do_serve(Peer, Handler) ->
    Options = #{
        workers => 1, threads => 1, env => #{"HANDLER" => Handler},
        python => hornbeam_case:python(), pythonpath => [hornbeam_case:apps()]
    },
    call(Peer, hornbeam_case, start, ["cluster_app:application", Options]).

do_nodes(Peer) -> call(Peer, hornbeam_cluster, nodes, []).

%% Whether Peer knows that Other has it.
do_has(Peer, Other, Kind, Name) ->
    Node = name(Other),
    case do_nodes(Peer) of
        #{Node := #{Kind := Names}} -> lists:member(Name, Names);
        #{} -> false
    end.

%% What the application of home answers.
do_ask(Config, Operation, Arguments) -> do_ask(Config, Operation, Arguments, 20000).

do_ask(Config, Operation, Arguments, Timeout) ->
    [Port | _] = ?config(ports, Config),
    {ok, Json} = hornbeam_json:encode(Arguments),
    Request = ["GET /", Operation, "?", uri_string:quote(Json), " HTTP/1.1\r\nhost: a\r\n",
        "connection: close\r\nx-timeout: ", integer_to_list(Timeout), "\r\n\r\n"],
    {200, _, Body, _} = raw_http:exchange(Port, Request),
    binary_to_list(Body).

do_execute(Config, Path, Action, Arguments) ->
    do_ask(Config, "execute", [Path, Action, Arguments]).

do_says(Answer, Pattern) ->
    {match, _} = re:run(Answer, Pattern),
    ok.

do_register(Peer, Path) ->
    call(Peer, hornbeam_hooks, register, [Path, cluster_handlers]).

do_register_function(Peer, Name, Function) ->
    call(Peer, hornbeam, register_function, [Name, cluster_handlers, Function]).

%%% Handlers

executed_on_another_node(Config) ->
    doc("A handler that the caller's node does not have is executed on the node that has it, from "
        "Python and from Erlang; its failure is the one it has at home; an unknown path is "
        "NotRegistered."),
    [Home, _, Third] = ?config(peers, Config),
    ?assertEqual("{\"ok\": 3}", do_execute(Config, <<"away">>, <<"add">>, [1, 2])),
    do_says(do_execute(Config, <<"away">>, <<"fail">>, [<<"x">>]), "HandlerError.*KeyError"),
    do_says(do_execute(Config, <<"nobody">>, <<"x">>, []), "NotRegistered.*nobody"),
    ?assertEqual({ok, 5}, call(Third, hornbeam_hooks, execute, [away, add, [2, 3]])),
    ?assertMatch({error, {<<"handler_error">>, #{<<"type">> := <<"KeyError">>}}},
        call(Third, hornbeam_hooks, execute, [away, fail, [<<"x">>]])),
    ok = do_register(Third, <<"erlang">>),
    await(fun() -> do_has(Home, Third, hooks, <<"erlang">>) end),
    #{cluster := Known} = call(Home, hornbeam, info, []),
    ?assertEqual(#{hooks => [<<"erlang">>], functions => []}, maps:get(name(Third), Known)),
    ?assertEqual({ok, name(Third)},
        call(Home, hornbeam_hooks, execute, [erlang, node_of_handler, []])),
    do_says(do_execute(Config, <<"erlang">>, <<"fail_there">>, [<<"why">>]), "RemoteError.*why"),
    do_says(do_execute(Config, <<"erlang">>, <<"crash_there">>, []), "RemoteError.*broken"),
    ok = call(Third, hornbeam_hooks, unregister, [<<"erlang">>]),
    await(fun() -> not do_has(Home, Third, hooks, <<"erlang">>) end),
    do_says(do_execute(Config, <<"erlang">>, <<"fail_there">>, [1]), "NotRegistered").

own_handlers_first(Config) ->
    doc("A handler that is here, too, is executed here."),
    [Home, Away, _] = ?config(peers, Config),
    [ok = do_register(Peer, <<"both">>) || Peer <- [Home, Away]],
    await(fun() -> do_has(Home, Away, hooks, <<"both">>) end),
    Nodes = [call(Home, hornbeam_hooks, execute, [both, node_of_handler, []]) || _ <- "12345678"],
    ?assertEqual([{ok, name(Home)}], lists:usort(Nodes)),
    [ok = call(Peer, hornbeam_hooks, unregister, [<<"both">>]) || Peer <- [Home, Away]].

every_provider_has_its_share(Config) ->
    doc("Calls of a handler that several other nodes have go to all of them."),
    [Home, Away, Third] = ?config(peers, Config),
    [ok = do_register(Peer, <<"several">>) || Peer <- [Away, Third]],
    [await(fun() -> do_has(Home, Peer, hooks, <<"several">>) end) || Peer <- [Away, Third]],
    Served = [
        call(Home, hornbeam_hooks, execute, [several, node_of_handler, []])
     || _ <- lists:seq(1, 40)
    ],
    ?assertEqual(lists:sort([{ok, name(Away)}, {ok, name(Third)}]), lists:usort(Served)),
    [ok = call(Peer, hornbeam_hooks, unregister, [<<"several">>]) || Peer <- [Away, Third]].

nested_over_nodes(Config) ->
    doc("A handler that calls one of the caller's node, which calls back, eight deep: each runs on "
        "the one thread of its worker, which waits."),
    Path = lists:append(lists:duplicate(4, "\"away\", \"home\", ")),
    ?assertEqual("{\"ok\": [" ++ Path ++ "\"away\"]}",
        do_execute(Config, <<"away">>, <<"bounce">>, [<<"away">>, <<"home">>, 8])).

deadlines_are_carried(Config) ->
    doc("A handler of another node that takes too long is CallTimeout at its caller's deadline, "
        "and is told that nobody waits any more."),
    [Home, Away, _] = ?config(peers, Config),
    do_says(do_ask(Config, "execute", [<<"away">>, <<"sleep">>, [0.8]], 200), "CallTimeout"),
    ?assertEqual({error, timeout},
        call(Home, hornbeam_hooks, execute, [away, sleep, [0.5], #{timeout => 100}])),
    await(fun() -> call(Away, ?MODULE, do_busy, []) =:= 0 end),
    ?assertEqual("{\"ok\": 3}", do_execute(Config, <<"away">>, <<"add">>, [1, 2])).

do_busy() ->
    {ok, Pool} = hornbeam_pool:lookup(root),
    hornbeam_pool:busy(1, Pool).

a_worker_that_dies_there(Config) ->
    doc("Whoever waits for a worker of another node that dies gets NodeDown; the next call waits "
        "for the next worker."),
    do_says(do_execute(Config, <<"away">>, <<"die">>, []), "NodeDown"),
    ?assertEqual("{\"ok\": 3}", do_execute(Config, <<"away">>, <<"add">>, [1, 2])).

tasks_run_elsewhere(Config) ->
    doc("execute_async starts a handler of another node; its result is awaited at home."),
    ?assertEqual("{\"ok\": 5}", do_ask(Config, "task", [<<"away">>, <<"add">>, [2, 3]])).

labels_on_other_nodes(Config) ->
    doc("A handler with labels that nobody here has is looked for on the other nodes, where some "
        "program with them is attached: calls, streams and tasks; with other labels it is "
        "NotRegistered."),
    [Home, Away, Third] = ?config(peers, Config),
    Command = do_attach(Away),
    {os_pid, CommandPid} = erlang:port_info(Command, os_pid),
    try
        [await(fun() -> do_has(Peer, Away, hooks, <<"labelled">>) end) || Peer <- [Home, Third]],
        do_labelled(Config, Third)
    after
        _ = os:cmd("kill " ++ integer_to_list(CommandPid))
    end,
    receive {Command, {exit_status, Status}} -> ?assertEqual(0, Status) end,
    await(fun() -> not do_has(Home, Away, hooks, <<"labelled">>) end).

do_labelled(Config, Third) ->
    Gpu = #{<<"gpu">> => 1},
    {match, [Pid, Pid]} = re:run(do_ask(Config, "labelled", [Gpu]),
        "^{\"ok\": \\[([0-9]+), \\[0, 1, .*, 29\\], ([0-9]+)\\]}$",
        [{capture, all_but_first, list}]),
    ?assertEqual({ok, list_to_integer(Pid)},
        call(Third, hornbeam_hooks, execute, [labelled, pid, [], #{labels => Gpu}])),
    ?assertEqual({ok, list_to_integer(Pid)}, call(Third, hornbeam_hooks, execute, [labelled, pid,
        []])),
    do_says(do_ask(Config, "labelled", [#{<<"gpu">> => 2}]), "NotRegistered").

do_attach(Peer) ->
    Arguments = ["-m", "hornbeam_erlang.worker", "--node", atom_to_list(name(Peer)), "--hooks",
        "cluster_labelled", "--label", "gpu=1", "--app-dir", hornbeam_case:apps()],
    open_port({spawn_executable, hornbeam_case:python()},
        [{args, Arguments}, {env, [{"HORNBEAM_COOKIE", cluster_nodes:cookie()}]}, exit_status]).

%%% Streams

streams_over_nodes(Config) ->
    doc("Items arrive in order, also more than are granted at once; an error comes after the items "
        "before it."),
    [Home, _, Third] = ?config(peers, Config),
    Expected = "{\"ok\": [" ++ lists:join(", ", [integer_to_list(N) || N <- lists:seq(0, 199)]) ++
        "]}",
    ?assertEqual(lists:flatten(Expected),
        do_ask(Config, "stream", [<<"away">>, <<"numbers">>, [200]])),
    do_says(do_ask(Config, "stream", [<<"away">>, <<"some_then_fail">>, []]), "ValueError"),
    Fold = fun(Item, Sum) -> {ok, Sum + Item} end,
    ?assertEqual({ok, 19900},
        call(Third, hornbeam_hooks, stream, [away, numbers, [200], Fold, 0])),
    ok = do_register(Third, <<"items">>),
    await(fun() -> do_has(Home, Third, hooks, <<"items">>) end),
    ?assertEqual({ok, 5050}, call(Home, hornbeam_hooks, stream, [items, items, [100], Fold, 0])),
    ?assertEqual("{\"ok\": [0, 1, 2]}", do_ask(Config, "first", [<<"items">>, <<"endless">>, [],
        3])),
    ok = call(Third, hornbeam_hooks, unregister, [<<"items">>]).

readers_that_leave(Config) ->
    doc("When the reader goes the generator on the other node is closed."),
    File = filename:join(?config(priv_dir, Config), "closed"),
    Arguments = [<<"away">>, <<"watched">>, [list_to_binary(File)], 3],
    ?assertEqual("{\"ok\": [0, 1, 2]}", do_ask(Config, "first", Arguments)),
    await(fun() -> file:read_file(File) =:= {ok, <<"closed">>} end).

credit_stops_the_generator(Config) ->
    doc("A generator on another node is at most three windows of 16 items ahead of its reader."),
    File = filename:join(?config(priv_dir, Config), "produced"),
    "{\"ok\": \"" ++ Far =
        do_ask(Config, "one_by_one", [<<"away">>, <<"produced">>, [list_to_binary(File)], 0.5]),
    {Number, _} = string:to_integer(Far),
    ?assert(Number >= 16),
    ?assert(Number =< 1 + 3 * 16).

%%% Functions

functions_of_other_nodes(Config) ->
    doc("call and cast find a function that only another node has registered; {error, Reason} and "
        "crashes are RemoteError; the node's own function goes first."),
    [Home, _, Third] = ?config(peers, Config),
    [
        ok = do_register_function(Third, Name, Function)
     || {Name, Function} <- [{add, add_there}, {fail, fail_there}, {crash, crash_there},
            {where, node_of_handler}]
    ],
    await(fun() -> do_has(Home, Third, functions, <<"where">>) end),
    ?assertEqual("{\"ok\": 3}", do_ask(Config, "call", [<<"add">>, 1, 2])),
    do_says(do_ask(Config, "call", [<<"fail">>, <<"reason">>]), "RemoteError.*reason"),
    do_says(do_ask(Config, "call", [<<"crash">>]), "RemoteError.*broken"),
    do_says(do_ask(Config, "call", [<<"where">>]), atom_to_list(name(Third))),
    ok = do_register_function(Home, where, node_of_handler),
    do_says(do_ask(Config, "call", [<<"where">>]), atom_to_list(name(Home))),
    ok = call(Home, hornbeam, unregister_function, [where]),
    [ok = call(Third, hornbeam, unregister_function, [N]) || N <- [add, fail, crash, where]],
    await(fun() -> not do_has(Home, Third, functions, <<"where">>) end),
    do_says(do_ask(Config, "call", [<<"add">>, 1, 2]), "NotRegistered").

casts_reach_other_nodes(Config) ->
    doc("cast runs a function of another node without being waited for."),
    [Home, _, Third] = ?config(peers, Config),
    Collector = call(Third, cluster_nodes, collect, [[<<"cast">>]]),
    ok = call(Third, hornbeam, register_function, [tell, hornbeam_pubsub, publish]),
    await(fun() -> do_has(Home, Third, functions, <<"tell">>) end),
    ?assertEqual("{\"ok\": null}", do_ask(Config, "cast", [<<"tell">>, <<"cast">>, 7])),
    await(fun() -> call(Third, cluster_nodes, collected, [Collector]) =:= [7] end),
    ok = call(Third, hornbeam, unregister_function, [tell]).

back_in_the_service_of_another(Config) ->
    doc("A handler of another node calls a function that only its caller's node has."),
    [Home, Away, _] = ?config(peers, Config),
    ok = do_register_function(Home, double, double),
    await(fun() -> do_has(Away, Home, functions, <<"double">>) end),
    ?assertEqual("{\"ok\": 42}",
        do_execute(Config, <<"away">>, <<"back">>, [<<"double">>, 21])),
    ok = call(Home, hornbeam, unregister_function, [double]).

requests_of_other_clients(Config) ->
    doc("What a process that is no worker asks of a node's services by message is found on other "
        "nodes, too, and so are its failures."),
    [Home, _, Third] = ?config(peers, Config),
    [
        ok = do_register_function(Third, Name, Function)
     || {Name, Function} <- [{add, add_there}, {fail, fail_there}]
    ],
    await(fun() -> do_has(Home, Third, functions, <<"fail">>) end),
    Ask = fun(Service, Request) -> call(Home, gen_server, call, [Service, Request, 20000]) end,
    ?assertEqual({ok, 3}, Ask(hornbeam_functions, {call, ["add", 1, 2]})),
    ?assertMatch({error, {remote_error, #{class := <<"return">>, reason := <<"reason">>}}},
        Ask(hornbeam_functions, {call, ["fail", <<"reason">>]})),
    ?assertMatch({error, {not_registered, #{service := <<"nowhere">>}}},
        Ask(hornbeam_functions, {call, ["nowhere"]})),
    ?assertMatch({error, {handler_error, #{type := _}}},
        Ask(hornbeam_hooks, {execute, ["away", "no such action"]})),
    [ok = call(Third, hornbeam, unregister_function, [N]) || N <- [add, fail]].

%%% Nodes that go

a_node_that_is_killed(Config) ->
    doc("kill -9 of the node that serves: calls, streams and function calls are answered NodeDown "
        "at once, calls on other nodes go on, and the others know that it is gone."),
    [Home, Away, _] = ?config(peers, Config),
    Doomed = do_doomed(Home),
    Sleeping = [async(fun() -> do_timed(fun() -> do_waits(Config, Kind) end) end)
        || Kind <- [execute, call, stream, erlang]],
    Other = async(fun() -> call(Home, hornbeam_hooks, execute, [away, sleep, [1.0]]) end),
    await(fun() -> call(Doomed, ?MODULE, do_serving, []) >= 4 end),
    ok = signal("KILL", Doomed),
    [
        begin
            {Answer, Took} = Wait(),
            do_says(io_lib:format("~p", [Answer]), "NodeDown|node_down"),
            ?assert(Took < 18000)
        end
     || Wait <- Sleeping
    ],
    ?assertEqual({ok, <<"slept">>}, Other()),
    await(fun() -> not maps:is_key(name(Doomed), do_nodes(Away)) end),
    do_says(do_execute(Config, <<"doomed">>, <<"sleep_there">>, [1]), "NotRegistered"),
    cluster_nodes:stop(Doomed).

do_doomed(Home) ->
    Doomed = cluster_nodes:start(doomed),
    ok = cluster_nodes:connect(Doomed, Home),
    ok = do_register(Doomed, <<"doomed">>),
    ok = do_register_function(Doomed, doomed, sleep_there),
    await(fun() -> do_has(Home, Doomed, functions, <<"doomed">>) end),
    await(fun() -> do_has(Home, Doomed, hooks, <<"doomed">>) end),
    Doomed.

%% One worker with one thread: from Python one at a time, the others from Erlang.
do_waits(Config, execute) ->
    do_execute(Config, <<"doomed">>, <<"sleep_there">>, [19000]);
do_waits(Config, call) ->
    [Home | _] = ?config(peers, Config),
    call(Home, ?MODULE, do_call_service, [<<"doomed">>, [19000]]);
do_waits(Config, stream) ->
    [Home | _] = ?config(peers, Config),
    Slow = fun(_, Acc) -> receive after 20 -> {ok, Acc} end end,
    call(Home, hornbeam_hooks, stream, [doomed, endless, [], Slow, 0]);
do_waits(Config, erlang) ->
    [Home | _] = ?config(peers, Config),
    call(Home, hornbeam_hooks, execute, [doomed, sleep_there, [19000]]).

%% As a worker's program calls a function.
do_call_service(Name, Arguments) ->
    hornbeam_services:perform(<<"call">>, [Name, Arguments], #{}, 20000).

%% On a node: how many processes serve calls of other nodes.
do_serving() ->
    length([Pid || Pid <- processes(), {_, {hornbeam_cluster_call, serve, 4}} <-
        [process_info(Pid, initial_call)]]).

do_timed(Fun) ->
    Before = erlang:monotonic_time(millisecond),
    Result = Fun(),
    {Result, erlang:monotonic_time(millisecond) - Before}.

a_node_that_is_stopped(Config) ->
    doc("SIGSTOP of the node that serves: every call is answered at its own deadline, also when "
        "the connection is full, and the caller's worker goes on."),
    [Home, _, _] = ?config(peers, Config),
    Stopped = do_doomed(Home),
    ok = signal("STOP", Stopped),
    try
        do_stopped(Config, Home)
    after
        cluster_nodes:stop(Stopped)
    end,
    await(fun() -> not maps:is_key(name(Stopped), do_nodes(Home)) end).

do_stopped(Config, Home) ->
    Waiting = [
        async(fun() -> call(Home, ?MODULE, do_execute_large, [<<"doomed">>], 25000) end)
     || _ <- lists:seq(1, 8)
    ],
    Answer = do_ask(Config, "execute", [<<"doomed">>, <<"sleep_there">>, [1]], 500),
    do_says(Answer, "CallTimeout"),
    [?assertMatch({{error, timeout}, Took} when Took < 20000, Wait()) || Wait <- Waiting],
    ?assertEqual("{\"ok\": 3}", do_execute(Config, <<"away">>, <<"add">>, [1, 2])).

%% On the node: more than the connection takes.
do_execute_large(Path) ->
    Large = binary:copy(<<"x">>, 3000000),
    do_timed(fun() ->
        hornbeam_hooks:execute(Path, sleep_there, [Large], #{timeout => 700})
    end).
