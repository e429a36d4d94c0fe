%% SPDX-License-Identifier: Apache-2.0
%% @doc Answers questions about external terms, for the tests that hold the Python codecs against
%% a live node. Frames of `{packet, 4}' on standard input and output; one answer per question.
%% Runs in: a node of its own, in the process that called main/0; ends with its input.
%%
%%   $D, Bytes                 the term's notation (vectors/README.md) as JSON, or `refused'
%%   $G, Kind, Seed:32, N:16   N random terms: a list of {Encoded, ...} as u32 sizes and bytes;
%%                             Kind is $V (values) or $M (messages)
%%   $E, Size:32, A, B         `equal' when A, of Size bytes, and B are the same term
-module(term_oracle).

-export([main/0]).

-spec main() -> ok.
main() ->
    loop(open_port({fd, 0, 1}, [{packet, 4}, binary, eof])).

loop(Port) ->
    receive
        {Port, {data, Question}} ->
            true = port_command(Port, answer(Question)),
            loop(Port);
        {Port, eof} ->
            ok
    end.

answer(<<$D, Bytes/binary>>) ->
    try binary_to_term(Bytes) of
        Term -> describe(Term)
    catch
        error:badarg -> <<"refused">>
    end;
answer(<<$G, Kind, Seed:32, Count:16>>) ->
    _ = rand:seed(exsss, Seed),
    [[<<(byte_size(B)):32>>, B] || _ <- lists:seq(1, Count), B <- [encoded(Kind)]];
answer(<<$E, Size:32, Left:Size/binary, Right/binary>>) ->
    case binary_to_term(Left) =:= binary_to_term(Right) of
        true -> <<"equal">>;
        false -> text("~0tp is not ~0tp", [binary_to_term(Left), binary_to_term(Right)])
    end.

text(Format, Terms) -> unicode:characters_to_binary(io_lib:format(Format, Terms)).

%% -- notation ---------------------------------------------------------------------------------

describe(Term) when is_integer(Term) -> one("int", quoted(integer_to_binary(Term)));
describe(Term) when is_float(Term) -> one("float", hex(<<Term/float>>));
describe(Term) when is_atom(Term) -> one("atom", escaped(atom_to_binary(Term)));
describe(Term) when is_binary(Term) -> one("binary", hex(Term));
describe(Term) when is_bitstring(Term) ->
    Used = bit_size(Term) rem 8,
    one("bits", array([hex(<<Term/bitstring, 0:(8 - Used)>>), integer_to_binary(Used)]));
describe(Term) when is_list(Term) -> list(Term, []);
describe(Term) when is_tuple(Term) -> one("tuple", each(tuple_to_list(Term)));
describe(Term) when is_map(Term) ->
    one("map", array([each([K, V]) || {K, V} <- maps:to_list(Term)]));
describe(Fun) when is_function(Fun) ->
    case erlang:fun_info(Fun, type) of
        {type, local} -> opaque(Fun);
        {type, external} -> one("export", each(mfa(Fun)))
    end;
describe(Term) ->
    opaque(Term).

opaque(Term) -> one("opaque", hex(term_to_binary(Term))).

mfa(Fun) -> [element(2, erlang:fun_info(Fun, Item)) || Item <- [module, name, arity]].

list([Head | Tail], Seen) -> list(Tail, [Head | Seen]);
list([], Seen) -> one("list", each(lists:reverse(Seen)));
list(Tail, Seen) -> one("improper", array([each(lists:reverse(Seen)), describe(Tail)])).

each(Terms) -> array([describe(Term) || Term <- Terms]).

one(Kind, Json) -> ["{\"", Kind, "\":", Json, "}"].

array(Items) -> ["[", lists:join(",", Items), "]"].

quoted(Text) -> ["\"", Text, "\""].

hex(Bytes) -> quoted(binary:encode_hex(Bytes)).

escaped(Text) ->
    quoted([io_lib:format("\\u~4.16.0b", [U]) || <<U:16>> <= utf16(Text)]).

utf16(Text) -> unicode:characters_to_binary(Text, utf8, {utf16, big}).

%% -- random terms -----------------------------------------------------------------------------

encoded($M) ->
    term_to_binary([message(3)], pick([[], [{minor_version, 1}]]));
encoded($V) ->
    Options = [[], [compressed], [{compressed, 9}], [{minor_version, 0}], [{minor_version, 1}]],
    term_to_binary(value(3), pick(Options)).

%% Only what comes back as the same term: binaries are text or stand in {bytes, _}, `nil' is left
%% out, and keys are those that Python can hash and tell apart.
value(0) ->
    leaf();
value(Depth) ->
    case rand:uniform(9) of
        1 -> [value(Depth - 1) || _ <- some(6)];
        2 -> list_to_tuple([value(Depth - 1) || _ <- some(6)]);
        3 -> maps:from_list([{key(), value(pick([0, Depth - 1]))} || _ <- some(40)]);
        4 -> [value(Depth - 1) || _ <- [1 | some(3)]] ++ leaf_but_list();
        5 -> list_to_tuple([leaf() || _ <- lists:seq(1, 200 + rand:uniform(100))]);
        6 -> [rand:uniform(256) - 1 || _ <- some(300)];
        7 -> closure(value(Depth - 1), leaf());
        _ -> leaf()
    end.

leaf() ->
    case rand:uniform(4) of
        1 -> integer();
        2 -> pick([text(), {bytes, rand:bytes(rand:uniform(300))}, {bytes, text()}]);
        3 -> pick([float(), atom(), bits(), []]);
        4 -> identifier()
    end.

bits() ->
    Size = 8 * (rand:uniform(6) - 1) + rand:uniform(7),
    <<(rand:uniform(1 bsl Size)):Size>>.

leaf_but_list() ->
    case leaf() of
        List when is_list(List) -> tail;
        Bits when is_bitstring(Bits), not is_binary(Bits) -> Bits;
        Binary when is_binary(Binary) -> {bytes, Binary};
        Leaf -> Leaf
    end.

key() ->
    case rand:uniform(5) of
        1 -> 2 + abs(integer());
        2 -> text();
        3 -> {bytes, rand:bytes(rand:uniform(70))};
        4 -> {integer(), text(), rand:uniform() + 0.5};
        5 -> identifier()
    end.

message(0) ->
    pick([integer64(), rand:bytes(rand:uniform(400)), text(), true, false, undefined, []]);
message(Depth) ->
    case rand:uniform(5) of
        1 -> [message(Depth - 1) || _ <- some(6)];
        2 -> list_to_tuple([message(pick([0, Depth - 1])) || _ <- some(9)]);
        3 -> maps:from_list([{text(), message(Depth - 1)} || _ <- some(12)]);
        4 -> [rand:uniform(256) - 1 || _ <- some(300)];
        5 -> list_to_tuple([message(0) || _ <- some(300)])
    end.

integer() ->
    Size = pick([3, 8, 9, 31, 32, 33, 59, 60, 61, 63, 64, 65, 100, 2030, 2048, 3000]),
    pick([1, -1]) * (rand:uniform(1 bsl Size) - pick([0, 1])).

integer64() ->
    Size = pick([8, 9, 31, 32, 33, 63]),
    pick([rand:uniform(1 bsl Size), -rand:uniform(1 bsl Size), (1 bsl 64) - rand:uniform(9)]).

float() ->
    case <<(rand:uniform(1 bsl 64) - 1):64>> of
        <<Value/float>> -> Value;
        _NotFinite -> 0.5
    end.

text() ->
    Bound = pick([128, 16#800, 16#D800, 16#110000]),
    Points = [P || _ <- some(70), P <- [rand:uniform(Bound) - 1], P < 16#D800 orelse P > 16#DFFF],
    unicode:characters_to_binary(Points).

atom() ->
    pick([ok, 'é', 'łąka', '', true, false, undefined, list_to_atom(lists:duplicate(255, $z))]).

identifier() ->
    case rand:uniform(7) of
        1 -> self();
        2 -> make_ref();
        3 -> hd(erlang:ports());
        4 -> alias([reply]);
        5 -> fun erlang:max/2;
        6 -> remote(<<$X, (name())/binary, (rand:bytes(8))/binary, 1:32>>);
        7 -> remote(<<$Z, 3:16, (name())/binary, 7:32, 1:32, (rand:bytes(8))/binary>>)
    end.

remote(External) -> binary_to_term(<<131, (legal(External))/binary>>).

%% A pid has 15 or 28 significant bits in its numbers, depending on the release.
legal(<<$X, 119, Size, Name:Size/binary, _:8/binary, Creation:4/binary>>) ->
    <<$X, 119, Size, Name/binary, (rand:uniform(32000)):32, 3:32, Creation/binary>>;
legal(Other) ->
    Other.

name() -> <<119, 8, "peer@far">>.

closure(A, B) -> fun(C) -> {A, B, C} end.

some(Most) -> lists:seq(1, rand:uniform(Most + 1) - 1).

pick(Choices) -> lists:nth(rand:uniform(length(Choices)), Choices).
