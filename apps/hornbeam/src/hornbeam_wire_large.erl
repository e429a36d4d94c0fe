%% SPDX-License-Identifier: Apache-2.0
%% @doc Packets of a few large answers: their bodies stay where they are, as parts of the packet,
%% instead of being copied out of it.
%%
%% Pure; runs in the worker process. It knows RESPONSE and DATA in the form that our encoders give
%% them; whatever else a packet holds is `binary_to_term''s. What comes out is checked like anything
%% that comes out of that.
-module(hornbeam_wire_large).

-export([messages/1]).

-include("hornbeam_wire.hrl").

%% Bytes of a packet from which on a copy costs more than this decoder.
-define(LARGE, 32768).
%% Messages. A body that is kept, for a slow client perhaps, keeps its packet: it must be no small
%% part of it.
-define(FEW, 4).

%% @doc The messages of such a packet, or `none' for every other one, legal or not.
-spec messages(binary()) -> {ok, [hornbeam_wire:message(), ...]} | none.
messages(<<131, 108, N:32, Rest/binary>> = Packet) when
    N >= 1, N =< ?FEW, byte_size(Packet) >= ?LARGE
->
    messages(N, Rest, byte_size(Packet) div ?FEW, []);
messages(_) ->
    none.

messages(0, <<106>>, _, Messages) ->
    {ok, lists:reverse(Messages)};
messages(N, <<104, 3, 97, ?DATA, Fields/binary>>, Kept, Messages) when N > 0 ->
    case integer(Fields) of
        {Id, <<109, Size:32, Data:Size/binary, Rest/binary>>} ->
            messages(N - 1, Rest, Kept, [{?DATA, Id, body(Data, Kept)} | Messages]);
        _ ->
            none
    end;
messages(N, <<104, 5, 97, ?RESPONSE, Fields/binary>>, Kept, Messages) when N > 0 ->
    case head(integer(Fields)) of
        {Id, Status, Headers, <<109, Size:32, Data:Size/binary, Rest/binary>>} ->
            Message = {?RESPONSE, Id, Status, Headers, body(Data, Kept)},
            messages(N - 1, Rest, Kept, [Message | Messages]);
        _ ->
            none
    end;
messages(_, _, _, _) ->
    none.

body(Data, Kept) when byte_size(Data) >= Kept -> Data;
body(Data, _) -> binary:copy(Data).

head({Id, More}) -> head(Id, integer(More));
head(none) -> none.

head(Id, {Status, <<116, Count:32, Rest/binary>>}) -> headers(Count, Rest, Id, Status, #{});
head(_, _) -> none.

headers(0, Rest, Id, Status, Headers) ->
    {Id, Status, Headers, Rest};
headers(
    Count,
    <<109, N:32, Name:N/binary, 109, V:32, Value:V/binary, Rest/binary>>,
    Id,
    Status,
    Headers
) when not is_map_key(Name, Headers) ->
    New = Headers#{binary:copy(Name) => binary:copy(Value)},
    headers(Count - 1, Rest, Id, Status, New);
headers(_, _, _, _, _) ->
    none.

integer(<<97, Value, Rest/binary>>) -> {Value, Rest};
integer(<<98, Value:32/signed, Rest/binary>>) -> {Value, Rest};
integer(_) -> none.
