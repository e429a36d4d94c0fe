%% SPDX-License-Identifier: Apache-2.0
%% @doc Rows of the shared state: what a key becomes, what a row costs, which keys have a prefix.
%%
%% Pure; runs in the process that asks.
%%
%% Keys that a Python dict takes for one are one here, too, as far as numbers go: 1.0 is kept as 1,
%% also inside tuples and lists. `true' is not 1, text is not `{bytes, Binary}'.
-module(hornbeam_state_row).

-export([key/1, original/1, size/2, has_prefix/2]).
-export_type([key/0, stored/0, row/0, expires/0, prefix/0]).

-type key() :: term().
%% A key that stands for itself in the head of a match specification.
-type stored() :: term().
%% 0 for a row that stays; else see hornbeam_state_expiry.
-type expires() :: integer().
-type row() :: {stored(), Value :: term(), expires(), Size :: pos_integer()}.
%% Of text, of bytes, or of nothing: every key.
-type prefix() :: binary() | {bytes, binary()} | undefined.

%% What the tables take for a row beyond its two terms, bytes; measured on 64 bits.
-define(ROW_BYTES, 128).
%% Counters change without being measured anew.
-define(INTEGER_BYTES, 16).
-define(IS_SMALL(N), N < (1 bsl 59), N > -(1 bsl 59)).

%% @doc The key as it stands in the table; equal for equal keys.
-spec key(key()) -> stored().
key(Key) when is_binary(Key) -> Key;
key({bytes, Bytes} = Key) when is_binary(Bytes) -> Key;
key({hornbeam_key, _} = Key) -> wrapped(Key);
key(Key) ->
    Canonical = canonical(Key),
    case is_literal(Canonical) of
        true -> Canonical;
        false -> wrapped(Canonical)
    end.

wrapped(Key) -> {hornbeam_key, term_to_binary(Key, [deterministic])}.

%% @doc The key that became this one, but for the type of numbers.
-spec original(stored()) -> key().
original({hornbeam_key, Bytes}) -> binary_to_term(Bytes);
original(Key) -> Key.

%% An ordered_set takes 1 and 1.0 for one key, a match specification does not.
canonical(Key) when is_float(Key) ->
    case trunc(Key) of
        Integer when Integer == Key -> Integer;
        _ -> Key
    end;
canonical(Key) when is_tuple(Key) -> list_to_tuple(canonical(tuple_to_list(Key)));
canonical([First | Rest]) -> [canonical(First) | canonical(Rest)];
canonical(Key) -> Key.

%% Some atoms are variables of match specifications. Maps and funs are no literals of them in every
%% release of OTP.
is_literal(Key) when is_atom(Key) -> not is_variable(atom_to_list(Key));
is_literal(Key) when is_tuple(Key) -> is_literal(tuple_to_list(Key));
is_literal([First | Rest]) -> is_literal(First) andalso is_literal(Rest);
is_literal(Key) -> not is_map(Key) andalso not is_function(Key).

is_variable("_") -> true;
is_variable([$$ | _]) -> true;
is_variable(_) -> false.

%% @doc Bytes that a row counts for.
-spec size(stored(), Value :: term()) -> pos_integer().
size(Key, Value) ->
    ?ROW_BYTES + erlang:external_size(Key) + value_size(Value).

value_size(Value) when is_integer(Value), ?IS_SMALL(Value) -> ?INTEGER_BYTES;
value_size(Value) -> erlang:external_size(Value).

-spec has_prefix(stored(), prefix()) -> boolean().
has_prefix(_, undefined) ->
    true;
has_prefix({bytes, Key}, {bytes, Prefix}) ->
    is_binary(Key) andalso has_prefix(Key, Prefix);
has_prefix(Key, Prefix) when is_binary(Key), is_binary(Prefix) ->
    Size = byte_size(Prefix),
    case Key of
        <<Prefix:Size/binary, _/binary>> -> true;
        _ -> false
    end;
has_prefix(_, _) ->
    false.
