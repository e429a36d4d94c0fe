%% SPDX-License-Identifier: Apache-2.0
%% Values between Erlang code written for ErlPort and our workers.
-module(hornbeam_erlport_terms_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

-import(hornbeam_erlport_terms, [to_python/2, from_python/2, result/2]).

to_python_test_() ->
    [
        {"as ErlPort has it, a binary is bytes", ?_assertEqual({ok, Out}, to_python(Term, erlport))}
     || {Term, Out} <- [
            {<<"a">>, {bytes, <<"a">>}},
            {[<<"a">>, {<<"b">>, 1.5}], [{bytes, <<"a">>}, {{bytes, <<"b">>}, 1.5}]},
            {[a | <<"b">>], [a | {bytes, <<"b">>}]},
            {#{<<"k">> => [x]}, #{{bytes, <<"k">>} => [x]}},
            {{bytes, <<"a">>}, {bytes, {bytes, <<"a">>}}},
            {self(), self()},
            {{'$erlport.opaque', erlang, <<97, 7>>}, 7}
        ]
    ] ++ [
        {"otherwise it stays what it is",
            ?_assertEqual({ok, {<<"a">>, [<<"b">>]}}, to_python({<<"a">>, [<<"b">>]}, hornbeam))}
    ].

refused_test_() ->
    [
        {"an opaque object that cannot be read is refused wherever it is",
            ?_assertMatch({error, {opaque, Language, <<_, _/binary>>}}, to_python(Term, Values))}
     || Values <- [erlport, hornbeam],
        {Language, Term} <- [
            {python, [{1, {'$erlport.opaque', python, <<128, 4>>}}]},
            {ruby, #{k => {'$erlport.opaque', ruby, <<>>}}},
            {erlang, {'$erlport.opaque', erlang, <<"no term">>}},
            {erlang, {'$erlport.opaque', erlang, <<119, 20, "no_atom_yet_erlport_">>}}
        ]
    ].

from_python_test_() ->
    [
        {"str is a list of characters, bytes are a binary",
            ?_assertEqual(Out, from_python(Term, erlport))}
     || {Term, Out} <- [
            {<<"ж"/utf8>>, [1078]},
            {{bytes, <<255>>}, <<255>>},
            {[<<"a">>, {{bytes, <<"b">>}, undefined}], ["a", {<<"b">>, undefined}]},
            {#{<<"k">> => 1}, #{"k" => 1}},
            {{ndarray, <<"f4">>, {1}, <<0, 0, 0, 0>>}, {ndarray, <<"f4">>, {1}, <<0, 0, 0, 0>>}},
            {<<255>>, <<255>>}
        ]
    ] ++ [
        {"with values of hornbeam nothing changes",
            ?_assertEqual({<<"a">>, {bytes, <<1>>}},
                from_python({<<"a">>, {bytes, <<1>>}}, hornbeam))}
    ].

results_test_() ->
    [
        {"results and failures as callers know them", ?_assertEqual(Out, result(In, erlport))}
     || {In, Out} <- [
            {{ok, {<<"r">>, <<"x">>}}, {ok, "x"}},
            {{ok, {<<"e">>, <<"error">>, <<"t">>, [{<<"f">>, 1, <<"n">>, <<>>}]}},
                {error, {python, error, "t", [{"f", 1, "n", []}]}}},
            {{ok, {<<"e">>, <<"no.such_atom_erlport">>, <<>>, []}},
                {error, {python, <<"no.such_atom_erlport">>, [], []}}},
            {{error, node_down}, {error, {port_closed, worker_ended}}},
            {{error, timeout}, {error, timeout}},
            {{error, {<<"timeout">>, #{}}}, {error, timeout}},
            {{error, too_large}, {error, too_large}},
            {{error, {<<"bad_term">>, #{<<"reason">> => <<"why">>}}},
                {error, {python, bad_term, "why", []}}},
            {{error, {<<"handler_error">>, #{<<"type">> => <<"exit">>, <<"message">> => <<"3">>}}},
                {error, {python, exit, "3", []}}}
        ]
    ].

round_trip_test() ->
    Term = {a, [<<"b">>, [1, 2.5 | c]], #{<<"k">> => {bytes, <<"v">>}}, [], <<>>, 1 bsl 90},
    {ok, Out} = to_python(Term, erlport),
    ?assertEqual(Term, from_python(Out, erlport)).

any_term_test_() ->
    ?PROPERTY(prop_round_trip(), 500).

%% Python that returns what it was given returns the same term.
prop_round_trip() ->
    ?FORALL(Term, any(), begin
        {ok, Out} = to_python(Term, erlport),
        from_python(Out, erlport) =:= Term
    end).
