%% SPDX-License-Identifier: Apache-2.0
%% @doc The state machine of exchanges as tables: what comes in, what goes out. No processes.
-module(hornbeam_exchanges_tests).

-include_lib("eunit/include/eunit.hrl").
-include("hornbeam_wire.hrl").

-define(TO(N), {self(), N}).
-define(REQUEST, hornbeam_wire:request({<<"GET">>, <<"/">>, <<>>, <<"1.1">>, #{}, <<>>, <<>>})).

new() ->
    hornbeam_exchanges:new(#{
        timeout => 1000, response_window => 10, request_window => 10
    }).

%% N exchanges, opened at time 0.
opened(N) ->
    lists:foldl(
        fun(I, X) -> element(2, hornbeam_exchanges:open(?TO(I), ?REQUEST, 0, X)) end,
        new(),
        lists:seq(1, N)
    ).

%% Messages in order; the effects of all of them in order, or the error.
play(Messages, X0) ->
    lists:foldl(
        fun
            (_, {error, _} = Error) ->
                Error;
            (Message, {Effects, X}) ->
                case hornbeam_exchanges:handle(Message, 0, X) of
                    {ok, More, X1} -> {Effects ++ lists:reverse(More), X1};
                    {error, {Name, _}} -> {error, Name}
                end
        end,
        {[], X0},
        Messages
    ).

effects(Messages, X) ->
    case play(Messages, X) of
        {error, _} = Error -> Error;
        {Effects, _} -> [short(E) || E <- Effects]
    end.

short({event, {_, N}, Id, Event}) -> {N, Id, Event};
short({requeue, {_, N}, _}) -> {requeue, N};
short(released) -> released.

answers_test_() ->
    H = #{},
    Table = [
        {"a whole answer closes the exchange", [{?RESPONSE, 1, 200, H, <<"hi">>}],
            [{1, 1, {response, 200, H, <<"hi">>}}, released]},
        {"a whole answer may fill the window", [{?RESPONSE, 1, 200, H, <<"0123456789">>}],
            [{1, 1, {response, 200, H, <<"0123456789">>}}, released]},
        {"a whole answer beyond the window is refused", [{?RESPONSE, 1, 200, H, <<"0123456789a">>}],
            {error, bad_state}},
        {"an answer in pieces", [{?HEAD, 1, 200, H}, {?DATA, 1, <<"a">>}, {?END, 1, #{}}],
            [{1, 1, {head, 200, H}}, {1, 1, {data, <<"a">>}}, {1, 1, {fin, #{}}}, released]},
        {"data beyond the credit is refused", [{?HEAD, 1, 200, H}, {?DATA, 1, <<"0123456789a">>}],
            {error, bad_state}},
        {"data needs a head", [{?DATA, 1, <<"a">>}], {error, bad_state}},
        {"a second head is refused", [{?HEAD, 1, 200, H}, {?HEAD, 1, 200, H}], {error, bad_state}},
        {"a whole answer after a head is refused",
            [{?HEAD, 1, 200, H}, {?RESPONSE, 1, 200, H, <<>>}], {error, bad_state}},
        {"nothing follows the end", [{?RESPONSE, 1, 200, H, <<>>}, {?HEAD, 1, 200, H}],
            {error, bad_state}},
        {"an id that was never opened is refused", [{?HEAD, 9, 200, H}], {error, bad_state}},
        {"the worker aborts before the head", [{?ABORT, 1, <<"app_error">>, <<"t">>}],
            [{1, 1, {abort, <<"app_error">>, <<"t">>}}, released]},
        {"exchanges are independent",
            [{?HEAD, 2, 200, H}, {?RESPONSE, 1, 404, H, <<>>}, {?END, 2, #{}}],
            [{2, 2, {head, 200, H}}, {1, 1, {response, 404, H, <<>>}}, released,
                {2, 2, {fin, #{}}}, released]},
        {"what was not started is handed back", [{?RETURN, [1, 2]}],
            [{requeue, 1}, released, {requeue, 2}, released]},
        {"what has answered cannot be handed back", [{?HEAD, 1, 200, H}, {?RETURN, [1]}],
            {error, bad_state}},
        {"a file costs no credit", [{?HEAD, 1, 200, H}, {?SEND_FILE, 1, <<"/f">>, 0, 1 bsl 40}],
            [{1, 1, {head, 200, H}}, {1, 1, {file, <<"/f">>, 0, 1 bsl 40}}]}
    ],
    [
        {Name, ?_assertEqual(Expected, effects(Messages, opened(2)))}
     || {Name, Messages, Expected} <- Table
    ].

credit_moves_the_window_test() ->
    {_, X1} = play([{?HEAD, 1, 200, #{}}, {?DATA, 1, <<"0123456789">>}], opened(1)),
    ?assertEqual({error, bad_state}, effects([{?DATA, 1, <<"a">>}], X1)),
    {[{?CREDIT, 1, 4}], X2} = hornbeam_exchanges:credit(1, 4, 0, X1),
    ?assertEqual([{1, 1, {data, <<"abcd">>}}], effects([{?DATA, 1, <<"abcd">>}], X2)),
    ?assertEqual({error, bad_state}, effects([{?DATA, 1, <<"abcde">>}], X2)).

a_cancelled_exchange_keeps_its_slot_until_the_worker_lets_go_test() ->
    {[{?CANCEL, 1, <<"client_gone">>}], X} =
        hornbeam_exchanges:cancel(1, <<"client_gone">>, 0, opened(1)),
    ?assertEqual(1, hornbeam_exchanges:count(X)),
    ?assertEqual([], effects([{?HEAD, 1, 200, #{}}, {?DATA, 1, <<"a">>}], X)),
    ?assertEqual([released], effects([{?END, 1, #{}}], X)),
    ?assertEqual([released], effects([{?ABORT, 1, <<"cancelled">>, <<>>}], X)),
    ?assertEqual([released], effects([{?RESPONSE, 1, 200, #{}, <<>>}], X)),
    ?assertEqual([released], effects([{?RETURN, [1]}], X)),
    ?assertEqual({[], X}, hornbeam_exchanges:cancel(1, <<"again">>, 0, X)).

no_progress_is_a_timeout_then_stuck_test() ->
    X0 = opened(2),
    ?assertMatch({[], [], [], _}, hornbeam_exchanges:overdue(999, X0)),
    {ok, _, X1} = hornbeam_exchanges:handle({?HEAD, 2, 200, #{}}, 500, X0),
    {Effects, Messages, [], X2} = hornbeam_exchanges:overdue(1000, X1),
    ?assertMatch([{event, _, 1, {failed, timeout}}], Effects),
    ?assertEqual([{?CANCEL, 1, <<"timeout">>}], Messages),
    ?assertMatch({[_], [_], [1], _}, hornbeam_exchanges:overdue(2000, X2)).

a_stream_may_be_quiet_where_nothing_is_held_by_it_test() ->
    Config = #{timeout => 1000, response_window => 10, request_window => 10},
    New = hornbeam_exchanges:new(Config#{stream_timeout => infinity}),
    {_, X0} = hornbeam_exchanges:open(?TO(1), ?REQUEST, 0, New),
    ?assertMatch({[_], _, _, _}, hornbeam_exchanges:overdue(1000, X0)),
    {ok, _, X1} = hornbeam_exchanges:handle({?HEAD, 1, 200, #{}}, 500, X0),
    ?assertMatch({[], [], [], _}, hornbeam_exchanges:overdue(1000000, X1)),
    {[_], X2} = hornbeam_exchanges:cancel(1, <<"client_gone">>, 500, X1),
    ?assertMatch({[], [], [1], _}, hornbeam_exchanges:overdue(1500, X2)).

a_dead_worker_fails_what_it_started_and_gives_up_the_rest_test() ->
    {_, X} = play([{?HEAD, 1, 200, #{}}], opened(4)),
    {Effects, Empty} = hornbeam_exchanges:fail_all(2, X),
    ?assertEqual(
        [{requeue, 3}, released, {requeue, 4}, released,
            {1, 1, {failed, worker_gone}}, released, {2, 2, {failed, worker_gone}}, released],
        [short(E) || E <- Effects]
    ),
    ?assertEqual(0, hornbeam_exchanges:count(Empty)).

a_stalled_worker_gives_away_and_hands_back_later_test() ->
    {Effects, X} = hornbeam_exchanges:give_away(1, opened(3)),
    ?assertEqual([{requeue, 2}, released, {requeue, 3}, released], [short(E) || E <- Effects]),
    ?assertEqual(2, hornbeam_exchanges:given(X)),
    {[], X1} = play([{?RETURN, [2, 3]}], X),
    ?assertEqual(0, hornbeam_exchanges:given(X1)),
    ?assertEqual([{1, 1, {response, 200, #{}, <<>>}}, released],
        effects([{?RESPONSE, 1, 200, #{}, <<>>}], X1)).

started_messages_do_what_a_ledger_does_test() ->
    {[], X} = play([{?STARTED, 2}], opened(3)),
    {Effects, _} = hornbeam_exchanges:fail_all(0, X),
    ?assertMatch([{requeue, 3}, released, {1, 1, _}, released, {2, 2, _}, released],
        [short(E) || E <- Effects]).

bodies_go_out_until_the_exchange_closes_test() ->
    {ok, _, X} = hornbeam_exchanges:handle({?BODY_CREDIT, 1, 5}, 0, opened(1)),
    {[{?BODY, 1, false, <<"abc">>}], X1} = hornbeam_exchanges:body(1, false, <<"abc">>, 0, X),
    {_, X2} = play([{?RESPONSE, 1, 200, #{}, <<>>}], X1),
    ?assertEqual({[], X2}, hornbeam_exchanges:body(1, true, <<"d">>, 0, X2)).

opens_are_one_packet_of_whole_messages_test_() ->
    Body = {<<"b">>, undefined},
    Fields = {<<"GET">>, <<"/">>, <<"q">>, <<"1.1">>, #{<<"host">> => <<"x">>}, <<"c">>, Body},
    Request = hornbeam_wire:request(Fields),
    [
        ?_assertEqual(
            [list_to_tuple([?OPEN, Id, Timeout | tuple_to_list(Fields)]) || {Id, Timeout} <- Opens],
            binary_to_term(
                iolist_to_binary(hornbeam_wire:encode_opens([{I, T, Request} || {I, T} <- Opens]))
            )
        )
     || Opens <- [[{1, 0}], [{1, 30000}, {2, 5}], [{1 bsl 40, 1}, {16#7fffffff, 16#ffffffff}]]
    ].
