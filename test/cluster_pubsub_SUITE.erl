%% SPDX-License-Identifier: Apache-2.0
%% @doc Publish and subscribe over three nodes: who is counted, in which order messages come, what a
%% node costs that is stopped, cut off or killed.
-module(cluster_pubsub_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, await/1, async/1]).
-import(cluster_nodes, [call/4, call/5, name/1, signal/2, sees/2]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) ->
    Peers = [cluster_nodes:start(Name) || Name <- [a, b, c]],
    [{peers, Peers} | Config].

end_per_suite(Config) ->
    lists:foreach(fun cluster_nodes:stop/1, ?config(peers, Config)).

%% All three connected, nobody subscribes to anything.
init_per_testcase(_, Config) ->
    ok = do_connect(?config(peers, Config)),
    Config.

do_connect([A, B, C] = Peers) ->
    await(fun() ->
        [call(X, net_kernel, connect_node, [name(Y)]) || {X, Y} <- [{A, B}, {A, C}, {B, C}]],
        lists:all(fun(Peer) -> sees(Peer, Peers -- [Peer]) end, Peers)
    end).

end_per_testcase(_, Config) ->
    [signal("CONT", Peer) || Peer <- ?config(peers, Config)],
    _ = [call(Peer, ?MODULE, do_end_collectors, []) || Peer <- ?config(peers, Config)],
    ok.

do_collect(Peer, Channels) ->
    call(Peer, cluster_nodes, collect, [Channels]).

do_end_collectors() ->
    Pids = lists:usort([Pid || {{_, Pid}, _, _, _} <- ets:tab2list(hornbeam_pubsub_subscribers)]),
    lists:foreach(fun(Pid) -> exit(Pid, kill) end, Pids).

do_collected(Peer, Pid) ->
    call(Peer, cluster_nodes, collected, [Pid]).

do_publish(Peer, Topic, Message) ->
    call(Peer, hornbeam_pubsub, publish, [Topic, Message]).

%% A node learns of the subscriptions of another one a moment after they are made.
do_knows(Peer, Topic, Others) ->
    Expected = lists:sort([name(Other) || Other <- Others]),
    await(fun() ->
        Relays = call(Peer, hornbeam_pubsub_relay, interested, [Topic]),
        lists:sort([node(Relay) || Relay <- Relays]) =:= Expected
    end).

counted_on_all_nodes(Config) ->
    doc("publish returns how many subscriptions there are on all nodes, by topic and by prefix, "
        "and each gets the message once."),
    [A, B, C] = ?config(peers, Config),
    OnA = do_collect(A, [<<"news">>]),
    OnB = do_collect(B, [<<"news">>, {prefix, <<"ne">>}]),
    OnC = do_collect(C, [{prefix, <<"new">>}, {prefix, <<"other">>}]),
    do_knows(A, <<"news">>, [B, C]),
    do_knows(B, <<"news">>, [A, C]),
    do_knows(C, <<"news">>, [A, B]),
    ?assertEqual([4, 4, 4], [do_publish(Peer, <<"news">>, name(Peer)) || Peer <- [A, B, C]]),
    Got = [do_collected(Peer, Pid) || {Peer, Pid} <- [{A, OnA}, {B, OnB}, {C, OnC}]],
    ?assertEqual(lists:duplicate(3, [name(Peer) || Peer <- [A, B, C]]), Got),
    ?assertEqual(1, do_publish(B, <<"newer">>, x) - do_publish(B, <<"nex">>, x)).

a_node_without_subscribers_is_not_asked(Config) ->
    doc("When the last subscription of a node has ended, messages are not sent there."),
    [A, B, _] = ?config(peers, Config),
    Pid = do_collect(B, [<<"t">>]),
    do_knows(A, <<"t">>, [B]),
    _ = call(B, erlang, exit, [Pid, kill]),
    do_knows(A, <<"t">>, []),
    ?assertEqual(0, do_publish(A, <<"t">>, 1)).

in_the_order_of_each_publisher(Config) ->
    doc("What one process publishes arrives everywhere in its order, each message once, while "
        "processes on other nodes publish to the same topic, large messages among them."),
    [A, B, C] = Peers = ?config(peers, Config),
    Collectors = [{Peer, do_collect(Peer, [<<"order">>])} || Peer <- Peers],
    [do_knows(Peer, <<"order">>, Peers -- [Peer]) || Peer <- Peers],
    Messages = fun(Peer) -> [{name(Peer), N, do_ballast(N)} || N <- lists:seq(1, 200)] end,
    Publishing = [
        async(fun() ->
            call(Peer, cluster_nodes, publish_all, [<<"order">>, Messages(Peer), 20000])
        end)
     || Peer <- [A, B, C]
    ],
    [?assertEqual([3], lists:usort(Counts())) || Counts <- Publishing],
    [do_in_order(do_collected(Peer, Pid), Peers) || {Peer, Pid} <- Collectors].

%% Above 64 KiB the distribution sends a message in pieces, and others between them.
do_ballast(N) when N rem 10 =:= 0 -> binary:copy(<<"x">>, 200000);
do_ballast(_) -> <<>>.

do_in_order(Messages, Peers) ->
    ?assertEqual(600, length(Messages)),
    [
        ?assertEqual(lists:seq(1, 200), [N || {Node, N, _} <- Messages, Node =:= name(Peer)])
     || Peer <- Peers
    ].

what_cannot_be_sent_is_told(Config) ->
    doc("A value that has no JSON form is an error of the publisher when a WebSocket on another "
        "node has joined the topic; that node goes on."),
    [A, B, _] = ?config(peers, Config),
    Attach = [{topic, <<"json">>}],
    Socket = call(B, ?MODULE, do_socket, Attach),
    do_knows(A, <<"json">>, [B]),
    ?assertEqual(1, do_publish(A, <<"json">>, #{<<"a">> => 1})),
    ?assertError({not_json, _}, do_publish(A, <<"json">>, self())),
    ?assertEqual(1, do_publish(A, <<"json">>, 2)),
    ?assertEqual([{text, <<"{\"a\":1}">>}, {text, <<"2">>}],
        call(B, ?MODULE, do_frames, [Socket])).

%% On the node: a process that is subscribed as the connection of a WebSocket is.
do_socket(Channel) ->
    Caller = self(),
    Pid = spawn(fun() ->
        Reader = hornbeam_pubsub:attach(Channel, self(), socket),
        Caller ! {self(), attached},
        receive {frames, From} -> From ! {self(), do_read(Reader)} end
    end),
    receive {Pid, attached} -> Pid after 30000 -> error(not_attached) end.

do_read(Reader) ->
    case hornbeam_pubsub:read(Reader) of
        {ok, #{frame := Frame}, 0, Next} -> [Frame | do_read(Next)];
        {empty, _} -> []
    end.

do_frames(Socket) ->
    Socket ! {frames, self()},
    receive {Socket, Frames} -> Frames after 30000 -> error(no_frames) end.

a_killed_relay(Config) ->
    doc("When the relay of a node is killed whoever waits for it has an answer, and the next "
        "messages reach the same subscriptions."),
    [A, B, _] = ?config(peers, Config),
    Pid = do_collect(B, [<<"relay">>]),
    do_knows(A, <<"relay">>, [B]),
    Relay = call(B, erlang, whereis, [hornbeam_pubsub_relay]),
    ok = call(B, sys, suspend, [Relay]),
    Publishing = async(fun() ->
        call(A, cluster_nodes, published_in, [<<"relay">>, 1, 15000])
    end),
    await(fun() -> {message_queue_len, 0} =/=
        call(B, erlang, process_info, [Relay, message_queue_len]) end),
    true = call(B, erlang, exit, [Relay, kill]),
    {0, Took} = Publishing(),
    ?assert(Took < 10000),
    await(fun() -> 1 =:= do_publish(A, <<"relay">>, again) end),
    ?assertEqual([again], lists:usort(do_collected(B, Pid))).

a_stopped_node(Config) ->
    doc("A node that is stopped (SIGSTOP) costs the first publisher its deadline and the next ones "
        "nothing, also when the connection to it is full; when it goes on it gets, once and in "
        "order, what was sent, and is counted again."),
    [A, B, C] = ?config(peers, Config),
    OnB = do_collect(B, [<<"stop">>]),
    OnC = do_collect(C, [<<"stop">>]),
    do_knows(A, <<"stop">>, [B, C]),
    ok = signal("STOP", C),
    {1, First} = call(A, cluster_nodes, published_in, [<<"stop">>, 1, 2000]),
    ?assert(First >= 2000),
    await(fun() -> [] =/= call(A, ets, tab2list, [hornbeam_pubsub_silent]) end),
    {Took, Counts} = call(A, ?MODULE, do_publish_large, [<<"stop">>, lists:seq(2, 100)], 60000),
    ?assertEqual([1], lists:usort(Counts)),
    %% One of them alone would take 20 seconds if it were waited for.
    ?assert(Took < 20000),
    ok = signal("CONT", C),
    await(fun() -> 2 =:= do_publish(A, <<"stop">>, again) end),
    ?assertEqual(lists:seq(1, 100), call(B, ?MODULE, do_numbers, [OnB])),
    Late = call(C, ?MODULE, do_numbers, [OnC]),
    ?assertEqual(lists:usort(Late), Late),
    ?assertEqual(1, hd(Late)).

%% On the node.
do_publish_large(Topic, Numbers) ->
    Messages = [{N, binary:copy(<<"x">>, 100000)} || N <- Numbers],
    Before = erlang:monotonic_time(millisecond),
    Counts = cluster_nodes:publish_all(Topic, Messages, 20000),
    {erlang:monotonic_time(millisecond) - Before, Counts}.

do_numbers(Collector) ->
    Number = fun({N, _}) -> N; (N) -> N end,
    [Number(M) || M <- cluster_nodes:collected(Collector), M =/= again].

a_cut_connection(Config) ->
    doc("Nodes that lost each other do not wait for each other; when they are connected again the "
        "subscriptions are back, without having been made again."),
    [A, B, C] = ?config(peers, Config),
    OnC = do_collect(C, [<<"cut">>]),
    do_knows(A, <<"cut">>, [C]),
    _ = call(C, ?MODULE, do_disconnect_all, []),
    do_knows(A, <<"cut">>, []),
    {0, Took} = call(A, cluster_nodes, published_in, [<<"cut">>, lost, 20000]),
    ?assert(Took < 15000),
    ok = do_connect([A, B, C]),
    do_knows(A, <<"cut">>, [C]),
    ?assertEqual(1, do_publish(A, <<"cut">>, kept)),
    ?assertEqual([kept], do_collected(C, OnC)).

do_disconnect_all() ->
    [erlang:disconnect_node(Node) || Node <- nodes()].
