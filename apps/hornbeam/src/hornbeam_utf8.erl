%% SPDX-License-Identifier: Apache-2.0
%% @doc Whether bytes are UTF-8. Pure; runs wherever text of a WebSocket passes.
-module(hornbeam_utf8).

-export([is_valid/1]).

%% @doc True when the whole binary is UTF-8 (RFC 3629: shortest forms, no surrogates).
-spec is_valid(binary()) -> boolean().
%% Seven bytes at a time are a small integer; most text is ASCII.
is_valid(<<Ascii:56, Rest/binary>>) when Ascii band 16#80808080808080 =:= 0 -> is_valid(Rest);
is_valid(<<_/utf8, Rest/binary>>) -> is_valid(Rest);
is_valid(Rest) -> Rest =:= <<>>.
