%% SPDX-License-Identifier: Apache-2.0
%% @doc The shared state against models: any sequence of operations does what a map does, and
%% operations of several processes at once leave a history that some order of them explains.
-module(hornbeam_state_model_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

model_test_() ->
    {setup, fun start/0, fun stop/1, [
        {"a sequence of operations does what it does to a map", ?PROPERTY(prop_sequence(), 500)},
        {"histories of one key are linearizable", ?PROPERTY(prop_histories(), 300)},
        {"a hundred writers lose no increment", {timeout, 60, fun hundred_writers/0}},
        {"writers at the bounds never pass them, and counts stay exact",
            {timeout, 60, fun writers_at_the_bounds/0}},
        {"times that are over while others write leave nothing behind",
            {timeout, 60, fun writers_and_times/0}}
    ]}.

start() ->
    {ok, Pid} = hornbeam_tables:start_link(),
    Pid.

stop(Pid) ->
    unlink(Pid),
    ok = gen_server:stop(Pid).

reset() ->
    _ = hornbeam_state:clear(undefined),
    #{entries := 0, bytes := 0} = hornbeam_state:info(),
    ok.

%%% One process: a map

key() -> oneof([<<"a">>, <<"ab">>, <<"b">>, {bytes, <<"a">>}, 1, {<<"a">>, 1}, '_', #{}]).

value() -> oneof([integer(), 1 bsl 62, 1.5, <<"a">>, {bytes, <<"a">>}, undefined, true, [1], '$1']).

prefix() -> oneof([undefined, <<>>, <<"a">>, {bytes, <<>>}]).

operation() ->
    oneof([
        {get, key()}, {set, key(), value()}, {delete, key()}, {incr, key(), integer()},
        {incr, key(), oneof([1 bsl 60, -(1 bsl 61), 1 bsl 59])}, {add, key(), value()},
        {cas, key(), value(), value()}, {update, key(), value(), value()},
        {get_multi, list(key())}, {set_multi, list({key(), value()})},
        {delete_multi, list(key())}, {keys, prefix()}, {scan, prefix(), range(1, 5)},
        {scan, prefix(), range(1, 5), key()}, {clear, prefix()}
    ]).

prop_sequence() ->
    ?FORALL(Operations, list(operation()), begin
        ok = reset(),
        Model = lists:foldl(fun same/2, #{}, Operations),
        Rows = ets:tab2list(hornbeam_state),
        #{entries := Entries, bytes := Bytes} = hornbeam_state:info(),
        {Entries, Bytes} =:= {maps:size(Model), lists:sum([Size || {_, _, _, Size} <- Rows])}
    end).

same(Operation, Model) ->
    [Function | Arguments] = tuple_to_list(Operation),
    {Expected, Next} = model(Operation, Model),
    ?assertEqual({Operation, Expected}, {Operation, apply(hornbeam_state, Function, Arguments)}),
    Next.

model({get, Key}, M) -> {found(Key, M), M};
model({set, Key, Value}, M) -> {ok, M#{Key => Value}};
model({delete, Key}, M) -> {is_map_key(Key, M), maps:remove(Key, M)};
model({incr, Key, N}, M) ->
    case maps:get(Key, M, 0) of
        Value when is_integer(Value) -> {{ok, Value + N}, M#{Key => Value + N}};
        _ -> {{error, not_an_integer}, M}
    end;
model({add, Key, Value}, M) ->
    {not is_map_key(Key, M), maps:merge(#{Key => Value}, M)};
model({cas, Key, Expected, New}, M) ->
    {{Done, _}, Next} = model({update, Key, Expected, New}, M),
    {Done, Next};
model({update, Key, Expected, New}, M) ->
    case maps:get(Key, M, undefined) of
        Value when Value =:= Expected -> {{true, New}, M#{Key => New}};
        Value -> {{false, Value}, M}
    end;
model({get_multi, Keys}, M) -> {[found(Key, M) || Key <- Keys], M};
model({set_multi, Pairs}, M) -> {ok, maps:merge(M, maps:from_list(Pairs))};
model({delete_multi, Keys}, M) ->
    {length([Key || Key <- lists:usort(Keys), is_map_key(Key, M)]), maps:without(Keys, M)};
model({keys, Prefix}, M) -> {matches(Prefix, M), M};
model({scan, Prefix, Limit}, M) ->
    {page(matches(Prefix, M), Limit, M), M};
model({scan, Prefix, Limit, After}, M) ->
    Place = place(After),
    {page([Key || Key <- matches(Prefix, M), place(Key) > Place], Limit, M), M};
model({clear, Prefix}, M) ->
    Keys = matches(Prefix, M),
    {length(Keys), maps:without(Keys, M)}.

found(Key, M) ->
    case M of
        #{Key := Value} -> {ok, Value};
        _ -> none
    end.

page(Keys, Limit, M) -> [{Key, maps:get(Key, M)} || Key <- lists:sublist(Keys, Limit)].

matches(Prefix, M) ->
    [Key || {_, Key} <- lists:sort([{place(K), K} || K <- maps:keys(M), begins(Prefix, K)])].

%% Keys that no match specification can hold stand together; their order is that of their bytes.
place(Key) when Key =:= '_'; is_map(Key) -> {hornbeam_key, term_to_binary(Key)};
place(Key) -> Key.

begins(undefined, _) -> true;
begins({bytes, Prefix}, {bytes, Key}) -> begins(Prefix, Key);
begins(Prefix, Key) when is_binary(Prefix), is_binary(Key) ->
    binary:longest_common_prefix([Prefix, Key]) =:= byte_size(Prefix);
begins(_, _) -> false.

%%% Several processes: each notes when it asked and when it was answered. A history is right when
%%% the operations can be put in an order in which none comes before one that had ended before it
%%% began, and in which a map would have answered the same.

step() ->
    frequency([
        {4, {incr, k, range(1, 3)}}, {3, {add, k, range(1, 3)}},
        {4, {cas, k, oneof([undefined, range(1, 6)]), range(1, 6)}}, {2, {get, k}},
        {2, {delete, k}}, {1, {set, k, oneof([range(1, 3), text])}}
    ]).

prop_histories() ->
    ?FORALL(Programs, vector(3, resize(5, non_empty(list(step())))), begin
        ok = reset(),
        History = history(Programs),
        ?WHENFAIL(io:format("~p~n", [lists:sort(History)]), is_linearizable(History, #{}))
    end).

history(Programs) ->
    Start = make_ref(),
    Processes = [
        spawn_monitor(fun() ->
            receive
                Start -> exit([performed(Step) || Step <- Program])
            end
        end)
     || Program <- Programs
    ],
    [Pid ! Start || {Pid, _} <- Processes],
    lists:append([
        receive
            {'DOWN', Monitor, _, _, Performed} -> Performed
        end
     || {_, Monitor} <- Processes
    ]).

performed(Step) ->
    [Function | Arguments] = tuple_to_list(Step),
    Began = erlang:unique_integer([monotonic]),
    Result = apply(hornbeam_state, Function, Arguments),
    {Began, erlang:unique_integer([monotonic]), Step, Result}.

is_linearizable([], _) ->
    true;
is_linearizable(History, Model) ->
    FirstEnd = lists:min([Ended || {_, Ended, _, _} <- History]),
    lists:any(
        fun({Began, _, Step, Result} = Entry) ->
            Began < FirstEnd andalso
                case model(Step, Model) of
                    {Result, Next} -> is_linearizable(History -- [Entry], Next);
                    _ -> false
                end
        end,
        History
    ).

a_history_that_lost_an_update_is_not_linearizable_test() ->
    Overlapping = [{1, 4, {incr, k, 1}, {ok, 1}}, {2, 3, {incr, k, 1}, {ok, 1}}],
    ?assertNot(is_linearizable(Overlapping, #{})),
    Late = [{1, 2, {add, k, 1}, true}, {3, 4, {get, k}, none}],
    ?assertNot(is_linearizable(Late, #{})),
    Right = [{1, 4, {incr, k, 1}, {ok, 2}}, {2, 3, {incr, k, 1}, {ok, 1}}],
    ?assert(is_linearizable(Right, #{})).

%%% Many writers

at_once(Count, Fun) ->
    Processes = [spawn_monitor(fun() -> exit({done, Fun(N)}) end) || N <- lists:seq(1, Count)],
    [
        receive
            {'DOWN', Monitor, _, _, {done, Result}} -> Result;
            {'DOWN', Monitor, _, _, Reason} -> error(Reason)
        end
     || {_, Monitor} <- Processes
    ].

hundred_writers() ->
    ok = reset(),
    Seen = at_once(100, fun(_) ->
        [element(2, hornbeam_state:incr(<<"n">>)) || _ <- lists:seq(1, 1000)]
    end),
    ?assertEqual({ok, 100000}, hornbeam_state:get(<<"n">>)),
    ?assertEqual(lists:seq(1, 100000), lists:sort(lists:append(Seen))),
    _ = at_once(20, fun(_) -> [increment_by_update(<<"u">>, 1) || _ <- lists:seq(1, 200)] end),
    ?assertEqual({ok, 4000}, hornbeam_state:get(<<"u">>)),
    Large = 1 bsl 60,
    _ = at_once(20, fun(_) -> [hornbeam_state:incr(<<"b">>, Large) || _ <- lists:seq(1, 200)] end),
    ?assertEqual({ok, 4000 bsl 60}, hornbeam_state:get(<<"b">>)),
    Added = at_once(100, fun(N) -> hornbeam_state:add(<<"once">>, N) end),
    ?assertEqual(1, length([true || true <- Added])).

%% Reads, adds and writes; tries again with what it is told.
increment_by_update(Key, N) ->
    increment_by_update(Key, N, hornbeam_state:get(Key, undefined)).

increment_by_update(Key, N, Value) ->
    Sum = case Value of undefined -> N; _ -> Value + N end,
    case hornbeam_state:update(Key, Value, Sum) of
        {true, Sum} -> Sum;
        {false, Other} -> increment_by_update(Key, N, Other)
    end.

writers_at_the_bounds() ->
    ok = reset(),
    ok = hornbeam_state_bounds:set_limits(#{state_max_entries => 50, state_max_bytes => 12000}),
    Watched = at_once(8, fun(N) ->
        _ = rand:seed(exsss, N),
        [
            begin
                Key = rand:uniform(100),
                _ = write(rand:uniform(6), Key),
                #{entries := Entries, bytes := Bytes} = hornbeam_state:info(),
                %% A writer that reserves in vain is seen for a moment.
                Entries =< 50 + 8 andalso Bytes =< 12000 + 8 * 600
            end
         || _ <- lists:seq(1, 3000)
        ]
    end),
    ?assert(lists:all(fun(Ok) -> Ok end, lists:append(Watched))),
    Sizes = [Size || {_, _, _, Size} <- ets:tab2list(hornbeam_state)],
    ?assert(length(Sizes) =< 50 andalso lists:sum(Sizes) =< 12000),
    #{entries := Entries, bytes := Bytes} = hornbeam_state:info(),
    ?assertEqual({length(Sizes), lists:sum(Sizes)}, {Entries, Bytes}),
    ok = hornbeam_state_bounds:set_limits(#{
        state_max_entries => infinity, state_max_bytes => infinity
    }).

write(1, Key) -> hornbeam_state:delete(Key);
write(2, Key) -> hornbeam_state:incr(Key, 1 bsl 60);
write(3, Key) -> hornbeam_state:cas(Key, undefined, binary:copy(<<"y">>, rand:uniform(400)));
write(4, Key) -> hornbeam_state:add(Key, 1, #{ttl_ms => rand:uniform(3)});
write(_, Key) -> hornbeam_state:set(Key, binary:copy(<<"x">>, rand:uniform(400))).

writers_and_times() ->
    ok = reset(),
    Write = fun(N) ->
        _ = rand:seed(exsss, N),
        [write_with_time(rand:uniform(5), rand:uniform(10)) || _ <- lists:seq(1, 3000)]
    end,
    Sweep = fun() -> [hornbeam_state_expiry:sweep(10) || _ <- lists:seq(1, 3000)] end,
    _ = at_once(5, fun(1) -> Sweep(); (N) -> Write(N) end),
    receive
    after 4 -> ok
    end,
    _ = hornbeam_state_expiry:sweep(100000),
    Rows = ets:tab2list(hornbeam_state),
    ?assertEqual([], [Row || {_, _, Expires, _} = Row <- Rows, Expires =/= 0]),
    ?assertEqual([], ets:tab2list(hornbeam_state_index)),
    Sizes = [Size || {_, _, _, Size} <- ets:tab2list(hornbeam_state)],
    #{entries := Entries, bytes := Bytes} = hornbeam_state:info(),
    ?assertEqual({length(Sizes), lists:sum(Sizes)}, {Entries, Bytes}).

write_with_time(1, Key) -> hornbeam_state:set(Key, lists:seq(1, Key), #{ttl_ms => 1});
write_with_time(2, Key) -> hornbeam_state:incr(Key, 1, #{ttl_ms => 2});
write_with_time(3, Key) -> hornbeam_state:cas(Key, undefined, Key, #{ttl_ms => 1});
write_with_time(4, Key) -> hornbeam_state:delete(Key);
write_with_time(5, Key) -> hornbeam_state:set(Key, Key).
