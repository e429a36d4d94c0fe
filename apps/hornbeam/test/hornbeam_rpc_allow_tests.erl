%% SPDX-License-Identifier: Apache-2.0
%% @doc The option `rpc_allow': which values are rules, and what rules allow.
-module(hornbeam_rpc_allow_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

%% Rules; node, module, function; whether the call is allowed, and whether the node is.
table() ->
    [
        {all, {'a@b', erlang, halt}, true, true},
        {none, {'a@b', lists, reverse}, false, false},
        {[], {'a@b', lists, reverse}, false, false},
        {[lists], {<<"a@b">>, <<"lists">>, <<"reverse">>}, true, true},
        {[lists], {<<"a@b">>, <<"lists2">>, <<"reverse">>}, false, true},
        {["lists"], {'a@b', lists, reverse}, true, true},
        {[{lists, reverse}], {'a@b', lists, sort}, false, true},
        {[{lists, "re*"}], {'a@b', lists, reverse}, true, true},
        {[{lists, "*e"}], {'a@b', lists, reverse}, true, true},
        {[{lists, "r*v*e"}], {'a@b', lists, reverse}, true, true},
        {[{lists, "r*v*x*e"}], {'a@b', lists, reverse}, false, true},
        {[{lists, "reverse*e"}], {'a@b', lists, reverse}, false, true},
        {[{"ml_*", predict, <<"*@gpu-1">>}], {<<"w@gpu-1">>, <<"ml_a">>, <<"predict">>}, true,
            true},
        {[{"ml_*", predict, <<"*@gpu-1">>}], {<<"w@gpu-12">>, <<"ml_a">>, <<"predict">>}, false,
            false},
        {[{"ml_*", predict, <<"*@gpu-1">>}, {lists, reverse, "a@b"}], {'a@b', lists, reverse},
            true, true},
        {[{'*', '*', "a@b"}], {'a@b', erlang, node}, true, true},
        {[{'*', '*', "a@b"}], {'c@b', erlang, node}, false, false},
        {["*"], {7, {x}, <<255>>}, true, true},
        {[lists], {'a@b', [lists], x}, false, true}
    ].

table_test_() ->
    [{lists:flatten(io_lib:format("~0p ~0p", [Rules, Call])), fun() ->
        {ok, Allowed} = hornbeam_rpc_allow:check(Rules),
        ok = hornbeam_rpc_allow:set(Allowed),
        {Node, Module, Function} = Call,
        ?assertEqual(Expected, hornbeam_rpc_allow:is_call_allowed(Node, Module, Function)),
        ?assertEqual(ExpectedNode, hornbeam_rpc_allow:is_node_allowed(Node)),
        ok = hornbeam_rpc_allow:set(all)
    end} || {Rules, Call, Expected, ExpectedNode} <- table()].

no_rules_test_() ->
    [
        ?_assertEqual({Value, error}, {Value, hornbeam_rpc_allow:check(Value)})
     || Value <- [
            lists, "lists", <<"lists">>, true, #{}, [{lists}], [{lists, sort, 'a@b', x}], [""],
            [<<>>], [7], [<<255>>], [lists | sets], [{lists, 1}], [[lists, sets]]
        ]
    ].

refusals_name_the_option_test_() ->
    [
        ?_assertNotEqual(nomatch, binary:match(Text, <<"rpc_allow">>))
     || Text <- [
            hornbeam_rpc_allow:refusal(<<"a@b">>, <<255, 254>>, {x}),
            hornbeam_rpc_allow:refusal(long())
        ]
    ].

refusals_are_short_test() ->
    ?assert(byte_size(hornbeam_rpc_allow:refusal(long(), long(), [long()])) < 1200).

long() -> binary:copy(<<"x">>, 100000).

stars_test_() -> ?PROPERTY(prop_stars()).

%% A pattern fits what a regular expression with `.*' for its stars fits.
prop_stars() ->
    ?FORALL({Pattern, Name}, {non_empty(list(oneof("ab*"))), list(oneof("ab"))},
        begin
            Expression = ["^", [case C of $* -> ".*"; _ -> C end || C <- Pattern], "$"],
            {ok, Allowed} = hornbeam_rpc_allow:check([Pattern, "never"]),
            ok = hornbeam_rpc_allow:set(Allowed),
            Fits = hornbeam_rpc_allow:is_call_allowed('a@b', list_to_binary(Name), f),
            ok = hornbeam_rpc_allow:set(all),
            Fits =:= (match =:= re:run(Name, Expression, [{capture, none}]))
        end).
