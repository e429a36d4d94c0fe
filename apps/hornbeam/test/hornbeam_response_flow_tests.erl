%% SPDX-License-Identifier: Apache-2.0
-module(hornbeam_response_flow_tests).

-include_lib("eunit/include/eunit.hrl").

-define(TO, {self(), 1}).

tell(Id, Event) -> self() ! {?TO, {hornbeam, self(), Id, Event}}.

gather(Id, First) -> hornbeam_response_flow:gather(?TO, self(), Id, First).

mailbox() ->
    receive
        Message -> [Message | mailbox()]
    after 0 -> []
    end.

%% Pieces that have come together are one, in their order, up to the first event that is none.
gather_test() ->
    lists:foreach(
        fun({Events, Expected, Next}) ->
            [tell(7, Event) || Event <- Events],
            {Data, Found} = gather(7, <<"a">>),
            ?assertEqual({Expected, Next}, {iolist_to_binary(Data), Found}),
            Left = length(Events) - (byte_size(Expected) - 1) - length([1 || Next =/= none]),
            ?assertEqual(Left, length(mailbox()))
        end,
        [
            {[], <<"a">>, none},
            {[{data, <<"b">>}, {data, <<"c">>}], <<"abc">>, none},
            {[{fin, #{}}], <<"a">>, {event, {fin, #{}}}},
            {[{data, <<"b">>}, {file, <<"/f">>, 0, 1}, {data, <<"c">>}], <<"ab">>,
                {event, {file, <<"/f">>, 0, 1}}}
        ]
    ).

%% A failure behind a piece comes by the door: request hooks look at what comes by it.
gather_leaves_failures_test() ->
    lists:foreach(
        fun(Failure) ->
            [tell(7, Event) || Event <- [{data, <<"b">>}, Failure]],
            {Data, none} = gather(7, <<"a">>),
            ?assertEqual(<<"ab">>, iolist_to_binary(Data)),
            ?assertEqual([{?TO, {hornbeam, self(), 7, Failure}}], mailbox())
        end,
        [{abort, <<"E">>, <<"text">>}, {failed, timeout}, {failed, worker_gone}]
    ).

%% What is for another exchange, another stream or the connection stays where it is.
gather_leaves_the_rest_test() ->
    Others = [
        {?TO, {hornbeam, self(), 8, {data, <<"x">>}}},
        {{self(), 2}, {hornbeam, self(), 7, {data, <<"x">>}}},
        {?TO, sent}
    ],
    [self() ! Other || Other <- Others],
    tell(7, {data, <<"b">>}),
    {Data, none} = gather(7, <<"a">>),
    ?assertEqual(<<"ab">>, iolist_to_binary(Data)),
    ?assertEqual(Others, mailbox()).

%% A worker is granted again in quarters of the window, when what it sent has left.
credit_test() ->
    Flow0 = hornbeam_response_flow:new(100),
    Flow1 = hornbeam_response_flow:owe(24, ?TO, Flow0),
    ?assertEqual([], mailbox()),
    Flow2 = hornbeam_response_flow:owe(1, ?TO, Flow1),
    Flow3 = hornbeam_response_flow:owe(50, ?TO, Flow2),
    ?assertEqual([{?TO, sent}], mailbox()),
    {75, Flow4} = hornbeam_response_flow:sent(Flow3),
    ?assertEqual({0, Flow4}, hornbeam_response_flow:sent(Flow4)).

%% Nothing is granted while one of Cowboy's buffers is full; all of it when the last one is not.
alarm_test() ->
    {0, Flow1} = hornbeam_response_flow:alarm(a, on, hornbeam_response_flow:new(100)),
    {0, Flow2} = hornbeam_response_flow:alarm(b, on, Flow1),
    Flow3 = hornbeam_response_flow:owe(60, ?TO, Flow2),
    {0, Flow4} = hornbeam_response_flow:sent(Flow3),
    {0, Flow5} = hornbeam_response_flow:alarm(a, off, Flow4),
    ?assertMatch({60, _}, hornbeam_response_flow:alarm(b, off, Flow5)),
    ?assertEqual([{?TO, sent}], mailbox()).

%% An alarm that ends while a message to ourselves is under way leaves the granting to that.
alarm_ends_before_sent_test() ->
    {0, Flow1} = hornbeam_response_flow:alarm(a, on, hornbeam_response_flow:new(100)),
    Flow2 = hornbeam_response_flow:owe(60, ?TO, Flow1),
    {0, Flow3} = hornbeam_response_flow:alarm(a, off, Flow2),
    ?assertMatch({60, _}, hornbeam_response_flow:sent(Flow3)),
    ?assertEqual([{?TO, sent}], mailbox()).

%% A stream that ends leaves no message to itself behind.
forget_test() ->
    Flow0 = hornbeam_response_flow:new(100),
    ok = hornbeam_response_flow:forget(?TO, Flow0),
    Flow1 = hornbeam_response_flow:owe(100, ?TO, Flow0),
    ok = hornbeam_response_flow:forget(?TO, Flow1),
    ?assertEqual([], mailbox()).
