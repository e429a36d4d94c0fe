%% SPDX-License-Identifier: Apache-2.0
%% @doc Names that become atoms: which are well formed, what is free, and that there is a bound.
%% The bound is tried in a node of its own: what is used up there is not used up here.
-module(hornbeam_names_tests).

-export([exhaust/0]).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

setup_test() ->
    ok = hornbeam_names:init(),
    ?assertEqual(ok, hornbeam_names:init()).

well_formed_test_() ->
    [
        ?_assertEqual({Kind, Name, {ok, binary_to_atom(Name)}},
            {Kind, Name, hornbeam_names:atom(Kind, Name)})
     || {Kind, Name} <- [
            {node, <<"a@b">>}, {node, <<"worker-1_x@gpu-server">>}, {node, <<"a@10.0.0.1">>},
            {node, <<"a@host.example.org">>}, {node, <<"a@fe80::1%eth0">>}, {node, at(255)},
            {module, <<"lists">>}, {module, <<"Elixir.Some.Module">>}, {module, <<"é"/utf8>>},
            {function, <<"handle call">>}, {function, <<"+">>}, {function, long(255, <<"é"/utf8>>)},
            {cookie, <<"s3cret">>}
        ]
    ].

malformed_test_() ->
    [
        ?_assertMatch({Kind, Name, {error, {bad_term, _}}},
            {Kind, Name, hornbeam_names:atom(Kind, Name)})
     || {Kind, Name} <- [
            {node, <<"a">>}, {node, <<"@b">>}, {node, <<"a@">>}, {node, <<"a@b@c">>}, {node, ok},
            {node, <<"a b@c">>}, {node, <<"é@b"/utf8>>}, {node, <<"a@b c">>}, {node, <<"a.b@c">>},
            {node, <<"a@b\n">>}, {node, at(256)}, {node, 7}, {node, "a@b"},
            {module, <<>>}, {module, <<255>>}, {module, <<"a\0b">>}, {module, [$a]},
            {module, {bytes, <<"a">>}}, {function, long(256, <<"é"/utf8>>)},
            {function, long(256, <<"x">>)}, {function, <<16#7F>>}, {cookie, <<>>}
        ]
    ].

at(Length) -> <<(binary:copy(<<"n">>, Length - 2))/binary, "@h">>.

long(Length, Character) -> binary:copy(Character, Length).

a_cookie_is_not_shown_test() ->
    {error, {bad_term, Text}} = hornbeam_names:atom(cookie, <<"very\nsecret">>),
    ?assertEqual(nomatch, binary:match(Text, <<"secret">>)).

known_names_are_free_test() ->
    Before = hornbeam_names:made(),
    [{ok, lists} = hornbeam_names:atom(module, Name) || Name <- [<<"lists">>, lists]],
    ?assertEqual(Before, hornbeam_names:made()).

a_new_name_is_counted_once_test() ->
    Before = hornbeam_names:made(),
    Name = <<"names_", (integer_to_binary(erlang:unique_integer([positive])))/binary>>,
    [{ok, _} = hornbeam_names:atom(function, Name) || _ <- [1, 2]],
    ?assertEqual(Before + 1, hornbeam_names:made()).

any_term_test_() -> ?PROPERTY(prop_any_term()).

%% Whatever comes, it is the atom of that text or a failure that says what is expected; what is
%% refused is no new atom.
prop_any_term() ->
    ?FORALL({Kind, Name}, {oneof([node, module, function]), oneof([any(), binary(), text()])},
        begin
            Before = erlang:system_info(atom_count),
            Made = hornbeam_names:made(),
            case hornbeam_names:atom(Kind, Name) of
                {ok, Name} -> is_atom(Name);
                {ok, Atom} -> atom_to_binary(Atom) =:= Name;
                {error, {bad_term, Text}} ->
                    is_binary(unicode:characters_to_binary(Text)) andalso
                        {Before, Made} =:=
                            {erlang:system_info(atom_count), hornbeam_names:made()}
            end
        end).

text() ->
    ?LET(Text, list(char()), unicode:characters_to_binary([C || C <- Text, C < 16#D800])).

bound_test_() ->
    {timeout, 60, fun() ->
        {ok, Peer, _} = peer:start(#{connection => standard_io, args => ["-pa" | code:get_path()]}),
        {Limit, Made, Atoms, Refused, Known} = peer:call(Peer, ?MODULE, exhaust, [], 50000),
        ok = peer:stop(Peer),
        ?assertEqual(Limit, Made),
        ?assert(Atoms >= Limit andalso Atoms < Limit + 1000),
        ?assertMatch({error, {overloaded, _, Limit}}, Refused),
        ?assertEqual({ok, lists}, Known)
    end}.

%% Asks for twice as many new names as there may be, from several processes at once; in the peer.
exhaust() ->
    ok = hornbeam_names:init(),
    Limit = hornbeam_names:limit(),
    Before = erlang:system_info(atom_count),
    Ask = fun(Process) ->
        [hornbeam_names:atom(module, <<"m", Process, (integer_to_binary(N))/binary>>)
         || N <- lists:seq(1, Limit div 2)]
    end,
    Monitors = [spawn_monitor(fun() -> Ask(Process) end) || Process <- "abcd"],
    [receive {'DOWN', Monitor, process, Pid, normal} -> ok end || {Pid, Monitor} <- Monitors],
    {Limit, hornbeam_names:made(), erlang:system_info(atom_count) - Before,
        hornbeam_names:atom(node, <<"one@more">>), hornbeam_names:atom(module, <<"lists">>)}.
