%% SPDX-License-Identifier: Apache-2.0
%% Which request of an instance runs next.
-module(hornbeam_erlport_queue_tests).

-include_lib("eunit/include/eunit.hrl").

-import(hornbeam_erlport_queue, [new/0, add/2, done/2, enter/3, leave/2, remove/2, waiting/1]).

next(Queue) -> hornbeam_erlport_queue:next(fun({Id, _}) -> Id end, Queue).

request(Name) -> {make_ref(), Name}.

one_at_a_time_test() ->
    {IdA, _} = A = request(a),
    {IdB, _} = B = request(b),
    ?assertEqual(none, next(new())),
    {A, [], Q1} = next(add(B, add(A, new()))),
    ?assertEqual(none, next(Q1)),
    ?assertEqual([B], waiting(Q1)),
    {B, [], Q2} = next(done(IdA, Q1)),
    ?assertEqual(none, next(done(IdB, Q2))).

nested_test() ->
    {IdA, _} = A = request(a),
    {IdB, _} = B = request(b),
    C = request(c),
    Chain = [{self(), make_ref(), 1}],
    Owner = make_ref(),
    {A, [], Q1} = next(add(A, new())),
    %% while A waits for Erlang, others run in its service, one at a time
    {B, Chain, Q2} = next(add(C, add(B, enter(Owner, Chain, Q1)))),
    ?assertEqual(none, next(Q2)),
    {C, Chain, _} = next(done(IdB, Q2)),
    %% A does not wait any more: nothing runs until it is done, whatever B does
    Q3 = leave(Owner, Q2),
    ?assertEqual(none, next(Q3)),
    ?assertEqual(none, next(done(IdB, Q3))),
    {C, [], _} = next(done(IdA, Q3)).

innermost_first_test() ->
    {_, _} = A = request(a),
    {Outer, Inner} = {[{self(), make_ref(), 1}], [{self(), make_ref(), 2}]},
    {One, Two} = {make_ref(), make_ref()},
    Queue = add(A, enter(Two, Inner, enter(One, Outer, new()))),
    ?assertMatch({A, Inner, _}, next(Queue)),
    ?assertMatch({A, Outer, _}, next(leave(Two, Queue))),
    ?assertMatch({A, Inner, _}, next(leave(One, Queue))),
    ?assertMatch({A, [], _}, next(leave(One, leave(Two, Queue)))).

removed_test() ->
    [A, B, C] = [request(Name) || Name <- [a, b, c]],
    Queue = add(C, add(B, add(A, new()))),
    {B, Rest} = remove(fun(Request) -> Request =:= B end, Queue),
    ?assertEqual([A, C], waiting(Rest)),
    ?assertEqual(none, remove(fun(Request) -> Request =:= B end, Rest)).
