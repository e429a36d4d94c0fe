%% SPDX-License-Identifier: Apache-2.0
%% @doc The shared state as workers ask for it: terms, results, what is refused. As calls of a
%% worker, so that what runs where is checked, too; this process is the worker process.
-module(hornbeam_state_service_tests).

-include_lib("eunit/include/eunit.hrl").
-include("hornbeam_wire.hrl").

service_test_() ->
    {foreach, fun start/0, fun stop/1, [{Name, {timeout, 60, Test}} || {Name, Test} <- cases()]}.

start() ->
    {ok, Pid} = hornbeam_tables:start_link(),
    Pid.

stop(Pid) ->
    unlink(Pid),
    ok = gen_server:stop(Pid).

ask(Service, Arguments) -> ask(Service, Arguments, #{}).

%% {inline | process, Answer}
ask(Service, Arguments, Keywords) ->
    {ok, Payload} = hornbeam_wire:encode_value([Arguments, Keywords]),
    Context = hornbeam_services:context(Service, [{self(), make_ref(), 1}], 0, 5000),
    case hornbeam_services:call(?CALL, Context, Payload) of
        {done, Answer} ->
            {inline, answer(Answer)};
        {running, _, _} ->
            receive
                {hornbeam_calls, {done, {_, 1}, Answer}} -> {process, answer(Answer)}
            after 30000 -> error(no_answer)
            end
    end.

answer({?RESULT, 1, Payload}) ->
    {ok, Value} = hornbeam_wire:decode_value(Payload),
    Value;
answer({?FAULT, 1, Name, Payload}) ->
    {ok, Details} = hornbeam_wire:decode_value(Payload),
    {fault, Name, Details}.

cases() ->
    [
        {"every operation on keys that are named runs in the worker process", fun() ->
            K = <<"k">>,
            Table = [
                {<<"state.get">>, [K], #{}, []},
                {<<"state.set">>, [K, <<"v">>], #{}, undefined},
                {<<"state.get">>, [K], #{}, [<<"v">>]},
                {<<"state.add">>, [K, 1], #{}, false},
                {<<"state.delete">>, [K], #{}, true},
                {<<"state.delete">>, [K], #{}, false},
                {<<"state.incr">>, [K, 5], #{<<"ttl_ms">> => 60000}, 5},
                {<<"state.cas">>, [K, 5, 6], #{}, true},
                {<<"state.update">>, [K, 5, 7], #{}, {false, 6}},
                {<<"state.update">>, [K, 6, 7], #{<<"ttl_ms">> => 60000}, {true, 7}},
                {<<"state.set_multi">>, [[{1, a}, {2, undefined}]], #{}, undefined},
                {<<"state.get_multi">>, [[2, 3, 1]], #{}, [[undefined], [], [a]]},
                {<<"state.delete_multi">>, [[1, 2, 3]], #{}, 2}
            ],
            [
                ?assertEqual({Service, {inline, Expected}}, {Service, ask(Service, A, Keywords)})
             || {Service, A, Keywords, Expected} <- Table
            ]
        end},
        {"what visits many keys runs in a process of its own", fun() ->
            {inline, _} = ask(<<"state.set_multi">>, [[{<<"a:1">>, 1}, {<<"a:2">>, 2}, {b, 3}]]),
            ?assertEqual({process, [<<"a:1">>, <<"a:2">>]}, ask(<<"state.keys">>, [<<"a:">>])),
            ?assertEqual({process, [b, <<"a:1">>, <<"a:2">>]}, ask(<<"state.keys">>, [undefined])),
            ?assertEqual({process, [{<<"a:1">>, 1}]}, ask(<<"state.scan">>, [<<"a">>, 1])),
            After = #{<<"after">> => <<"a:1">>},
            ?assertEqual({process, [{<<"a:2">>, 2}]}, ask(<<"state.scan">>, [<<"a">>, 1], After)),
            ?assertEqual({process, 2}, ask(<<"state.clear">>, [<<"a">>])),
            {inline, Info} = ask(<<"state.info">>, []),
            ?assertMatch(#{<<"entries">> := 1, <<"max_entries">> := 10000000}, Info)
        end},
        {"long arguments are not handled between two packets", fun() ->
            Long = binary:copy(<<"x">>, 20000),
            ?assertEqual({process, undefined}, ask(<<"state.set">>, [k, Long])),
            ?assertEqual({inline, [Long]}, ask(<<"state.get">>, [k]))
        end},
        {"a pipeline runs in order, each operation has its own outcome", fun() ->
            Operations = [
                {<<"set">>, [n, <<"text">>], #{}},
                {<<"incr">>, [n, 1], #{}},
                {<<"incr">>, [m, 2], #{}},
                {<<"nothing">>, [], #{}},
                {<<"keys">>, [<<>>], #{}},
                {<<"get">>, [k], #{}},
                {<<"set">>, [k, 1], #{<<"ttl_ms">> => 0}},
                no_operation
            ],
            ?assertMatch(
                {inline, [
                    [undefined], {<<"bad_term">>, #{reason := _}}, [2], {<<"bad_term">>, _},
                    {<<"bad_term">>, _}, [[]], {<<"bad_term">>, _}, {<<"bad_term">>, _}
                ]},
                ask(<<"state.pipeline">>, [Operations])
            ),
            ?assertEqual({inline, []}, ask(<<"state.pipeline">>, [[]]))
        end},
        {"arguments that are none are refused, and nothing is changed", fun() ->
            {inline, undefined} = ask(<<"state.set">>, [text, <<"v">>]),
            Table = [
                {<<"state.get">>, [], #{}},
                {<<"state.set">>, [k], #{}},
                {<<"state.incr">>, [k, 1.0], #{}},
                {<<"state.incr">>, [text, 1], #{}},
                {<<"state.get_multi">>, [k], #{}},
                {<<"state.keys">>, [1], #{}},
                {<<"state.keys">>, [{bytes, 1}], #{}},
                {<<"state.clear">>, [], #{}},
                {<<"state.scan">>, [<<>>, 0], #{}},
                {<<"state.pipeline">>, [k], #{}}
                | [
                    {<<"state.set">>, [k, 1], #{<<"ttl_ms">> => Ttl}}
                 || Ttl <- [0, -1, 1.5, <<"1">>, true, 1 bsl 70]
                ]
            ],
            [
                begin
                    {_, Answer} = ask(Service, Arguments, Keywords),
                    ?assertMatch({fault, <<"bad_term">>, #{reason := _}}, Answer, Service)
                end
             || {Service, Arguments, Keywords} <- Table
            ],
            ?assertEqual([text], hornbeam_state:keys())
        end},
        {"what does not fit is a fault that names the option", fun() ->
            ok = hornbeam_state_bounds:set_limits(#{
                state_max_entries => 1, state_max_bytes => infinity
            }),
            {inline, undefined} = ask(<<"state.set">>, [a, 1]),
            Fault = #{resource => <<"state_max_entries">>, limit => 1},
            ?assertEqual({inline, {fault, <<"overloaded">>, Fault}}, ask(<<"state.set">>, [b, 1])),
            Operations = [{<<"incr">>, [b, 1], #{}}, {<<"incr">>, [a, 1], #{}}],
            ?assertEqual(
                {inline, [{<<"overloaded">>, Fault}, [2]]}, ask(<<"state.pipeline">>, [Operations])
            ),
            {inline, Info} = ask(<<"state.info">>, []),
            ?assertMatch(#{<<"max_entries">> := 1, <<"max_bytes">> := undefined}, Info)
        end}
    ].
