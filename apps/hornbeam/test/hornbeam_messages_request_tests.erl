%% SPDX-License-Identifier: Apache-2.0
%% What requests of other people's clients mean, as they encode them.
-module(hornbeam_messages_request_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

parse(Name, Request) -> hornbeam_messages_request:parse(Name, Request).

texts_test_() ->
    [
        {"an operation may be an atom, a binary or a list of characters",
            ?_assertEqual(
                {ok, {service, <<"state.get">>, [<<"k">>], #{}}, 30000},
                parse(hornbeam_state, {Operation, [<<"k">>]})
            )}
     || Operation <- [get, <<"get">>, "get"]
    ].

requests_test_() ->
    [
        {"keywords are a map or pairs, a deadline goes around the request",
            ?_assertEqual(
                {ok, {service, <<"state.set">>, [k, 1], #{<<"ttl_ms">> => 5}}, 250},
                parse(hornbeam_state, {timeout, 250, {set, [k, 1], Keywords}})
            )}
     || Keywords <- [#{ttl_ms => 5}, [{"ttl_ms", 5}], #{<<"ttl_ms">> => 5}]
    ] ++ [
        {"requests and what they mean", ?_assertEqual({ok, Work, Timeout}, parse(Name, Request))}
     || {Name, Request, Work, Timeout} <- [
            {hornbeam_functions, {call, ["add", 1, 2]},
                {service, <<"call">>, [<<"add">>, [1, 2]], #{}}, 30000},
            {hornbeam_topics, {publish, ["news", {bytes, <<1>>}]},
                {service, <<"publish">>, [<<"news">>, {bytes, <<1>>}], #{}}, 30000},
            {hornbeam_topics, {subscribe, [news]},
                {topics, {subscribe, {topic, <<"news">>}, auto}}, 30000},
            {hornbeam_topics, {subscribe, [<<"n">>], #{prefix => true, credit => 10}},
                {topics, {subscribe, {prefix, <<"n">>}, 10}}, 30000},
            {hornbeam_topics, {unsubscribe, ["n"]}, {topics, {unsubscribe, {topic, <<"n">>}}},
                30000},
            {hornbeam_topics, {credit, ["n", 7]}, {topics, {credit, {topic, <<"n">>}, 7}}, 30000},
            {hornbeam_hooks, {execute, ["a/b", encode, <<"x">>, 2], [{"k", 1}]},
                {hook, execute, [<<"a/b">>, <<"encode">>, [<<"x">>, 2]],
                    #{keywords => #{<<"k">> => 1}, timeout => 30000}},
                infinity},
            {hornbeam_hooks, {timeout, 9, {await_result, ["id"]}},
                {hook, await_result, [<<"id">>], 9}, infinity},
            {hornbeam_hooks, {stream, ["p", "a"]},
                {stream, [<<"p">>, <<"a">>, []], #{keywords => #{}, timeout => 30000}}, infinity}
        ]
    ].

refused_test_() ->
    [
        {"what is no request is refused with a text that says so",
            ?_assertMatch({error, {<<"bad_term">>, #{reason := <<_, _/binary>>}}},
                parse(Name, Request))}
     || {Name, Request} <- [
            {hornbeam_state, get},
            {hornbeam_state, {get, <<"k">>}},
            {hornbeam_state, {get, [a | b]}},
            {hornbeam_state, {get, [a], 7}},
            {hornbeam_state, {get, [a], [x]}},
            {hornbeam_state, {get, [a], [{x, 1} | y]}},
            {hornbeam_state, {7, [a]}},
            {hornbeam_state, {[1114112], [a]}},
            {hornbeam_state, {<<255>>, [a]}},
            {hornbeam_state, {timeout, 0, {get, [k]}}},
            {hornbeam_state, {timeout, 4294967296, {get, [k]}}},
            {hornbeam_topics, {publish, [7, x]}},
            {hornbeam_topics, {publish, [binary:copy(<<"x">>, 1025), x]}},
            {hornbeam_topics, {subscribe, []}},
            {hornbeam_topics, {subscribe, [t], #{credit => -1}}},
            {hornbeam_topics, {subscribe, [t], #{credit => 65537}}},
            {hornbeam_topics, {credit, [t, 0]}},
            {hornbeam_functions, {call, []}},
            {hornbeam_functions, {call, [f], #{k => 1}}},
            {hornbeam_hooks, {execute, [p]}},
            {hornbeam_hooks, {fly, [p, a]}}
        ]
    ].

no_atoms_test() ->
    %% what is loaded by the first
    {error, _} = parse(hornbeam_hooks, {"fly", [p, a]}),
    Before = erlang:system_info(atom_count),
    [
        {error, _} = parse(hornbeam_hooks, {integer_to_list(N) ++ "-op", [p, a]})
     || N <- lists:seq(1, 1000)
    ],
    ?assertEqual(Before, erlang:system_info(atom_count)).

any_request_test_() ->
    ?PROPERTY(prop_any_request(), 500).

%% Whatever is sent is work or an error with a text, and never an exception.
prop_any_request() ->
    ?FORALL({Name, Request}, {elements(hornbeam_messages_request:names()), request()},
        case parse(Name, Request) of
            {ok, Work, Timeout} ->
                is_tuple(Work) andalso (Timeout =:= infinity orelse Timeout > 0);
            {error, {<<"bad_term">>, #{reason := Text}}} ->
                is_binary(Text) andalso unicode:characters_to_binary(Text) =:= Text
        end).

request() ->
    Operation = oneof([
        elements([get, <<"set">>, "subscribe", credit, execute, stream, await_result, call]), any()
    ]),
    Arguments = oneof([list(any()), any(), [any() | any()]]),
    Keywords = oneof([list({elements([prefix, "credit", <<"ttl_ms">>]), any()}), any()]),
    frequency([
        {4, {Operation, Arguments}},
        {4, {Operation, Arguments, Keywords}},
        {1, {timeout, any(), {Operation, Arguments}}},
        {1, any()}
    ]).
