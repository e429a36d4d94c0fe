%% SPDX-License-Identifier: Apache-2.0
%% @doc Calls in both directions: what is sent, who is answered, what is left. This process is the
%% worker process, the caller, and the owner of what services say; the functions they run are real.
-module(hornbeam_calls_tests).

-include_lib("eunit/include/eunit.hrl").
-include("hornbeam_wire.hrl").

calls_test_() ->
    {foreach, fun setup/0, fun stop/1, [{Name, Test} || {Name, Test} <- outgoing() ++ incoming()]}.

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
        hornbeam_calls:event({call, Ref, self(), 0, 1000, <<"s">>, <<"p">>}, true, State),
    {Ref, Id, Next}.

answer(Ref) ->
    receive
        {Ref, Answer} -> Answer
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
            {[{?REVOKE, 1}], S2} = hornbeam_calls:event({revoke, Ref}, true, S1),
            {ok, [], S3} = hornbeam_calls:handle({?RESULT, 1, payload(late)}, self(), S2),
            {ok, [], _} = hornbeam_calls:handle({?FAULT, 77, <<"x">>, payload(#{})}, self(), S3),
            ?assertEqual(none, answer(Ref)),
            ?assertEqual({[], S2}, hornbeam_calls:event({revoke, Ref}, true, S2))
        end},
        {"without a worker there is node_down, and casts are lost", fun() ->
            Ref = alias(),
            Event = {call, Ref, self(), 0, 1000, <<"s">>, <<"p">>},
            {[], S} = hornbeam_calls:event(Event, false, hornbeam_calls:new()),
            ?assertEqual({error, node_down}, answer(Ref)),
            Cast = {cast, <<"s">>, <<"p">>},
            ?assertEqual({[], S}, hornbeam_calls:event(Cast, false, S)),
            ?assertEqual({[{?CAST, <<"s">>, <<"p">>}], S}, hornbeam_calls:event(Cast, true, S))
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
    after 5000 -> none
    end.

%% The processes of services.
services() ->
    [
        P
     || P <- processes(),
        {dictionary, D} <- [erlang:process_info(P, dictionary)],
        lists:keymember(hornbeam_origin, 1, D)
    ].

%% Why a process ended.
reason(Monitor) ->
    receive
        {'DOWN', Monitor, _, _, Reason} -> Reason
    after 5000 -> alive
    end.

incoming() ->
    [
        {"a service answers its call, once", fun() ->
            S = called(1, <<"same">>, 5000, hornbeam_calls:new()),
            {done, 1, Result} = Done = next(),
            ?assertEqual({?RESULT, 1, payload(1)}, Result),
            {[Result], S1} = hornbeam_calls:event(Done, true, S),
            ?assertEqual({[], S1}, hornbeam_calls:event(Done, true, S1))
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
                    ?assertMatch({done, 1, {?FAULT, 1, Name, _}}, next())
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
            [Pid] = services(),
            Monitor = monitor(process, Pid),
            {deadline, 1} = Deadline = next(),
            {[{?FAULT, 1, <<"timeout">>, _}], S1} = hornbeam_calls:event(Deadline, true, S),
            ?assertEqual(killed, reason(Monitor)),
            ?assertEqual({[], S1}, hornbeam_calls:event(Deadline, true, S1))
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
            [Pid] = services(),
            exit(Pid, kill),
            Reason =
                receive
                    {'DOWN', _, process, Pid, R} -> R
                after 5000 -> none
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
            Monitors = [monitor(process, P) || P <- services()],
            ok = hornbeam_calls:fail_all(S),
            ?assertEqual([killed, killed], [reason(M) || M <- Monitors])
        end}
    ].
