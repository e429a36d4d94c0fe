%% SPDX-License-Identifier: Apache-2.0
%% @doc Erlang code that was written for ErlPort 1.x drives our workers: with the messages that the
%% Erlang side of ErlPort sends, written by hand.
-module(erlport_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await/1, async/1]).

-compile([export_all, nowarn_export_all]).

-define(PATIENCE, 60000).

all() -> [{group, wsgi}, {group, asgi}, {group, others}].

groups() ->
    Others = [without_the_option, the_example],
    Cases = hornbeam_case:all(?MODULE) -- Others,
    [{others, [], Others} | [{Group, [], Cases} || Group <- [wsgi, asgi]]].

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) -> hornbeam_case:init_quiet_suite(Config).

end_per_suite(Config) -> hornbeam_case:end_quiet_suite(Config).

init_per_group(others, Config) ->
    Config;
init_per_group(Interface, Config) ->
    Options = #{
        worker_class => Interface, workers => 1, threads => 1,
        rpc_allow => [lists, erlang, ?MODULE],
        erlport => ["erlport_app", "operator", "os"]
    },
    _ = hornbeam_case:start("erlport_app:" ++ atom_to_list(Interface), Options),
    Config.

end_per_group(_, _) -> hornbeam:stop().

%% What python:call/4,5 does.
do_call(Instance, Module, Function, Arguments) ->
    do_call(Instance, Module, Function, Arguments, []).

do_call(Instance, Module, Function, Arguments, Options) ->
    case gen_server:call(Instance, {call, Module, Function, Arguments, Options}, ?PATIENCE) of
        {ok, Result} -> Result;
        {error, Reason} -> error(Reason)
    end.

do_app(Instance, Function, Arguments) -> do_call(Instance, erlport_app, Function, Arguments).

do_start() -> do_start([]).

do_start(Options) ->
    {ok, Instance} = hornbeam_erlport:start(Options),
    Instance.

do_next() ->
    receive Message -> Message
    after ?PATIENCE -> error(no_message)
    end.

%% The reason with which the instance ends.
do_reason(Instance) ->
    Monitor = monitor(process, Instance),
    fun() ->
        receive {'DOWN', Monitor, process, _, Reason} -> Reason
        after ?PATIENCE -> error(still_there)
        end
    end.

calls(_) ->
    doc("Functions, also of classes and of modules below an allowed one, are called with their "
        "arguments; a coroutine is awaited."),
    P = do_start(),
    ?assertEqual(3, do_call(P, operator, add, [1, 2])),
    ?assertEqual(3, do_app(P, 'Nested.Deeper.add', [1, 2])),
    ?assertEqual(<<"a/b">>, do_call(P, 'os.path', join, [<<"a">>, <<"b">>])),
    ?assertEqual(7, do_app(P, later, [7])),
    ?assertEqual(3, hornbeam_erlport:call(P, operator, add, [1, 2])),
    ok = hornbeam_erlport:stop(P).

values(_) ->
    doc("Binaries are bytes and lists of characters are text, as with ErlPort; maps and pids are "
        "what they are. With {values, hornbeam} they travel as everywhere in hornbeam."),
    P = do_start(),
    Pid = self(),
    [
        ?assertEqual([Kind, Back], do_app(P, kind, [Value]), Value)
     || {Value, Kind, Back} <- [
            {<<"text">>, "bytes", <<"text">>},
            {<<255>>, "bytes", <<255>>},
            {"text", "List", "text"},
            {[1, <<"a">>], "List", [1, <<"a">>]},
            {{bytes, <<"a">>}, "tuple", {bytes, <<"a">>}},
            {ok, "Atom", ok},
            {undefined, "NoneType", undefined},
            {1 bsl 70, "int", 1 bsl 70},
            {#{<<"k">> => [<<"v">>]}, "dict", #{<<"k">> => [<<"v">>]}},
            {Pid, "Pid", Pid}
        ]
    ],
    ?assert(do_app(P, is_list, ["text"])),
    ?assertEqual([1 | <<"a">>], lists:last(do_app(P, kind, [[1 | <<"a">>]]))),
    H = do_start([{values, hornbeam}]),
    ?assertEqual([<<"str">>, <<"text">>], do_app(H, kind, [<<"text">>])),
    ?assertEqual([<<"bytes">>, {bytes, <<"text">>}], do_app(H, kind, [{bytes, <<"text">>}])),
    [ok = hornbeam_erlport:stop(Each) || Each <- [P, H]].

exceptions(_) ->
    doc("An exception is the error {python, Type, Text, Traceback} of the caller, and the instance "
        "goes on; a type nobody has an atom for is a binary."),
    P = do_start(),
    ?assertError({python, 'builtins.KeyError', "Atom('x')", [{_, _, "fail", _} | _]},
        do_app(P, fail, [x])),
    ?assertError({python, 'builtins.AttributeError', _, _}, do_app(P, nothing, [])),
    ?assertError({python, _, _, []}, do_app(P, unsendable, [])),
    ?assertError({not_allowed, subprocess, _}, do_call(P, subprocess, run, [])),
    ?assertEqual(3, do_call(P, operator, add, [1, 2])),
    ok = hornbeam_erlport:stop(P).

opaque_objects(_) ->
    doc("A pickled object of another ErlPort is refused with an error that names it; what it made "
        "of Erlang's terms is read."),
    P = do_start(),
    Opaque = {'$erlport.opaque', python, <<128, 2, 46>>},
    ?assertError({opaque, python, <<_, _/binary>>}, do_app(P, kind, [[Opaque]])),
    <<131, Data/binary>> = term_to_binary(#{a => 1}),
    ?assertEqual(["dict", #{a => 1}], do_app(P, kind, [{'$erlport.opaque', erlang, Data}])),
    ?assertError({opaque, erlang, _}, do_app(P, kind, [{'$erlport.opaque', erlang, <<1>>}])),
    ok = hornbeam_erlport:stop(P).

messages(_) ->
    doc("Casts and any other message go to the handler in Python, in order, and come back as "
        "messages; without a handler they are ignored."),
    P = do_start(),
    ok = do_app(P, register_handler, [self()]),
    ok = gen_server:cast(P, {message, {"tuple", <<"bytes">>}}),
    P ! plain,
    [P ! N || N <- lists:seq(1, 100)],
    ?assertEqual({echo, {"tuple", <<"bytes">>}}, do_next()),
    ?assertEqual({echo, plain}, do_next()),
    [?assertEqual({echo, N}, do_next()) || N <- lists:seq(1, 100)],
    undefined = do_app(P, remove_handler, []),
    ok = hornbeam_erlport:cast(P, ignored),
    ?assertEqual(3, do_call(P, operator, add, [1, 2])),
    receive Other -> error(Other) after 0 -> ok end,
    ok = hornbeam_erlport:stop(P).

handlers_that_fail(_) ->
    doc("A handler of messages that fails ends its instance, and no other, as with ErlPort."),
    P = do_start(),
    Other = do_start(),
    undefined = do_app(P, failing_handler, []),
    Reason = do_reason(P),
    P ! message,
    ?assertMatch({message_handler_error, {python, 'builtins.LookupError', _, _}}, Reason()),
    undefined = do_app(Other, remove_handler, []),
    ok = hornbeam_erlport:stop(Other).

asynchronous_calls(_) ->
    doc("An asynchronous call returns at once and is done in its turn; one that fails ends the "
        "instance."),
    P = do_start(),
    ok = hornbeam_erlport:call(P, erlport_app, remember, [7], [async]),
    ok = gen_server:cast(P, {call, erlport_app, remember, [8], [async]}),
    ?assertMatch([7, 8], do_app(P, remembered, [])),
    Reason = do_reason(P),
    ok = gen_server:cast(P, {call, erlport_app, fail, [x], [async]}),
    ?assertMatch({async_call_error, {python, 'builtins.KeyError', _, _}}, Reason()).

erlang_functions(_) ->
    doc("Python calls Erlang functions and gets their results; their failures are CallError, and "
        "so is what rpc_allow refuses."),
    P = do_start(),
    ?assertEqual("CBA", do_app(P, erlang, [lists, reverse, ["ABC"]])),
    ?assertEqual(<<"bytes">>, do_app(P, erlang, [erlang, iolist_to_binary, [[<<"by">>, "tes"]]])),
    ?assertEqual(P, do_app(P, me, [])),
    ?assertMatch({erlang, error, "badarg"},
        do_app(P, call_error, [erlang, binary_to_integer, [<<"x">>]])),
    ?assertMatch({erlang, refused, "file:delete" ++ _},
        do_app(P, call_error, [file, delete, [<<"x">>]])),
    ok = hornbeam_erlport:stop(P).

re_entrant(_) ->
    doc("An Erlang function that Python calls calls the same instance again, any depth, on the "
        "thread that waits; the worker has one thread."),
    P = do_start(),
    Here = do_app(P, thread, []),
    Nested = do_app(P, thread_and, [?MODULE, do_again, [P, 3]]),
    ?assertEqual([Here, Here, Here, Here, Here], lists:flatten(Nested)),
    ok = hornbeam_erlport:stop(P).

do_again(P, 0) -> do_app(P, thread, []);
do_again(P, N) -> do_app(P, thread_and, [?MODULE, do_again, [P, N - 1]]).

%% Python waits here until it is told to go on.
do_wait(Pid) ->
    Pid ! {waiting, self()},
    receive go_on -> done end.

one_at_a_time(Config) ->
    doc("An instance serves one request after the other, and others again while Python waits for "
        "Erlang; a deadline is kept also by what waits for its turn."),
    P = do_start(),
    Me = self(),
    First = async(fun() -> do_app(P, alone, [Me]) end),
    ?assertEqual(entered, do_next()),
    {waiting, Service} = do_next(),
    %% Python waits for Erlang: it serves others meanwhile
    ?assertEqual(3, do_call(P, operator, add, [1, 2])),
    Service ! go_on,
    ?assertEqual(done, First()),
    %% Python runs and does not wait
    Path = list_to_binary(filename:join(?config(priv_dir, Config), "go_on")),
    _ = file:delete(Path),
    Held = async(fun() -> do_app(P, hold, [Me, Path]) end),
    ?assertEqual(entered, do_next()),
    ?assertError(timeout, do_call(P, operator, add, [1, 2], [{timeout, 50}])),
    ok = file:write_file(Path, <<>>),
    ?assertEqual("held", Held()),
    ok = file:delete(Path),
    ?assertError(timeout, do_call(P, erlport_app, hold, [Me, Path], [{timeout, 50}])),
    ok = file:write_file(Path, <<>>),
    ?assertEqual(3, do_call(P, operator, add, [1, 2])),
    ok = hornbeam_erlport:stop(P).

timers_of_requests(Config) ->
    doc("The timer of a request that has had its turn is gone; its deadline may be weeks away."),
    P = do_start(),
    Path = list_to_binary(filename:join(?config(priv_dir, Config), "turn")),
    _ = file:delete(Path),
    Held = async(fun() -> do_app(P, hold, [self(), Path]) end),
    await(fun() -> do_running(P) =:= 1 end),
    Next = async(fun() -> do_call(P, operator, add, [1, 2]) end),
    await(fun() -> length(do_waiting(P)) =:= 1 end),
    [Request] = do_waiting(P),
    Timer = element(tuple_size(Request), Request),
    ?assert(is_integer(erlang:read_timer(Timer))),
    ok = file:write_file(Path, <<>>),
    ?assertEqual("held", Held()),
    ?assertEqual(3, Next()),
    ?assertEqual(false, erlang:read_timer(Timer)),
    ok = hornbeam_erlport:stop(P).

%% Fields of the record state.
do_waiting(P) -> hornbeam_erlport_queue:waiting(element(5, sys:get_state(P))).

do_running(P) -> map_size(element(6, sys:get_state(P))).

stopping(_) ->
    doc("Who waits for a result of an instance that is stopped gets the error stopped; the worker "
        "goes on for others."),
    P = do_start(),
    Me = self(),
    Running = async(fun() -> catch do_app(P, alone, [Me]) end),
    ?assertEqual(entered, do_next()),
    {waiting, Service} = do_next(),
    Reason = do_reason(P),
    ok = gen_server:cast(P, stop),
    ?assertMatch({'EXIT', {stopped, _}}, Running()),
    ?assertEqual(normal, Reason()),
    Service ! go_on,
    Other = do_start(),
    ?assertEqual(3, do_call(Other, operator, add, [1, 2])),
    ok = hornbeam_erlport:stop(Other).

decoders(_) ->
    doc("A decoder of the Python code sees every argument."),
    P = do_start(),
    undefined = do_app(P, use_decoder, []),
    ?assertEqual({"decoded", 7}, do_app(P, decoded, [7])),
    undefined = do_app(P, use_no_decoder, []),
    ?assertEqual(7, do_app(P, decoded, [7])),
    ok = hornbeam_erlport:stop(P).

names_and_options(_) ->
    doc("Instances have names; options that say how to start Python are refused with advice."),
    {ok, P} = hornbeam_erlport:start({local, erlport_suite_instance}),
    ?assertEqual(3, do_call(erlport_suite_instance, operator, add, [1, 2])),
    ?assertMatch({error, {invalid_option, {python_path, _}, "an instance drives" ++ _}},
        hornbeam_erlport:start([{python_path, "."}])),
    ?assertMatch({error, {invalid_option, {call_timeout, 0}}},
        hornbeam_erlport:start([{call_timeout, 0}])),
    ?assertMatch({error, {no_worker, _}}, hornbeam_erlport:start([{worker, 2}])),
    ?assertError({invalid_option, {timeout, soon}},
        do_call(P, operator, add, [1, 2], [{timeout, soon}])),
    ok = hornbeam_erlport:stop(P).

worker_that_dies(_) ->
    doc("An instance ends with the Python process of its worker, and its callers are told; a new "
        "instance drives the next process."),
    P = do_start([{worker, 1}]),
    Me = self(),
    Running = async(fun() -> catch do_app(P, alone, [Me]) end),
    ?assertEqual(entered, do_next()),
    {waiting, _} = do_next(),
    Reason = do_reason(P),
    _ = os:cmd("kill -9 " ++ integer_to_list(hornbeam_case:pid())),
    ?assertMatch({'EXIT', {{port_closed, worker_ended}, _}}, Running()),
    ?assertEqual({port_closed, worker_ended}, Reason()),
    await(fun() ->
        case hornbeam_erlport:start([]) of
            {ok, Next} ->
                3 = do_call(Next, operator, add, [1, 2]),
                hornbeam_erlport:stop(Next) =:= ok;
            {error, {no_worker, _}} ->
                false
        end
    end).

without_the_option(_) ->
    doc("An application that names no modules has no instances."),
    _ = hornbeam_case:start("erlport_app:wsgi", #{}),
    ?assertMatch({error, {not_allowed, "name Python modules" ++ _}}, hornbeam_erlport:start()),
    ok = hornbeam:stop(),
    ?assertMatch({error, {no_application, _}}, hornbeam_erlport:start()).

the_example(Config) ->
    doc("The example counts words by a call and by a message; its web application sees them."),
    Folder = filename:join([hornbeam_case:root(), "examples", "erlport"]),
    Port = hornbeam_case:start("app:application", #{pythonpath => [Folder], erlport => ["app"]}),
    Source = filename:join(Folder, "word_count.erl"),
    {ok, word_count} = compile:file(Source, [{outdir, ?config(priv_dir, Config)}, report]),
    true = code:add_path(?config(priv_dir, Config)),
    ?assertEqual({4, 2}, word_count:run({<<"to be or not">>, <<"to be">>})),
    ?assertEqual({200, <<"6 words\n">>}, hornbeam_case:fetch(Port, "/")).
