%% SPDX-License-Identifier: Apache-2.0
%% @doc Registered functions: names, arguments, outcomes. The table belongs to the test.
-module(hornbeam_functions_tests).

-include_lib("eunit/include/eunit.hrl").

-export([sum/2]).

functions_test_() ->
    {foreach, fun start/0, fun stop/1, [{Name, {timeout, 60, Test}} || {Name, Test} <- cases()]}.

start() ->
    {ok, Pid} = hornbeam_tables:start_link(),
    Pid.

stop(Pid) ->
    unlink(Pid),
    ok = gen_server:stop(Pid).

sum(A, B) -> A + B.

cases() ->
    [
        {"a name is the same as atom, text and binary", fun() ->
            [
                begin
                    ok = hornbeam_functions:register(Name, fun(_) -> Name end),
                    ?assertEqual({ok, Name}, hornbeam_functions:run(<<"add">>, []))
                end
             || Name <- [add, "add", <<"add">>]
            ]
        end},
        {"names beyond ASCII", fun() ->
            ok = hornbeam_functions:register("größe", fun(_) -> 1 end),
            ?assertEqual({ok, 1}, hornbeam_functions:run(<<"größe"/utf8>>, []))
        end},
        {"a fun gets the list, a module function its elements", fun() ->
            ok = hornbeam_functions:register(list, fun(List) -> List end),
            ok = hornbeam_functions:register(sum, ?MODULE, sum),
            ?assertEqual({ok, [1, 2]}, hornbeam_functions:run(<<"list">>, [1, 2])),
            ?assertEqual({ok, 3}, hornbeam_functions:run(<<"sum">>, [1, 2])),
            ?assertError(undef, hornbeam_functions:run(<<"sum">>, [1, 2, 3]))
        end},
        {"outcomes", fun() ->
            Table = [
                {{ok, 1}, {ok, 1}}, {{error, why}, {error, why}}, {ok, {ok, ok}},
                    {error, {ok, error}},
                {{ok, 1, 2}, {ok, {ok, 1, 2}}}, {undefined, {ok, undefined}}
            ],
            [
                begin
                    ok = hornbeam_functions:register(f, fun(_) -> Returned end),
                    ?assertEqual(Outcome, hornbeam_functions:run(<<"f">>, []))
                end
             || {Returned, Outcome} <- Table
            ]
        end},
        {"what nobody registered, whatever the name", fun() ->
            [
                ?assertEqual({not_registered, Name}, hornbeam_functions:run(Name, []))
             || Name <- [<<"no">>, no, 1, {bytes, <<"no">>}, [], #{}]
            ]
        end},
        {"unregistered twice is as once", fun() ->
            ok = hornbeam_functions:register(f, fun(_) -> 1 end),
            ok = hornbeam_functions:unregister("f"),
            ok = hornbeam_functions:unregister(f),
            ?assertEqual({not_registered, <<"f">>}, hornbeam_functions:run(<<"f">>, []))
        end},
        {"a fun of another arity is refused where it is registered", fun() ->
            ?assertError({bad_function, f, _}, hornbeam_functions:register(f, fun() -> 1 end)),
            ?assertError({bad_function, f, _},
                hornbeam_functions:register(f, fun(A, B) -> {A, B} end)),
            ?assertError({bad_function, f, _}, hornbeam_functions:register(f, not_a_fun))
        end}
    ].
