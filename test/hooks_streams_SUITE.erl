%% SPDX-License-Identifier: Apache-2.0
%% @doc Handlers that stream: order, credit, errors, and readers and generators that leave.
-module(hooks_streams_SUITE).

-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await/1, async/1]).
-import(hooks_case, [
    adds/0, ask/2, ask/3, says/2, start/2, stream/3, own_hooks/0, file_name/0, await_closed/1,
    items/3
]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

end_per_testcase(_, _) ->
    ok = hornbeam_hooks:unregister(<<"erlang">>),
    hornbeam:stop().

streams(_) ->
    doc("Generators, async generators and lists are streamed whole and in order, into the own "
        "worker with one thread, and to Erlang."),
    _ = start(1, 1),
    ?assertEqual(<<"{\"ok\": [0, 1, 2]}">>, stream(<<"service">>, <<"numbers">>, [3])),
    ?assertEqual(<<"{\"ok\": [0, 1, 2]}">>,
        ask("stream", [<<"service">>, <<"async_numbers">>, [3], #{}])),
    ?assertEqual(<<"{\"ok\": [0, 1, 2]}">>,
        ask("stream", [<<"service">>, <<"nested_stream">>, [3], #{}])),
    ?assertEqual(<<"{\"ok\": []}">>, ask("stream", [<<"service">>, <<"numbers">>, [0], #{}])),
    ?assertEqual(<<"{\"ok\": [\"act\", [], {}]}">>, stream(<<"function">>, <<"act">>, [])),
    ?assertEqual({ok, lists:seq(0, 999)}, items(service, numbers, [1000])),
    ?assertEqual({ok, lists:seq(0, 99)}, items(service, nested_stream, [100])).

errors_in_the_middle(_) ->
    doc("Items that came before a failure arrive before it; what cannot be iterated or sent is an "
        "error."),
    _ = start(1, 1),
    Test = self(),
    Tell = fun(Item, ok) -> Test ! {item, Item}, {ok, ok} end,
    ?assertMatch({error, {<<"handler_error">>, #{<<"message">> := <<"three">>}}},
        hornbeam_hooks:stream(service, some_then_fail, [], Tell, ok)),
    [receive {item, N} -> ok after 0 -> ct:fail(no_item) end || N <- [1, 2]],
    [
        says(ask("stream", [<<"service">>, Action, Arguments, #{}]), Text)
     || {Action, Arguments, Text} <- [
            {<<"some_then_fail">>, [], "HandlerError.*three"},
            {<<"bad_item">>, [], "TermError.*an item cannot be sent"},
            {<<"add">>, [1], "HandlerError.*a stream needs a generator"}
        ]
    ].

readers_that_leave(_) ->
    doc("A reader that stops, in Python or in Erlang, closes the generator; so does one that is "
        "killed."),
    _ = start(1, 1),
    File = file_name(),
    Text = list_to_binary(File),
    ?assertEqual(<<"{\"ok\": 2}">>, ask("first", [<<"service">>, <<"watched">>, [Text], #{}])),
    ok = await_closed(File),
    Stop = fun(Item, _) when Item >= 20 -> {stop, Item}; (Item, _) -> {ok, Item} end,
    ?assertEqual({ok, 20}, hornbeam_hooks:stream(service, watched, [Text], Stop, none)),
    ok = await_closed(File),
    Crash = fun(_, _) -> error(reader_crashed) end,
    ?assertError(reader_crashed, hornbeam_hooks:stream(service, watched, [Text], Crash, none)),
    ok = await_closed(File),
    ok = do_killed(service, watched, [Text]),
    ok = await_closed(File).

%% A process that reads the first items is killed.
do_killed(Path, Action, Arguments) ->
    Test = self(),
    Reader = spawn(fun() ->
        Read = fun(_, _) -> Test ! reading, receive never -> {ok, none} end end,
        hornbeam_hooks:stream(Path, Action, Arguments, Read, none)
    end),
    receive reading -> ok after 30000 -> ct:fail(no_item) end,
    true = exit(Reader, kill),
    ok.

a_reader_in_a_worker_that_dies(_) ->
    doc("When the worker that reads a stream is killed, the generator in the other worker is "
        "closed."),
    _ = start(2, 1),
    Pids = own_hooks(),
    File = file_name(),
    Reading = async(fun() -> catch ask("endless", [list_to_binary(File), Pids]) end),
    await(fun() -> filelib:is_file(File ++ ".reader") end),
    {ok, Reader} = file:read_file(File ++ ".reader"),
    _ = os:cmd("kill -KILL " ++ binary_to_list(Reader)),
    ok = await_closed(File),
    _ = Reading(),
    ok = file:delete(File ++ ".reader").

credit_stops_the_generator(_) ->
    doc("A generator is never more than 16 items ahead of its reader."),
    _ = start(1, 1),
    File = file_name(),
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
    receive {read, 0} -> ok after 30000 -> ct:fail(no_item) end,
    await(fun() -> do_produced(File) =:= 15 end),
    [begin Reader ! next, receive {read, N} -> ok end end || N <- lists:seq(1, 8)],
    await(fun() -> do_produced(File) =:= 23 end),
    Reader ! stop,
    receive {done, {ok, ok}} -> ok after 30000 -> ct:fail(not_stopped) end,
    ok = file:delete(File).

do_produced(File) ->
    case file:read_file(File) of
        {ok, <<_, _/binary>> = Text} -> binary_to_integer(Text);
        _ -> none
    end.

slow_generators(_) ->
    doc("Each item has the reader's time: a generator that takes longer is closed, and the reader "
        "gets CallTimeout."),
    _ = start(1, 2),
    says(ask("stream", [<<"service">>, <<"slow">>, [1.0], #{}], 200), "CallTimeout"),
    ?assertEqual({error, timeout}, hornbeam_hooks:stream(
        service, slow, [1.0], fun(I, _) -> {ok, I} end, none, #{timeout => 200})).

streams_share_the_thread(_) ->
    doc("An endless stream that is read without a pause leaves the only thread to requests."),
    _ = start(1, 1),
    Reader = spawn_link(fun() ->
        hornbeam_hooks:stream(service, numbers, [], fun(I, _) -> {ok, I} end, none)
    end),
    [ok = adds() || _ <- lists:seq(1, 20)],
    unlink(Reader),
    exit(Reader, kill).

erlang_streams(_) ->
    doc("An Erlang handler streams a list, or emits as the reader has room; it ends with its "
        "reader."),
    _ = start(1, 1),
    Test = self(),
    ok = hornbeam_hooks:register(erlang, fun
        (<<"list">>, Items, _) -> Items;
        (<<"emit">>, [N], _) -> {stream, fun(Emit) -> lists:foreach(Emit, lists:seq(1, N)) end};
        (<<"endless">>, [], _) -> Test ! {emitter, self()}, {stream, fun do_endless/1};
        (<<"fail">>, [], _) -> {stream, fun(Emit) -> Emit(1), error(oops) end};
        (<<"one">>, [], _) -> 1
    end),
    Stream = fun(Action, Arguments) -> ask("stream", [<<"erlang">>, Action, Arguments, #{}]) end,
    ?assertEqual(<<"{\"ok\": [1, 2]}">>, Stream(<<"list">>, [1, 2])),
    {ok, Hundred} = items(erlang, emit, [100]),
    ?assertEqual(lists:seq(1, 100), Hundred),
    ?assertEqual(100, length(binary:split(Stream(<<"emit">>, [100]), <<",">>, [global]))),
    says(Stream(<<"fail">>, []), "RemoteError.*oops"),
    says(Stream(<<"one">>, []), "TermError.*a stream is"),
    says(Stream(<<"missing">>, []), "RemoteError.*function_clause"),
    ?assertEqual(<<"{\"ok\": 2}">>, ask("first", [<<"erlang">>, <<"endless">>, [], #{}])),
    ok = do_ended(emitter),
    ok = do_killed(erlang, endless, []),
    ok = do_ended(emitter).

%% The process that says so has ended.
do_ended(What) ->
    receive
        {What, Pid} -> await(fun() -> not is_process_alive(Pid) end)
    after 30000 -> ct:fail(none)
    end.

do_endless(Emit) -> do_endless(Emit, 0).

do_endless(Emit, N) ->
    ok = Emit(N),
    do_endless(Emit, N + 1).
