%% SPDX-License-Identifier: Apache-2.0
%% @doc What breaks, and what the user sees: section 7 of the design, with real processes and real
%% signals.
-module(failure_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, start/1, fetch/1, fetch/2, await/1, pid/0, async/1]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) -> hornbeam:stop().

signal(Name, Pid) ->
    [] = os:cmd(lists:concat(["kill -", Name, " ", Pid])),
    ok.

loads() -> [L || #{load := L} <- maps:get(workers, hornbeam:info())].

states() -> [S || #{state := S} <- maps:get(workers, hornbeam:info())].

do_busy(N) -> await(fun() -> lists:sum(loads()) =:= N end).

%% A request that is with the only worker until it is released; its answer, and its release.
do_hold(Port) ->
    Test = self(),
    ok = hornbeam:register_function(hold, fun(_) ->
        Test ! {held, self()},
        receive release -> <<"released">> end
    end),
    Running = async(fun() -> fetch(Port, "/call?hold") end),
    Pid = receive {held, Service} -> Service after 30000 -> error(not_held) end,
    {Running, fun() -> Pid ! release, ok end}.

queue_full_is_503_at_once(_) ->
    doc("With queue_limit requests waiting, one more is answered 503 with retry-after at once."),
    Port = start(#{queue_limit => 1}),
    {Running, Release} = do_hold(Port),
    Waiting = async(fun() -> fetch(Port, "/hello") end),
    await(fun() -> maps:get(queued, hornbeam:info()) =:= 1 end),
    {503, Headers, _, _} = raw_http:exchange(Port, "GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
    ?assertEqual(<<"1">>, proplists:get_value(<<"retry-after">>, Headers)),
    ok = Release(),
    ?assertEqual({200, <<"'released'">>}, Running()),
    ?assertEqual({200, <<"Hello">>}, Waiting()).

queue_timeout_is_503(_) ->
    doc("A request that waits longer than queue_timeout is answered 503."),
    Port = start(#{queue_timeout => 100}),
    {Running, Release} = do_hold(Port),
    ?assertMatch({503, _}, fetch(Port, "/hello")),
    ok = Release(),
    ?assertEqual({200, <<"'released'">>}, Running()),
    do_busy(0),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")).

app_raises_before_the_head(_) ->
    doc("An exception before the head is 500, and the worker goes on."),
    Port = start(#{}),
    Pid = pid(),
    ?assertMatch({500, _}, fetch(Port, "/raises")),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")),
    ?assertEqual(Pid, pid()).

app_raises_after_the_head(_) ->
    doc("An exception after the head breaks the response off: never a clean end."),
    Port = start(#{}),
    Socket = raw_http:connect(Port),
    ok = raw_http:send(Socket, "GET /raises_late HTTP/1.1\r\nhost: x\r\n\r\n"),
    Bytes = raw_http:rest(Socket),
    ?assertNotEqual(nomatch, binary:match(Bytes, <<"5\r\nfirst\r\n">>)),
    ?assertEqual(nomatch, binary:match(Bytes, <<"0\r\n\r\n">>)),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")).

worker_dies_before_the_head(_) ->
    doc(
        "A worker killed by SIGKILL or SIGSEGV while it runs a request answers it 502, and is "
        "replaced."
    ),
    Port = start(#{}),
    [
        begin
            Pid = pid(),
            ?assertMatch({502, _}, fetch(Port, "/kills?" ++ Signal)),
            ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")),
            ?assertNotEqual(Pid, pid())
        end
     || Signal <- ["SIGKILL", "SIGSEGV"]
    ].

worker_dies_while_it_is_written_to(_) ->
    doc("A worker killed while the node waits to write to it: the write fails before the end of "
        "the process is known. What it held is answered 502, another one serves."),
    Port = start(#{}),
    Pid = pid(),
    Running = async(fun() -> fetch(Port, "/sleep?60000") end),
    do_busy(1),
    {ok, Pool} = hornbeam_pool:lookup(root),
    Worker = hornbeam_pool:worker(1, Pool),
    signal('STOP', Pid),
    More = binary:copy(<<"x">>, 1000000),
    [ok = hornbeam_worker:cast(Worker, <<"nobody">>, [More]) || _ <- lists:seq(1, 5)],
    signal('KILL', Pid),
    ?assertMatch({502, _}, Running()),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")),
    ?assertNotEqual(Pid, pid()).

worker_dies_after_the_head(_) ->
    doc("A worker killed in the middle of a response breaks it off."),
    Port = start(#{}),
    ?assertMatch({closed, _}, fetch(Port, "/kills_late")),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")).

unstarted_requests_move_on(_) ->
    doc("Requests that a killed worker had not started are answered by its successor."),
    Port = start(#{}),
    [{200, _} = fetch(Port, "/hello") || _ <- lists:seq(1, 50)],
    File = filename:join("/tmp", "hornbeam-running-" ++ os:getpid()),
    _ = file:delete(File),
    Running = async(fun() -> fetch(Port, "/hold?" ++ File) end),
    %% Handed over is not started: a request that was not even started would move on, too.
    await(fun() -> filelib:is_regular(File) end),
    Waiting = [async(fun() -> fetch(Port, "/hello") end) || _ <- lists:seq(1, 20)],
    await(fun() -> maps:get(open, hornbeam:info()) =:= 21 end),
    signal('KILL', pid()),
    ?assertMatch({502, _}, Running()),
    ?assertEqual([{200, <<"Hello">>}], lists:usort([W() || W <- Waiting])),
    ok = file:delete(File).

garbage_on_the_wire(_) ->
    doc(
        "A worker that sends what is no frame is killed; its request is 502, the next one is "
        "served."
    ),
    Port = start(#{}),
    ?assertMatch({502, _}, fetch(Port, "/garbage")),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")).

app_over_timeout(_) ->
    doc(
        "A request over timeout is 504; the stuck worker is killed, its other thread's "
        "request finishes."
    ),
    Port = start(#{timeout => 3000, threads => 2}),
    Pid = pid(),
    Stuck = async(fun() -> fetch(Port, "/sleep?60000") end),
    do_busy(1),
    ?assertEqual({200, <<"slept">>}, fetch(Port, "/sleep?500")),
    ?assertMatch({504, _}, Stuck()),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")),
    await(fun() -> not hornbeam_case:alive(Pid) end).

app_that_lets_go_after_timeout(_) ->
    doc("A worker that was given up as stuck and then finished after all is replaced, not lost."),
    Port = start(#{timeout => 1500, queue_timeout => 20000}),
    Pid = pid(),
    ?assertMatch({504, _}, fetch(Port, "/sleep?2100")),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")),
    ?assertMatch({504, _}, fetch(Port, "/sleep?2200")),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")),
    await(fun() -> loads() =:= [0] end),
    ct:pal("before ~p, after ~p", [Pid, pid()]).

streaming_is_no_timeout(_) ->
    doc(
        "An endless response that makes progress is not cut by timeout; the generator is "
        "closed when the client leaves."
    ),
    Port = start(#{timeout => 2000}),
    File = filename:join("/tmp", "hornbeam-closed-" ++ os:getpid()),
    _ = file:delete(File),
    Socket = raw_http:connect(Port),
    ok = raw_http:send(Socket, ["GET /count?closed=", File, " HTTP/1.1\r\nhost: x\r\n\r\n"]),
    Deadline = erlang:monotonic_time(millisecond) + 4000,
    ok = read_until(Socket, Deadline),
    ok = gen_tcp:close(Socket),
    await(fun() -> file:read_file(File) =:= {ok, <<"closed">>} end),
    await(fun() -> loads() =:= [0] end),
    ok = file:delete(File).

read_until(Socket, Deadline) ->
    case erlang:monotonic_time(millisecond) > Deadline of
        true ->
            ok;
        false ->
            {ok, _} = gen_tcp:recv(Socket, 0, 30000),
            read_until(Socket, Deadline)
    end.

client_leaves_the_queue(_) ->
    doc("A client that leaves while its request waits takes the request with it."),
    Port = start(#{}),
    {Running, Release} = do_hold(Port),
    Socket = raw_http:connect(Port),
    ok = raw_http:send(Socket, "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n"),
    await(fun() -> maps:get(open, hornbeam:info()) =:= 2 end),
    ok = gen_tcp:close(Socket),
    await(fun() -> maps:get(open, hornbeam:info()) =:= 1 end),
    ok = Release(),
    ?assertEqual({200, <<"'released'">>}, Running()),
    await(fun() -> loads() =:= [0] andalso maps:get(queued, hornbeam:info()) =:= 0 end).

stopped_worker_is_avoided(_) ->
    doc(
        "A worker stopped by SIGSTOP is noticed within seconds, gives up what it had not "
        "started, and comes back."
    ),
    Port = start(#{workers => 2}),
    [Pid | _] = hornbeam_case:pids(),
    signal('STOP', Pid),
    await(fun() -> lists:member(stalled, states()) end),
    ?assertEqual([{200, <<"Hello">>}],
        lists:usort([fetch(Port, "/hello") || _ <- lists:seq(1, 50)])),
    signal('CONT', Pid),
    await(fun() -> states() =:= [ready, ready] end),
    ?assert(lists:member(Pid, hornbeam_case:pids())).

await(Fun, Ms) -> hornbeam_case:await(Fun, Ms).

stop_lets_open_requests_finish(_) ->
    doc("stop/0 waits for open requests within graceful_timeout, and takes no new connection."),
    Port = start(#{}),
    Running = async(fun() -> fetch(Port, "/sleep?700") end),
    do_busy(1),
    ok = hornbeam:stop(),
    ?assertEqual({200, <<"slept">>}, Running()),
    ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, [])).

stop_does_not_wait_for_ever(_) ->
    doc("stop/0 cuts what is open after graceful_timeout, and kills the worker that does not end."),
    Port = start(#{graceful_timeout => 200}),
    Running = async(fun() -> fetch(Port, "/sleep?60000") end),
    do_busy(1),
    Pid = pid(),
    {Microseconds, ok} = timer:tc(fun() -> hornbeam:stop() end),
    ?assert(Microseconds < 20000000),
    ?assertMatch({closed, _}, Running()),
    await(fun() -> not hornbeam_case:alive(Pid) end).

recycled_without_a_failed_request(_) ->
    doc("max_requests replaces workers under load, and no request fails."),
    Port = start(#{workers => 2, max_requests => 40, max_requests_jitter => 20}),
    First = hornbeam_case:pids(),
    Clients = [
        async(fun() -> [fetch(Port, "/hello") || _ <- lists:seq(1, 60)] end)
     || _ <- lists:seq(1, 8)
    ],
    ?assertEqual([{200, <<"Hello">>}], lists:usort(lists:append([C() || C <- Clients]))),
    ?assertEqual([], [P || P <- First, lists:member(P, hornbeam_case:pids())]).
