%% SPDX-License-Identifier: Apache-2.0
%% @doc Workers of other machines, driven by hand from a second node: attaching, refusals, requests,
%% handlers, loss, silence, drain. The node that serves is a peer of its own, so that the one that
%% runs the tests need not be distributed.
-module(attach_SUITE).

-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, async/1]).

-compile([export_all, nowarn_export_all]).

-define(APP, "wsgi_apps:application").
-define(TICKTIME, 4).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

%% One port for the node that serves; the others listen nowhere, so that no EPMD is needed.
init_per_suite(Config) ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    {Node, Peer} = do_node("hornbeam", Port, []),
    {ok, _} = peer:call(Peer, application, ensure_all_started, [hornbeam]),
    ok = peer:call(Peer, logger, set_primary_config, [level, none]),
    [{peer, Peer}, {node, Node}, {dist_port, Port} | Config].

end_per_suite(Config) -> peer:stop(proplists:get_value(peer, Config)).

init_per_testcase(_, Config) ->
    Port = proplists:get_value(dist_port, Config),
    {_, Worker} = do_node("worker", Port, ["-dist_listen", "false", "-hidden"]),
    [{worker, Worker} | Config].

end_per_testcase(_, Config) ->
    _ = catch peer:stop(proplists:get_value(worker, Config)),
    do_hornbeam(stop, [], Config).

do_node(Name, Port, Flags) ->
    Unique = integer_to_list(erlang:unique_integer([positive])),
    {ok, Peer, Node} = peer:start(#{
        name => list_to_atom(lists:concat([Name, "-", Unique, "-", os:getpid()])),
        host => "127.0.0.1",
        longnames => true,
        connection => standard_io,
        args => [
            "-setcookie", "attach_suite", "-start_epmd", "false",
            "-erl_epmd_port", integer_to_list(Port),
            "-kernel", "net_ticktime", integer_to_list(?TICKTIME), "-pa" | code:get_path()
        ] ++ Flags
    }),
    {Node, Peer}.

do_hornbeam(Function, Arguments, Config) ->
    peer:call(proplists:get_value(peer, Config), hornbeam, Function, Arguments, 30000).

do_start(Options, Config) ->
    Defaults = #{
        bind => "127.0.0.1:0", python => hornbeam_case:python(),
        pythonpath => [hornbeam_case:apps()], workers => 0, remote_workers => 1
    },
    ok = do_hornbeam(start, [?APP, maps:merge(Defaults, Options)], Config),
    #{addresses := [Address | _]} = do_hornbeam(info, [], Config),
    [_, Port] = string:split(Address, ":", trailing),
    binary_to_integer(Port).

do_workers(Config) -> maps:get(workers, do_hornbeam(info, [], Config)).

do_fetch(Port, Target) ->
    async(fun() -> hornbeam_case:fetch(Port, Target) end).

%% On the node of the worker.
do(Function, Arguments, Config) ->
    peer:call(proplists:get_value(worker, Config), attached_worker, Function, Arguments, 30000).

do_options(Kind) ->
    #{<<"versions">> => [1, 1], <<"kind">> => Kind, <<"app">> => <<?APP>>}.

do_attach(Options, Config) ->
    do(attach, [proplists:get_value(node, Config), Options], Config).

%% A worker that is ready, with these handlers: a call behind READY is answered.
do_ready(Options, Hooks, Config) ->
    {attached, Pid, _} = do_attach(Options, Config),
    Boot = do(greet, [Pid], Config),
    Call = {32, 1, 0, 20000, <<"state.info">>, term_to_binary([[], #{}])},
    ok = do(send, [Pid, [{3, #{<<"hooks">> => Hooks}}, Call]], Config),
    %% Once it is answered the node knows the handlers.
    {33, 1, _} = do(next, [Pid], Config),
    {Pid, Boot}.

do_worker(Config) ->
    {Pid, _} = do_ready(do_options(<<"worker">>), [], Config),
    Pid.

do_await_left(Config) ->
    hornbeam_case:await(fun() -> do_workers(Config) =:= [] end).

do_os_pid(Config) ->
    peer:call(proplists:get_value(worker, Config), os, getpid, []).

%%% Attaching

serves(Config) ->
    doc("A worker of another machine is told the configuration of its application but no path, "
        "serves requests of the pool, and is listed with its node and labels."),
    Port = do_start(#{threads => 2}, Config),
    Labelled = (do_options(<<"worker">>))#{<<"labels">> => #{<<"gpu">> => 1}},
    {Pid, Boot} = do_ready(Labelled, [], Config),
    ?assertMatch(#{<<"app">> := <<?APP>>, <<"interface">> := <<"wsgi">>, <<"threads">> := 2,
        <<"pythonpath">> := []}, Boot),
    ?assertNot(is_map_key(<<"ledger">>, Boot)),
    Answer = do_fetch(Port, "/x"),
    {16, 1, _, <<"GET">>, <<"/x">>, _, _, _, _, _} = do(next, [Pid], Config),
    ok = do(send, [Pid, [{28, 1}, {19, 1, 200, #{}, <<"from afar">>}]], Config),
    ?assertEqual({200, <<"from afar">>}, Answer()),
    ?assertMatch([#{state := ready, kind := worker, labels := #{<<"gpu">> := <<"1">>}, served := 1,
        about := #{<<"pid">> := 1}}], do_workers(Config)).

is_refused(Config) ->
    doc("Who may not attach itself is told why, by name and in words."),
    Worker = do_options(<<"worker">>),
    Client = do_options(<<"client">>),
    Hooks = do_options(<<"hooks">>),
    Refusals = [
        {Worker#{<<"app">> := <<"other:app">>}, <<"no_such_app">>},
        {Worker#{<<"versions">> := [2, 3]}, <<"version">>},
        {Worker#{<<"labels">> => #{<<"zone">> => <<"b">>}}, <<"labels">>},
        {Worker#{<<"labels">> => [gpu]}, <<"bad_options">>},
        {Worker#{<<"kind">> := <<"boss">>}, <<"bad_options">>},
        {Hooks#{<<"threads">> => 0}, <<"bad_options">>},
        {Hooks#{<<"app">> := <<>>}, <<"bad_options">>},
        {#{}, <<"bad_options">>},
        {Client, <<"not_enabled">>}
    ],
    _ = do_start(#{remote_labels => #{zone => "a"}, remote_clients => 0}, Config),
    [
        ?assertMatch({refused, Name, <<_, _/binary>>}, do_attach(Options, Config), Options)
     || {Options, Name} <- Refusals
    ],
    ?assertEqual([], do_workers(Config)).

is_refused_beyond_the_limit(Config) ->
    doc("As many workers and clients as the options say may be attached; the slot of one that has "
        "left is free again."),
    _ = do_start(#{remote_workers => 1, remote_clients => 1}, Config),
    Worker = do_options(<<"worker">>),
    {attached, First, _} = do_attach(Worker, Config),
    ?assertMatch({refused, <<"limit">>, _}, do_attach(Worker, Config)),
    {attached, _, #{<<"ticktime">> := Ticktime}} = do_attach(do_options(<<"client">>), Config),
    ?assertEqual(?TICKTIME * 1000, Ticktime),
    ?assertMatch({refused, <<"limit">>, _}, do_attach(do_options(<<"client">>), Config)),
    ok = do(exit_status, [First, 1], Config),
    hornbeam_case:await(fun() -> element(1, do_attach(Worker, Config)) =:= attached end).

is_not_taken_unless_allowed(Config) ->
    doc("An application takes no worker of another machine unless its options say so."),
    _ = do_start(#{workers => 1, remote_workers => 0}, Config),
    ?assertMatch({refused, <<"not_enabled">>, _}, do_attach(do_options(<<"worker">>), Config)).

garbage_is_logged_and_dropped(Config) ->
    doc("What is no request to be attached changes nothing, and the next one is served."),
    _ = do_start(#{}, Config),
    Node = proplists:get_value(node, Config),
    Send = fun(M) ->
        peer:call(proplists:get_value(worker, Config), erlang, send, [{hornbeam_attach, Node}, M])
    end,
    [Send(M) || M <- [garbage, {attach, self(), #{}}, {attach, {self(), 1}, #{}}, {attach}]],
    ?assertMatch({attached, _, _}, do_attach(do_options(<<"worker">>), Config)).

breaks_the_protocol(Config) ->
    doc("A worker that sends what is no frame is told so, hung up on, and its request is 502."),
    Port = do_start(#{}, Config),
    Pid = do_worker(Config),
    Answer = do_fetch(Port, "/x"),
    {16, 1, _, _, _, _, _, _, _, _} = do(next, [Pid], Config),
    ok = do(send, [Pid, [{99, nonsense}]], Config),
    ?assertMatch({7, <<"bad_packet">>, _}, do(next, [Pid], Config)),
    ?assertEqual(closed, do(next, [Pid], Config)),
    ?assertMatch({502, _}, Answer()),
    do_await_left(Config).

%%% The end

connection_closes(Config) ->
    doc("Its machine dies: at once what it had started is 502, and what it had not goes to another "
        "worker."),
    Port = do_start(#{threads => 2, remote_workers => 2}, Config),
    Pid = do_worker(Config),
    Started = do_fetch(Port, "/started"),
    {16, 1, _, _, <<"/started">>, _, _, _, _, _} = do(next, [Pid], Config),
    Unstarted = do_fetch(Port, "/unstarted"),
    {16, 2, _, _, <<"/unstarted">>, _, _, _, _, _} = do(next, [Pid], Config),
    ok = do(send, [Pid, [{28, 1}]], Config),
    %% Answered after what was sent before.
    ok = do(send, [Pid, [{32, 2, 0, 5000, <<"state.info">>, term_to_binary([[], #{}])}]], Config),
    {33, 2, _} = do(next, [Pid], Config),
    _ = os:cmd("kill -KILL " ++ do_os_pid(Config)),
    ?assertMatch({502, _}, Started()),
    {_, Second} = do_node("second", proplists:get_value(dist_port, Config),
        ["-dist_listen", "false", "-hidden"]),
    Config2 = lists:keyreplace(worker, 1, Config, {worker, Second}),
    Next = do_worker(Config2),
    {16, 1, _, _, <<"/unstarted">>, _, _, _, _, _} = do(next, [Next], Config2),
    ok = do(send, [Next, [{19, 1, 200, #{}, <<"moved">>}]], Config2),
    ?assertEqual({200, <<"moved">>}, Unstarted()),
    ok = peer:stop(Second).

machine_is_silent(Config) ->
    doc("A machine that is silent for longer than the tick time is given up: nobody knows what it "
        "has started meanwhile, so all it was given is 502 and nothing is done twice."),
    Port = do_start(#{threads => 2}, Config),
    Pid = do_worker(Config),
    Answers = [do_fetch(Port, "/x") || _ <- [1, 2]],
    [{16, Id, _, _, _, _, _, _, _, _} = do(next, [Pid], Config) || Id <- [1, 2]],
    Os = do_os_pid(Config),
    _ = os:cmd("kill -STOP " ++ Os),
    Outcomes = [A() || A <- Answers],
    _ = os:cmd("kill -KILL " ++ Os),
    ?assertMatch([{502, _}, {502, _}], Outcomes),
    do_await_left(Config).

stalled(Config) ->
    doc("A worker that is silent for three heartbeats gets nothing new, and does again when it "
        "speaks."),
    Port = do_start(#{threads => 2}, Config),
    %% Time to speak before it is given up.
    ok = do_ticktime(60, [peer, worker], Config),
    Pid = do_worker(Config),
    ok = do(quiet, [Pid], Config),
    hornbeam_case:await(fun() -> [S || #{state := S} <- do_workers(Config)] =:= [stalled] end),
    Answer = do_fetch(Port, "/x"),
    hornbeam_case:await(fun() -> maps:get(queued, do_hornbeam(info, [], Config)) =:= 1 end),
    ok = do(send, [Pid, [{6}]], Config),
    {16, 1, _, _, _, _, _, _, _, _} = do(next, [Pid], Config),
    ok = do(send, [Pid, [{19, 1, 200, #{}, <<"late">>}]], Config),
    ?assertEqual({200, <<"late">>}, Answer()),
    ok = do_ticktime(?TICKTIME, [peer], Config).

%% Nodes that tick each other have to agree.
do_ticktime(Seconds, Peers, Config) ->
    [
        peer:call(proplists:get_value(Peer, Config), net_kernel, set_net_ticktime, [Seconds, 0])
     || Peer <- Peers
    ],
    ok.

drains_by_its_own_wish(Config) ->
    doc("A worker that sends DRAIN gets nothing new, finishes what it holds, and leaves its slot."),
    Port = do_start(#{threads => 2}, Config),
    Pid = do_worker(Config),
    Held = do_fetch(Port, "/held"),
    {16, 1, _, _, _, _, _, _, _, _} = do(next, [Pid], Config),
    ok = do(send, [Pid, [{5}]], Config),
    {5} = do(next, [Pid], Config),
    Later = do_fetch(Port, "/later"),
    hornbeam_case:await(fun() -> maps:get(queued, do_hornbeam(info, [], Config)) =:= 1 end),
    ok = do(send, [Pid, [{19, 1, 200, #{}, <<"finished">>}]], Config),
    ?assertEqual({200, <<"finished">>}, Held()),
    ok = do(exit_status, [Pid, 0], Config),
    do_await_left(Config),
    Next = do_worker(Config),
    {16, 1, _, _, <<"/later">>, _, _, _, _, _} = do(next, [Next], Config),
    ok = do(send, [Next, [{19, 1, 200, #{}, <<"later">>}]], Config),
    ?assertEqual({200, <<"later">>}, Later()).

is_drained_when_the_server_stops(Config) ->
    doc("When the application is stopped its workers are drained, those of other machines, too."),
    _ = do_start(#{}, Config),
    Pid = do_worker(Config),
    Stop = async(fun() -> do_hornbeam(stop, [], Config) end),
    {5} = do(next, [Pid], Config),
    ok = do(exit_status, [Pid, 0], Config),
    ?assertEqual(ok, Stop()).

takes_nothing_in(Config) ->
    doc("A worker that reads nothing while megabytes are sent to it holds up nobody: its process "
        "on the node answers, and gives it up in time."),
    _ = do_start(#{}, Config),
    _ = do_ready(do_options(<<"client">>), [<<"sink">>], Config),
    Os = do_os_pid(Config),
    _ = os:cmd("kill -STOP " ++ Os),
    Big = binary:copy(<<"x">>, 4194304),
    Calls = [
        async(fun() ->
            peer:call(proplists:get_value(peer, Config), hornbeam_hooks, execute,
                [<<"sink">>, <<"take">>, [Big], #{timeout => 20000}], 30000)
        end)
     || _ <- [1, 2, 3]
    ],
    Outcomes = lists:usort([C() || C <- Calls]),
    _ = os:cmd("kill -KILL " ++ Os),
    %% A call that came after the end finds nobody.
    ?assertMatch([{error, node_down} | _], Outcomes),
    ?assertEqual([], [O || {error, Why} = O <- Outcomes, Why =/= node_down,
        element(1, Why) =/= <<"not_registered">>]),
    %% Nobody holds for ever what could not be sent.
    hornbeam_case:await(fun() ->
        peer:call(proplists:get_value(peer, Config), erlang, nodes, [hidden]) =:= []
    end).

%%% Handlers

drained_provider(Config) ->
    doc("A provider that drains is not asked any more, while it still has a call; others are."),
    _ = do_start(#{}, Config),
    Execute = fun() ->
        async(fun() ->
            peer:call(proplists:get_value(peer, Config), hornbeam_hooks, execute,
                [<<"model">>, <<"run">>, [], #{timeout => 30000}], 60000)
        end)
    end,
    {One, _} = do_ready(do_options(<<"client">>), [<<"model">>], Config),
    First = Execute(),
    {32, 1, 0, _, <<"hook/model">>, _} = do(next, [One], Config),
    {Two, _} = do_ready(do_options(<<"client">>), [<<"model">>], Config),
    ok = do(send, [One, [{5}]], Config),
    {5} = do(next, [One], Config),
    Others = [Execute(), Execute()],
    [
        begin
            {32, Id, 0, _, <<"hook/model">>, _} = do(next, [Two], Config),
            ok = do(send, [Two, [{33, Id, term_to_binary(<<"two">>)}]], Config)
        end
     || Id <- [1, 2]
    ],
    ?assertEqual([{ok, <<"two">>}, {ok, <<"two">>}], [O() || O <- Others]),
    ok = do(send, [One, [{33, 1, term_to_binary(<<"one">>)}]], Config),
    ?assertEqual({ok, <<"one">>}, First()).

provides_hooks(Config) ->
    doc("Handlers of attached programs are executed, by label where labels are wanted, also by "
        "other attached programs; when the program leaves, calls that it has fail, and nobody is "
        "asked any more."),
    _ = do_start(#{}, Config),
    Execute = fun(Labels) ->
        async(fun() ->
            peer:call(proplists:get_value(peer, Config), hornbeam_hooks, execute,
                [<<"model">>, <<"run">>, [1], #{labels => Labels, timeout => 30000}], 60000)
        end)
    end,
    ?assertMatch({error, {<<"not_registered">>, _}}, (Execute(#{}))()),
    Hooks = (do_options(<<"hooks">>))#{<<"app">> => <<"models">>, <<"threads">> => 4},
    {Gpu, Boot} = do_ready(Hooks#{<<"labels">> => #{<<"gpu">> => <<"1">>}}, [<<"model">>], Config),
    ?assertMatch(#{<<"app">> := <<"models">>, <<"interface">> := <<"hooks">>, <<"threads">> := 4},
        Boot),
    ?assertMatch({error, {<<"not_registered">>, _}}, (Execute(#{gpu => 2}))()),
    Labelled = Execute(#{gpu => 1}),
    {32, 1, 0, _, <<"hook/model">>, _} = do(next, [Gpu], Config),
    ok = do(send, [Gpu, [{33, 1, term_to_binary(<<"gpu 1">>)}]], Config),
    ?assertEqual({ok, <<"gpu 1">>}, Labelled()),
    %% From another attached program, with the labels in the name of the service.
    {Client, _} = do_ready(do_options(<<"client">>), [], Config),
    Call = {32, 2, 0, 9000, <<"execute?gpu=1/model">>, term_to_binary([[<<"run">>], #{}])},
    ok = do(send, [Client, [Call]], Config),
    {32, 2, 0, _, <<"hook/model">>, _} = do(next, [Gpu], Config),
    ok = do(send, [Gpu, [{33, 2, term_to_binary(<<"again">>)}]], Config),
    ?assertMatch({33, 2, _}, do(next, [Client], Config)),
    Pending = Execute(#{}),
    {32, 3, 0, _, <<"hook/model">>, _} = do(next, [Gpu], Config),
    ok = do(exit_status, [Gpu, 1], Config),
    ?assertEqual({error, node_down}, Pending()),
    ?assertMatch({error, {<<"not_registered">>, _}}, (Execute(#{}))()).
