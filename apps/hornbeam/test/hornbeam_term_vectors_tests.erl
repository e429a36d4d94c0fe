%% SPDX-License-Identifier: Apache-2.0
%% @doc Holds the term vectors against this node: every term is what its bytes say, and hostile
%% bytes are refused where the vector says that the node itself refuses them.
%% Runs in: the EUnit process.
-module(hornbeam_term_vectors_tests).

-include_lib("eunit/include/eunit.hrl").

-define(VERSION, 131).

%% Each vector's bytes are the term that its notation describes, whatever tags it is written with.
terms_test_() ->
    [
        {maps:get(<<"name">>, Vector), ?_assert(term(Vector) =:= decode(hex(Vector)))}
     || Vector <- vectors("terms.json")
    ].

%% What this node writes for the term is read back as the same term, compressed or not.
own_encoding_test_() ->
    [
        {maps:get(<<"name">>, Vector), fun() ->
            Term = term(Vector),
            ?assert(Term =:= decode(term_to_binary(Term))),
            ?assert(Term =:= decode(term_to_binary(Term, [compressed])))
        end}
     || Vector <- vectors("terms.json")
    ].

hostile_test_() ->
    [
        {maps:get(<<"name">>, Vector), hostile(maps:get(<<"erlang">>, Vector), Vector)}
     || Vector <- vectors("hostile_terms.json"), maps:get(<<"erlang">>, Vector) =/= <<"not run">>
    ].

%% Depth and keys that only Python confuses are no business of the node.
hostile(<<"accepts">>, Vector) -> ?_test(decode(hex(Vector)));
hostile(<<"refuses">>, Vector) -> ?_assertError(badarg, decode(hex(Vector))).

%% A suite that reads no vectors passes for the wrong reason.
there_are_vectors_test() ->
    ?assert(length(vectors("terms.json")) >= 100),
    ?assert(length(vectors("hostile_terms.json")) >= 100).

vectors(Name) ->
    Priv = code:priv_dir(hornbeam),
    ?assert(is_list(Priv)),
    vector_json:read_file(filename:join([Priv, "protocol", "vectors", Name])).

decode(Bytes) -> binary_to_term(Bytes).

hex(#{<<"hex">> := Hex}) -> bytes(Hex);
hex(#{<<"parts">> := Parts}) ->
    iolist_to_binary([binary:copy(bytes(Hex), Times) || [Hex, Times] <- Parts]).

bytes(Hex) -> binary:decode_hex(Hex).

term(#{<<"term">> := Notation}) ->
    [{Kind, Value}] = maps:to_list(Notation),
    term(Kind, Value).

term(<<"int">>, Digits) -> binary_to_integer(Digits);
term(<<"float">>, Hex) -> float_of(bytes(Hex));
term(<<"atom">>, Name) -> binary_to_atom(Name, utf8);
term(<<"binary">>, Hex) -> bytes(Hex);
term(<<"bits">>, [Hex, Bits]) -> bits(bytes(Hex), Bits);
term(<<"list">>, Items) -> terms(Items);
term(<<"improper">>, [Items, Tail]) -> terms(Items) ++ one(Tail);
term(<<"tuple">>, Items) -> list_to_tuple(terms(Items));
term(<<"map">>, Pairs) -> maps:from_list([{one(Key), one(Value)} || [Key, Value] <- Pairs]);
term(<<"pid">>, [Node | Numbers]) -> identifier(<<$X>>, Node, words(Numbers));
term(<<"port">>, [Node, Id, Creation]) -> identifier(<<$x>>, Node, <<Id:64, Creation:32>>);
term(<<"ref">>, [Node, Creation, Ids]) ->
    identifier(<<$Z, (length(Ids)):16>>, Node, words([Creation | Ids]));
term(<<"fun">>, Hex) -> decode(<<?VERSION, (bytes(Hex))/binary>>).

one(Notation) -> term(#{<<"term">> => Notation}).

terms(Notations) -> [one(Notation) || Notation <- Notations].

float_of(<<Value:64/float>>) -> Value.

bits(Bytes, Used) ->
    Size = (byte_size(Bytes) - 1) * 8 + Used,
    <<String:Size/bitstring, _/bitstring>> = Bytes,
    String.

%% No function makes an identifier of its parts; the newest external form does.
identifier(Head, Node, Numbers) ->
    Name = <<119, (byte_size(Node)), Node/binary>>,
    decode(<<?VERSION, Head/binary, Name/binary, Numbers/binary>>).

words(Numbers) -> << <<Number:32>> || Number <- Numbers >>.
