%% SPDX-License-Identifier: Apache-2.0
%% @doc How accepted WebSockets end, beyond what the shared vectors can say: deadlines, the death of
%% the worker, slots. No processes.
-module(hornbeam_websocket_exchanges_tests).

-include_lib("eunit/include/eunit.hrl").
-include("hornbeam_wire.hrl").

-define(FIELDS, {<<"/">>, <<>>, <<"1.1">>, #{}, <<>>, []}).

new() ->
    hornbeam_exchanges:new(#{timeout => 1000, response_window => 10, request_window => 10}).

offered(N, X0) ->
    Request = hornbeam_wire:websocket(?FIELDS),
    {{Id, _, Request}, X} = hornbeam_exchanges:open({self(), N}, Request, 0, X0),
    {Id, X}.

accepted(N, X0) ->
    {Id, X1} = offered(N, X0),
    {ok, Effects, X} = hornbeam_exchanges:handle({?ACCEPT, Id, undefined, #{}}, 0, X1),
    ?assertEqual([released, {event, {self(), N}, Id, {accept, undefined, #{}}}], Effects),
    X.

two() -> accepted(b, accepted(a, new())).

%% The client of a stream that has heard nothing of its exchange: nothing may be left of it,
%% wherever it is.
a_client_leaves_unheard_test_() ->
    [{binary_to_list(Version), fun() ->
        Request = hornbeam_wire:websocket(setelement(3, ?FIELDS, Version)),
        To = {self(), a},
        {_, X0} = hornbeam_exchanges:open(To, Request, 0, new()),
        ?assertMatch({[{?CANCEL, 1, <<"client_gone">>}], _}, hornbeam_exchanges:leave(To, 0, X0)),
        {ok, _, X1} = hornbeam_exchanges:handle({?ACCEPT, 1, undefined, #{}}, 0, X0),
        ?assertMatch({[], _}, hornbeam_exchanges:leave({spawn(fun() -> ok end), a}, 0, X1)),
        {[{?CLOSE, 1, 1006, <<>>}], X} = hornbeam_exchanges:leave(To, 0, X1),
        ?assertEqual(0, hornbeam_exchanges:websockets(X)),
        ?assertEqual({[], X}, hornbeam_exchanges:leave(To, 0, X))
    end} || Version <- [<<"1.1">>, <<"2">>]].

%% Cowboy passes nothing to the streams of an HTTP/1.1 connection that is taken over.
who_hears_of_an_accepted_socket_test_() ->
    [{binary_to_list(Version), fun() ->
        Request = hornbeam_wire:websocket(setelement(3, ?FIELDS, Version)),
        {_, X0} = hornbeam_exchanges:open({self(), a}, Request, 0, new()),
        {ok, _, X} = hornbeam_exchanges:handle({?ACCEPT, 1, undefined, #{}}, 0, X0),
        ?assertMatch({ok, [{event, Hearer, 1, {text, <<"t">>}}], _},
            hornbeam_exchanges:handle({?TEXT, 1, <<"t">>}, 0, X))
    end} || {Version, Hearer} <- [{<<"1.1">>, self()}, {<<"2">>, {self(), a}}]].

%% An accepted socket is open for as long as its client likes, and holds no slot.
accepted_sockets_have_no_deadline_test() ->
    X = two(),
    ?assertEqual({2, 0, 2}, counts(X)),
    ?assertMatch({[], [], [], _}, hornbeam_exchanges:overdue(1000000, X)).

counts(X) ->
    {hornbeam_exchanges:count(X), hornbeam_exchanges:running(X), hornbeam_exchanges:websockets(X)}.

%% A handshake that is not answered in time is like any request.
a_handshake_has_a_deadline_test() ->
    {1, X} = offered(a, new()),
    {Effects, Messages, [], X1} = hornbeam_exchanges:overdue(1000, X),
    ?assertEqual([{event, {self(), a}, 1, {failed, timeout}}], Effects),
    ?assertEqual([{?CANCEL, 1, <<"timeout">>}], Messages),
    ?assertMatch({[], [], [1], _}, hornbeam_exchanges:overdue(2000, X1)).

%% Whoever closed it, the application has a timeout to return, then a second to obey.
a_closed_socket_has_a_deadline_test_() ->
    [{Who, fun() -> lets_go_late(Close) end} || {Who, Close} <- [
        {"the node", fun(X) -> element(2, hornbeam_exchanges:close(1, 1006, <<>>, 500, X)) end},
        {"the worker", fun(X) ->
            {ok, [_], Next} = hornbeam_exchanges:handle({?CLOSE, 1, 1000, <<>>}, 500, X),
            Next
        end}
    ]].

lets_go_late(Close) ->
    X = Close(two()),
    ?assertEqual({2, 0, 1}, counts(X)),
    ?assertMatch({[], [], [], _}, hornbeam_exchanges:overdue(1499, X)),
    {[], [{?CANCEL, 1, <<"timeout">>}], [], X1} = hornbeam_exchanges:overdue(1500, X),
    ?assertMatch({[], [], [], _}, hornbeam_exchanges:overdue(2499, X1)),
    ?assertMatch({[], [], [1], _}, hornbeam_exchanges:overdue(2500, X1)),
    {ok, [], X2} = hornbeam_exchanges:handle({?ABORT, 1, <<"cancelled">>, <<>>}, 2500, X1),
    ?assertEqual({1, 0, 1}, counts(X2)).

%% Where requests have no limit a socket that is closed has one all the same; but nothing counts as
%% stuck, for which the worker would be killed.
without_a_limit_test() ->
    Limits = #{timeout => infinity, response_window => 10, request_window => 10},
    X0 = accepted(a, hornbeam_exchanges:new(Limits)),
    {[{?CLOSE, 1, 1001, <<>>}], X} = hornbeam_exchanges:close(1, 1001, <<>>, 500, X0),
    ?assertMatch({[], [], [], _}, hornbeam_exchanges:overdue(30499, X)),
    {[], [{?CANCEL, 1, <<"timeout">>}], [], X1} = hornbeam_exchanges:overdue(30500, X),
    ?assertMatch({[], [], [], _}, hornbeam_exchanges:overdue(30500 * 1000, X1)),
    {ok, [], X2} = hornbeam_exchanges:handle({?ABORT, 1, <<"cancelled">>, <<>>}, 30600, X1),
    ?assertEqual({0, 0, 0}, counts(X2)).

%% The client left while the application accepted: its slot is free, and it has a deadline.
cancel_that_crossed_accept_test() ->
    {1, X0} = offered(a, new()),
    {[{?CANCEL, 1, _}], X1} = hornbeam_exchanges:cancel(1, <<"client_gone">>, 0, X0),
    {ok, [released], X} = hornbeam_exchanges:handle({?ACCEPT, 1, undefined, #{}}, 0, X1),
    ?assertEqual({1, 0, 0}, counts(X)),
    ?assertMatch({[], [], [1], _}, hornbeam_exchanges:overdue(1000, X)).

a_dead_worker_leaves_no_socket_test() ->
    {ok, [_], X} = hornbeam_exchanges:handle({?CLOSE, 2, 1000, <<>>}, 0, two()),
    {Effects, Empty} = hornbeam_exchanges:fail_all(2, X),
    ?assertEqual([{event, self(), 1, {failed, worker_gone}}], Effects),
    ?assertEqual({0, 0, 0}, counts(Empty)).

%% A worker that is about to end gives up its sockets, and no others are told.
sockets_are_closed_together_test() ->
    {ok, [_], X0} = hornbeam_exchanges:handle({?CLOSE, 2, 1000, <<>>}, 0, two()),
    {Effects, Messages, X} = hornbeam_exchanges:close_websockets(1012, <<"bye">>, 0, X0),
    ?assertEqual([{event, self(), 1, {close, 1012, <<"bye">>}}], Effects),
    ?assertEqual([{?CLOSE, 1, 1012, <<"bye">>}], Messages),
    ?assertEqual({2, 0, 0}, counts(X)).

%% What has been accepted was seen by the application: no other worker gets it.
accepted_sockets_are_not_given_away_test() ->
    {3, X} = offered(c, two()),
    {[{requeue, {_, c}, Request}, released], X1} = hornbeam_exchanges:give_away(2, X),
    ?assert(hornbeam_wire:is_websocket(Request)),
    ?assertEqual({2, 0, 2}, counts(X1)).

events_carry_what_the_worker_sent_test_() ->
    Table = [
        {{?TEXT, 1, <<"t">>}, {text, <<"t">>}}, {{?BINARY, 1, <<0>>}, {binary, <<0>>}},
        {{?BODY_CREDIT, 1, 7}, {credit, 7}}, {{?CLOSE, 1, 3000, <<"r">>}, {close, 3000, <<"r">>}},
        {{?END, 1, #{}}, {close, 1000, <<>>}},
        {{?ABORT, 1, <<"app_error">>, <<"t">>}, {abort, <<"app_error">>, <<"t">>}}
    ],
    [?_assertMatch({ok, [{event, _, 1, Event}], _}, hornbeam_exchanges:handle(M, 0, two()))
     || {M, Event} <- Table].

informs_and_pushes_are_events_test_() ->
    Request = hornbeam_wire:request({<<"GET">>, <<"/">>, <<>>, <<"1.1">>, #{}, <<>>, <<>>}),
    {_, X} = hornbeam_exchanges:open({self(), a}, Request, 0, new()),
    Link = #{<<"link">> => <<"</a>">>},
    Table = [
        {{?INFORM, 1, 103, Link}, {inform, 103, Link}},
        {{?PUSH, 1, <<"/a">>, #{}}, {push, <<"/a">>, #{}}}
    ],
    [?_assertMatch({ok, [{event, _, 1, Event}], _}, hornbeam_exchanges:handle(M, 0, X))
     || {M, Event} <- Table].
