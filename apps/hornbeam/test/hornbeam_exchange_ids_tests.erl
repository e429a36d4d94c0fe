%% SPDX-License-Identifier: Apache-2.0
%% @doc Ids of exchanges and what may be said about them, beyond what the shared vectors can say:
%% from one process of a worker to the next, after CANCEL, and by our own streams. No processes.
-module(hornbeam_exchange_ids_tests).

-include_lib("eunit/include/eunit.hrl").
-include("hornbeam_wire.hrl").

new() -> hornbeam_exchanges:new(#{
        timeout => 1000, response_window => 10, request_window => 10
    }).

open(N, X0) ->
    Fields = {<<"PUT">>, <<"/">>, <<>>, <<"1.1">>, #{}, <<>>, {<<>>, undefined}},
    {{Id, _, _}, X} = hornbeam_exchanges:open({self(), N}, hornbeam_wire:request(Fields), 0, X0),
    {Id, X}.

handle(Message, X) ->
    case hornbeam_exchanges:handle(Message, 0, X) of
        {ok, Effects, Next} -> {Effects, Next};
        {error, {Name, _}} -> Name
    end.

%% A connection that is slow to hear of the death may still speak of its exchange.
ids_go_on_after_the_death_of_a_process_test() ->
    {1, X1} = open(a, new()),
    {_, Dead} = hornbeam_exchanges:fail_all(1, X1),
    {2, X2} = open(b, Dead),
    ?assertEqual({[], X2}, hornbeam_exchanges:cancel(1, <<"client_gone">>, 0, X2)),
    ?assertEqual({[], X2}, hornbeam_exchanges:credit(1, 5, 0, X2)),
    ?assertEqual({[], X2}, hornbeam_exchanges:body(1, true, <<"late">>, 0, X2)).

started_is_about_what_was_opened_test() ->
    {1, X} = open(a, new()),
    ?assertEqual(bad_state, handle({?STARTED, 2}, X)),
    ?assertMatch({[], _}, handle({?STARTED, 1}, X)).

%% Else an application that goes on reading would never be called stuck.
credit_does_not_prolong_what_was_cancelled_test() ->
    {1, X1} = open(a, new()),
    {[_], X2} = hornbeam_exchanges:cancel(1, <<"client_gone">>, 0, X1),
    {ok, [], X3} = hornbeam_exchanges:handle({?BODY_CREDIT, 1, 5}, 900, X2),
    ?assertMatch({[], [], [1], _}, hornbeam_exchanges:overdue(1000, X3)).

bodies_of_our_streams_test_() ->
    {1, X0} = open(a, new()),
    {_, X} = handle({?BODY_CREDIT, 1, 5}, X0),
    Table = [
        {"as much as was granted", [{false, <<"ab">>}, {true, <<"cde">>}], ok},
        {"an end without bytes", [{false, <<"abcde">>}, {true, <<>>}], ok},
        {"more than was granted", [{false, <<"abcdef">>}], illegal},
        {"more than was left", [{false, <<"abcd">>}, {false, <<"ef">>}], illegal},
        {"after the end", [{true, <<"a">>}, {false, <<"b">>}], illegal},
        {"the end twice", [{true, <<"a">>}, {true, <<>>}], illegal}
    ],
    [{Name, ?_assertEqual(Expected, send(Bodies, X))} || {Name, Bodies, Expected} <- Table].

send([], _) ->
    ok;
send([{Fin, Data} | Rest], X) ->
    try hornbeam_exchanges:body(1, Fin, Data, 0, X) of
        {[{?BODY, 1, Fin, Data}], Next} -> send(Rest, Next)
    catch
        error:{illegal_body, 1, _} -> illegal
    end.

after_ready_test_() ->
    Table = [
        {{?BEAT}, ok}, {{?READY, #{}}, bad_state}, {{?FAILED, <<>>, <<>>}, bad_state},
        {{?HELLO, 1, 1, #{}}, bad_state}, {{?ERROR, <<"bad_state">>, <<"why">>}, worker_error}
    ],
    [?_assertEqual(Expected, outcome(handle(M, new()))) || {M, Expected} <- Table].

outcome({[], _}) -> ok;
outcome(Name) -> Name.
