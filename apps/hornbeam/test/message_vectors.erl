%% SPDX-License-Identifier: Apache-2.0
%% @doc Reads the vectors of messages as terms of this node; the notation is in vectors/README.md,
%% "Frames and conversations".
%% Runs in: the EUnit process. Pure but for the file.
-module(message_vectors).

-export([read/2, bytes/1, message/1, field/1, code/1, names/0]).

-include("hornbeam_wire.hrl").

%% The entries of a file that has at least Least of them, each with a name of its own.
-spec read(string(), pos_integer()) -> [#{binary() => vector_json:value()}].
read(File, Least) ->
    Priv = code:priv_dir(hornbeam),
    Entries = vector_json:read_file(filename:join([Priv, "protocol", "vectors", File])),
    Names = [Name || #{<<"name">> := Name} <- Entries],
    length(Names) >= Least orelse error({nearly_empty, File, length(Names)}),
    length(lists:usort(Names)) =:= length(Entries) orelse error({names_are_not_unique, File}),
    Entries.

%% `hex' or `parts' of an entry.
-spec bytes(#{binary() => vector_json:value()}) -> binary().
bytes(#{<<"hex">> := Hex}) ->
    binary:decode_hex(Hex);
bytes(#{<<"parts">> := Parts}) ->
    iolist_to_binary([binary:copy(binary:decode_hex(Hex), Times) || [Hex, Times] <- Parts]).

-spec message([vector_json:value()]) -> hornbeam_wire:message().
message([Name | Fields]) ->
    list_to_tuple([code(Name) | [field(Field) || Field <- Fields]]).

-spec field(vector_json:value()) -> term().
field(null) -> undefined;
field(#{<<"hex">> := Hex}) -> binary:decode_hex(Hex);
field(#{<<"repeat">> := [Hex, Times]}) -> binary:copy(binary:decode_hex(Hex), Times);
field(#{<<"tuple">> := Items}) -> list_to_tuple([field(Item) || Item <- Items]);
field(#{<<"map">> := Map}) -> maps:map(fun(_, Value) -> field(Value) end, Map);
field(Items) when is_list(Items) -> [field(Item) || Item <- Items];
%% Numbers, true, false, text.
field(Value) -> Value.

-spec code(binary()) -> pos_integer().
code(Name) ->
    {Name, Code} = lists:keyfind(Name, 1, names()),
    Code.

%% Every message of version 1.
-spec names() -> [{binary(), pos_integer()}].
names() ->
    [
        {<<"HELLO">>, ?HELLO}, {<<"BOOT">>, ?BOOT}, {<<"READY">>, ?READY}, {<<"FAILED">>, ?FAILED},
        {<<"DRAIN">>, ?DRAIN}, {<<"BEAT">>, ?BEAT}, {<<"ERROR">>, ?ERROR}, {<<"OPEN">>, ?OPEN},
        {<<"BODY">>, ?BODY}, {<<"BODY_CREDIT">>, ?BODY_CREDIT}, {<<"RESPONSE">>, ?RESPONSE},
        {<<"HEAD">>, ?HEAD}, {<<"DATA">>, ?DATA}, {<<"END">>, ?END}, {<<"FILE">>, ?SEND_FILE},
        {<<"CREDIT">>, ?CREDIT}, {<<"CANCEL">>, ?CANCEL}, {<<"ABORT">>, ?ABORT},
        {<<"RETURN">>, ?RETURN}, {<<"STARTED">>, ?STARTED}, {<<"CALL">>, ?CALL},
        {<<"RESULT">>, ?RESULT}, {<<"FAULT">>, ?FAULT}, {<<"REVOKE">>, ?REVOKE},
        {<<"CAST">>, ?CAST},
        {<<"INFORM">>, ?INFORM}, {<<"PUSH">>, ?PUSH}, {<<"WEBSOCKET">>, ?WEBSOCKET},
        {<<"ACCEPT">>, ?ACCEPT}, {<<"TEXT">>, ?TEXT}, {<<"BINARY">>, ?BINARY},
        {<<"CLOSE">>, ?CLOSE}, {<<"STREAM">>, ?STREAM}, {<<"ITEM">>, ?ITEM},
        {<<"ITEM_CREDIT">>, ?ITEM_CREDIT}, {<<"EVENT">>, ?EVENT},
        {<<"EVENT_CREDIT">>, ?EVENT_CREDIT}
    ].
