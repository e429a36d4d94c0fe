%% SPDX-License-Identifier: Apache-2.0
%% @doc What programs of other machines ask for: the vectors, and whom an application takes.
%% Runs in: the EUnit process.
-module(hornbeam_attach_request_tests).

-include_lib("eunit/include/eunit.hrl").

-import(hornbeam_attach_request, [parse/2, is_welcome/2]).

%% Every entry of attach.json is taken, or refused by the name that it gives.
vectors_test_() ->
    From = {self(), make_ref()},
    [
        {maps:get(<<"name">>, Entry), fun() -> run(Entry, From) end}
     || Entry <- message_vectors:read("attach.json", 20)
    ].

run(#{<<"options">> := Notation} = Entry, From) ->
    case {Entry, parse(From, message_vectors:field(Notation))} of
        {#{<<"refused">> := Name}, Answer} ->
            ?assertMatch({refused, Name, <<_, _/binary>>}, Answer);
        {#{<<"kind">> := Kind, <<"labels">> := Labels}, {ok, {_, Session}}} ->
            ?assertMatch(#{from := From, labels := Labels}, Session),
            ?assertEqual(Kind, atom_to_binary(maps:get(kind, Session)))
    end.

%% An application takes whoever has all the labels that it wants, with these values.
labels_test_() ->
    Config = #{app => <<"a:b">>, remote_workers => 2, remote_labels => #{<<"gpu">> => <<"1">>}},
    [
        ?_assertEqual(ok, is_welcome(#{labels => #{<<"gpu">> => <<"1">>, <<"x">> => <<"y">>}},
            Config)),
        ?_assertMatch({refused, <<"labels">>, _}, is_welcome(#{labels => #{}}, Config)),
        ?_assertMatch({refused, <<"labels">>, _},
            is_welcome(#{labels => #{<<"gpu">> => <<"2">>}}, Config)),
        ?_assertEqual(ok, is_welcome(#{labels => #{}}, Config#{remote_labels := #{}})),
        ?_assertMatch({refused, <<"not_enabled">>, <<"a:b takes no", _/binary>>},
            is_welcome(#{labels => #{}}, Config#{remote_workers := 0}))
    ].
