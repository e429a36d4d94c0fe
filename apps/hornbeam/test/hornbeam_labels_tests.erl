%% SPDX-License-Identifier: Apache-2.0
%% @doc Labels: their one form, the encoding in names of services, which are among which.
%% Runs in: the EUnit process.
-module(hornbeam_labels_tests).

-include_lib("eunit/include/eunit.hrl").
-include("properties.hrl").

-import(hornbeam_labels, [check/1, encode/1, decode/1, are_in/2, format/1]).

%% Names and values become texts, however they are written.
check_test_() ->
    One = {ok, #{<<"gpu">> => <<"1">>}},
    [
        ?_assertEqual(Expected, check(Given))
     || {Given, Expected} <- [
            {#{}, {ok, #{}}},
            {#{gpu => 1}, One}, {#{"gpu" => "1"}, One}, {#{<<"gpu">> => <<"1">>}, One},
            {#{gpu => true}, {ok, #{<<"gpu">> => <<"true">>}}},
            {#{gpu => <<>>}, {ok, #{<<"gpu">> => <<>>}}},
            {#{<<"z">> => binary:copy(<<"v">>, 255)},
                {ok, #{<<"z">> => binary:copy(<<"v">>, 255)}}},
            {#{<<"z">> => binary:copy(<<"v">>, 256)}, error},
            {maps:from_list([{N, 1} || N <- lists:seq(1, 65)]), error},
            %% The same text twice.
            {#{gpu => 1, "gpu" => 2}, error},
            {#{<<>> => 1}, error}, {#{gpu => 1.5}, error}, {#{gpu => [1, self()]}, error},
            {#{gpu => <<255>>}, error}, {#{gpu => 1 bsl 80}, error}, {[gpu], error}, {gpu, error}
        ]
    ].

%% What does not decode to labels is an error.
decode_test_() ->
    [
        ?_assertEqual({ok, #{<<"gpu">> => <<"1">>, <<"zone">> => <<"a/b">>}},
            decode(<<"gpu=1&zone=a%2Fb">>)),
        ?_assertEqual({ok, #{}}, decode(<<>>)),
        ?_assertEqual(error, decode(<<"gpu=1&gpu=2">>)),
        ?_assertEqual(error, decode(<<"gpu=%FF">>)),
        ?_assertEqual(error, decode(<<"=1">>))
    ].

%% What is encoded holds no slash and decodes to the same.
encoding_test_() -> ?PROPERTY(prop_encoding()).

prop_encoding() ->
    ?FORALL(Pairs, list({text(), text()}), begin
        case check(maps:from_list(Pairs)) of
            {ok, Labels} ->
                Text = encode(Labels),
                binary:match(Text, <<"/">>) =:= nomatch andalso decode(Text) =:= {ok, Labels};
            error ->
                lists:keymember(<<>>, 1, Pairs)
        end
    end).

text() ->
    ?LET(Characters, list(oneof([range(1, 127), elements("/&=%+;?#\"äß€𝄞")])),
        unicode:characters_to_binary(Characters)).

are_in_test_() ->
    Has = #{<<"gpu">> => <<"1">>, <<"zone">> => <<"a">>},
    [
        ?_assert(are_in(#{}, Has)),
        ?_assert(are_in(#{<<"zone">> => <<"a">>}, Has)),
        ?_assert(are_in(Has, Has)),
        ?_assertNot(are_in(#{<<"zone">> => <<"b">>}, Has)),
        ?_assertNot(are_in(#{<<"disk">> => <<"1">>}, Has)),
        ?_assertEqual(<<"gpu=1, zone=a">>, format(Has))
    ].
