%% SPDX-License-Identifier: Apache-2.0
%% @doc Reads the JSON of the protocol vectors (RFC 8259), for tests only: OTP 25 has no `json'.
%% Runs in: the calling test process. Pure; holds nothing.
%%
%% Objects become maps with binary keys, strings UTF-8 binaries, arrays lists, numbers integers or
%% floats, and `true', `false', `null' the atoms. Whatever is not JSON is
%% `error({bad_json, Offset, Why})'. Nesting is bounded by the stack of the test alone.
-module(vector_json).

-export([decode/1, read_file/1]).
-export_type([value/0]).

-type value() :: #{binary() => value()} | [value()] | binary() | number() | true | false | null.

-define(IS_SPACE(C), (C =:= $\s orelse C =:= $\n orelse C =:= $\r orelse C =:= $\t)).
-define(IS_DIGIT(C), (C >= $0 andalso C =< $9)).

%% Reads a file that holds one JSON value. An unreadable file is an error with its name.
-spec read_file(file:name_all()) -> value().
read_file(Name) ->
    case file:read_file(Name) of
        {ok, Text} -> decode(Text);
        {error, Reason} -> error({unreadable, Name, Reason})
    end.

%% One JSON value with optional white space around it.
-spec decode(binary()) -> value().
decode(Text) when is_binary(Text) ->
    {Value, Rest} = value(Text, Text),
    case space(Rest) of
        <<>> -> Value;
        More -> bad(Text, More, trailing)
    end.

value(Bin, All) ->
    case space(Bin) of
        <<"{", Rest/binary>> -> object(space(Rest), All);
        <<"[", Rest/binary>> -> array(space(Rest), All);
        <<"\"", Rest/binary>> -> string(Rest, <<>>, All);
        <<"true", Rest/binary>> -> {true, Rest};
        <<"false", Rest/binary>> -> {false, Rest};
        <<"null", Rest/binary>> -> {null, Rest};
        <<C, _/binary>> = Rest when C =:= $-; ?IS_DIGIT(C) -> number(Rest, All);
        Rest -> bad(All, Rest, value)
    end.

object(<<"}", Rest/binary>>, _All) -> {#{}, Rest};
object(Bin, All) -> members(Bin, #{}, All).

members(<<"\"", Bin/binary>>, Map0, All) ->
    {Key, Rest0} = string(Bin, <<>>, All),
    {Value, Rest1} = value(colon(space(Rest0), All), All),
    maps:is_key(Key, Map0) andalso bad(All, Bin, {duplicate_key, Key}),
    Map = Map0#{Key => Value},
    case space(Rest1) of
        <<",", Rest/binary>> -> members(space(Rest), Map, All);
        <<"}", Rest/binary>> -> {Map, Rest};
        Rest -> bad(All, Rest, comma_or_brace)
    end;
members(Bin, _Map, All) ->
    bad(All, Bin, key).

colon(<<":", Rest/binary>>, _All) -> Rest;
colon(Bin, All) -> bad(All, Bin, colon).

array(<<"]", Rest/binary>>, _All) -> {[], Rest};
array(Bin, All) -> elements(Bin, [], All).

elements(Bin, Acc0, All) ->
    {Value, Rest0} = value(Bin, All),
    Acc = [Value | Acc0],
    case space(Rest0) of
        <<",", Rest/binary>> -> elements(Rest, Acc, All);
        <<"]", Rest/binary>> -> {lists:reverse(Acc), Rest};
        Rest -> bad(All, Rest, comma_or_bracket)
    end.

string(<<"\"", Rest/binary>>, Acc, _All) -> {Acc, Rest};
string(<<"\\u", Rest/binary>>, Acc, All) -> unicode(Rest, Acc, All);
string(<<"\\", C, Rest/binary>>, Acc, All) ->
    string(Rest, <<Acc/binary, (escaped(C, Rest, All))>>, All);
string(<<C/utf8, Rest/binary>>, Acc, All) when C >= 16#20 ->
    string(Rest, <<Acc/binary, C/utf8>>, All);
string(Bin, _Acc, All) ->
    bad(All, Bin, string).

escaped($", _, _) -> $";
escaped($\\, _, _) -> $\\;
escaped($/, _, _) -> $/;
escaped($b, _, _) -> $\b;
escaped($f, _, _) -> $\f;
escaped($n, _, _) -> $\n;
escaped($r, _, _) -> $\r;
escaped($t, _, _) -> $\t;
escaped(_, Rest, All) -> bad(All, Rest, escape).

%% A code point beyond the basic plane is written as two escapes (RFC 8259, section 7).
unicode(Bin, Acc, All) ->
    case code_unit(Bin, All) of
        {High, <<"\\u", Rest0/binary>>} when High >= 16#D800, High =< 16#DBFF ->
            {Low, Rest} = code_unit(Rest0, All),
            (Low >= 16#DC00 andalso Low =< 16#DFFF) orelse bad(All, Rest0, surrogate),
            Point = 16#10000 + ((High band 16#3FF) bsl 10) + (Low band 16#3FF),
            string(Rest, <<Acc/binary, Point/utf8>>, All);
        {Unit, Rest} when Unit < 16#D800; Unit > 16#DFFF ->
            string(Rest, <<Acc/binary, Unit/utf8>>, All);
        {_, Rest} ->
            bad(All, Rest, surrogate)
    end.

code_unit(<<Hex:4/binary, Rest/binary>> = Bin, All) ->
    IsHex = fun(C) ->
        ?IS_DIGIT(C) orelse (C >= $a andalso C =< $f) orelse (C >= $A andalso C =< $F)
    end,
    lists:all(IsHex, binary_to_list(Hex)) orelse bad(All, Bin, hex),
    {binary_to_integer(Hex, 16), Rest};
code_unit(Bin, All) ->
    bad(All, Bin, hex).

number(Bin, All) ->
    Pattern = <<"^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?">>,
    case re:run(Bin, Pattern, [{capture, all, binary}]) of
        {match, [Text, _Int]} -> {binary_to_integer(Text), after_text(Text, Bin)};
        {match, [Text, _Int, _Frac]} -> {binary_to_float(Text), after_text(Text, Bin)};
        {match, [Text, Int, Frac, Exp]} -> {exponent(Text, Int, Frac, Exp), after_text(Text, Bin)};
        nomatch -> bad(All, Bin, number)
    end.

%% `binary_to_float/1' insists on a fraction.
exponent(<<"-", _/binary>>, Int, <<>>, Exp) ->
    binary_to_float(<<"-", Int/binary, ".0", Exp/binary>>);
exponent(_Text, Int, <<>>, Exp) ->
    binary_to_float(<<Int/binary, ".0", Exp/binary>>);
exponent(Text, _Int, _Frac, _Exp) ->
    binary_to_float(Text).

after_text(Text, Bin) ->
    binary:part(Bin, byte_size(Text), byte_size(Bin) - byte_size(Text)).

space(<<C, Rest/binary>>) when ?IS_SPACE(C) -> space(Rest);
space(Bin) -> Bin.

-spec bad(binary(), binary(), term()) -> no_return().
bad(All, Rest, Why) ->
    error({bad_json, byte_size(All) - byte_size(Rest), Why}).
