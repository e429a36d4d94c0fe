%% SPDX-License-Identifier: Apache-2.0
%% @doc Workers killed under load, clients that leave in every phase: what breaks, and what is left
%% afterwards.
%%
%% A few seconds each in `make test'; `make chaos' sets HORNBEAM_CHAOS to the seconds of load (30)
%% and takes ten thousand clients. The load comes from wrk, an operating-system process, so that
%% this node's figures are those of the server.
-module(chaos_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, start/1, await/1, await_idle/0]).

-compile([export_all, nowarn_export_all]).

-define(CONNECTIONS, 64).
%% Requests that a worker of one thread may hold: hornbeam_prefetch.
-define(MOST_HELD, 65).
-define(KILL_EVERY, 100).
%% Bytes that the figures of a node may differ by without anything being kept.
-define(NOISE, 16#1000000).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {seconds, 180 + 4 * do_seconds()}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) -> hornbeam:stop().

do_seconds() -> list_to_integer(os:getenv("HORNBEAM_CHAOS", "4")).

do_clients() ->
    case os:getenv("HORNBEAM_CHAOS") of
        false -> 500;
        _ -> 10000
    end.

%%% Kills

kills_under_load(_) ->
    doc("Workers killed every 100 ms under load: 200 or 502, no more 502 than were held, no "
        "hang, no growth."),
    Port = start(#{workers => 3, queue_timeout => 20000}),
    Seconds = do_seconds(),
    Load = do_wrk(Port, "/hello", Seconds),
    %% A worker that is killed before it has answered anything is replaced ever more rarely.
    await(fun() -> lists:any(fun do_has_served/1, maps:get(workers, hornbeam:info())) end),
    Until = do_now() + Seconds * 1000,
    WarmUp = do_kill_until(Until - Seconds * 667, 0),
    Before = do_figures(),
    Kills = do_kill_until(Until - 300, WarmUp),
    After = do_figures(),
    Output = Load(),
    Statuses = do_statuses(Output),
    ct:pal("~b kills, ~p~nbefore ~p~nafter ~p~n~s", [Kills, Statuses, Before, After, Output]),
    ?assertEqual([], maps:keys(maps:without([200, 502], Statuses))),
    ?assert(maps:get(200, Statuses, 0) > 100),
    %% The three that were there; how quickly others come depends on the machine.
    ?assert(Kills >= 3),
    ?assert(maps:get(502, Statuses, 0) =< Kills * ?MOST_HELD),
    ?assertEqual(nomatch, re:run(Output, "Socket errors")),
    do_assert_flat(Before, After),
    await_idle().

do_has_served(#{served := Served}) -> Served > 0;
do_has_served(#{}) -> false.

%% Started; the function waits for its end and gives its output.
do_wrk(Port, Target, Seconds) ->
    Wrk = os:find_executable("wrk"),
    Script = filename:join([hornbeam_case:root(), "test", "statuses.lua"]),
    Url = lists:concat(["http://127.0.0.1:", Port, Target]),
    Args = ["-t2", lists:concat(["-c", ?CONNECTIONS]), lists:concat(["-d", Seconds, "s"]),
        "--timeout", "30s",
        "-s", Script, Url],
    Handle = open_port({spawn_executable, Wrk}, [{args, Args}, exit_status, stderr_to_stdout]),
    fun() -> do_output(Handle, []) end.

do_output(Handle, Output) ->
    receive
        {Handle, {data, Text}} -> do_output(Handle, [Output | Text]);
        {Handle, {exit_status, 0}} -> lists:flatten(Output)
    after do_seconds() * 1000 + 60000 -> error({wrk_hangs, lists:flatten(Output)})
    end.

do_statuses(Output) ->
    Found = re:run(Output, " ([0-9]+)=([0-9]+)", [global, {capture, all_but_first, list}]),
    ?assertMatch({match, _}, Found, Output),
    {match, Pairs} = Found,
    lists:foldl(
        fun([Status, N], Acc) ->
            maps:update_with(list_to_integer(Status), fun(M) -> M + list_to_integer(N) end,
                list_to_integer(N), Acc)
        end,
        #{},
        Pairs
    ).

%% One worker that is ready, at random.
do_kill_until(Until, Kills) ->
    case do_now() < Until of
        false ->
            Kills;
        true ->
            Ready = [Pid || #{state := ready, os_pid := Pid} <- maps:get(workers, hornbeam:info())],
            Killed = do_kill(Ready),
            receive after ?KILL_EVERY -> do_kill_until(Until, Kills + Killed) end
    end.

do_kill([]) ->
    0;
do_kill(Pids) ->
    Pid = lists:nth(rand:uniform(length(Pids)), Pids),
    _ = os:cmd("kill -KILL " ++ integer_to_list(Pid)),
    1.

do_now() -> erlang:monotonic_time(millisecond).

%%% Clients that leave

clients_that_leave(_) ->
    doc("Clients that leave in the head, in the body, while they wait or within the response "
        "leave nothing behind."),
    Port = start(#{workers => 2, body_buffer => 1000}),
    do_leave_all(Port, 200),
    await_idle(),
    Before = do_figures(),
    do_leave_all(Port, do_clients()),
    await_idle(),
    %% Processes of connections end a moment after their sockets.
    await(fun() ->
        #{ports := Ports, processes := Processes} = do_figures(),
        Ports =< maps:get(ports, Before) andalso Processes =< maps:get(processes, Before) + 5
    end),
    After = do_figures(),
    ct:pal("~b clients~nbefore ~p~nafter ~p", [do_clients(), Before, After]),
    do_assert_flat(Before, After),
    ?assertEqual({200, <<"Hello">>}, hornbeam_case:fetch(Port, "/hello")).

%% Twenty at a time.
do_leave_all(Port, Clients) ->
    Each = max(1, Clients div 20),
    Monitors = [
        element(2, spawn_monitor(fun() -> [do_leave(Port, rand:uniform(7)) || _ <- lists:seq(1,
            Each)] end))
     || _ <- lists:seq(1, 20)
    ],
    [receive {'DOWN', M, process, _, Reason} -> ?assertEqual(normal, Reason) end || M <- Monitors].

do_leave(Port, Phase) ->
    Socket = raw_http:connect(Port),
    ok = raw_http:send(Socket, do_bytes(Phase)),
    receive after rand:uniform(10) - 1 -> ok end,
    _ = Phase > 5 andalso gen_tcp:recv(Socket, 0, 200),
    %% Half of them reset the connection.
    _ = rand:uniform(2) =:= 1 andalso inet:setopts(Socket, [{linger, {true, 0}}]),
    ok = raw_http:close(Socket).

do_bytes(1) -> "GET /hello HTTP/1.1\r\nhost: x\r\nx-a: ";
do_bytes(2) -> "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\nhalf";
do_bytes(3) -> "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\nhalf";
do_bytes(4) -> ["POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n",
    lists:duplicate(2000, $b)];
do_bytes(5) -> "GET /sleep?5 HTTP/1.1\r\nhost: x\r\n\r\n";
do_bytes(6) -> "GET /megabytes?1 HTTP/1.1\r\nhost: x\r\n\r\n";
do_bytes(7) -> lists:duplicate(3, "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").

%%% Figures

do_figures() ->
    [erlang:garbage_collect(P) || P <- processes()],
    #{
        memory => erlang:memory(total),
        rss => hornbeam_case:rss(os:getpid()),
        atoms => erlang:system_info(atom_count),
        processes => length(processes()),
        ports => length(erlang:ports())
    }.

do_assert_flat(Before, After) ->
    Growth = fun(Key) -> maps:get(Key, After) - maps:get(Key, Before) end,
    ?assert(Growth(memory) < ?NOISE),
    ?assert(Growth(rss) < 2 * ?NOISE),
    %% Modules that are loaded on first use bring atoms of their own.
    ?assert(Growth(atoms) < 100).
