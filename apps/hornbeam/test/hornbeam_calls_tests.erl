%% SPDX-License-Identifier: Apache-2.0
%% @doc Calls in both directions: what is sent, who is answered, what is left. This process is the
%% worker process, the caller, and the owner of what services say; the functions they run are real.
-module(hornbeam_calls_tests).

-include_lib("eunit/include/eunit.hrl").
-include("hornbeam_wire.hrl").

calls_test_() ->
    Tests = outgoing() ++ incoming() ++ hooks(),
    {foreach, fun setup/0, fun stop/1, [{Name, {timeout, 60, Test}} || {Name, Test} <- Tests]}.

setup() ->
    {ok, Pid} = hornbeam_tables:start_link(),
    ok = hornbeam_functions:register(same, fun([V]) -> V end),
    ok = hornbeam_functions:register(hangs, fun(_) ->
        receive
        after infinity -> ok
        end
    end),
    Pid.

stop(Pid) ->
    unlink(Pid),
    ok = gen_server:stop(Pid),
    flush().

flush() ->
    receive
        _ -> flush()
    after 0 -> ok
    end.

payload(Value) ->
    {ok, Payload} = hornbeam_wire:encode_value(Value),
    Payload.

%% A call by this process; its alias.
asked(State) ->
    Ref = alias(),
    {[{?CALL, Id, 0, 1000, <<"s">>, <<"p">>}], Next} =
        hornbeam_calls:event({call, {alias, Ref}, [], 1000, <<"s">>, <<"p">>}, up, State),
    {Ref, Id, Next}.

%% As its caller gets it.
answer(Ref) ->
    receive
        {Ref, Answer} -> hornbeam_caller:outcome(Answer)
    after 0 -> none
    end.

outgoing() ->
    [
        {"ids grow from 1", fun() ->
            {_, 1, S1} = asked(hornbeam_calls:new()),
            {_, 2, S2} = asked(S1),
            ?assertMatch({_, 3, _}, asked(S2))
        end},
        {"each answer finds its caller, in any order", fun() ->
            {A, 1, S1} = asked(hornbeam_calls:new()),
            {B, 2, S2} = asked(S1),
            {ok, [], S3} = hornbeam_calls:handle({?RESULT, 2, payload(b)}, self(), S2),
            ?assertEqual({none, {ok, b}}, {answer(A), answer(B)}),
            {ok, [], _} = hornbeam_calls:handle({?RESULT, 1, payload(a)}, self(), S3),
            ?assertEqual({ok, a}, answer(A))
        end},
        {"answers as callers see them", fun() ->
            Table = [
                {{?RESULT, 1, payload(#{a => 1})}, {ok, #{a => 1}}},
                {{?RESULT, 1, <<"no term">>}, {error, bad_term}},
                {{?RESULT, 1, <<131, 80, 0, 0, 0, 1, 0>>}, {error, bad_term}},
                {{?FAULT, 1, <<"timeout">>, payload(#{})}, {error, {<<"timeout">>, #{}}}},
                {{?FAULT, 1, <<"own">>, payload(#{<<"a">> => 1})},
                    {error, {<<"own">>, #{<<"a">> => 1}}}},
                {{?FAULT, 1, <<"own">>, <<"no term">>}, {error, {<<"own">>, #{}}}}
            ],
            [
                begin
                    {Ref, 1, S} = asked(hornbeam_calls:new()),
                    {ok, [], _} = hornbeam_calls:handle(Message, self(), S),
                    ?assertEqual(Expected, answer(Ref))
                end
             || {Message, Expected} <- Table
            ]
        end},
        {"an answer after the revocation, or of nothing, is dropped", fun() ->
            {Ref, 1, S1} = asked(hornbeam_calls:new()),
            {[{?REVOKE, 1}], S2} = hornbeam_calls:event({revoke, {alias, Ref}}, up, S1),
            {ok, [], S3} = hornbeam_calls:handle({?RESULT, 1, payload(late)}, self(), S2),
            {ok, [], _} = hornbeam_calls:handle({?FAULT, 77, <<"x">>, payload(#{})}, self(), S3),
            ?assertEqual(none, answer(Ref)),
            ?assertEqual({[], S2}, hornbeam_calls:event({revoke, {alias, Ref}}, up, S2))
        end},
        {"without a worker there is node_down, and casts are lost", fun() ->
            Ref = alias(),
            Event = {call, {alias, Ref}, [], 1000, <<"s">>, <<"p">>},
            {[], S} = hornbeam_calls:event(Event, down, hornbeam_calls:new()),
            ?assertEqual({error, node_down}, answer(Ref)),
            Cast = {cast, <<"s">>, <<"p">>},
            ?assertEqual({[], S}, hornbeam_calls:event(Cast, down, S)),
            ?assertEqual({[{?CAST, <<"s">>, <<"p">>}], S}, hornbeam_calls:event(Cast, up, S))
        end},
        {"when the worker dies every caller gets node_down", fun() ->
            {A, 1, S1} = asked(hornbeam_calls:new()),
            {B, 2, S2} = asked(S1),
            ok = hornbeam_calls:fail_all(S2),
            ?assertEqual([{error, node_down}, {error, node_down}], [answer(A), answer(B)])
        end}
    ].

%% A call of the worker; its timeout in milliseconds.
called(Id, Name, Timeout, State) ->
    Call = {?CALL, Id, 0, Timeout, <<"call">>, payload([[Name, [1]], #{}])},
    {ok, [], Next} = hornbeam_calls:handle(Call, self(), State),
    Next.

%% The next event of a service or timer.
next() ->
    receive
        {hornbeam_calls, Event} -> Event
    after 30000 -> none
    end.

%% The processes of so many services, once they all have begun.
services(Count) -> services(Count, erlang:monotonic_time(millisecond) + 30000).

services(Count, Deadline) ->
    case begun() of
        Pids when length(Pids) =:= Count ->
            Pids;
        Pids ->
            ?assert(erlang:monotonic_time(millisecond) < Deadline, Pids),
            receive after 1 -> services(Count, Deadline) end
    end.

begun() ->
    [
        P
     || P <- processes(),
        {dictionary, D} <- [erlang:process_info(P, dictionary)],
        lists:keymember(hornbeam_chain, 1, D)
    ].

%% Why a process ended.
reason(Monitor) ->
    receive
        {'DOWN', Monitor, _, _, Reason} -> Reason
    after 30000 -> alive
    end.

incoming() ->
    [
        {"a service answers its call, once", fun() ->
            S = called(1, <<"same">>, 5000, hornbeam_calls:new()),
            {done, {_, 1}, Result} = Done = next(),
            ?assertEqual({?RESULT, 1, payload(1)}, Result),
            {[Result], S1} = hornbeam_calls:event(Done, up, S),
            ?assertEqual({[], S1}, hornbeam_calls:event(Done, up, S1))
        end},
        {"what no service has is answered at once", fun() ->
            Call = {?CALL, 1, 0, 5000, <<"other">>, payload([[], #{}])},
            {ok, [Fault], _} = hornbeam_calls:handle(Call, self(), hornbeam_calls:new()),
            ?assertMatch({?FAULT, 1, <<"not_registered">>, _}, Fault)
        end},
        {"what nobody registered, and what is no call", fun() ->
            Table = [
                {<<"call">>, payload([[<<"nobody">>, []], #{}]), <<"not_registered">>},
                {<<"call">>, payload([[<<"same">>], #{}]), <<"bad_term">>},
                {<<"call">>, payload(1), <<"bad_term">>},
                {<<"call">>, payload([1, 2]), <<"bad_term">>},
                {<<"call">>, <<"no term">>, <<"bad_term">>}
            ],
            [
                begin
                    Call = {?CALL, 1, 0, 5000, Service, Payload},
                    {ok, [], _} = hornbeam_calls:handle(Call, self(), hornbeam_calls:new()),
                    ?assertMatch({done, {_, 1}, {?FAULT, 1, Name, _}}, next())
                end
             || {Service, Payload, Name} <- Table
            ]
        end},
        {"an id is used once, and ids grow", fun() ->
            S = called(5, <<"same">>, 5000, hornbeam_calls:new()),
            Call = fun(Id) ->
                hornbeam_calls:handle({?CALL, Id, 0, 1, <<"call">>, <<>>}, self(), S)
            end,
            [?assertMatch({error, {bad_state, _}}, Call(Id)) || Id <- [1, 4, 5]],
            ?assertMatch({ok, [], _}, Call(9))
        end},
        {"at its deadline a service is stopped and the worker told", fun() ->
            S = called(1, <<"hangs">>, 20, hornbeam_calls:new()),
            [Pid] = services(1),
            Monitor = monitor(process, Pid),
            {deadline, {_, 1}} = Deadline = next(),
            {[{?FAULT, 1, <<"timeout">>, _}], S1} = hornbeam_calls:event(Deadline, up, S),
            ?assertEqual(killed, reason(Monitor)),
            ?assertEqual({[], S1}, hornbeam_calls:event(Deadline, up, S1))
        end},
        {"a revoked service is stopped and answered", fun() ->
            S = called(1, <<"hangs">>, 60000, hornbeam_calls:new()),
            Revoke = fun(Id, State) -> hornbeam_calls:handle({?REVOKE, Id}, self(), State) end,
            {ok, [{?FAULT, 1, <<"cancelled">>, _}], S1} = Revoke(1, S),
            ?assertEqual({ok, [], S1}, Revoke(1, S1)),
            ?assertEqual({ok, [], S1}, Revoke(99, S1))
        end},
        {"a service that somebody kills is a remote error", fun() ->
            S = called(1, <<"hangs">>, 60000, hornbeam_calls:new()),
            [Pid] = services(1),
            exit(Pid, kill),
            Reason =
                receive
                    {'DOWN', _, process, Pid, R} -> R
                after 30000 -> none
                end,
            {[{?FAULT, 1, <<"remote_error">>, Details}], S1} = hornbeam_calls:down(Pid, Reason, S),
            ?assertMatch(
                {ok, #{class := <<"exit">>, reason := <<"killed">>}},
                hornbeam_wire:decode_value(Details)
            ),
            ?assertEqual({[], S1}, hornbeam_calls:down(Pid, Reason, S1))
        end},
        {"when the worker dies its services are stopped", fun() ->
            S = called(2, <<"hangs">>, 60000, called(1, <<"hangs">>, 60000, hornbeam_calls:new())),
            Monitors = [monitor(process, P) || P <- services(2)],
            ok = hornbeam_calls:fail_all(S),
            ?assertEqual([killed, killed], [reason(M) || M <- Monitors])
        end}
    ].

%%% Handlers in workers

%% A worker with a counter of its calls; its process is this one.
hooked(Paths) ->
    Pool = hornbeam_pool:new(?MODULE, #{size => 1, queue_limit => 0, queue_timeout => 1}),
    ok = hornbeam_pool:set_worker(1, self(), Pool),
    ok = hornbeam_hooks_table:started(Pool, 1, #{}, Paths),
    {Pool, hornbeam_calls:new(hornbeam_pool:calls(1, Pool), again)}.

%% The worker executes Path in its call 1.
executed(Code, Origin, State) ->
    Call = {Code, 1, Origin, 5000, <<"execute/h">>, payload([[<<"act">>], #{}])},
    {ok, [], Next} = hornbeam_calls:handle(Call, self(), State),
    {next(), Next}.

hooks() ->
    [
        {"a call of a handler goes to its worker and back as it is, on the thread that waits",
            fun() ->
                {Pool, S} = hooked([<<"h">>]),
                {Hook, S1} = executed(?CALL, 0, S),
                ?assertEqual(1, hornbeam_pool:busy(1, Pool)),
                Payload = payload([[<<"act">>], #{}]),
                {[{?CALL, 1, 1, 5000, <<"hook/h">>, Payload}], S2} =
                    hornbeam_calls:event(Hook, up, S1),
                {ok, [], S3} = hornbeam_calls:handle({?RESULT, 1, <<"r">>}, self(), S2),
                ?assertEqual(0, hornbeam_pool:busy(1, Pool)),
                {done, {_, 1}, {?RESULT, 1, <<"r">>} = Result} = Done = next(),
                ?assertMatch({[Result], _}, hornbeam_calls:event(Done, up, S3))
            end},
        {"a fault passes as it is; nobody serves an unknown path", fun() ->
            {_, S} = hooked([<<"h">>]),
            {Hook, S1} = executed(?CALL, 0, S),
            {_, S2} = hornbeam_calls:event(Hook, up, S1),
            Fault = {?FAULT, 1, <<"handler_error">>, <<"d">>},
            {ok, [], _} = hornbeam_calls:handle(Fault, self(), S2),
            ?assertMatch({done, _, Fault}, next()),
            {_, Other} = hooked([]),
            ?assertMatch({{done, _, {?FAULT, 1, <<"not_registered">>, _}}, _},
                executed(?CALL, 0, Other))
        end},
        {"the chain leads back to each worker's own call, also from within another call", fun() ->
            {_, A} = hooked([<<"h">>]),
            {{hook, ?CALL, From, Chain, _, _, _}, _} = executed(?CALL, 0, A),
            B = hornbeam_calls:new(),
            {[{?CALL, 1, 0, _, _, _}], B1} =
                hornbeam_calls:event({hook, ?CALL, From, Chain, 9, <<"x">>, <<>>}, up, B),
            {{hook, ?CALL, _, Longer, _, _, _}, _} = executed(?CALL, -1, B1),
            ?assertEqual(Chain, tl(Longer)),
            {[{?CALL, 1, Origin, _, _, _}], _} =
                hornbeam_calls:event({hook, ?CALL, From, Longer, 9, <<"x">>, <<>>}, up, A),
            ?assertEqual(1, Origin)
        end},
        {"while there is no process calls of handlers wait for the next, or are revoked", fun() ->
            {Pool, S} = hooked([<<"h">>]),
            {Own, S1} = executed(?CALL, 0, S),
            {hook, _, From, _, _, _, _} = Hook = setelement(4, Own, []),
            {[], S2} = hornbeam_calls:event(Hook, down, S1),
            ?assertMatch({[{?CALL, 1, _, _, _, _}], _}, hornbeam_calls:ready(S2)),
            {[], S3} = hornbeam_calls:event({revoke, From}, down, S2),
            ?assertEqual(0, hornbeam_pool:busy(1, Pool)),
            ?assertMatch({[], _}, hornbeam_calls:ready(S3))
        end},
        {"a worker that drains, or loads, runs what belongs to its own calls alone", fun() ->
            {_, S} = hooked([<<"h">>]),
            {{hook, ?CALL, From, _, _, _, _} = Own, S1} = executed(?CALL, 0, S),
            Foreign = {hook, ?CALL, From, [], 9, <<"x">>, <<>>},
            [begin
                ?assertMatch({[_], _}, hornbeam_calls:event(Own, Phase, S1)),
                ?assertMatch({[], _}, hornbeam_calls:event(Foreign, Phase, S1))
            end || Phase <- [draining, down]]
        end},
        {"at its caller's deadline the handler's worker is told to stop", fun() ->
            {_, S} = hooked([<<"h">>]),
            {{hook, _, From, _, _, _, _}, S1} = executed(?CALL, 0, S),
            {call, _, Key} = From,
            {[{?FAULT, 1, <<"timeout">>, _}], _} = hornbeam_calls:event({deadline, Key}, up, S1),
            ?assertEqual({revoke, From}, next())
        end},
        {"what is late for an earlier process reaches no call of the next", fun() ->
            {_, S} = hooked([<<"h">>]),
            {Hook, S1} = executed(?CALL, 0, S),
            {_, S2} = hornbeam_calls:event(Hook, up, S1),
            {ok, [], _} = hornbeam_calls:handle({?RESULT, 1, <<"late">>}, self(), S2),
            Late = next(),
            {_, Next} = hooked([<<"h">>]),
            {_, Next1} = executed(?CALL, 0, Next),
            ?assertEqual({[], Next1}, hornbeam_calls:event(Late, up, Next1))
        end},
        {"items and credit pass a stream both ways", fun() ->
            {_, S} = hooked([<<"h">>]),
            {Hook, S1} = executed(?STREAM, 0, S),
            {[{?STREAM, 1, 1, _, _, _}], S2} = hornbeam_calls:event(Hook, up, S1),
            {ok, [], S3} = hornbeam_calls:handle({?ITEM, 1, <<"i">>}, self(), S2),
            ?assertMatch({[{?ITEM, 1, <<"i">>}], _}, hornbeam_calls:event(next(), up, S3)),
            {ok, [], S4} = hornbeam_calls:handle({?ITEM_CREDIT, 1, 8}, self(), S3),
            ?assertMatch({[{?ITEM_CREDIT, 1, 8}], _}, hornbeam_calls:event(next(), up, S4))
        end},
        {"when the worker dies its handlers' callers get node_down, also those that wait", fun() ->
            {Pool, S} = hooked([<<"h">>]),
            A = alias(),
            B = alias(),
            Hook = fun(Ref) -> {hook, ?CALL, {alias, Ref}, [], 9, <<"x">>, <<>>} end,
            {[_], S1} = hornbeam_calls:event(Hook(A), up, S),
            {[], S2} = hornbeam_calls:event(Hook(B), down, S1),
            ok = hornbeam_pool:count(2, hornbeam_pool:calls(1, Pool)),
            ok = hornbeam_calls:fail_all(S2),
            ?assertEqual([{error, node_down}, {error, node_down}], [answer(A), answer(B)]),
            ?assertEqual(0, hornbeam_pool:busy(1, Pool))
        end}
    ].
