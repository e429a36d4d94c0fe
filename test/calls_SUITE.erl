%% SPDX-License-Identifier: Apache-2.0
%% @doc Calls in both directions over one connection, nested and at once, with their failures.
-module(calls_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(hornbeam_case, [doc/1, fetch/1, await/1]).

-compile([export_all, nowarn_export_all]).

all() -> hornbeam_case:all(?MODULE).

suite() -> [{timetrap, {minutes, 4}}].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(hornbeam),
    Config.

end_per_suite(_) -> application:stop(hornbeam).

init_per_testcase(_, Config) ->
    _ = hornbeam_case:start("calls_app:application", #{threads => 1}),
    Config.

end_per_testcase(_, _) -> hornbeam:stop().

do_worker() ->
    {ok, Pool} = hornbeam_pool:lookup(root),
    hornbeam_pool:worker(1, Pool).

call(Service, Arguments) -> call(Service, Arguments, 30000).

call(Service, Arguments, Timeout) -> hornbeam_worker:call(do_worker(), Service, Arguments, Timeout).

nested_ten_deep_on_one_thread(_) ->
    doc("Python calls Erlang, which calls the same worker again: ten deep, with one thread."),
    Worker = do_worker(),
    ok = hornbeam:register_function(descend, fun([Depth]) ->
        {ok, Idents} = hornbeam_worker:call(Worker, <<"descend">>, [Depth], 30000),
        Idents
    end),
    ?assertEqual({200, <<"11 levels, 1 thread">>}, fetch("/descend?10")),
    ?assertMatch({ok, [_, _, _]}, call(<<"descend">>, [2])).

values_come_back_as_they_went(_) ->
    doc("What Erlang sends to Python and gets back is what it sent: types never depend on bytes."),
    [
        ?assertEqual({ok, Value}, call(<<"same">>, [Value]))
     || Value <- [
            %% Numbers
            1, -1, 1 bsl 80, -(1 bsl 200), 1.5, 1.0e-20,
            %% Text, bytes, bits
            <<"text">>, <<"zwölf"/utf8>>, {bytes, <<"text">>}, {bytes, <<255>>}, <<>>, <<5:3>>,
            %% Atoms and what holds others
            true, false, undefined, ok, [], [65, 66], lists:seq(1, 300), [a | b], {}, {a, 1},
            #{<<"k">> => [#{1 => 2}], {1, 2} => []},
            %% What only a node can make
            self(), make_ref(), fun lists:map/2, hd(erlang:ports())
        ]
    ].

registered_functions(_) ->
    doc(
        "A fun takes the list of arguments, a module function gets them spread; {ok, V} is "
        "unwrapped."
    ),
    ok = hornbeam:register_function(count, fun(Arguments) -> {ok, length(Arguments)} end),
    ok = hornbeam:register_function("three", ?MODULE, three),
    ?assertEqual({200, <<"3">>}, fetch("/call?count")),
    ?assertEqual({200, <<"(1, 'two', b'3')">>}, fetch("/call?three")),
    ok = hornbeam:unregister_function(<<"three">>),
    {200, Text} = fetch("/call?three"),
    ?assertMatch(<<"NotRegistered: ", _/binary>>, Text).

three(A, B, {bytes, C}) -> {A, B, {bytes, C}}.

failures_of_functions(_) ->
    doc(
        "{error, Reason}, exceptions and exits of a function are RemoteError in Python; "
        "nobody else is hurt."
    ),
    ok = hornbeam:register_function(refuses, fun(_) -> {error, invalid_token} end),
    ok = hornbeam:register_function(crashes, fun([A | _]) -> A + a end),
    ok = hornbeam:register_function(exits, fun(_) -> do_die() end),
    [
        begin
            {200, Text} = fetch("/call?" ++ Name),
            ?assertMatch({match, _}, re:run(Text, "^RemoteError.*" ++ Reason))
        end
     || {Name, Reason} <- [
            {"refuses", "invalid_token"}, {"crashes", "badarith"}, {"exits", "killed"}
        ]
    ].

do_die() ->
    exit(self(), kill),
    receive after infinity -> ok end.

a_function_over_the_deadline(_) ->
    doc("A function that takes too long is CallTimeout in Python; its process is stopped."),
    Test = self(),
    ok = hornbeam:register_function(hangs, fun(_) ->
        Test ! {hangs, self()},
        receive after infinity -> ok end
    end),
    {200, Text} = fetch("/call?hangs"),
    ?assertMatch(<<"CallTimeout", _/binary>>, Text),
    receive
        {hangs, Pid} -> await(fun() -> not is_process_alive(Pid) end)
    after 30000 -> ct:fail(not_called)
    end.

failures_of_services(_) ->
    doc("What fails in Python is a typed fault with the traceback; the worker goes on."),
    {error, {<<"handler_error">>, Details}} = call(<<"fails">>, [<<"why">>]),
    ?assertMatch(#{<<"type">> := <<"KeyError">>}, do_text_keys(Details)),
    ?assertMatch({error, {<<"not_registered">>, _}}, call(<<"nobody">>, [])),
    ?assertMatch({error, {<<"bad_term">>, _}}, call(<<"unsendable">>, [])),
    ?assertEqual({ok, 1}, call(<<"same">>, [1])).

do_text_keys(Map) ->
    maps:from_list([{do_key(K), V} || {K, V} <- maps:to_list(Map)]).

do_key(K) when is_atom(K) -> atom_to_binary(K);
do_key(K) -> K.

late_answers_go_nowhere(_) ->
    doc("After a timeout the late answer is dropped: it never reaches a later call."),
    ?assertEqual({error, timeout}, call(<<"slow">>, [400], 100)),
    ?assertEqual({ok, mine}, call(<<"same">>, [mine])),
    ?assertEqual(none, receive Message -> {unexpected, Message} after 600 -> none end).

callers_of_a_dead_worker(_) ->
    doc("A call in a worker that is killed ends at once with node_down."),
    Pid = hornbeam_case:pid(),
    _ = spawn_link(fun() ->
        receive
        after 1000 -> os:cmd("kill -KILL " ++ integer_to_list(Pid))
        end
    end),
    Call = fun() -> call(<<"slow">>, [60000], 60000) end,
    {Microseconds, Answer} = timer:tc(fun() -> hornbeam_case:quiet(Call) end),
    ?assertEqual({error, node_down}, Answer),
    ?assert(Microseconds < 30000000).

many_at_once(_) ->
    doc("A thousand calls at once over one connection each get their own answer."),
    Worker = do_worker(),
    Callers = [
        spawn_monitor(fun() -> exit(hornbeam_worker:call(Worker, <<"same">>, [I], 20000)) end)
     || I <- lists:seq(1, 1000)
    ],
    Answers = [receive {'DOWN', M, _, _, A} -> A end || {_, M} <- Callers],
    ?assertEqual([{ok, I} || I <- lists:seq(1, 1000)], Answers).
