%% SPDX-License-Identifier: Apache-2.0
%% @doc Starts, stops and crashes that cross each other, and workers that do not stay: the pool
%% comes back, nobody waits for ever, nothing is left behind.
-module(recovery_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, start/1, start/2, fetch/1, fetch/2, await/1, pid/0, async/1]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) -> hornbeam:stop().

do_slow_start(Milliseconds) ->
    hornbeam:start("slow_start:application", #{
        bind => "127.0.0.1:0",
        workers => 1,
        python => hornbeam_case:python(),
        pythonpath => [hornbeam_case:apps()],
        env => #{"HORNBEAM_TEST_LOAD" => integer_to_list(Milliseconds)}
    }).

do_worker() ->
    {ok, Pool} = hornbeam_pool:lookup(root),
    hornbeam_pool:worker(1, Pool).

do_workers() -> maps:get(workers, hornbeam:info()).

do_await_ready() -> await(fun() -> [S || #{state := S} <- do_workers()] =:= [ready] end).

do_await_loading() ->
    await(fun() -> [P || #{os_pid := P} <- maps:get(workers, hornbeam:info(), []),
        is_integer(P)] =/= [] end).

do_nothing_left() ->
    ?assertEqual(#{status => stopped}, hornbeam:info()),
    ?assertEqual([], supervisor:which_children(hornbeam_pools_sup)),
    ?assertEqual([], supervisor:which_children(hornbeam_listeners_sup)),
    ?assertEqual(#{}, ranch:info()).

%%% Starts and stops

stop_twice(_) ->
    doc("stop/0 of what is stopped already is ok, also twice at once."),
    ok = hornbeam:stop(),
    _ = start(#{}),
    Stops = [async(fun hornbeam:stop/0) || _ <- [1, 2, 3]],
    ?assertEqual([ok], lists:usort([S() || S <- Stops])),
    ?assertEqual(ok, hornbeam:stop()),
    do_nothing_left().

stop_while_loading(_) ->
    doc("A stop while the application loads ends the start at once with an error, and leaves "
        "nothing."),
    Starting = async(fun() -> do_slow_start(60000) end),
    do_await_loading(),
    Pid = pid(),
    {Microseconds, ok} = timer:tc(fun hornbeam:stop/0),
    ?assertEqual({error, stopped}, Starting()),
    ?assert(Microseconds < 10000000),
    ?assertMatch("the application was stopped" ++ _, hornbeam:format_error(stopped)),
    await(fun() -> not hornbeam_case:alive(Pid) end),
    do_nothing_left().

start_after_an_interrupted_start(_) ->
    doc("A start right after a stop that interrupted another one is not hurt by the end of that "
        "one."),
    [
        begin
            Starting = async(fun() -> do_slow_start(60000) end),
            do_await_loading(),
            ok = hornbeam:stop(),
            ok = do_slow_start(0),
            ?assertEqual({error, stopped}, Starting()),
            ?assertEqual({200, <<"loaded">>}, fetch("/")),
            ok = hornbeam:stop()
        end
     || _ <- lists:seq(1, 3)
    ],
    do_nothing_left().

starts_at_once(_) ->
    doc("Of several starts at once one wins, the others are refused, and it serves."),
    [
        begin
            Starts = [async(fun() -> do_slow_start(50) end) || _ <- lists:seq(1, 5)],
            Results = lists:sort([S() || S <- Starts]),
            ?assertMatch([ok, {error, {already_started, <<"slow_start:application">>}} | _],
                Results),
            ?assertEqual(2, length(lists:usort(Results))),
            ?assertEqual({200, <<"loaded">>}, fetch("/")),
            ok = hornbeam:stop()
        end
     || _ <- lists:seq(1, 3)
    ],
    do_nothing_left().

%%% Crashes of our own processes

worker_process_crashes(_) ->
    doc("A worker process that crashes answers what it held, takes its Python process along, and "
        "is started again."),
    Port = start(#{timeout => 60000}),
    Pid = pid(),
    Worker = do_worker(),
    Running = async(fun() -> fetch(Port, "/sleep?20000") end),
    await(fun() -> [L || #{load := L} <- do_workers()] =:= [1] end),
    %% No stream says such a thing.
    Worker ! {hornbeam_body, 1, false, not_a_binary},
    ?assertMatch({502, _}, Running()),
    await(fun() -> not hornbeam_case:alive(Pid) end),
    await(fun() -> do_worker() =/= Worker end),
    do_await_ready(),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")),
    ?assertMatch([#{load := 0}], do_workers()).

requests_during_a_crash_are_served(_) ->
    doc("Requests that arrive while a worker process crashes are served by its successor, though "
        "it still has room and is held up by another one."),
    Port = start(#{threads => 4}),
    Worker = do_worker(),
    Running = async(fun() -> fetch(Port, "/sleep?20000") end),
    await(fun() -> [L || #{load := L} <- do_workers()] =:= [1] end),
    %% No stream says such a thing.
    Worker ! {hornbeam_body, 1, false, not_a_binary},
    Answers = [fetch(Port, "/hello") || _ <- lists:seq(1, 3)],
    ?assertEqual([{200, <<"Hello">>}], lists:usort(Answers)),
    ?assertMatch({502, _}, Running()),
    await(fun() -> maps:get(open, hornbeam:info()) =:= 0 end).

worker_process_is_killed(_) ->
    doc("A worker process killed from outside: its Python process ends, a new one serves."),
    Port = start(#{}),
    Pid = pid(),
    Worker = do_worker(),
    exit(Worker, kill),
    await(fun() -> not hornbeam_case:alive(Pid) end),
    await(fun() -> do_worker() =/= Worker end),
    do_await_ready(),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")),
    hornbeam_case:await_idle().

state_outlives_everything_but_the_node(_) ->
    doc("Shared state is there after the end of its workers, of whoever removes dead keys, and of "
        "the application; and dead keys go on being removed."),
    _ = start(#{}),
    ok = hornbeam_state:set(<<"stays">>, 1),
    Expiry = whereis(hornbeam_state_expiry),
    exit(Expiry, kill),
    await(fun() -> not lists:member(whereis(hornbeam_state_expiry), [Expiry, undefined]) end),
    ok = hornbeam_state:set(<<"goes">>, 1, #{ttl_ms => 1}),
    await(fun() -> not ets:member(hornbeam_state, <<"goes">>) end),
    Worker = do_worker(),
    exit(Worker, kill),
    await(fun() -> do_worker() =/= Worker end),
    do_await_ready(),
    ok = hornbeam:stop(),
    _ = start(#{}),
    ?assertEqual({ok, 1}, hornbeam_state:get(<<"stays">>)),
    ?assert(hornbeam_state:delete(<<"stays">>)).

queue_is_killed(_) ->
    doc("A queue killed from outside is started again, and requests wait in it as before."),
    Port = start(#{}),
    {ok, Pool} = hornbeam_pool:lookup(root),
    Queue = hornbeam_pool:queue(Pool),
    exit(Queue, kill),
    await(fun() -> hornbeam_pool:queue(Pool) =/= Queue end),
    Running = async(fun() -> fetch(Port, "/sleep?1500") end),
    await(fun() -> [L || #{load := L} <- do_workers()] =:= [1] end),
    Waiting = async(fun() -> fetch(Port, "/hello") end),
    ?assertEqual([{200, <<"slept">>}, {200, <<"Hello">>}], [Running(), Waiting()]),
    ?assertMatch(#{queued := 0}, hornbeam:info()).

listener_is_killed(_) ->
    doc("A listener process killed from outside is started again on the same address."),
    Address = "127.0.0.1:" ++ integer_to_list(hornbeam_case:free_port({127, 0, 0, 1})),
    Port = start(#{bind => Address}),
    [{_, Listener, _, _}] = supervisor:which_children(hornbeam_listeners_sup),
    exit(Listener, kill),
    await(fun() ->
        case supervisor:which_children(hornbeam_listeners_sup) of
            [{_, Pid, _, _}] when is_pid(Pid), Pid =/= Listener -> true;
            _ -> false
        end
    end),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")).

await(Fun, Ms) -> hornbeam_case:await(Fun, Ms).

%%% Workers that do not stay

a_worker_that_ends_again_and_again(_) ->
    doc("A worker that ends right after it was ready is started ever more rarely, and serves "
        "when it stays."),
    File = filename:join(os:getenv("TMPDIR", "/tmp"), "hornbeam-crashes-" ++ os:getpid()),
    _ = file:delete(File),
    Port = start("crash_loop:application", #{env => #{"HORNBEAM_TEST_CRASHES" => File}}),
    ok = file:write_file(File, <<>>),
    await(fun() -> length(do_lives(File)) >= 5 end),
    Lives = lists:sublist(do_lives(File), 5),
    Ends = [End || {_, End} <- lists:droplast(Lives)],
    Pauses = lists:zipwith(fun(End, {Next, _}) -> Next - End end, Ends, tl(Lives)),
    ct:pal("lives ~p~npauses ~p", [Lives, Pauses]),
    %% And the time of a boot. The clocks are cut off to milliseconds.
    [?assert(Pause >= Least - 1) || {Pause, Least} <- lists:zip(Pauses, [100, 200, 400, 800])],
    ok = file:delete(File),
    ?assertEqual({200, <<"alive">>}, fetch(Port, "/")),
    [#{restarts := Restarts}] = do_workers(),
    ?assert(Restarts >= 5).

%% When the worker began and ended, in milliseconds.
do_lives(File) ->
    {ok, Text} = file:read_file(File),
    Lines = lists:droplast(binary:split(Text, <<"\n">>, [global])),
    [list_to_tuple([binary_to_integer(N) || N <- binary:split(Line, <<" ">>)]) || Line <- Lines].

process_group_is_killed(_) ->
    doc("SIGKILL to the whole process group of a worker takes no other worker along, and it "
        "comes back."),
    Port = start(#{workers => 2}),
    [One, Two] = hornbeam_case:pids(),
    Group = do_group(One),
    %% Never our own.
    ?assertNotEqual(Group, do_group(os:getpid())),
    [] = os:cmd("kill -KILL -" ++ Group),
    await(fun() -> not hornbeam_case:alive(One) end),
    await(fun() -> [S || #{state := S} <- do_workers()] =:= [ready, ready] end),
    ?assert(lists:member(Two, hornbeam_case:pids())),
    ?assertEqual({200, <<"Hello">>}, fetch(Port, "/hello")).

%% Behind the name, which may hold anything: state, parent, group.
do_group(Pid) ->
    {ok, Stat} = file:read_file(lists:concat(["/proc/", Pid, "/stat"])),
    [_, Fields] = string:split(Stat, ") ", trailing),
    [_, _, Group | _] = string:lexemes(Fields, " "),
    binary_to_list(Group).

%%% The node

node_is_killed(_) ->
    doc("SIGKILL of the node: its workers end soon, what they run notwithstanding."),
    {ok, Peer, _} = peer:start(#{connection => standard_io, args => ["-pa" | code:get_path()]}),
    Os = peer:call(Peer, os, getpid, []),
    Options = #{
        bind => "127.0.0.1:0", workers => 2, python => hornbeam_case:python(),
            pythonpath => [hornbeam_case:apps()]
    },
    ok = peer:call(Peer, hornbeam, start, ["wsgi_apps:application", Options], 60000),
    #{addresses := [Address], workers := Workers} = peer:call(Peer, hornbeam, info, []),
    Pids = [Pid || #{os_pid := Pid} <- Workers],
    [_, Port] = string:split(Address, ":", trailing),
    Socket = raw_http:connect(binary_to_integer(Port)),
    ok = raw_http:send(Socket, "GET /sleep?60000 HTTP/1.1\r\nhost: x\r\n\r\n"),
    await(fun() -> lists:sum([L || #{load := L} <- maps:get(workers, peer:call(Peer, hornbeam,
        info, []))]) =:= 1 end),
    _ = os:cmd("kill -KILL " ++ Os),
    await(fun() -> lists:all(fun(Pid) -> not hornbeam_case:alive(Pid) end, Pids) end, 30000),
    ?assertMatch({closed, _}, raw_http:response(Socket)).
