%% SPDX-License-Identifier: Apache-2.0
%% @doc A cluster of three nodes and two Python nodes, each on a host of its own (a network
%% namespace), while one of the hosts is cut off, stopped for longer than the tick time, or killed.
%%
%% All the time a process publishes numbers, others execute a handler that only the node in trouble
%% has, and the Python nodes call services. Every call is answered within its deadline and with what
%% belongs to it, no message comes twice or out of order; afterwards subscriptions and what the
%% nodes know of each other are as before. `make chaos' (HORNBEAM_CHAOS) takes more rounds.
-module(cluster_faults_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await/1, await/2]).
-import(cluster_nodes, [call/4, name/1, signal/2]).

-compile([export_all, nowarn_export_all]).

%% Of every node, on an address of its own: no EPMD.
-define(PORT, "14369").
%% Seconds: silence after which a node is down.
-define(TICK, "4").
%% Milliseconds that a call grants, and what a busy machine may add.
-define(TIMEOUT, 1000).
-define(SLACK, 10000).
%% Milliseconds between two messages, or two calls.
-define(PAUSE, 20).
-define(PATIENCE, 60000).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {seconds, 180 + 90 * do_rounds()}}].

do_rounds() ->
    case os:getenv("HORNBEAM_CHAOS") of
        false -> 1;
        _ -> 5
    end.

init_per_suite(Config) ->
    case cluster_hosts:permitted() of
        ok -> do_start(Config);
        {no, Why} -> {skip, Why}
    end.

do_start(Config) ->
    Hosts = cluster_hosts:start(5),
    [_, _, C | Pythons] = Hosts,
    try
        Peers = [do_node(Host) || Host <- lists:sublist(Hosts, 3)],
        ok = do_join(Peers),
        Nodes = [do_python(Host, C) || Host <- Pythons],
        [{hosts, Hosts}, {peers, Peers}, {pythons, Nodes} | Config]
    catch
        Class:Reason:Stack ->
            ok = cluster_hosts:stop(Hosts),
            erlang:raise(Class, Reason, Stack)
    end.

end_per_suite(Config) ->
    [Pid ! stop || Pid <- ?config(pythons, Config)],
    lists:foreach(fun cluster_nodes:stop/1, do_peers(Config)),
    _ = persistent_term:erase({?MODULE, peers}),
    cluster_hosts:stop(?config(hosts, Config)).

do_node(Host) ->
    Distribution = ["-start_epmd", "false", "-erl_epmd_port", ?PORT, "-kernel",
        "inet_dist_listen_min", ?PORT, "inet_dist_listen_max", ?PORT, "net_ticktime", ?TICK,
        %% Else OTP may part nodes that are well when one of them has lost a third.
        "prevent_overlapping_partitions", "false"],
    {Ip, Arguments} = cluster_hosts:exec(Host),
    cluster_nodes:start(hb, #{
        name => "hb", host => cluster_hosts:address(Host), longnames => true,
        exec => {Ip, Arguments ++ [os:find_executable("erl")]},
        args => cluster_nodes:arguments() ++ Distribution
    }).

%% Each is told of all.
do_join(Peers) ->
    {ok, Cluster} = hornbeam_cluster_options:check(#{nodes => [name(Peer) || Peer <- Peers]}),
    [ok = call(Peer, hornbeam_cluster_join, configure, [Cluster]) || Peer <- Peers],
    do_await_presence(Peers).

do_await_presence(Peers) ->
    Expected = lists:sort([name(Peer) || Peer <- Peers]),
    [
        await(fun() -> lists:sort(maps:keys(do_nodes(Peer))) =:= Expected end, ?PATIENCE)
     || Peer <- Peers
    ],
    ok.

do_nodes(Peer) -> call(Peer, hornbeam_cluster, nodes, []).

%%% A Python node

%% A process that keeps what it prints.
do_python(Host, Other) ->
    {Ip, Arguments} = cluster_hosts:exec(Host),
    Script = filename:join(hornbeam_case:apps(), "cluster_python_node.py"),
    Program = [hornbeam_case:python(), Script, cluster_hosts:address(Host),
        cluster_hosts:address(Other), ?PORT, cluster_nodes:cookie()],
    spawn(fun() ->
        Options = [{args, Arguments ++ Program}, {line, 200}, use_stdio, exit_status],
        do_keep(open_port({spawn_executable, Ip}, Options), [])
    end).

do_keep(Port, Lines) ->
    receive
        {Port, {data, {eol, Line}}} -> do_keep(Port, [Line | Lines]);
        {Port, {exit_status, Status}} -> do_keep(Port, ["ended " ++ integer_to_list(Status) |
            Lines]);
        {lines, Pid} -> Pid ! {self(), lists:reverse(Lines)}, do_keep(Port, Lines);
        %% The end of its standard input ends it.
        stop -> true = port_close(Port)
    end.

%% [{Outcome, Milliseconds}]; the outcome is a number or the name of an exception.
do_calls(Pid) ->
    Pid ! {lines, self()},
    Lines = receive {Pid, Found} -> Found after 30000 -> error(no_lines) end,
    [list_to_tuple(string:split(Line, " ")) || Line <- Lines].

do_numbers(Calls) ->
    [list_to_integer(Text) || {[C | _] = Text, _} <- Calls, C >= $0, C =< $9].

%%% Faults

a_cut_and_healed_link(Config) ->
    doc("The link of a host is cut until the others take its node for down, and healed."),
    do_fault(Config, fun(Peers, Host) ->
        ok = cluster_hosts:cut(Host),
        ok = do_await_loss(Peers),
        ok = cluster_hosts:heal(Host),
        Peers
    end).

a_stopped_node(Config) ->
    doc("A node is stopped (SIGSTOP) until the others take it for down, and goes on."),
    do_fault(Config, fun([_, _, C] = Peers, _) ->
        ok = signal("STOP", C),
        try
            ok = do_await_loss(Peers)
        after
            ok = signal("CONT", C)
        end,
        Peers
    end).

a_killed_node(Config) ->
    doc("A node is killed (SIGKILL) and another one started with its name."),
    do_fault(Config, fun([A, B, C] = Peers, Host) ->
        ok = signal("KILL", C),
        ok = do_await_loss(Peers),
        [A, B, do_node(Host)]
    end).

do_await_loss([A, B, C]) ->
    [await(fun() -> not maps:is_key(name(C), do_nodes(Peer)) end, ?PATIENCE) || Peer <- [A, B]],
    ok.

do_fault(Config, Fault) ->
    [_, _, Host | _] = ?config(hosts, Config),
    lists:foldl(fun(_, Peers) -> do_round(Config, Peers, Host, Fault) end, do_peers(Config),
        lists:seq(1, do_rounds())),
    ok.

%% A node that was killed has a successor, which only a case before this one knows.
do_peers(Config) ->
    persistent_term:get({?MODULE, peers}, ?config(peers, Config)).

do_round(Config, [A, B, C] = Peers, Host, Fault) ->
    ok = call(C, hornbeam_hooks, register, [<<"double">>, cluster_handlers]),
    [OnA, OnB, OnC] = [call(Peer, cluster_nodes, collect, [[<<"n">>]]) || Peer <- Peers],
    ok = do_await_count(A, 3),
    Publisher = call(A, ?MODULE, do_start_loop, [publish]),
    Callers = [call(Peer, ?MODULE, do_start_loop, [execute]) || Peer <- [A, B]],
    await(fun() -> length(call(A, ?MODULE, do_so_far, [Publisher])) > 5 end),
    Before = [length(do_numbers(do_calls(Pid))) || Pid <- ?config(pythons, Config)],
    [_, _, C2] = After = Fault(Peers, Host),
    ok = persistent_term:put({?MODULE, peers}, After),
    ok = do_recovered(After, C =:= C2),
    ok = do_await_count(A, 2 + length([C || C =:= C2])),
    Published = call(A, ?MODULE, do_end_loop, [Publisher]),
    ok = do_check_messages(Published, call(A, cluster_nodes, collected, [OnA])),
    ok = do_check_messages(Published, call(B, cluster_nodes, collected, [OnB])),
    _ = C =:= C2 andalso do_check_messages([], call(C, cluster_nodes, collected, [OnC])),
    [do_check_answers(call(Peer, ?MODULE, do_end_loop, [Pid]))
        || {Peer, Pid} <- lists:zip([A, B], Callers)],
    [do_check_python(Pid, Calls) || {Pid, Calls} <- lists:zip(?config(pythons, Config), Before)],
    [call(Peer, ?MODULE, do_kill, [Pid]) || {Peer, Pid} <- [{A, OnA}, {B, OnB} |
        [{C, OnC} || C =:= C2]]],
    After.

do_kill(Pid) -> exit(Pid, kill).

%% Presence is right again, and the handler is found. A new node has to be told what it has.
do_recovered([A, B, C] = Peers, IsSame) ->
    _ = IsSame orelse do_join(Peers),
    _ = IsSame orelse call(C, hornbeam_hooks, register, [<<"double">>, cluster_handlers]),
    ok = do_await_presence(Peers),
    [
        await(fun() ->
            {ok, 42} =:= call(Peer, hornbeam_hooks, execute, [double, double, [21]])
        end, ?PATIENCE)
     || Peer <- [A, B]
    ],
    ok.

%% Subscriptions on so many nodes are counted.
do_await_count(Peer, Count) ->
    await(fun() ->
        Count =:= call(Peer, hornbeam_pubsub, publish, [<<"n">>, probe, ?TIMEOUT])
    end, ?PATIENCE).

%%% What runs on the nodes meanwhile

do_start_loop(Kind) ->
    spawn(fun() -> do_loop(Kind, 1, []) end).

do_loop(Kind, N, Done) ->
    receive
        {so_far, Pid} -> Pid ! {self(), Done}, do_loop(Kind, N, Done);
        {stop, Pid} -> Pid ! {self(), lists:reverse(Done)}
    after ?PAUSE ->
        Before = erlang:monotonic_time(millisecond),
        Result = do_step(Kind, N),
        Took = erlang:monotonic_time(millisecond) - Before,
        do_loop(Kind, N + 1, [{N, Result, Took} | Done])
    end.

do_step(publish, N) -> hornbeam_pubsub:publish(<<"n">>, N, ?TIMEOUT);
do_step(execute, N) -> hornbeam_hooks:execute(double, double, [N], #{timeout => ?TIMEOUT}).

do_so_far(Pid) ->
    Pid ! {so_far, self()},
    receive {Pid, Done} -> Done after 30000 -> error(no_answer) end.

do_end_loop(Pid) ->
    Pid ! {stop, self()},
    receive {Pid, Done} -> Done after 30000 -> error(no_answer) end.

%%% What must hold

do_check_messages(Published, Collected) ->
    Numbers = [N || N <- Collected, N =/= probe],
    %% None twice, none out of order.
    ?assertEqual(lists:usort(Numbers), Numbers),
    %% Where the publisher lives, and where nothing was wrong, none is missing.
    _ = Published =/= [] andalso ?assertEqual([N || {N, _, _} <- Published], Numbers),
    [?assert(Took < ?TIMEOUT + ?SLACK) || {_, _, Took} <- Published],
    ok.

do_check_answers(Answers) ->
    ?assert(length(Answers) > 10),
    [
        begin
            ?assert(Took < ?TIMEOUT + ?SLACK),
            do_check_answer(N, Answer)
        end
     || {N, Answer, Took} <- Answers
    ],
    ok.

%% The answer to this call, or why there is none.
do_check_answer(N, {ok, Double}) -> ?assertEqual(2 * N, Double);
do_check_answer(_, {error, timeout}) -> ok;
do_check_answer(_, {error, node_down}) -> ok;
do_check_answer(_, {error, {<<"not_registered">>, _}}) -> ok.

%% Each number once, all in order; the node calls again.
do_check_python(Pid, Before) ->
    await(fun() -> length(do_numbers(do_calls(Pid))) > Before + 5 end, ?PATIENCE),
    Calls = do_calls(Pid),
    [?assert(list_to_integer(Took) < ?TIMEOUT + ?SLACK) || {_, Took} <- Calls],
    Names = lists:usort([Name || {[C | _] = Name, _} <- Calls, C > $9]),
    %% The last one where hornbeam has not been started yet on a new node.
    ?assertEqual([], Names -- ["CallTimeout", "NodeDown", "NotRegistered"]),
    Numbers = do_numbers(Calls),
    %% A node that was killed counts from 1.
    Falls = [1 || {X, Y} <- lists:zip(lists:droplast(Numbers), tl(Numbers)), Y =< X],
    ?assert(length(Falls) =< do_rounds()),
    ok.
