%% SPDX-License-Identifier: Apache-2.0
%% @doc Functions of other nodes called from Python: three nodes, of which the first has the Python
%% worker. What comes back, what fails, and what becomes of calls when nodes die, stop or leave.
-module(rpc_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await/1, async/1]).

-compile([export_all, nowarn_export_all]).

%% Seconds after which a node that does not answer counts as gone, give or take a quarter.
-define(TICK, 4).
%% Milliseconds that a call may take longer than its deadline; the machine may be busy.
-define(LATE, 15000).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) ->
    [Home, Other] = [do_start_node(), do_start_node()],
    ok = do_serve(Home, #{}),
    [{home, Home}, {other, Other} | Config].

end_per_suite(Config) ->
    ok = do_stop_node(?config(home, Config)),
    ok = do_stop_node(?config(other, Config)).

%%% Nodes and requests

do_start_node() -> do_start_node([]).

do_start_node(Flags) ->
    {ok, Peer, Name} = peer:start(#{
        name => peer:random_name(),
        host => "localhost",
        connection => standard_io,
        args => ["-pa" | code:get_path()] ++
            ["-setcookie", "rpc_suite", "-kernel", "logger_level", "none",
                "-kernel", "net_ticktime", integer_to_list(?TICK) | Flags]
    }),
    Os = peer:call(Peer, os, getpid, []),
    %% What is called has to be there: nothing loads code while a node is about to be stopped.
    {module, _} = peer:call(Peer, code, ensure_loaded, [rpc_target]),
    #{peer => Peer, name => Name, text => atom_to_binary(Name), os => Os}.

do_stop_node(#{peer := Peer}) -> peer:stop(Peer).

%% A node for one case that ends it, in whatever way.
do_with_node(Fun) -> do_with_node([], Fun).

do_with_node(Flags, Fun) ->
    #{peer := Peer, os := Os} = Node = do_start_node(Flags),
    true = unlink(Peer),
    try
        Fun(Node)
    after
        _ = do_signal("KILL", Os),
        exit(Peer, kill)
    end.

do_signal(Signal, Os) -> os:cmd("kill -" ++ Signal ++ " " ++ Os).

do_on(#{peer := Peer}, Module, Function, Arguments) ->
    peer:call(Peer, Module, Function, Arguments, 60000).

do_serve(Node, Options) ->
    Given = #{
        bind => "127.0.0.1:0", workers => 1, threads => 4, python => hornbeam_case:python(),
        pythonpath => [hornbeam_case:apps()]
    },
    ok = do_on(Node, hornbeam, stop, []),
    do_on(Node, hornbeam, start, ["rpc_app:application", maps:merge(Given, Options)]).

%% The answer of the application in the first node: JSON, without the time it took.
do_ask(Config, Operation, Arguments) ->
    {Body, _} = do_timed(Config, Operation, Arguments),
    Body.

do_timed(Config, Operation, Arguments) ->
    do_ask_node(?config(home, Config), Operation, Arguments).

do_ask_node(Node, Operation, Arguments) ->
    #{addresses := [Address]} = do_on(Node, hornbeam, info, []),
    [_, Port] = string:split(Address, ":", trailing),
    {ok, Json} = hornbeam_json:encode(Arguments),
    Request = ["GET /", Operation, "?", uri_string:quote(Json),
        " HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"],
    {200, _, Body, _} = raw_http:exchange(binary_to_integer(Port), Request),
    {match, [Answer, Ms]} = re:run(Body, "^\\{(.*), \"ms\": ([0-9]+)\\}$",
        [{capture, all_but_first, binary}]),
    {Answer, binary_to_integer(Ms)}.

do_call(Config, #{text := Node}, Function, Arguments) ->
    do_ask(Config, "rpc_call", [Node, <<"rpc_target">>, Function, Arguments]).

do_says(Answer, Pattern) ->
    ?assertMatch({match, _, _}, {re:run(Answer, Pattern, [{capture, none}]), Answer, Pattern}).

%%% What comes back

terms_as_they_are(Config) ->
    doc("rpc_call returns what the function returned: {ok, V} is not unwrapped; {error, R} is no "
        "exception; other nodes' processes are values."),
    Other = ?config(other, Config),
    ?assertEqual(<<"\"ok\": [1, \"two\", null]">>,
        do_call(Config, Other, <<"echo">>, [[1, <<"two">>, undefined]])),
    [
        ?assertEqual(Expected, do_ask(Config, "rpc_call",
            [maps:get(text, Other), Module, Function, Arguments]))
     || {Module, Function, Arguments, Expected} <- [
            {<<"file">>, <<"read_file">>, [<<"/nowhere">>], <<"\"ok\": [\"error\", \"enoent\"]">>},
            {<<"maps">>, <<"find">>, [1, #{}], <<"\"ok\": \"error\"">>},
            {<<"lists">>, <<"keyfind">>, [1, 1, []], <<"\"ok\": false">>},
            {<<"unicode">>, <<"characters_to_list">>, [<<"é"/utf8>>], <<"\"ok\": [233]">>}
        ]
    ],
    do_says(do_ask(Config, "rpc_call", [maps:get(text, Other), <<"erlang">>, <<"whereis">>,
        [<<"no atom">>]]), "RemoteError.*badarg").

own_node(Config) ->
    doc("A function of the own node is called in the same way; nodes() are the others."),
    #{text := Home} = ?config(home, Config),
    #{text := Other} = ?config(other, Config),
    ?assertEqual(<<"\"ok\": \"", Home/binary, "\"">>, do_ask(Config, "node", [])),
    ?assertEqual(<<"\"ok\": [3, 2, 1]">>,
        do_ask(Config, "rpc_call", [Home, <<"lists">>, <<"reverse">>, [[1, 2, 3]]])),
    %% A cookie for the own node would be a new one for all others.
    ?assertEqual(<<"\"ok\": null">>, do_ask(Config, "connect", [Home, <<"another">>])),
    ?assertEqual(rpc_suite, do_on(?config(home, Config), erlang, get_cookie, [])),
    ?assertEqual(<<"\"ok\": null">>, do_ask(Config, "connect", [Other])),
    ?assertEqual(<<"\"ok\": [\"", Other/binary, "\"]">>, do_ask(Config, "nodes", [])),
    do_says(do_ask(Config, "rpc_call", [Home, <<"erlang">>, <<"error">>, [<<"x">>]]),
        "RemoteError.*'error'.*x").

hidden_nodes(Config) ->
    doc("A hidden node is called like any other; nodes() has it when it is asked for those, too."),
    do_with_node(["-hidden"], fun(#{text := Text} = Node) ->
        ?assertEqual(<<"\"ok\": 7">>, do_call(Config, Node, <<"echo">>, [7])),
        ?assertEqual(nomatch, binary:match(do_ask(Config, "nodes", []), Text)),
        ?assertNotEqual(nomatch, binary:match(do_ask(Config, "all_nodes", []), Text))
    end).

failures_of_functions(Config) ->
    doc("An error, an exit, a throw, a killed process and a function that is not there are "
        "RemoteError with class, reason and stack."),
    Other = ?config(other, Config),
    [
        do_says(do_call(Config, Other, <<"fail">>, [Class, <<"because">>]), Pattern)
     || {Class, Pattern} <- [
            {<<"error">>, "RemoteError.*'error'.*because.*rpc_target,fail,2"},
            {<<"exit">>, "RemoteError.*'exit'.*because"},
            {<<"throw">>, "RemoteError.*'throw'.*because"},
            {<<"killed">>, "RemoteError.*'exit'.*killed"}
        ]
    ],
    do_says(do_call(Config, Other, <<"nothing">>, []), "RemoteError.*'error'.*undef.*rpc_target").

names_that_are_none(Config) ->
    doc("What is no name, no list, or too many arguments is TermError before anything is sent."),
    #{text := Other} = ?config(other, Config),
    [
        do_says(do_ask(Config, "rpc_call", [Node, Module, <<"f">>, Arguments]), Pattern)
     || {Node, Module, Arguments, Pattern} <- [
            {<<"no node">>, <<"m">>, [], "TermError.*name@host.*no node"},
            {<<"a@b@c">>, <<"m">>, [], "TermError.*name@host"},
            {Other, <<>>, [], "TermError.*module"},
            {Other, 7, [], "TermError.*module.*7"},
            {Other, <<"m\n">>, [], "TermError.*module"},
            {Other, <<"m">>, lists:seq(1, 256), "TermError.*255"}
        ]
    ].

multicall(Config) ->
    doc("rpc_multicall answers for every node in its place, within its deadline, whatever becomes "
        "of the others."),
    [#{text := Home}, #{text := Other}] = [?config(home, Config), ?config(other, Config)],
    Nodes = [Other, <<"nobody@localhost">>, Home, <<"x">>],
    {Answer, _} = do_timed(Config, "multicall", [Nodes, <<"rpc_target">>, <<"echo">>, [1], 5000]),
    do_says(Answer, [$", Other, "\": 1.*nobody@localhost\": ..error.: .NodeDown.*",
        Home, "\": 1.*\"x\": ..error.: .TermError"]),
    {Late, Ms} = do_timed(Config, "multicall", [[Other, Home], <<"timer">>, <<"sleep">>, [30000],
        300]),
    do_says(Late, "CallTimeout.*CallTimeout"),
    ?assert(Ms < 300 + ?LATE).

casts(Config) ->
    doc("rpc_cast to a logger, as people write it: the text of the level is taken, and the event "
        "is shown by the node that it was sent to."),
    #{text := Text} = Other = ?config(other, Config),
    Log = [<<"info">>, <<"User logged in">>, #{<<"user_id">> => 123}],
    ok = do_on(Other, rpc_target, collect_log, []),
    ?assertEqual(<<"\"ok\": null">>,
        do_ask(Config, "rpc_cast", [Text, <<"logger">>, <<"log">>, Log])),
    await(fun() -> [] =/= do_on(Other, rpc_target, logged, []) end),
    ?assertEqual([{info, {string, <<"User logged in">>}, #{<<"user_id">> => 123}}],
        do_on(Other, rpc_target, logged, [])).

%%% Deadlines

deadlines(Config) ->
    doc("A call that takes too long is CallTimeout at its deadline; what comes later is given to "
        "no other call; a task that is cancelled waits no more."),
    #{text := Text} = ?config(other, Config),
    {Answer, Ms} = do_timed(Config, "rpc_call", [Text, <<"timer">>, <<"sleep">>, [3000], 100]),
    do_says(Answer, "CallTimeout"),
    ?assert(Ms >= 100 andalso Ms < 100 + ?LATE),
    ?assertEqual(<<"\"ok\": true">>, do_ask(Config, "own_answers", [Text, 200])),
    ?assertEqual(<<"\"ok\": \"CancelledError\"">>, do_ask(Config, "cancelled", [Text])).

no_such_node(Config) ->
    doc("A node that is not there is NodeDown, and ping is false."),
    {Answer, Ms} = do_timed(Config, "rpc_call", [<<"nobody@localhost">>, <<"m">>, <<"f">>, []]),
    do_says(Answer, "NodeDown.*nobody@localhost.*no connection"),
    ?assert(Ms < ?LATE),
    do_says(do_ask(Config, "connect", [<<"nobody@localhost">>]), "NodeDown"),
    do_says(do_ask(Config, "connect", [<<"nobody@local.host">>]), "NodeDown.*long name"),
    ?assertEqual(<<"\"ok\": false">>, do_ask(Config, "ping", [<<"nobody@localhost">>, 1000])).

%%% Nodes that come and go

node_is_killed(Config) ->
    doc("kill -9 of a node that 1,000 calls wait for: all of them fail at once, calls of another "
        "node come back."),
    #{text := Other} = ?config(other, Config),
    do_with_node(fun(#{text := Text, os := Os} = Node) ->
        Calls = [
            [1000, Text, <<"rpc_target">>, <<"wait">>, [], 60000],
            [100, Other, <<"rpc_target">>, <<"late">>, [1, 2000], 60000]
        ],
        Pending = async(fun() -> do_timed(Config, "many", [Calls]) end),
        await(fun() -> do_on(Node, rpc_target, waiting, []) =:= 1000 end),
        Killed = erlang:monotonic_time(millisecond),
        _ = do_signal("KILL", Os),
        {Answer, _} = Pending(),
        do_says(Answer, "^\"ok\": ...\"NodeDown\": 1000}, [0-9]+], ..\"ok\": 100}, [0-9]+]]$"),
        ?assert(erlang:monotonic_time(millisecond) - Killed < 2000 + ?LATE)
    end).

node_is_stopped(Config) ->
    doc("SIGSTOP of a node for longer than the tick time: its calls end at their deadlines, or as "
        "NodeDown when it counts as gone; others go on; afterwards it is there again."),
    #{text := Other} = ?config(other, Config),
    do_with_node(fun(#{text := Text, os := Os} = Node) ->
        Big = #{<<"x">> => 200000},
        Calls = [
            [200, Text, <<"rpc_target">>, <<"wait">>, [], 60000],
            [50, Text, <<"rpc_target">>, <<"wait">>, [], 500],
            %% More than the connection takes: who sends has to wait.
            [100, Text, <<"rpc_target">>, <<"late">>, [Big, 60000], 60000],
            [300, Other, <<"rpc_target">>, <<"late">>, [1, 10], 5000]
        ],
        ?assertEqual(<<"\"ok\": true">>, do_ask(Config, "ping", [Text, 10000])),
        _ = do_signal("STOP", Os),
        Pending = async(fun() -> do_timed(Config, "many", [Calls]) end),
        ok = do_flood(Config, Text),
        {Answer, _} = Pending(),
        do_says(Answer, ["^\"ok\": ...\"NodeDown\": 200}, ([0-9]+)], ..\"CallTimeout\": 50}, ",
            "[0-9]+], ..\"NodeDown\": 100}, [0-9]+], ..\"ok\": 300}, [0-9]+]]$"]),
        _ = do_signal("CONT", Os),
        await(fun() -> do_ask(Config, "ping", [Text, 5000]) =:= <<"\"ok\": true">> end),
        ?assertEqual(<<"\"ok\": 7">>, do_call(Config, Node, <<"echo">>, [7]))
    end).

%% Casts to a node whose connection takes nothing any more: some wait, the others are refused.
do_flood(Config, Node) ->
    Home = ?config(home, Config),
    Processes = fun() -> do_on(Home, erlang, system_info, [process_count]) end,
    await(fun() ->
        Casts = [500, Node, <<"rpc_target">>, <<"echo">>, [1]],
        ?assertEqual(<<"\"ok\": null">>, do_ask(Config, "cast_many", Casts)),
        Processes() > 4096
    end),
    Flood = [3000, Node, <<"rpc_target">>, <<"echo">>, [1]],
    ?assertEqual(<<"\"ok\": null">>, do_ask(Config, "cast_many", Flood)),
    await(fun() -> Processes() < 4096 + 1500 end).

disconnected_and_monitored(Config) ->
    doc("disconnect fails the calls that wait; the next call connects again; monitor_nodes tells "
        "of it, to iterators, event loops and callbacks alike."),
    do_with_node(fun(#{text := Text, os := Os} = Node) ->
        Told = fun(Event) ->
            [do_says_each(Config, Way, Text, Event) || Way <- ["for", "callback", "async for"]]
        end,
        ?assertEqual(<<"\"ok\": null">>, do_ask(Config, "watch", [])),
        await(fun() -> match =:= re:run(do_ask(Config, "told", []), "\\[.async.\\]",
            [{capture, none}]) end),
        ?assertEqual(<<"\"ok\": 7">>, do_call(Config, Node, <<"echo">>, [7])),
        _ = Told("\"nodeup\", NODE, false, \"\""),
        Calls = [[100, Text, <<"rpc_target">>, <<"wait">>, [], 60000]],
        Pending = async(fun() -> do_timed(Config, "many", [Calls]) end),
        await(fun() -> do_on(Node, rpc_target, waiting, []) =:= 100 end),
        ?assertEqual(<<"\"ok\": true">>, do_ask(Config, "disconnect", [Text])),
        do_says(element(1, Pending()), "NodeDown\": 100"),
        _ = Told("\"nodedown\", NODE, false, \"disconnect\""),
        ?assertEqual(<<"\"ok\": 8">>, do_call(Config, Node, <<"echo">>, [8])),
        _ = do_signal("KILL", Os),
        _ = Told("\"nodedown\", NODE, false, \"connection_closed\""),
        ?assertEqual(<<"\"ok\": null">>, do_ask(Config, "unwatch", []))
    end).

do_says_each(Config, Way, Node, Event) ->
    Pattern = ["\\[\"", Way, "\", ", string:replace(Event, "NODE", ["\"", Node, "\""]), "\\]"],
    await(fun() -> match =:= re:run(do_ask(Config, "told", []), Pattern, [{capture, none}]) end).

%%% What is allowed, what is possible

rules(Config) ->
    doc("With rpc_allow only what a rule names is called and connected; what is refused says so "
        "and leaves no atom."),
    [#{text := Home} = Node, #{text := Other}] = [?config(home, Config), ?config(other, Config)],
    Rules = [rpc_target, {"lists", <<"rev*">>}, {erlang, node, Home}],
    ok = do_serve(Node, #{rpc_allow => Rules}),
    Ask = fun(To, M, F, A) -> do_ask(Config, "rpc_call", [To, M, F, A]) end,
    ?assertEqual(<<"\"ok\": 1">>, Ask(Other, <<"rpc_target">>, <<"echo">>, [1])),
    ?assertEqual(<<"\"ok\": []">>, Ask(Other, <<"lists">>, <<"reverse">>, [[]])),
    do_says(Ask(Home, <<"erlang">>, <<"node">>, []), "ok"),
    do_says(Ask(Other, <<"erlang">>, <<"node">>, []), "refused.*erlang:node.*rpc_allow"),
    do_says(Ask(Other, <<"lists">>, <<"rpc_never_named">>, []), "refused.*rpc_never_named"),
    ?assertError(_, do_on(Node, erlang, binary_to_existing_atom, [<<"rpc_never_named">>])),
    ok = do_serve(Node, #{rpc_allow => [{'*', '*', <<"gpu*@*">>}]}),
    do_says(do_ask(Config, "connect", [Other]), "refused.*rpc_allow"),
    do_says(Ask(<<"gpu-1@localhost">>, <<"m">>, <<"f">>, []), "NodeDown"),
    ok = do_serve(Node, #{rpc_allow => none}),
    do_says(Ask(Home, <<"lists">>, <<"reverse">>, [[]]), "refused"),
    ok = do_serve(Node, #{}).

without_a_name(_) ->
    doc("A node without a name answers for itself, and says how to give it one when another is "
        "called."),
    {ok, Peer, _} = peer:start(#{connection => standard_io, args => ["-pa" | code:get_path()]}),
    Node = #{peer => Peer},
    ok = do_serve(Node, #{}),
    ?assertMatch({<<"\"ok\": \"nonode@nohost\"">>, _}, do_ask_node(Node, "node", [])),
    ?assertMatch({<<"\"ok\": []">>, _}, do_ask_node(Node, "nodes", [])),
    {Answer, _} = do_ask_node(Node, "rpc_call", [<<"a@b">>, <<"m">>, <<"f">>, []]),
    do_says(Answer, "NodeDown.*no name.*hornbeam --sname"),
    do_says(element(1, do_ask_node(Node, "connect", [<<"a@b">>])), "NodeDown.*--sname"),
    Own = [<<"nonode@nohost">>, <<"erlang">>, <<"length">>, [[1, 2, 3]]],
    ?assertMatch({<<"\"ok\": 3">>, _}, do_ask_node(Node, "rpc_call", Own)),
    peer:stop(Peer).
