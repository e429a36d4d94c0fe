%% SPDX-License-Identifier: Apache-2.0
%% Publish and subscribe on one node: topics, prefixes, counts, readers, the end of subscribers.
-module(hornbeam_pubsub_tests).

-include_lib("eunit/include/eunit.hrl").

pubsub_test_() ->
    {foreach, fun start/0, fun stop/1, [
        {"a message reaches its subscribers and nobody else", fun by_topic/0},
        {"a prefix reaches all topics that start so", fun by_prefix/0},
        {"two subscriptions of a process count twice and bring one copy", fun counted/0},
        {"topics may be atoms, strings and binaries of the same text", fun names/0},
        {"the end of a process ends its subscriptions and leaves no row", fun ended/0},
        {"a reader is told once until it has looked", fun told_once/0},
        {"a WebSocket gets text, bytes or JSON", fun frames/0},
        {"a value without JSON form is refused before anybody gets it", fun no_json/0},
        {"after a crash of the registry subscriptions go on", fun crash/0},
        {"a message that many publish at once is read by all readers", fun many/0}
    ]}.

start() ->
    {ok, Tables} = hornbeam_tables:start_link(),
    {ok, Sup} = hornbeam_pubsub_sup:start_link(),
    unlink(Sup),
    {Tables, Sup}.

stop({Tables, Sup}) ->
    Ref = monitor(process, Sup),
    exit(Sup, shutdown),
    receive {'DOWN', Ref, process, _, _} -> ok end,
    gen_server:stop(Tables).

received() ->
    receive {hornbeam_pubsub, Topic, Message} -> [{Topic, Message} | received()]
    after 0 -> []
    end.

by_topic() ->
    ok = hornbeam_pubsub:subscribe(<<"a">>),
    ?assertEqual(1, hornbeam_pubsub:publish(<<"a">>, {any, <<"term">>})),
    ?assertEqual(0, hornbeam_pubsub:publish(<<"b">>, 1)),
    ?assertEqual([{<<"a">>, {any, <<"term">>}}], received()),
    ok = hornbeam_pubsub:unsubscribe(<<"a">>),
    ?assertEqual(0, hornbeam_pubsub:publish(<<"a">>, 1)),
    ?assertEqual([], received()).

by_prefix() ->
    ok = hornbeam_pubsub:subscribe({prefix, <<"user:">>}),
    ?assertEqual(1, hornbeam_pubsub:publish(<<"user:1">>, x)),
    ?assertEqual(1, hornbeam_pubsub:publish(<<"user:">>, y)),
    ?assertEqual(0, hornbeam_pubsub:publish(<<"user">>, z)),
    ?assertEqual([{<<"user:1">>, x}, {<<"user:">>, y}], received()),
    ok = hornbeam_pubsub:unsubscribe({prefix, <<"user:">>}),
    ?assertEqual([], hornbeam_pubsub_registry:prefix_lengths()).

counted() ->
    ok = hornbeam_pubsub:subscribe(<<"a">>),
    ok = hornbeam_pubsub:subscribe(<<"a">>),
    ?assertEqual(2, hornbeam_pubsub:publish(<<"a">>, x)),
    ?assertEqual([{<<"a">>, x}], received()),
    ok = hornbeam_pubsub:unsubscribe(<<"a">>),
    ?assertEqual(1, hornbeam_pubsub:publish(<<"a">>, y)),
    ok = hornbeam_pubsub:unsubscribe(<<"a">>),
    ok = hornbeam_pubsub:unsubscribe(<<"a">>),
    ?assertEqual(0, hornbeam_pubsub:subscribers(<<"a">>)).

names() ->
    ok = hornbeam_pubsub:subscribe(topic),
    ?assertEqual(1, hornbeam_pubsub:publish("topic", x)),
    ?assertEqual(1, hornbeam_pubsub:publish(<<"topic">>, x)),
    ?assertError({bad_topic, 7, _}, hornbeam_pubsub:publish(7, x)),
    ?assertError({bad_topic, <<255>>, _}, hornbeam_pubsub:publish(<<255>>, x)).

ended() ->
    Self = self(),
    {Pid, Ref} = spawn_monitor(fun() ->
        ok = hornbeam_pubsub:subscribe(<<"a">>),
        ok = hornbeam_pubsub:subscribe({prefix, <<"p">>}),
        Self ! ready,
        receive stop -> ok end
    end),
    receive ready -> ok end,
    Pid ! stop,
    receive {'DOWN', Ref, process, _, _} -> ok end,
    %% its monitor's message is before this call in the registry's mailbox
    ok = hornbeam_pubsub:unsubscribe(<<"nobody">>),
    ?assertEqual(0, hornbeam_pubsub:publish(<<"a">>, x)),
    Tables = [hornbeam_pubsub_subscribers, hornbeam_pubsub_channels, hornbeam_pubsub_messages],
    ?assertEqual([0, 0, 0], [ets:info(Table, size) || Table <- Tables]).

told_once() ->
    Channel = {topic, <<"a">>},
    Sub0 = hornbeam_pubsub:attach(Channel, self(), worker),
    [hornbeam_pubsub:publish(<<"a">>, N) || N <- [1, 2, 3]],
    ?assertEqual([Channel], told()),
    ok = hornbeam_pubsub:told(Sub0),
    {Read, Sub} = read_all(Sub0),
    ?assertEqual([1, 2, 3], [binary_to_term(P) || #{payload := P} <- Read]),
    1 = hornbeam_pubsub:publish(<<"a">>, 4),
    ?assertEqual([Channel], told()),
    ?assertMatch({[#{topic := <<"a">>}], _}, read_all(Sub)).

told() ->
    receive {hornbeam_channel, Channel} -> [Channel | told()]
    after 0 -> []
    end.

read_all(Sub0) ->
    case hornbeam_pubsub:read(Sub0) of
        {ok, Message, 0, Sub} ->
            {Rest, Last} = read_all(Sub),
            {[Message | Rest], Last};
        {empty, Sub} ->
            {[], Sub}
    end.

frames() ->
    Sub = hornbeam_pubsub:attach({topic, <<"a">>}, self(), socket),
    Messages = [<<"text">>, {bytes, <<"x">>}, <<255>>, #{<<"k">> => 1}],
    [1 = hornbeam_pubsub:publish(<<"a">>, M) || M <- Messages],
    {Read, _} = read_all(Sub),
    ?assertEqual(
        [{text, <<"text">>}, {binary, <<"x">>}, {binary, <<255>>}, {text, <<"{\"k\":1}">>}],
        [Frame || #{frame := Frame} <- Read]
    ).

no_json() ->
    Sub = hornbeam_pubsub:attach({topic, <<"a">>}, self(), socket),
    ok = hornbeam_pubsub:subscribe(<<"a">>),
    ?assertError({not_json, _}, hornbeam_pubsub:publish(<<"a">>, self())),
    ?assertEqual([], received()),
    ?assertMatch({[], _}, read_all(Sub)).

crash() ->
    ok = hornbeam_pubsub:subscribe(<<"a">>),
    ok = hornbeam_pubsub:subscribe({prefix, <<"pre">>}),
    Before = whereis(hornbeam_pubsub_registry),
    Ref = monitor(process, Before),
    exit(Before, kill),
    receive {'DOWN', Ref, process, _, _} -> ok end,
    until(fun() -> is_pid(whereis(hornbeam_pubsub_registry)) end),
    ok = hornbeam_pubsub:subscribe(<<"b">>),
    ?assertEqual(1, hornbeam_pubsub:publish(<<"a">>, x)),
    ?assertEqual(1, hornbeam_pubsub:publish(<<"prefix">>, x)),
    ok = hornbeam_pubsub:unsubscribe(<<"a">>),
    ?assertEqual(0, hornbeam_pubsub:publish(<<"a">>, x)),
    %% What other nodes are told is so, too.
    Scope = hornbeam_pubsub_relay:scope(),
    ok = hornbeam_pubsub:unsubscribe({prefix, <<"pre">>}),
    ?assertEqual([relays, {topic, <<"b">>}], lists:sort(pg:which_local_groups(Scope))).

until(Condition) ->
    case Condition() of
        true -> ok;
        false ->
            receive after 1 -> until(Condition) end
    end.

many() ->
    Self = self(),
    Readers = [spawn_link(fun() -> reader(Self) end) || _ <- lists:seq(1, 50)],
    [receive {ready, R} -> ok end || R <- Readers],
    Publishers = [
        spawn_monitor(fun() -> [hornbeam_pubsub:publish(<<"a">>, N) || N <- lists:seq(1, 20)] end)
     || _ <- lists:seq(1, 5)
    ],
    [receive {'DOWN', Ref, process, _, normal} -> ok end || {_, Ref} <- Publishers],
    Counts = [receive {read, R, Count} -> Count end || R <- Readers],
    ?assertEqual([100], lists:usort(Counts)).

reader(Parent) ->
    Sub = hornbeam_pubsub:attach({topic, <<"a">>}, self(), worker),
    Parent ! {ready, self()},
    Parent ! {read, self(), read_until(100, 0, Sub)}.

read_until(Wanted, Wanted, _) ->
    Wanted;
read_until(Wanted, Count, Sub0) ->
    receive {hornbeam_channel, _} -> ok end,
    ok = hornbeam_pubsub:told(Sub0),
    {Read, Sub} = read_all(Sub0),
    read_until(Wanted, Count + length(Read), Sub).
