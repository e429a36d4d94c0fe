%% SPDX-License-Identifier: Apache-2.0
%% @doc Handlers executed from Python and Erlang, in one worker and in several: calls, streams,
%% tasks, and what becomes of them when somebody leaves or dies.
-module(hooks_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await/1, async/1]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {seconds, 60}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) ->
    ok = hornbeam_hooks:unregister(<<"erlang">>),
    hornbeam:stop().

do_start(Workers, Threads) ->
    hornbeam_case:start("hooks_app:application", #{workers => Workers, threads => Threads}).

%% What an operation of the application answers.
do_ask(Operation, Arguments) -> do_ask(Operation, Arguments, 20000).

do_ask(Operation, Arguments, Timeout) ->
    {ok, Json} = hornbeam_json:encode(Arguments),
    Query = uri_string:quote(Json),
    Request = ["GET /", Operation, "?", Query, " HTTP/1.1\r\nhost: a\r\nconnection: close\r\n",
        "x-timeout: ", integer_to_list(Timeout), "\r\n\r\n"],
    {200, _, Body, _} = raw_http:exchange(hornbeam_case:port(), Request),
    Body.

do_execute(Path, Action, Arguments) -> do_ask("execute", [Path, Action, Arguments, #{}]).

%% The answer matches the pattern.
do_says(Answer, Pattern) ->
    {match, _} = re:run(Answer, Pattern),
    ok.

do_stream(Path, Action, Arguments) -> do_ask("stream", [Path, Action, Arguments, #{}]).

do_adds() ->
    ?assertEqual(<<"{\"ok\": 3}">>, do_execute(<<"service">>, <<"add">>, [1, 2])).

%%% Calls

handlers_of_every_kind(_) ->
    doc("A function gets the action first, a class is instantiated once, an instance's method is "
        "called; keywords arrive; a coroutine is awaited."),
    _ = do_start(1, 1),
    ?assertEqual(<<"{\"ok\": [\"act\", [1, \"b\"], {\"action\": 2, \"app_path\": 3}]}">>,
        do_ask("execute", [<<"function">>, <<"act">>, [1, <<"b">>],
            #{<<"action">> => 2, <<"app_path">> => 3}])),
    ?assertEqual(<<"{\"ok\": 5}">>,
        do_ask("execute", [<<"service">>, <<"add">>, [3], #{<<"b">> => 2}])),
    ?assertEqual(<<"{\"ok\": 4}">>, do_execute(<<"instance">>, <<"add">>, [3])),
    ?assertEqual(<<"{\"ok\": 7}">>, do_execute(<<"service">>, <<"later">>, [7])),
    {ok, [Pid, 2, Id]} = hornbeam_hooks:execute("service", count, []),
    ?assertEqual({ok, [Pid, 2, Id]}, hornbeam_hooks:execute("service", count, [])).

failures_of_handlers(_) ->
    doc("What a handler raises is HandlerError with its type; an unknown path is NotRegistered; a "
        "result that cannot be sent is TermError; an unknown or private action is an error."),
    _ = do_start(1, 1),
    [
        do_says(do_execute(Path, Action, Arguments), Expected)
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

nested_on_one_thread(_) ->
    doc("A request in the only thread executes a handler of its own worker that executes itself, "
        "five deep: all on that thread."),
    _ = do_start(1, 1),
    <<"{\"ok\": ", Rest/binary>> = do_execute(<<"service">>, <<"nest">>, [5]),
    Idents = re:split(binary:part(Rest, 0, byte_size(Rest) - 1), "[][, ]+", [trim]),
    ?assertMatch([_], lists:usort([I || I <- Idents, I =/= <<>>])).

over_two_workers_and_back(_) ->
    doc("A handler of worker A that calls worker B, which calls A again, runs on the thread of A "
        "that waits; with one thread each."),
    _ = do_start(2, 1),
    {ok, Pool} = hornbeam_pool:lookup(root),
    [A, B] = hornbeam_pool:workers(Pool),
    ok = hornbeam:register_function(there_and_back, fun
        ([0]) -> deepest;
        ([N]) ->
            Worker = case N rem 2 of 0 -> A; 1 -> B end,
            {ok, Value} = hornbeam_worker:call(
                Worker, <<"hook/caller">>, [<<"there_and_back">>, N - 1], 5000),
            [N, Value]
    end),
    do_says(do_ask("call", [<<"there_and_back">>, 6]), "deepest").

workers_that_wait_for_each_other(_) ->
    doc("Two workers of one thread each, whose requests execute a handler that only the other has, "
        "help each other out instead of waiting for ever."),
    _ = do_start(2, 1),
    Pids = do_own_hooks(),
    Waiting = [async(fun() -> do_ask("cross", [Pids]) end) || _ <- Pids],
    ?assertEqual([<<"{\"ok\": 2}">>, <<"{\"ok\": 2}">>], [Wait() || Wait <- Waiting]).

%% Each worker has a handler of its own.
do_own_hooks() ->
    Pids = hornbeam_case:pids(),
    ok = hornbeam:register_function(meet, fun([]) -> do_meet() end),
    true = register(meeting, spawn_link(fun() -> do_meeting([]) end)),
    Waiting = [async(fun() -> do_ask("own_hook", []) end) || _ <- Pids],
    _ = [Wait() || Wait <- Waiting],
    Expected = [<<"pid-", (integer_to_binary(Pid))/binary>> || Pid <- Pids],
    ?assertEqual([], Expected -- maps:keys(hornbeam_hooks:info())),
    Pids.

do_meet() ->
    meeting ! {here, self()},
    receive go -> ok after 5000 -> exit(nobody_came) end.

do_meeting([A, B]) -> A ! go, B ! go, do_meeting([]);
do_meeting(Here) ->
    receive {here, Pid} -> do_meeting([Pid | Here]) end.

least_busy_first(_) ->
    doc("A handler in several workers is served by all of them; one that is busy is passed over."),
    _ = do_start(2, 1),
    Sleep = async(fun() -> hornbeam_hooks:execute(service, sleep, [1.0]) end),
    {ok, Pool} = hornbeam_pool:lookup(root),
    await(fun() -> [0, 1] =:= lists:sort([hornbeam_pool:busy(I, Pool) || I <- [1, 2]]) end),
    Served = [hornbeam_hooks:execute(service, where, []) || _ <- lists:seq(1, 10)],
    ?assertMatch([_], lists:usort([Pid || {ok, [Pid, _]} <- Served])),
    {ok, <<"slept">>} = Sleep(),
    Sleeping = fun() -> hornbeam_hooks:execute(service, sleep, [0.05]) end,
    Many = [async(Sleeping) || _ <- lists:seq(1, 8)],
    await(fun() -> [4, 4] =:= [hornbeam_pool:busy(I, Pool) || I <- [1, 2]] end),
    [{ok, _} = Wait() || Wait <- Many],
    ?assertEqual([0, 0], [hornbeam_pool:busy(I, Pool) || I <- [1, 2]]).

deadlines_travel(_) ->
    doc("A handler that takes too long is CallTimeout; its late answer reaches nobody, and the "
        "worker goes on."),
    _ = do_start(1, 1),
    do_says(do_ask("execute", [<<"service">>, <<"sleep">>, [0.6], #{}], 200), "CallTimeout"),
    ?assertEqual({error, timeout},
        hornbeam_hooks:execute(service, sleep, [0.6], #{timeout => 100})),
    ?assertEqual({ok, 3}, hornbeam_hooks:execute(service, add, [1, 2])).

a_killed_worker(_) ->
    doc("Whoever waits for a worker that dies gets NodeDown at once; calls that come while it is "
        "replaced wait for the next one, whose import has registered its handlers again."),
    _ = do_start(1, 1),
    ?assertEqual({error, node_down}, hornbeam_hooks:execute(service, die, [])),
    ?assertEqual({ok, 3}, hornbeam_hooks:execute(service, add, [1, 2])),
    ?assertEqual({error, timeout},
        hornbeam_hooks:execute(service, sleep, [0.5], #{timeout => 100})),
    {ok, Pool} = hornbeam_pool:lookup(root),
    await(fun() -> 0 =:= hornbeam_pool:busy(1, Pool) end).

killed_in_the_service_of_another(_) ->
    doc("A request whose handler dies in another worker gets NodeDown."),
    _ = do_start(2, 1),
    ok = hornbeam_hooks:register(erlang, fun(<<"die">>, [], _) ->
        {ok, Pool} = hornbeam_pool:lookup(root),
        Index = hd([I || I <- [1, 2], hornbeam_pool:busy(I, Pool) =:= 0]),
        Worker = hornbeam_pool:worker(Index, Pool),
        hornbeam_worker:call(Worker, <<"hook/service">>, [<<"die">>], 5000)
    end),
    do_says(do_execute(<<"erlang">>, <<"die">>, []), "node_down").

registered_later(_) ->
    doc("A handler that is registered while the application serves is there at once, and gone when "
        "it is taken back; one that dies with its worker is not registered any more."),
    _ = do_start(1, 1),
    {error, {<<"not_registered">>, _}} = hornbeam_hooks:execute(later, a, []),
    <<"{\"ok\": null}">> = do_ask("hook", [<<"later">>]),
    {ok, [<<"a">>, [], #{}]} = hornbeam_hooks:execute(later, a, []),
    ?assertMatch(#{<<"later">> := #{workers := 1, erlang := false}}, hornbeam_hooks:info()),
    <<"{\"ok\": null}">> = do_ask("unhook", [<<"later">>]),
    {error, {<<"not_registered">>, _}} = hornbeam_hooks:execute(later, a, []),
    <<"{\"ok\": null}">> = do_ask("hook", [<<"later">>]),
    {error, node_down} = hornbeam_hooks:execute(service, die, []),
    ?assertMatch({error, {<<"not_registered">>, _}}, hornbeam_hooks:execute(later, a, [])),
    ?assertNot(is_map_key(<<"later">>, hornbeam_hooks:info())).

nothing_is_left_after_a_stop(_) ->
    doc("The handlers of an application that is stopped are gone."),
    _ = do_start(2, 1),
    ?assertMatch(#{<<"service">> := #{workers := 2}}, hornbeam_hooks:info()),
    ok = hornbeam:stop(),
    ?assertEqual(#{}, hornbeam_hooks:info()).

recycled_workers(_) ->
    doc("Calls and requests that fall into the replacement of the only worker succeed."),
    _ = hornbeam_case:start("hooks_app:application", #{max_requests => 3}),
    [ok = do_adds() || _ <- lists:seq(1, 8)],
    [?assertEqual({ok, 3}, hornbeam_hooks:execute(service, add, [1, 2])) || _ <- lists:seq(1, 8)].

%%% Handlers in Erlang

erlang_handlers(_) ->
    doc("A fun gets action, arguments and keywords; a module's function gets them spread; "
        "{ok, V} is unwrapped, {error, R} and crashes are RemoteError; an unknown action makes no "
        "atom."),
    _ = do_start(1, 1),
    ok = hornbeam_hooks:register("erlang", fun
        (<<"echo">>, Arguments, Keywords) -> {ok, [Arguments, Keywords]};
        (<<"refuse">>, [], _) -> {error, not_today}
    end),
    ?assertEqual(<<"{\"ok\": [[1], {\"k\": 2}]}">>,
        do_ask("execute", [<<"erlang">>, <<"echo">>, [1], #{<<"k">> => 2}])),
    do_says(do_execute(<<"erlang">>, <<"refuse">>, []), "RemoteError.*not_today"),
    do_says(do_execute(<<"erlang">>, <<"x">>, []), "RemoteError.*function_clause"),
    ok = hornbeam_hooks:register(<<"erlang">>, lists),
    ?assertEqual(<<"{\"ok\": [1, 2]}">>, do_execute(<<"erlang">>, <<"reverse">>, [[2, 1]])),
    do_says(do_execute(<<"erlang">>, <<"no such atom, ever">>, []),
        "RemoteError.*no_such_action"),
    ?assertEqual({ok, [2, 1]}, hornbeam_hooks:execute(erlang, reverse, [[1, 2]])),
    ?assertError({bad_handler, erlang, _}, hornbeam_hooks:register(erlang, fun() -> ok end)).

back_into_the_waiting_thread(_) ->
    doc("An Erlang handler that executes a handler of the worker that waits for it runs it on the "
        "waiting thread."),
    _ = do_start(1, 1),
    ok = hornbeam_hooks:register(erlang, fun(<<"back">>, [N], _) ->
        hornbeam_hooks:execute(service, nest, [N])
    end),
    ?assertMatch(<<"{\"ok\": [", _/binary>>, do_execute(<<"erlang">>, <<"back">>, [3])).

%%% Streams

streams(_) ->
    doc("Generators, async generators and lists are streamed whole and in order, into the own "
        "worker with one thread, and to Erlang."),
    _ = do_start(1, 1),
    ?assertEqual(<<"{\"ok\": [0, 1, 2]}">>, do_stream(<<"service">>, <<"numbers">>, [3])),
    ?assertEqual(<<"{\"ok\": [0, 1, 2]}">>,
        do_ask("stream", [<<"service">>, <<"async_numbers">>, [3], #{}])),
    ?assertEqual(<<"{\"ok\": [0, 1, 2]}">>,
        do_ask("stream", [<<"service">>, <<"nested_stream">>, [3], #{}])),
    ?assertEqual(<<"{\"ok\": []}">>, do_ask("stream", [<<"service">>, <<"numbers">>, [0], #{}])),
    ?assertEqual(<<"{\"ok\": [\"act\", [], {}]}">>, do_stream(<<"function">>, <<"act">>, [])),
    ?assertEqual({ok, lists:seq(0, 999)}, do_items(service, numbers, [1000])),
    ?assertEqual({ok, lists:seq(0, 99)}, do_items(service, nested_stream, [100])).

do_items(Path, Action, Arguments) ->
    Collect = fun(Item, Items) -> {ok, [Item | Items]} end,
    case hornbeam_hooks:stream(Path, Action, Arguments, Collect, []) of
        {ok, Items} -> {ok, lists:reverse(Items)};
        Error -> Error
    end.

errors_in_the_middle(_) ->
    doc("Items that came before a failure arrive before it; what cannot be iterated or sent is an "
        "error."),
    _ = do_start(1, 1),
    Test = self(),
    Tell = fun(Item, ok) -> Test ! {item, Item}, {ok, ok} end,
    ?assertMatch({error, {<<"handler_error">>, #{<<"message">> := <<"three">>}}},
        hornbeam_hooks:stream(service, some_then_fail, [], Tell, ok)),
    [receive {item, N} -> ok after 0 -> ct:fail(no_item) end || N <- [1, 2]],
    [
        do_says(do_ask("stream", [<<"service">>, Action, Arguments, #{}]), Text)
     || {Action, Arguments, Text} <- [
            {<<"some_then_fail">>, [], "HandlerError.*three"},
            {<<"bad_item">>, [], "TermError.*an item cannot be sent"},
            {<<"add">>, [1], "HandlerError.*a stream needs a generator"}
        ]
    ].

do_file() ->
    Name = "hornbeam-hooks-" ++ integer_to_list(erlang:unique_integer([positive])),
    filename:join(os:getenv("TMPDIR", "/tmp"), Name).

do_is_closed(File) ->
    await(fun() -> file:read_file(File) =:= {ok, <<"closed">>} end),
    ok = file:delete(File).

readers_that_leave(_) ->
    doc("A reader that stops, in Python or in Erlang, closes the generator; so does one that is "
        "killed."),
    _ = do_start(1, 1),
    File = do_file(),
    Text = list_to_binary(File),
    ?assertEqual(<<"{\"ok\": 2}">>, do_ask("first", [<<"service">>, <<"watched">>, [Text], #{}])),
    ok = do_is_closed(File),
    Stop = fun(Item, _) when Item >= 20 -> {stop, Item}; (Item, _) -> {ok, Item} end,
    ?assertEqual({ok, 20}, hornbeam_hooks:stream(service, watched, [Text], Stop, none)),
    ok = do_is_closed(File),
    Crash = fun(_, _) -> error(reader_crashed) end,
    ?assertError(reader_crashed, hornbeam_hooks:stream(service, watched, [Text], Crash, none)),
    ok = do_is_closed(File).

a_reader_in_a_worker_that_dies(_) ->
    doc("When the worker that reads a stream is killed, the generator in the other worker is "
        "closed."),
    _ = do_start(2, 1),
    Pids = do_own_hooks(),
    File = do_file(),
    Reading = async(fun() -> catch do_ask("endless", [list_to_binary(File), Pids]) end),
    await(fun() -> filelib:is_file(File ++ ".reader") end),
    {ok, Reader} = file:read_file(File ++ ".reader"),
    _ = os:cmd("kill -KILL " ++ binary_to_list(Reader)),
    ok = do_is_closed(File),
    _ = Reading(),
    ok = file:delete(File ++ ".reader").

credit_stops_the_generator(_) ->
    doc("A generator is never more than 16 items ahead of its reader."),
    _ = do_start(1, 1),
    File = do_file(),
    Test = self(),
    Reader = spawn_link(fun() ->
        Fun = fun(Item, _) ->
            Test ! {read, Item},
            receive
                next -> {ok, Item};
                stop -> {stop, ok}
            end
        end,
        Test ! {done, hornbeam_hooks:stream(service, produced, [list_to_binary(File)], Fun, none)}
    end),
    receive {read, 0} -> ok after 5000 -> ct:fail(no_item) end,
    await(fun() -> do_produced(File) =:= 15 end),
    [begin Reader ! next, receive {read, N} -> ok end end || N <- lists:seq(1, 8)],
    await(fun() -> do_produced(File) =:= 23 end),
    Reader ! stop,
    receive {done, {ok, ok}} -> ok after 5000 -> ct:fail(not_stopped) end,
    ok = file:delete(File).

do_produced(File) ->
    case file:read_file(File) of
        {ok, <<_, _/binary>> = Text} -> binary_to_integer(Text);
        _ -> none
    end.

slow_generators(_) ->
    doc("Each item has the reader's time: a generator that takes longer is closed, and the reader "
        "gets CallTimeout."),
    _ = do_start(1, 2),
    do_says(do_ask("stream", [<<"service">>, <<"slow">>, [1.0], #{}], 200), "CallTimeout"),
    ?assertEqual({error, timeout}, hornbeam_hooks:stream(
        service, slow, [1.0], fun(I, _) -> {ok, I} end, none, #{timeout => 200})).

streams_share_the_thread(_) ->
    doc("An endless stream that is read without a pause leaves the only thread to requests."),
    _ = do_start(1, 1),
    Reader = spawn_link(fun() ->
        hornbeam_hooks:stream(service, numbers, [], fun(I, _) -> {ok, I} end, none)
    end),
    [ok = do_adds() || _ <- lists:seq(1, 20)],
    unlink(Reader),
    exit(Reader, kill).

erlang_streams(_) ->
    doc("An Erlang handler streams a list, or emits as the reader has room; it ends with its "
        "reader."),
    _ = do_start(1, 1),
    Test = self(),
    ok = hornbeam_hooks:register(erlang, fun
        (<<"list">>, Items, _) -> Items;
        (<<"emit">>, [N], _) -> {stream, fun(Emit) -> lists:foreach(Emit, lists:seq(1, N)) end};
        (<<"endless">>, [], _) -> Test ! {emitter, self()}, {stream, fun do_endless/1};
        (<<"fail">>, [], _) -> {stream, fun(Emit) -> Emit(1), error(oops) end};
        (<<"one">>, [], _) -> 1
    end),
    Stream = fun(Action, Arguments) -> do_ask("stream", [<<"erlang">>, Action, Arguments, #{}]) end,
    ?assertEqual(<<"{\"ok\": [1, 2]}">>, Stream(<<"list">>, [1, 2])),
    {ok, Hundred} = do_items(erlang, emit, [100]),
    ?assertEqual(lists:seq(1, 100), Hundred),
    ?assertEqual(100, length(binary:split(Stream(<<"emit">>, [100]), <<",">>, [global]))),
    do_says(Stream(<<"fail">>, []), "RemoteError.*oops"),
    do_says(Stream(<<"one">>, []), "TermError.*a stream is"),
    do_says(Stream(<<"missing">>, []), "RemoteError.*function_clause"),
    ?assertEqual(<<"{\"ok\": 2}">>, do_ask("first", [<<"erlang">>, <<"endless">>, [], #{}])),
    receive
        {emitter, Pid} -> await(fun() -> not is_process_alive(Pid) end)
    after 5000 -> ct:fail(none)
    end.

do_endless(Emit) -> do_endless(Emit, 0).

do_endless(Emit, N) ->
    ok = Emit(N),
    do_endless(Emit, N + 1).

%%% Tasks

tasks(_) ->
    doc("A task's result is there for every worker and for Erlang, more than once; the id is a "
        "text; a task in the own worker with one thread does not wait for itself."),
    _ = do_start(2, 1),
    Start = [<<"service">>, <<"add">>, [1, 2], #{}],
    <<"{\"ok\": \"", Id:32/binary, "\"}">> = do_ask("start", Start),
    [?assertEqual(<<"{\"ok\": 3}">>, do_ask("await", [Id, 5000])) || _ <- lists:seq(1, 6)],
    ?assertEqual({ok, 3}, hornbeam_hooks:await_result(Id)),
    {ok, Own} = hornbeam_hooks:execute_async(service, add, [2, 2]),
    ?assertEqual({ok, 4}, hornbeam_hooks:await_result(Own, 5000)),
    ok = hornbeam:stop(),
    _ = do_start(1, 1),
    ?assertEqual(<<"{\"ok\": 3}">>, do_ask("task", [<<"service">>, <<"add">>, [1, 2], #{}])).

failures_of_tasks(_) ->
    doc("A task that fails, is too slow, or whose worker is killed says so to whoever awaits it, "
        "each time; an unknown one is NotRegistered; a wait that is over is CallTimeout, and the "
        "task goes on."),
    _ = do_start(1, 1),
    {ok, Failing} = hornbeam_hooks:execute_async(service, fail, [<<"x">>]),
    [
        ?assertMatch({error, {<<"handler_error">>, _}}, hornbeam_hooks:await_result(Failing))
     || _ <- [1, 2]
    ],
    {ok, Slow} = hornbeam_hooks:execute_async(service, sleep, [0.5]),
    ?assertEqual({error, timeout}, hornbeam_hooks:await_result(Slow, 50)),
    ?assertEqual({ok, <<"slept">>}, hornbeam_hooks:await_result(Slow)),
    {ok, Late} = hornbeam_hooks:execute_async(service, sleep, [0.5], #{timeout => 100}),
    ?assertEqual({error, {<<"timeout">>, #{}}}, hornbeam_hooks:await_result(Late)),
    {ok, Dying} = hornbeam_hooks:execute_async(service, die, []),
    [?assertEqual({error, node_down}, hornbeam_hooks:await_result(Dying)) || _ <- [1, 2]],
    do_says(do_ask("await", [Dying, 5000]), "NodeDown"),
    do_says(do_ask("await", [<<"none">>, 5000]), "NotRegistered"),
    {ok, Nobody} = hornbeam_hooks:execute_async(nobody, x, []),
    ?assertMatch({error, {<<"not_registered">>, _}}, hornbeam_hooks:await_result(Nobody)).

results_expire(_) ->
    doc("A result is forgotten after task_result_ttl; a crash of the server that keeps them loses "
        "none."),
    ok = do_forget_tasks(),
    _ = hornbeam_case:start("hooks_app:application", #{task_result_ttl => 800}),
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
    Slow = [hornbeam_hooks:execute_async(service, sleep, [0.4]) || _ <- [1, 2]],
    ?assertMatch({error, {<<"not_registered">>, _}}, hornbeam_hooks:await_result(First)),
    ?assertMatch({error, {<<"overloaded">>, #{limit := 2}}},
        hornbeam_hooks:execute_async(service, add, [1, 2])),
    [?assertEqual({ok, <<"slept">>}, hornbeam_hooks:await_result(Id)) || {ok, Id} <- Slow].

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
    [ok = do_says(do_execute(<<"async">>, Action, Args), Text) || {Action, Args, Text} <- Table],
    ?assertEqual({ok, 3}, hornbeam_hooks:execute(async, add, [1, 2])),
    ?assertEqual({ok, 7}, hornbeam_hooks:execute(async, later, [7])),
    ?assertEqual(<<"{\"ok\": 3}">>, do_ask("task", [<<"async">>, <<"add">>, [1, 2], #{}])),
    ok = do_says(do_ask("execute", [<<"async">>, <<"sleep">>, [5], #{}], 100), "CallTimeout"),
    ?assertEqual({error, node_down}, hornbeam_hooks:execute(async, die, [])),
    ?assertEqual({ok, 3}, hornbeam_hooks:execute(async, add, [1, 2])).

async_streams(_) ->
    doc("In an ASGI worker async generators run on the loop, generators in a thread; readers are "
        "async, threads, and Erlang; one that leaves closes the generator."),
    _ = do_start_asgi(1),
    Hundred = lists:seq(0, 99),
    [
        begin
            ?assertEqual({ok, Hundred}, do_items(async, Action, [100])),
            ?assertEqual(<<"{\"ok\": [0, 1, 2]}">>, do_stream(<<"async">>, Action, [3])),
            ?assertEqual(<<"{\"ok\": [0, 1, 2]}">>,
                do_ask("thread", [<<"async">>, Action, [3], #{}]))
        end
     || Action <- [<<"numbers">>, <<"sync_numbers">>]
    ],
    ok = do_says(do_stream(<<"async">>, <<"some_then_fail">>, []), "HandlerError.*two"),
    ok = do_says(do_stream(<<"async">>, <<"bad_item">>, []), "TermError.*an item cannot be sent"),
    ok = do_says(do_stream(<<"async">>, <<"missing">>, []), "HandlerError.*no action"),
    File = do_file(),
    Watched = [list_to_binary(File)],
    ?assertEqual(<<"{\"ok\": 2}">>, do_ask("first", [<<"async">>, <<"watched">>, Watched, #{}])),
    ok = do_is_closed(File),
    Stop = fun(Item, _) when Item >= 40 -> {stop, Item}; (Item, _) -> {ok, Item} end,
    ?assertEqual({ok, 40}, hornbeam_hooks:stream(async, watched, Watched, Stop, none)),
    ok = do_is_closed(File),
    hornbeam_case:await_idle().
