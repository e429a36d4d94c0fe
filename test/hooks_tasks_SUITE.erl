%% SPDX-License-Identifier: Apache-2.0
%% @doc Handlers executed in the background, and those of workers with an event loop.
-module(hooks_tasks_SUITE).

-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await/1]).
-import(hooks_case, [
    ask/2, ask/3, execute/3, says/2, start/2, stream/3, file_name/0, await_closed/1, items/3, hold/1
]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) ->
    ok = hornbeam_hooks:unregister(<<"erlang">>),
    hornbeam:stop().

%%% Tasks

tasks(_) ->
    doc("A task's result is there for every worker and for Erlang, more than once; the id is a "
        "text; a task in the own worker with one thread does not wait for itself."),
    _ = start(2, 1),
    Start = [<<"service">>, <<"add">>, [1, 2], #{}],
    <<"{\"ok\": \"", Id:32/binary, "\"}">> = ask("start", Start),
    [?assertEqual(<<"{\"ok\": 3}">>, ask("await", [Id, 30000])) || _ <- lists:seq(1, 6)],
    ?assertEqual({ok, 3}, hornbeam_hooks:await_result(Id)),
    {ok, Own} = hornbeam_hooks:execute_async(service, add, [2, 2]),
    ?assertEqual({ok, 4}, hornbeam_hooks:await_result(Own, 30000)),
    ok = hornbeam:stop(),
    _ = start(1, 1),
    ?assertEqual(<<"{\"ok\": 3}">>, ask("task", [<<"service">>, <<"add">>, [1, 2], #{}])).

failures_of_tasks(_) ->
    doc("A task that fails, is too slow, or whose worker is killed says so to whoever awaits it, "
        "each time; an unknown one is NotRegistered; a wait that is over is CallTimeout, and the "
        "task goes on."),
    _ = start(1, 1),
    {ok, Failing} = hornbeam_hooks:execute_async(service, fail, [<<"x">>]),
    [
        ?assertMatch({error, {<<"handler_error">>, _}}, hornbeam_hooks:await_result(Failing))
     || _ <- [1, 2]
    ],
    Release = hold(slow),
    {ok, Slow} = hornbeam_hooks:execute_async(caller, slow, []),
    ?assertEqual({error, timeout}, hornbeam_hooks:await_result(Slow, 50)),
    ok = Release(),
    ?assertEqual({ok, held}, hornbeam_hooks:await_result(Slow)),
    {ok, Late} = hornbeam_hooks:execute_async(service, sleep, [0.5], #{timeout => 100}),
    ?assertEqual({error, {<<"timeout">>, #{}}}, hornbeam_hooks:await_result(Late)),
    {ok, Dying} = hornbeam_hooks:execute_async(service, die, []),
    [?assertEqual({error, node_down}, hornbeam_hooks:await_result(Dying)) || _ <- [1, 2]],
    says(ask("await", [Dying, 30000]), "NodeDown"),
    says(ask("await", [<<"none">>, 30000]), "NotRegistered"),
    {ok, Nobody} = hornbeam_hooks:execute_async(nobody, x, []),
    ?assertMatch({error, {<<"not_registered">>, _}}, hornbeam_hooks:await_result(Nobody)).

results_expire(_) ->
    doc("A result is forgotten after task_result_ttl; a crash of the server that keeps them loses "
        "none."),
    ok = do_forget_tasks(),
    _ = hornbeam_case:start("hooks_app:application", #{task_result_ttl => 4000}),
    {ok, Id} = hornbeam_hooks:execute_async(service, add, [1, 2]),
    {ok, 3} = hornbeam_hooks:await_result(Id),
    Server = whereis(hornbeam_tasks),
    exit(Server, kill),
    await(fun() -> is_pid(whereis(hornbeam_tasks)) andalso whereis(hornbeam_tasks) =/= Server end),
    ?assertEqual({ok, 3}, hornbeam_hooks:await_result(Id)),
    await(fun() -> hornbeam_hooks:await_result(Id) =/= {ok, 3} end),
    ?assertMatch({error, {<<"not_registered">>, _}}, hornbeam_hooks:await_result(Id)),
    await(fun() -> hornbeam_tasks:info() =:= #{running => 0, finished => 0} end).

do_forget_tasks() ->
    ok = application:stop(hornbeam),
    application:start(hornbeam).

too_many_tasks(_) ->
    doc("At task_limit the oldest result makes room; when all of them still run it is Overloaded."),
    ok = do_forget_tasks(),
    _ = hornbeam_case:start("hooks_app:application", #{task_limit => 2, threads => 2}),
    {ok, First} = hornbeam_hooks:execute_async(service, add, [1, 2]),
    {ok, 3} = hornbeam_hooks:await_result(First),
    Release = hold(slow),
    Slow = [hornbeam_hooks:execute_async(caller, slow, []) || _ <- [1, 2]],
    ?assertMatch({error, {<<"not_registered">>, _}}, hornbeam_hooks:await_result(First)),
    ?assertMatch({error, {<<"overloaded">>, #{limit := 2}}},
        hornbeam_hooks:execute_async(service, add, [1, 2])),
    ok = Release(),
    [?assertEqual({ok, held}, hornbeam_hooks:await_result(Id)) || {ok, Id} <- Slow].

%%% Workers with an event loop

do_start_asgi(Workers) ->
    hornbeam_case:start("hooks_asgi_app:application", #{workers => Workers, worker_class => asgi}).

async_handlers(_) ->
    doc("In an ASGI worker coroutines run on the loop of the application, plain functions in a "
        "thread; both execute handlers of their own worker, as deep as they like."),
    _ = do_start_asgi(1),
    Table = [
        {<<"on_loop">>, [], "\"ok\": true"}, {<<"add">>, [1, 2], "\"ok\": 3"},
        {<<"later">>, [7], "\"ok\": 7"}, {<<"nest">>, [5], "\"ok\": 5"},
        {<<"nest_sync">>, [5], "\"ok\": 5"}, {<<"fail">>, [<<"x">>], "HandlerError.*KeyError"},
        {<<"missing">>, [], "HandlerError.*no action 'missing'"}
    ],
    [ok = says(execute(<<"async">>, Action, Args), Text) || {Action, Args, Text} <- Table],
    ?assertEqual({ok, 3}, hornbeam_hooks:execute(async, add, [1, 2])),
    ?assertEqual({ok, 7}, hornbeam_hooks:execute(async, later, [7])),
    ?assertEqual(<<"{\"ok\": 3}">>, ask("task", [<<"async">>, <<"add">>, [1, 2], #{}])),
    ok = says(ask("execute", [<<"async">>, <<"sleep">>, [5], #{}], 100), "CallTimeout"),
    ?assertEqual({error, node_down}, hornbeam_hooks:execute(async, die, [])),
    ?assertEqual({ok, 3}, hornbeam_hooks:execute(async, add, [1, 2])).

async_streams(_) ->
    doc("In an ASGI worker async generators run on the loop, generators in a thread; readers are "
        "async, threads, and Erlang; one that leaves closes the generator."),
    _ = do_start_asgi(1),
    Hundred = lists:seq(0, 99),
    [
        begin
            ?assertEqual({ok, Hundred}, items(async, Action, [100])),
            ?assertEqual(<<"{\"ok\": [0, 1, 2]}">>, stream(<<"async">>, Action, [3])),
            ?assertEqual(<<"{\"ok\": [0, 1, 2]}">>,
                ask("thread", [<<"async">>, Action, [3], #{}]))
        end
     || Action <- [<<"numbers">>, <<"sync_numbers">>]
    ],
    ok = says(stream(<<"async">>, <<"some_then_fail">>, []), "HandlerError.*two"),
    ok = says(stream(<<"async">>, <<"bad_item">>, []), "TermError.*an item cannot be sent"),
    ok = says(stream(<<"async">>, <<"missing">>, []), "HandlerError.*no action"),
    File = file_name(),
    Watched = [list_to_binary(File)],
    ?assertEqual(<<"{\"ok\": 2}">>, ask("first", [<<"async">>, <<"watched">>, Watched, #{}])),
    ok = await_closed(File),
    Stop = fun(Item, _) when Item >= 40 -> {stop, Item}; (Item, _) -> {ok, Item} end,
    ?assertEqual({ok, 40}, hornbeam_hooks:stream(async, watched, Watched, Stop, none)),
    ok = await_closed(File),
    hornbeam_case:await_idle().
