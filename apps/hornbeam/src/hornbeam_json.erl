%% SPDX-License-Identifier: Apache-2.0
%% @doc Values of applications as JSON text (RFC 8259), for WebSocket clients that get what was
%% published. Pure; runs in the process that publishes. OTP has no encoder before 27.
-module(hornbeam_json).

-export([encode/1]).

%% @doc Text is a UTF-8 binary or an atom; `undefined', `nil' and `null' are null; tuples are
%% arrays, as Python's `json' has it; keys that are numbers, booleans or null are written as text.
%% Bytes (`{bytes, _}', binaries that are not UTF-8), arrays, pids and the like have no JSON form.
-spec encode(term()) -> {ok, binary()} | {error, {not_json, term()}}.
encode(Value) ->
    try
        {ok, iolist_to_binary(value(Value))}
    catch
        throw:{not_json, _} = Reason -> {error, Reason}
    end.

value(Binary) when is_binary(Binary) -> string(Binary);
value(Integer) when is_integer(Integer) -> integer_to_binary(Integer);
value(Float) when is_float(Float) -> float_to_binary(Float, [short]);
value(true) -> <<"true">>;
value(false) -> <<"false">>;
value(Null) when Null =:= undefined; Null =:= nil; Null =:= null -> <<"null">>;
value(Atom) when is_atom(Atom) -> string(atom_to_binary(Atom));
value(Map) when is_map(Map) -> object(maps:to_list(Map));
value([]) -> <<"[]">>;
value(List) when is_list(List) -> array(List);
value({bytes, Binary} = Bytes) when is_binary(Binary) -> throw({not_json, Bytes});
value({ndarray, _, _, _} = Array) -> throw({not_json, Array});
value(Tuple) when is_tuple(Tuple) -> array(tuple_to_list(Tuple));
value(Other) -> throw({not_json, Other}).

array(List) when length(List) >= 0 ->
    [$[, lists:join($,, [value(Item) || Item <- List]), $]];
array(Improper) ->
    throw({not_json, Improper}).

object(Pairs) ->
    [${, lists:join($,, [[key(Key), $:, value(Value)] || {Key, Value} <- Pairs]), $}].

key(Key) when is_binary(Key) -> string(Key);
key(Key) when is_integer(Key); is_float(Key); is_atom(Key) ->
    case value(Key) of
        <<$", _/binary>> = Quoted -> Quoted;
        Bare when is_binary(Bare) -> [$", Bare, $"];
        Quoted -> Quoted
    end;
key(Key) ->
    throw({not_json, Key}).

string(Text) ->
    [$", escape(Text, 0, Text), $"].

%% Takes over what needs no escape in one piece. Size: bytes of Text that are safe, from its start.
escape(Text, Size, <<C, Rest/binary>>) when C >= 32, C < 128, C =/= $", C =/= $\\ ->
    escape(Text, Size + 1, Rest);
escape(Text, _, <<>>) ->
    Text;
escape(Text, Size, <<C/utf8, Rest/binary>>) when C >= 128 ->
    escape(Text, Size + byte_size(<<C/utf8>>), Rest);
escape(Text, Size, <<C, Rest/binary>>) when C < 128 ->
    [binary:part(Text, 0, Size), escaped(C), escape(Rest, 0, Rest)];
escape(_, _, NotUtf8) ->
    throw({not_json, {bytes, NotUtf8}}).

escaped($") -> <<"\\\"">>;
escaped($\\) -> <<"\\\\">>;
escaped($\n) -> <<"\\n">>;
escaped($\r) -> <<"\\r">>;
escaped($\t) -> <<"\\t">>;
escaped(C) -> io_lib:format("\\u~4.16.0b", [C]).
