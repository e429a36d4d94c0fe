%% SPDX-License-Identifier: Apache-2.0
%% @doc Handlers executed from Python and Erlang, in one worker and in several, and what becomes of
%% calls when somebody leaves or dies.
-module(hooks_SUITE).

-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await/1, async/1]).
-import(hooks_case, [
    adds/0, ask/2, ask/3, execute/3, says/2, start/2, own_hooks/0, hold/1
]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) ->
    ok = hornbeam_hooks:unregister(<<"erlang">>),
    hornbeam:stop().

%%% Calls

handlers_of_every_kind(_) ->
    doc("A function gets the action first, a class is instantiated once, an instance's method is "
        "called; keywords arrive; a coroutine is awaited."),
    _ = start(1, 1),
    ?assertEqual(<<"{\"ok\": [\"act\", [1, \"b\"], {\"action\": 2, \"app_path\": 3}]}">>,
        ask("execute", [<<"function">>, <<"act">>, [1, <<"b">>],
            #{<<"action">> => 2, <<"app_path">> => 3}])),
    ?assertEqual(<<"{\"ok\": 5}">>,
        ask("execute", [<<"service">>, <<"add">>, [3], #{<<"b">> => 2}])),
    ?assertEqual(<<"{\"ok\": 4}">>, execute(<<"instance">>, <<"add">>, [3])),
    ?assertEqual(<<"{\"ok\": 7}">>, execute(<<"service">>, <<"later">>, [7])),
    {ok, [Pid, 2, Id]} = hornbeam_hooks:execute("service", count, []),
    ?assertEqual({ok, [Pid, 2, Id]}, hornbeam_hooks:execute("service", count, [])).

failures_of_handlers(_) ->
    doc("What a handler raises is HandlerError with its type; an unknown path is NotRegistered; a "
        "result that cannot be sent is TermError; an unknown or private action is an error."),
    _ = start(1, 1),
    [
        says(execute(Path, Action, Arguments), Expected)
     || {Path, Action, Arguments, Expected} <- [
            {<<"service">>, <<"fail">>, [<<"x">>], "HandlerError.*KeyError"},
            {<<"nobody">>, <<"x">>, [], "NotRegistered.*nobody"},
            {<<"service">>, <<"unsendable">>, [], "TermError.*object"},
            {<<"service">>, <<"missing">>, [], "HandlerError.*no action 'missing'"},
            {<<"service">>, <<"__init__">>, [], "HandlerError.*no action"}
        ]
    ],
    ?assertMatch(
        {error, {<<"handler_error">>, #{<<"type">> := <<"KeyError">>}}},
        hornbeam_hooks:execute(service, fail, [<<"x">>])
    ),
    ?assertMatch(
        {error, {<<"not_registered">>, _}}, hornbeam_hooks:execute(nobody, x, [])
    ).

erlang_handlers_of_callers_that_die(_) ->
    doc("What runs in Erlang for a process that is killed ends with it."),
    _ = start(1, 1),
    Test = self(),
    ok = hornbeam_hooks:register(erlang, fun(_, _, _) ->
        Test ! {running, self()},
        receive never -> ok end
    end),
    Caller = spawn(fun() -> hornbeam_hooks:execute(erlang, wait, []) end),
    Pid = receive {running, Handler} -> Handler after 30000 -> ct:fail(not_called) end,
    Monitor = monitor(process, Pid),
    true = exit(Caller, kill),
    receive {'DOWN', Monitor, process, Pid, killed} -> ok after 30000 -> ct:fail(goes_on) end.

nested_on_one_thread(_) ->
    doc("A request in the only thread executes a handler of its own worker that executes itself, "
        "five deep: all on that thread."),
    _ = start(1, 1),
    <<"{\"ok\": ", Rest/binary>> = execute(<<"service">>, <<"nest">>, [5]),
    Idents = re:split(binary:part(Rest, 0, byte_size(Rest) - 1), "[][, ]+", [trim]),
    ?assertMatch([_], lists:usort([I || I <- Idents, I =/= <<>>])).

over_two_workers_and_back(_) ->
    doc("A handler of worker A that calls worker B, which calls A again, runs on the thread of A "
        "that waits; with one thread each."),
    _ = start(2, 1),
    {ok, Pool} = hornbeam_pool:lookup(root),
    [A, B] = hornbeam_pool:workers(Pool),
    ok = hornbeam:register_function(there_and_back, fun
        ([0]) -> deepest;
        ([N]) ->
            Worker = case N rem 2 of 0 -> A; 1 -> B end,
            {ok, Value} = hornbeam_worker:call(
                Worker, <<"hook/caller">>, [<<"there_and_back">>, N - 1], 30000),
            [N, Value]
    end),
    says(ask("call", [<<"there_and_back">>, 6]), "deepest").

workers_that_wait_for_each_other(_) ->
    doc("Two workers of one thread each, whose requests execute a handler that only the other has, "
        "help each other out instead of waiting for ever."),
    _ = start(2, 1),
    Pids = own_hooks(),
    Waiting = [async(fun() -> ask("cross", [Pids]) end) || _ <- Pids],
    ?assertEqual([<<"{\"ok\": 2}">>, <<"{\"ok\": 2}">>], [Wait() || Wait <- Waiting]).

least_busy_first(_) ->
    doc("A handler in several workers is served by all of them; one that is busy is passed over."),
    _ = start(2, 1),
    ReleaseOne = hold(first),
    Busy = async(fun() -> hornbeam_hooks:execute(caller, first, []) end),
    {ok, Pool} = hornbeam_pool:lookup(root),
    await(fun() -> [0, 1] =:= lists:sort([hornbeam_pool:busy(I, Pool) || I <- [1, 2]]) end),
    Served = [hornbeam_hooks:execute(service, where, []) || _ <- lists:seq(1, 10)],
    ?assertMatch([_], lists:usort([Pid || {ok, [Pid, _]} <- Served])),
    ok = ReleaseOne(),
    {ok, held} = Busy(),
    Release = hold(all),
    Many = [async(fun() -> hornbeam_hooks:execute(caller, all, []) end) || _ <- lists:seq(1, 8)],
    await(fun() -> [4, 4] =:= [hornbeam_pool:busy(I, Pool) || I <- [1, 2]] end),
    ok = Release(),
    [{ok, held} = Wait() || Wait <- Many],
    await(fun() -> [0, 0] =:= [hornbeam_pool:busy(I, Pool) || I <- [1, 2]] end).

deadlines_travel(_) ->
    doc("A handler that takes too long is CallTimeout; its late answer reaches nobody, and the "
        "worker goes on."),
    _ = start(1, 1),
    says(ask("execute", [<<"service">>, <<"sleep">>, [0.6], #{}], 200), "CallTimeout"),
    ?assertEqual({error, timeout},
        hornbeam_hooks:execute(service, sleep, [0.6], #{timeout => 100})),
    ?assertEqual({ok, 3}, hornbeam_hooks:execute(service, add, [1, 2])).

a_killed_worker(_) ->
    doc("Whoever waits for a worker that dies gets NodeDown at once; calls that come while it is "
        "replaced wait for the next one, whose import has registered its handlers again."),
    _ = start(1, 1),
    ?assertEqual({error, node_down}, hornbeam_hooks:execute(service, die, [])),
    ?assertEqual({ok, 3}, hornbeam_hooks:execute(service, add, [1, 2])),
    ?assertEqual({error, timeout},
        hornbeam_hooks:execute(service, sleep, [0.5], #{timeout => 100})),
    {ok, Pool} = hornbeam_pool:lookup(root),
    await(fun() -> 0 =:= hornbeam_pool:busy(1, Pool) end).

killed_in_the_service_of_another(_) ->
    doc("A request whose handler dies in another worker gets NodeDown."),
    _ = start(2, 1),
    ok = hornbeam_hooks:register(erlang, fun(<<"die">>, [], _) ->
        {ok, Pool} = hornbeam_pool:lookup(root),
        Index = hd([I || I <- [1, 2], hornbeam_pool:busy(I, Pool) =:= 0]),
        Worker = hornbeam_pool:worker(Index, Pool),
        hornbeam_worker:call(Worker, <<"hook/service">>, [<<"die">>], 30000)
    end),
    says(execute(<<"erlang">>, <<"die">>, []), "node_down").

registered_later(_) ->
    doc("A handler that is registered while the application serves is there at once, and gone when "
        "it is taken back; one that dies with its worker is not registered any more."),
    _ = start(1, 1),
    {error, {<<"not_registered">>, _}} = hornbeam_hooks:execute(later, a, []),
    <<"{\"ok\": null}">> = ask("hook", [<<"later">>]),
    {ok, [<<"a">>, [], #{}]} = hornbeam_hooks:execute(later, a, []),
    ?assertMatch(#{<<"later">> := #{workers := 1, erlang := false}}, hornbeam_hooks:info()),
    <<"{\"ok\": null}">> = ask("unhook", [<<"later">>]),
    {error, {<<"not_registered">>, _}} = hornbeam_hooks:execute(later, a, []),
    <<"{\"ok\": null}">> = ask("hook", [<<"later">>]),
    {error, node_down} = hornbeam_hooks:execute(service, die, []),
    ?assertMatch({error, {<<"not_registered">>, _}}, hornbeam_hooks:execute(later, a, [])),
    ?assertNot(is_map_key(<<"later">>, hornbeam_hooks:info())).

nothing_is_left_after_a_stop(_) ->
    doc("The handlers of an application that is stopped are gone."),
    _ = start(2, 1),
    ?assertMatch(#{<<"service">> := #{workers := 2}}, hornbeam_hooks:info()),
    ok = hornbeam:stop(),
    ?assertEqual(#{}, hornbeam_hooks:info()).

recycled_workers(_) ->
    doc("Calls and requests that fall into the replacement of the only worker succeed."),
    _ = hornbeam_case:start("hooks_app:application", #{max_requests => 3}),
    [ok = adds() || _ <- lists:seq(1, 8)],
    [?assertEqual({ok, 3}, hornbeam_hooks:execute(service, add, [1, 2])) || _ <- lists:seq(1, 8)].

%%% Handlers in Erlang

erlang_handlers(_) ->
    doc("A fun gets action, arguments and keywords; a module's function gets them spread; "
        "{ok, V} is unwrapped, {error, R} and crashes are RemoteError; an unknown action makes no "
        "atom."),
    _ = start(1, 1),
    ok = hornbeam_hooks:register("erlang", fun
        (<<"echo">>, Arguments, Keywords) -> {ok, [Arguments, Keywords]};
        (<<"refuse">>, [], _) -> {error, not_today}
    end),
    ?assertEqual(<<"{\"ok\": [[1], {\"k\": 2}]}">>,
        ask("execute", [<<"erlang">>, <<"echo">>, [1], #{<<"k">> => 2}])),
    says(execute(<<"erlang">>, <<"refuse">>, []), "RemoteError.*not_today"),
    says(execute(<<"erlang">>, <<"x">>, []), "RemoteError.*function_clause"),
    ok = hornbeam_hooks:register(<<"erlang">>, lists),
    ?assertEqual(<<"{\"ok\": [1, 2]}">>, execute(<<"erlang">>, <<"reverse">>, [[2, 1]])),
    says(execute(<<"erlang">>, <<"no such atom, ever">>, []),
        "RemoteError.*no_such_action"),
    ?assertEqual({ok, [2, 1]}, hornbeam_hooks:execute(erlang, reverse, [[1, 2]])),
    ?assertError({bad_handler, erlang, _}, hornbeam_hooks:register(erlang, fun() -> ok end)).

back_into_the_waiting_thread(_) ->
    doc("An Erlang handler that executes a handler of the worker that waits for it runs it on the "
        "waiting thread."),
    _ = start(1, 1),
    ok = hornbeam_hooks:register(erlang, fun(<<"back">>, [N], _) ->
        hornbeam_hooks:execute(service, nest, [N])
    end),
    ?assertMatch(<<"{\"ok\": [", _/binary>>, execute(<<"erlang">>, <<"back">>, [3])).
