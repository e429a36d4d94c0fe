%% SPDX-License-Identifier: Apache-2.0
%% @doc Other people's clients: processes of a hidden node drive the services of another node by
%% hand, with the messages and the encodings that `gen_server', `ei', jinterface and Pyrlang use.
-module(interop_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1]).

-compile([export_all, nowarn_export_all]).

-define(PATIENCE, 60000).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) ->
    Cookie = ["-setcookie", "interop" ++ os:getpid()],
    Options = #{python => hornbeam_case:python(), pythonpath => [hornbeam_case:apps()]},
    %% Nodes end with the process that started them: one that lives as long as the suite.
    Parent = self(),
    {Keeper, Monitor} = spawn_monitor(fun() ->
        Server = hornbeam_peers:start("served", Cookie),
        Client = hornbeam_peers:start("client", ["-hidden" | Cookie]),
        ok = hornbeam_peers:run(Server, fun() -> do_serve(Options) end),
        Parent ! {started, Server, Client},
        receive stop -> ok end
    end),
    receive
        {started, Server, Client} ->
            true = demonitor(Monitor, [flush]),
            [{keeper, Keeper}, {server, Server}, {client, Client} | Config];
        {'DOWN', Monitor, process, _, Reason} ->
            error({no_nodes, Reason})
    after ?PATIENCE * 3 -> error(no_nodes)
    end.

end_per_suite(Config) ->
    Keeper = ?config(keeper, Config),
    Monitor = monitor(process, Keeper),
    Keeper ! stop,
    receive {'DOWN', Monitor, process, _, _} -> ok end.

do_serve(Options) ->
    ok = logger:set_primary_config(level, none),
    {ok, _} = application:ensure_all_started(hornbeam),
    _ = hornbeam_case:start("hooks_app:application", Options#{workers => 1, threads => 2}),
    ok = hornbeam:register_function(add, fun([A, B]) -> A + B end),
    ok = hornbeam:register_function(refuse, fun(_) -> {error, no_stock} end),
    ok = hornbeam:register_function(crash, fun(_) -> error(broken) end),
    ok = hornbeam:register_function(echo, fun([Value]) -> Value end),
    ok = hornbeam:register_function(forever, fun([Pid]) ->
        Pid ! {running, self()},
        receive after infinity -> ok end
    end).

%% In a process of the client's node.
do_client(Config, Fun) -> hornbeam_peers:run(?config(client, Config), Fun).

%% In a process of the server's node.
do_server(Config, Fun) -> hornbeam_peers:run(?config(server, Config), Fun).

do_node(Config) -> hornbeam_peers:node(?config(server, Config)).

%% What a client without Erlang's libraries writes, and what it reads.
do_send(Name, Node, Request) ->
    Tag = make_ref(),
    {Name, Node} ! {hornbeam_call, self(), Tag, Request},
    receive {hornbeam_reply, Tag, Answer} -> Answer
    after ?PATIENCE -> error({no_answer, Request})
    end.

do_gen_call(Name, Node, Request) ->
    Ref = make_ref(),
    {Name, Node} ! {'$gen_call', {self(), Ref}, Request},
    receive {Ref, Answer} -> Answer
    after ?PATIENCE -> error({no_answer, Request})
    end.

do_receive(Tag) ->
    receive Message when element(1, Message) =:= Tag -> Message
    after ?PATIENCE -> error({no_message, Tag})
    end.

%%% State

each_form_of_a_call(Config) ->
    doc("gen_server:call, a '$gen_call' written by hand and the simple form get the same answers; "
        "casts are done before the calls that come after them."),
    Node = do_node(Config),
    do_client(Config, fun() ->
        Server = {hornbeam_state, Node},
        {ok, undefined} = gen_server:call(Server, {set, [<<"form">>, 1]}),
        {ok, [1]} = do_gen_call(hornbeam_state, Node, {get, [<<"form">>]}),
        {ok, [1]} = do_send(hornbeam_state, Node, {"get", [<<"form">>]}),
        Server ! {hornbeam_cast, {<<"incr">>, [<<"form">>, 5]}},
        ok = gen_server:cast(Server, {incr, [<<"form">>, 10]}),
        {ok, [16]} = do_send(hornbeam_state, Node, {get, [<<"form">>]}),
        {ok, true} = do_send(hornbeam_state, Node, {delete, [<<"form">>]}),
        {ok, []} = do_send(hornbeam_state, Node, {get, [<<"form">>]})
    end).

encodings_of_other_languages(Config) ->
    doc("Values as ei, jinterface and Pyrlang encode them come back as they went in, also through "
        "Python: lists of characters stay lists, binaries are text where they are UTF-8."),
    Node = do_node(Config),
    Values = [
        {"STRING_EXT", "jinterface", [106, 105, 110, 116, 101, 114, 102, 97, 99, 101]},
        {"list of code points", [1078, 105], [1078, 105]},
        {"BINARY_EXT in UTF-8", <<"ж"/utf8>>, <<"ж"/utf8>>},
        {"BINARY_EXT, not UTF-8", <<255, 0>>, {bytes, <<255, 0>>}},
        {"bytes", {bytes, <<"abc">>}, {bytes, <<"abc">>}},
        {"ATOM_EXT", undefined, undefined},
        {"boolean", true, true},
        {"SMALL_BIG_EXT", 1 bsl 63, 1 bsl 63},
        {"NEW_FLOAT_EXT", 0.1, 0.1},
        {"NIL_EXT", [], []},
        {"MAP_EXT", #{<<"k">> => [1, {2, 3}]}, #{<<"k">> => [1, {2, 3}]}}
    ],
    do_client(Config, fun() ->
        [
            begin
                {ok, undefined} = do_send(hornbeam_state, Node, {set, ["key", Value]}),
                {ok, [Value]} = do_send(hornbeam_state, Node, {get, ["key"]}),
                {ok, Value} = do_send(hornbeam_functions, Node, {call, ["echo", Value]}),
                {ok, [<<"echo">>, [Python], #{}]} =
                    do_send(hornbeam_hooks, Node, {execute, ["function", "echo", Value]})
            end
         || {_, Value, Python} <- Values
        ]
    end),
    do_server(Config, fun() -> {ok, _} = hornbeam_state:get("key") end).

keywords_and_prefixes(Config) ->
    doc("Keywords, expiry, scans, pipelines: everything the state does for Python."),
    Node = do_node(Config),
    do_client(Config, fun() ->
        {ok, undefined} = do_send(hornbeam_state, Node, {set, [<<"p:1">>, 1], [{"ttl_ms", 60000}]}),
        {ok, true} = do_send(hornbeam_state, Node, {add, [<<"p:2">>, 2], #{ttl_ms => 60000}}),
        {ok, Keys} = do_send(hornbeam_state, Node, {keys, [<<"p:">>]}),
        [<<"p:1">>, <<"p:2">>] = lists:sort(Keys),
        {ok, [[[1]], {<<"bad_term">>, _}]} = do_send(hornbeam_state, Node,
            {pipeline, [[{<<"get">>, [<<"p:1">>], #{}}, {<<"fly">>, [], #{}}]]}),
        {ok, 2} = do_send(hornbeam_state, Node, {clear, [<<"p:">>]}),
        {error, {bad_term, #{reason := _}}} =
            do_send(hornbeam_state, Node, {set, [<<"x">>, 1], [{ttl_ms, soon}]})
    end).

%%% Failures

failures_have_names(Config) ->
    doc("What is wrong has a name and details, and hurts nobody else."),
    Node = do_node(Config),
    do_client(Config, fun() ->
        Ask = fun(Name, Request) -> do_send(Name, Node, Request) end,
        {error, {bad_term, _}} = Ask(hornbeam_state, nonsense),
        {error, {bad_term, _}} = Ask(hornbeam_state, {get, []}),
        {error, {bad_term, _}} = Ask(hornbeam_hooks, {fly, ["a", "b"]}),
        {error, {not_registered, #{service := <<"nobody">>}}} =
            Ask(hornbeam_functions, {call, ["nobody"]}),
        {error, {not_registered, #{service := <<"state.fly">>}}} = Ask(hornbeam_state, {fly, []}),
        {error, {remote_error, #{class := <<"return">>, reason := <<"no_stock">>}}} =
            Ask(hornbeam_functions, {call, [refuse]}),
        {error, {remote_error, #{class := <<"error">>, reason := <<"broken">>}}} =
            Ask(hornbeam_functions, {call, [crash]}),
        {error, {handler_error, #{type := <<"KeyError">>, traceback := _}}} =
            Ask(hornbeam_hooks, {execute, [service, fail, <<"x">>]}),
        {error, {not_registered, _}} = Ask(hornbeam_hooks, {execute, [nobody, x]}),
        {ok, 3} = Ask(hornbeam_functions, {call, ["add", 1, 2]})
    end).

slow_calls_block_nobody(Config) ->
    doc("While a function never returns, others are answered at once; its own deadline answers for "
        "it, once, and it is stopped."),
    Node = do_node(Config),
    do_client(Config, fun() ->
        Tag = make_ref(),
        {hornbeam_functions, Node} !
            {hornbeam_call, self(), Tag, {timeout, 500, {call, [forever, self()]}}},
        {running, Pid} = do_receive(running),
        Monitor = monitor(process, Pid),
        {ok, 3} = do_send(hornbeam_functions, Node, {call, [add, 1, 2]}),
        {hornbeam_reply, Tag, {error, {timeout, #{}}}} = do_receive(hornbeam_reply),
        receive {'DOWN', Monitor, process, Pid, killed} -> ok end,
        {ok, 3} = do_send(hornbeam_functions, Node, {call, [add, 1, 2]}),
        receive {hornbeam_reply, _, _} = Late -> error(Late) after 0 -> ok end
    end).

callers_that_die(Config) ->
    doc("What runs for a client that has died is stopped."),
    Node = do_node(Config),
    do_client(Config, fun() ->
        Self = self(),
        Caller = spawn(fun() -> do_send(hornbeam_functions, Node, {call, [forever, Self]}) end),
        {running, Pid} = do_receive(running),
        Monitor = monitor(process, Pid),
        exit(Caller, kill),
        receive {'DOWN', Monitor, process, Pid, killed} -> ok
        after ?PATIENCE -> error(still_running)
        end
    end).

nonsense_does_no_harm(Config) ->
    doc("Messages that are no requests, with improper lists and tags of every kind, leave the "
        "services as they were, the same processes."),
    Node = do_node(Config),
    Names = hornbeam_messages_request:names(),
    Pids = do_server(Config, fun() -> [whereis(Name) || Name <- Names] end),
    do_client(Config, fun() ->
        [
            {Name, Node} ! Message
         || Name <- Names,
            Message <- [
                x, {}, [a | b], {hornbeam_call}, {hornbeam_call, not_a_pid, 1, {get, [1]}},
                {'$gen_call', x, y}, {'$gen_call', {x, y}, z}, {'$gen_cast', [1 | 2]},
                {hornbeam_cast, {set, [1 | 2]}}, {hornbeam_cast, {subscribe, ["t"]}},
                {hornbeam_cast, {[$n, $e, $w | $x], []}}
            ]
        ],
        {error, {bad_term, _}} = do_send(hornbeam_state, Node, {get, [1 | 2]})
    end),
    ?assertEqual(Pids, do_server(Config, fun() -> [whereis(Name) || Name <- Names] end)).

%%% Topics

subscriptions(Config) ->
    doc("A process elsewhere gets what is published, on its topic or prefix, once however often it "
        "has subscribed, and nothing after it has unsubscribed."),
    Node = do_node(Config),
    do_client(Config, fun() ->
        Ask = fun(Request) -> do_send(hornbeam_topics, Node, Request) end,
        {ok, undefined} = Ask({subscribe, ["news"]}),
        {ok, undefined} = Ask({subscribe, [<<"news">>]}),
        {ok, undefined} = Ask({subscribe, ["user:"], [{prefix, true}]}),
        {ok, 1} = Ask({publish, ["news", {bytes, <<1>>}]}),
        {hornbeam_pubsub, <<"news">>, {bytes, <<1>>}} = do_receive(hornbeam_pubsub),
        {ok, 1} = Ask({publish, [<<"user:7">>, #{<<"in">> => true}]}),
        {hornbeam_pubsub, <<"user:7">>, #{<<"in">> := true}} = do_receive(hornbeam_pubsub),
        {ok, undefined} = Ask({unsubscribe, [news]}),
        {ok, 0} = Ask({publish, ["news", 2]}),
        {ok, undefined} = Ask({unsubscribe, ["user:"], #{prefix => true}}),
        {ok, 0} = Ask({publish, ["user:7", 2]}),
        {ok, undefined} = Ask({subscribe, ["news"]}),
        {ok, 1} = Ask({publish, ["news", 3]}),
        {hornbeam_pubsub, <<"news">>, 3} = do_receive(hornbeam_pubsub)
    end).

subscribers_that_die(Config) ->
    doc("The end of a subscribing process ends its subscriptions and the processes behind them."),
    Node = do_node(Config),
    do_client(Config, fun() ->
        {Pid, Monitor} = spawn_monitor(fun() ->
            {ok, undefined} = do_send(hornbeam_topics, Node, {subscribe, ["mortal"]}),
            {ok, 1} = do_send(hornbeam_topics, Node, {publish, ["mortal", 1]})
        end),
        receive {'DOWN', Monitor, process, Pid, normal} -> ok end
    end),
    do_server(Config, fun() ->
        hornbeam_case:await(fun() -> hornbeam_pubsub:subscribers("mortal") =:= 0 end),
        hornbeam_case:await(fun() ->
            {links, Links} = process_info(whereis(hornbeam_topics), links),
            length([Pid || Pid <- Links, is_pid(Pid)]) =:= 1
        end)
    end).

credit(Config) ->
    doc("A client that grants credit itself gets no more than that; what it does not take is kept "
        "up to pubsub_backlog, and it is told how many messages it has lost."),
    Node = do_node(Config),
    do_client(Config, fun() ->
        Ask = fun(Request) -> do_send(hornbeam_topics, Node, Request) end,
        {ok, undefined} = Ask({subscribe, ["paced"], #{credit => 2}}),
        [{ok, 1} = Ask({publish, ["paced", N]}) || N <- lists:seq(1, 5)],
        [{hornbeam_pubsub, _, N} = do_receive(hornbeam_pubsub) || N <- [1, 2]],
        receive {hornbeam_pubsub, _, Early} -> error({beyond_credit, Early}) after 0 -> ok end,
        [{ok, 1} = Ask({publish, ["paced", N]}) || N <- lists:seq(6, 1030)],
        {ok, undefined} = Ask({credit, ["paced", 1]}),
        {hornbeam_pubsub_lost, <<"paced">>, 4} = do_receive(hornbeam_pubsub_lost),
        {hornbeam_pubsub, <<"paced">>, 7} = do_receive(hornbeam_pubsub)
    end).

clients_that_do_not_read(Config) ->
    doc("While a client is stopped the node keeps a bounded part of what is published to it and "
        "serves others; when it goes on it is told how much it has lost."),
    Node = do_node(Config),
    Os = do_client(Config, fun os:getpid/0),
    Client = do_client(Config, fun() ->
        spawn(fun() ->
            {ok, undefined} = do_send(hornbeam_topics, Node, {subscribe, ["flood"]}),
            true = register(flooded, self()),
            do_count(0, 0)
        end)
    end),
    do_client(Config, fun() ->
        hornbeam_case:await(fun() -> whereis(flooded) =/= undefined end)
    end),
    _ = os:cmd("kill -STOP " ++ Os),
    Grown = try
        do_server(Config, fun() ->
            Before = erlang:memory(binary),
            [
                1 = hornbeam_pubsub:publish("flood", binary:copy(<<N>>, 1 bsl 20))
             || N <- lists:seq(1, 200)
            ],
            {ok, 3} = hornbeam_services:perform(<<"call">>, [<<"add">>, [1, 2]], #{}, 5000),
            {ok, _} = gen_server:call(hornbeam_state, {get, [x]}),
            true = erlang:garbage_collect(),
            erlang:memory(binary) - Before
        end)
    after
        _ = os:cmd("kill -CONT " ++ Os)
    end,
    ?assert(Grown < 100 bsl 20),
    {Got, Lost} = do_client(Config, fun() -> do_ask_count(Client, 200) end),
    ?assertEqual(200, Got + Lost),
    ?assert(Lost > 0).

do_count(Got, Lost) ->
    receive
        {hornbeam_pubsub, <<"flood">>, _} -> do_count(Got + 1, Lost);
        {hornbeam_pubsub_lost, <<"flood">>, More} -> do_count(Got, Lost + More);
        {count, Pid} ->
            Pid ! {counted, Got, Lost},
            do_count(Got, Lost)
    end.

do_ask_count(Client, Expected) ->
    Client ! {count, self()},
    receive
        {counted, Got, Lost} when Got + Lost =:= Expected -> {Got, Lost};
        {counted, _, _} -> receive after 20 -> do_ask_count(Client, Expected) end
    end.

%%% Handlers

handlers_streams_and_tasks(Config) ->
    doc("Handlers in workers and in Erlang are executed, streamed and run in the background."),
    Node = do_node(Config),
    do_server(Config, fun() ->
        hornbeam_hooks:register("erlang", fun(<<"twice">>, [A], #{}) -> {ok, 2 * A} end)
    end),
    do_client(Config, fun() ->
        Ask = fun(Request) -> do_send(hornbeam_hooks, Node, Request) end,
        {ok, 5} = Ask({execute, ["service", "add", 3], [{"b", 2}]}),
        {ok, 5} = gen_server:call({hornbeam_hooks, Node}, {execute, [service, add, 3], #{b => 2}}),
        {ok, 14} = Ask({execute, ["erlang", "twice", 7]}),
        {ok, Task} = Ask({execute_async, [service, add, 3]}),
        {ok, 4} = Ask({await_result, [Task]}),
        {error, {timeout, _}} = Ask({timeout, 50, {execute, [service, sleep, 0.5]}}),
        Tag = {any, "tag"},
        {hornbeam_hooks, Node} ! {hornbeam_call, self(), Tag, {stream, [service, numbers, 40]}},
        [{hornbeam_item, Tag, N} = do_receive(hornbeam_item) || N <- lists:seq(0, 39)],
        {hornbeam_reply, Tag, {ok, 40}} = do_receive(hornbeam_reply),
        {error, {bad_term, _}} =
            gen_server:call({hornbeam_hooks, Node}, {stream, [service, numbers, 40]})
    end).
