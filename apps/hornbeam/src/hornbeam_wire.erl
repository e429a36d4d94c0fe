%% SPDX-License-Identifier: Apache-2.0
%% @doc Packets of the hornbeam protocol: messages to bytes, bytes to checked messages.
%%
%% Pure; runs in the worker process that owns the connection. The protocol is written down in
%% priv/protocol/PROTOCOL.md; this module knows the shape of every message a worker may send,
%% `hornbeam_exchanges' and `hornbeam_calls' know when it may send it.
-module(hornbeam_wire).

-export([encode/1, answers/1, decode/1]).
-export([request/1, websocket/1, is_websocket/1, hearer/1, encode_opens/1]).
-export([encode_value/1, decode_value/1, value_tags/0, cut_text/1]).
-export_type([message/0, exchange_id/0, call_id/0, error/0]).
-export_type([request/0, fields/0, websocket/0, hearer/0]).

-include("hornbeam_wire.hrl").

%% Growing, never reused within a connection.
-type exchange_id() :: pos_integer().
-type call_id() :: pos_integer().
%% A tuple that starts with its code; fields as in section 4 of the protocol.
-type message() :: tuple().
-type error() :: {bad_packet | bad_message | bad_state, Text :: binary()}.

%% Fields of OPEN from `Method' on.
-type fields() :: {
    Method :: binary(),
    Path :: binary(),
    Query :: binary(),
    Version :: binary(),
    Headers :: #{binary() => binary()},
    Connection :: binary(),
    Body :: binary() | {First :: binary(), Length :: non_neg_integer() | undefined}
}.
%% Fields of WEBSOCKET from `Path' on.
-type websocket() :: {
    Path :: binary(),
    Query :: binary(),
    Version :: binary(),
    Headers :: #{binary() => binary()},
    Connection :: binary(),
    Subprotocols :: [binary()]
}.
%% The same, encoded: the connection process does that, many of them at once, so that the worker
%% process has little to copy and little to do.
-opaque request() :: binary() | {websocket, hearer(), binary()}.

%% Who hears of a WebSocket once it is accepted: its stream, or the connection process, to which
%% Cowboy passes nothing of its streams any more when an HTTP/1.1 connection is taken over.
-type hearer() :: stream | connection.

%% Bytes of payloads from which on a packet of answers takes no more: one more may have 32 MiB.
-define(FULL_PACKET, 1048576).

%% @doc Encode the fields of an OPEN, all but its id and its timeout.
-spec request(fields()) -> request().
request(Fields) ->
    <<131, 104, 7, Encoded/binary>> = term_to_binary(Fields, [{minor_version, 2}]),
    Encoded.

%% @doc The same for a WEBSOCKET.
-spec websocket(websocket()) -> request().
websocket(Fields) ->
    <<131, 104, 6, Encoded/binary>> = term_to_binary(Fields, [{minor_version, 2}]),
    case element(3, Fields) of
        <<"2">> -> {websocket, stream, Encoded};
        _ -> {websocket, connection, Encoded}
    end.

%% @doc See `hearer()'; of a request for a WebSocket.
-spec hearer(request()) -> hearer().
hearer({websocket, Hearer, _}) -> Hearer.

-spec is_websocket(request()) -> boolean().
is_websocket(Request) -> is_tuple(Request).

%% @doc One packet of OPENs and WEBSOCKETs. Timeout is in milliseconds, 0 for none.
-spec encode_opens([{exchange_id(), Timeout :: non_neg_integer(), request()}, ...]) -> iolist().
encode_opens(Opens) ->
    [<<131, 108, (length(Opens)):32>>, [encode_open(Open) || Open <- Opens], 106].

%% {?OPEN, Id, Timeout | Request}, {?WEBSOCKET, Id, Timeout | Request}
encode_open({Id, Timeout, {websocket, _, Request}}) ->
    encode_open(9, ?WEBSOCKET, Id, Timeout, Request);
encode_open({Id, Timeout, Request}) ->
    encode_open(10, ?OPEN, Id, Timeout, Request).

encode_open(Size, Code, Id, Timeout, Request) when Id < 16#80000000, Timeout < 16#80000000 ->
    [<<104, Size, 97, Code, 98, Id:32, 98, Timeout:32>>, Request];
encode_open(Size, Code, Id, Timeout, Request) ->
    [<<104, Size, 97, Code, 110, 8, 0, Id:64/little, 110, 8, 0, Timeout:64/little>>, Request].

%% @doc One packet (without its length) that carries the messages in order.
-spec encode([message(), ...]) -> binary().
encode(Messages) ->
    term_to_binary(Messages, [{minor_version, 2}]).

%% @doc Answers to calls in portions that each fit a packet, in their order.
-spec answers([message()]) -> [[message(), ...]].
answers([]) -> [];
answers([_] = Answer) -> [Answer];
answers([First | Rest]) -> answers(Rest, [First], size_of(First)).

answers([Message | Rest], Portion, Size) when Size < ?FULL_PACKET ->
    answers(Rest, [Message | Portion], Size + size_of(Message));
answers(Rest, Portion, _) ->
    [lists:reverse(Portion) | answers(Rest)].

size_of({?RESULT, _, Payload}) -> byte_size(Payload);
size_of({?FAULT, _, _, Payload}) -> byte_size(Payload);
size_of(_) -> 0.

%% @doc The messages of one packet from a worker, each with the shape its code demands.
%% Never creates atoms; refuses compressed packets, which could unfold to gigabytes.
-spec decode(binary()) -> {ok, [message(), ...]} | {error, error()}.
decode(<<131, 80, _/binary>>) ->
    bad_packet(<<"compressed terms are not allowed">>);
decode(<<131, _/binary>> = Packet) when byte_size(Packet) =< ?MAX_PACKET ->
    case hornbeam_wire_large:messages(Packet) of
        {ok, Messages} -> check(Messages);
        none -> decode_term(Packet)
    end;
decode(Packet) when byte_size(Packet) > ?MAX_PACKET ->
    bad_packet(<<"longer than the limit">>);
decode(_) ->
    bad_packet(<<"does not start with 131">>).

decode_term(Packet) ->
    try binary_to_term(Packet, [safe, used]) of
        {[_ | _] = Messages, Used} when Used =:= byte_size(Packet) -> check(Messages);
        {[_ | _], _} -> bad_packet(<<"bytes after the term">>);
        {_, _} -> bad_packet(<<"not a list of messages">>)
    catch
        error:badarg -> bad_packet(<<"not an external term">>)
    end.

check(Messages) ->
    case bad(Messages, ?MAX_MESSAGES) of
        none -> {ok, Messages};
        too_many -> bad_packet(<<"more messages than the limit">>);
        improper -> bad_packet(<<"an improper list of messages">>);
        {bad, Message} -> fault(Message, Messages)
    end.

%% Every field of a legal message has a type of this layer, so that the rest need be looked at
%% only here.
fault(Message, Messages) ->
    case is_restricted(Messages) of
        true -> {error, {bad_message, describe(Message)}};
        false -> bad_packet(<<"a term that is not of this layer">>)
    end.

-define(MIN_INTEGER, -16#8000000000000000).
-define(MAX_INTEGER, 16#FFFFFFFFFFFFFFFF).

%% PROTOCOL.md, section 3: integers of 64 bits, binaries, tuples, proper lists, maps, three atoms.
is_restricted(Term) when is_binary(Term) ->
    true;
is_restricted(Term) when is_integer(Term) ->
    Term >= ?MIN_INTEGER andalso Term =< ?MAX_INTEGER;
is_restricted(Term) when is_atom(Term) ->
    Term =:= true orelse Term =:= false orelse Term =:= undefined;
is_restricted([]) ->
    true;
is_restricted([First | Rest]) ->
    is_restricted(First) andalso is_list(Rest) andalso is_restricted(Rest);
is_restricted(Term) when is_tuple(Term) ->
    is_restricted(tuple_to_list(Term));
is_restricted(Term) when is_map(Term) ->
    is_restricted(maps:keys(Term)) andalso is_restricted(maps:values(Term));
is_restricted(_) ->
    false.

bad([], _) -> none;
bad([_ | _], 0) -> too_many;
bad([Message | Rest], N) ->
    case legal(Message) of
        true -> bad(Rest, N - 1);
        false -> {bad, Message}
    end;
bad(_, _) -> improper.

-define(IS_WITHIN(N, Min, Max), is_integer(N), N >= Min, N =< Max).
-define(IS_ID(Id), ?IS_WITHIN(Id, 1, ?MAX_INTEGER)).
-define(IS_PAYLOAD(Payload), is_binary(Payload), byte_size(Payload) =< ?MAX_PAYLOAD).
%% Of a worker: an exchange, 0, or the negated id of a call.
-define(IS_ORIGIN(Origin), ?IS_WITHIN(Origin, ?MIN_INTEGER, ?MAX_INTEGER)).
-define(IS_TIMEOUT(Timeout), ?IS_WITHIN(Timeout, 1, 16#FFFFFFFF)).
-define(IS_CALL(Code), Code =:= ?CALL orelse Code =:= ?STREAM).

%% What a worker may send; everything else is bad_message.
legal({?RESPONSE, Id, Status, Headers, Data}) when ?IS_ID(Id), is_binary(Data) ->
    is_status(Status) andalso are_headers(Headers);
legal({?DATA, Id, Data}) when ?IS_ID(Id), is_binary(Data), Data =/= <<>> -> true;
legal({?HEAD, Id, Status, Headers}) when ?IS_ID(Id) ->
    is_status(Status) andalso are_headers(Headers);
legal({?END, Id, Trailers}) when ?IS_ID(Id), is_map(Trailers) -> are_flat(maps:to_list(Trailers));
legal({?BODY_CREDIT, Id, N}) when ?IS_ID(Id), ?IS_WITHIN(N, 1, 16#80000000) -> true;
legal({?SEND_FILE, Id, <<_, _/binary>>, Offset, N}) when
    ?IS_ID(Id), ?IS_WITHIN(Offset, 0, ?MAX_INTEGER), ?IS_WITHIN(N, 1, ?MAX_INTEGER)
->
    true;
legal({?ABORT, Id, Name, Text}) when ?IS_ID(Id), is_binary(Name), is_binary(Text) -> true;
legal({?RETURN, [_ | _] = Ids}) -> are_ids(Ids);
legal({?STARTED, Id}) when ?IS_ID(Id) -> true;
legal({?BEAT}) -> true;
legal({?DRAIN}) -> true;
legal({?TEXT, Id, Data}) when ?IS_ID(Id), ?IS_PAYLOAD(Data) -> hornbeam_utf8:is_valid(Data);
legal({?BINARY, Id, Data}) when ?IS_ID(Id), ?IS_PAYLOAD(Data) -> true;
legal({Code, Id, Origin, Timeout, Service, Payload}) when
    ?IS_CALL(Code),
    ?IS_ID(Id),
    ?IS_ORIGIN(Origin),
    ?IS_TIMEOUT(Timeout),
    is_binary(Service),
    ?IS_PAYLOAD(Payload)
->
    true;
legal({?RESULT, Id, Payload}) when ?IS_ID(Id), ?IS_PAYLOAD(Payload) -> true;
legal({?FAULT, Id, Name, Payload}) when ?IS_ID(Id), is_binary(Name), ?IS_PAYLOAD(Payload) -> true;
legal({?REVOKE, Id}) when ?IS_ID(Id) -> true;
legal({?CAST, Service, Payload}) when is_binary(Service), ?IS_PAYLOAD(Payload) -> true;
legal({?ITEM, Id, Payload}) when ?IS_ID(Id), ?IS_PAYLOAD(Payload) -> true;
legal({?ITEM_CREDIT, Id, N}) when ?IS_ID(Id), ?IS_WITHIN(N, 1, ?MAX_ITEMS) -> true;
legal({?EVENT_CREDIT, Id, N}) when ?IS_ID(Id), ?IS_WITHIN(N, 1, ?MAX_ITEMS) -> true;
legal({?ACCEPT, Id, Subprotocol, Headers}) when ?IS_ID(Id) ->
    (is_binary(Subprotocol) orelse Subprotocol =:= undefined) andalso are_headers(Headers) andalso
        is_free_of_handshake(maps:keys(Headers));
legal({?CLOSE, Id, Code, Reason}) when
    ?IS_ID(Id), ?IS_WITHIN(Code, 1000, 4999), is_binary(Reason), byte_size(Reason) =< ?MAX_REASON
->
    is_sendable(Code) andalso hornbeam_utf8:is_valid(Reason);
legal({?INFORM, Id, Status, Headers}) when ?IS_ID(Id), ?IS_WITHIN(Status, 100, 199) ->
    Status =/= 101 andalso are_headers(Headers);
legal({?PUSH, Id, <<_, _/binary>>, Headers}) when ?IS_ID(Id), is_map(Headers) ->
    are_flat(maps:to_list(Headers));
legal({?HELLO, Min, Max, Info}) when ?IS_WITHIN(Min, 1, Max), ?IS_WITHIN(Max, 1, 255) ->
    is_map(Info) andalso is_info(Info);
legal({?READY, Info}) when is_map(Info) -> is_info(Info);
legal({?FAILED, Name, Text}) when is_binary(Name), is_binary(Text) -> true;
legal({?ERROR, Name, Text}) when is_binary(Name), is_binary(Text) -> true;
legal(_) -> false.

%% The keys are binaries, the values what the sender's package makes of them.
is_info(Info) -> lists:all(fun is_binary/1, maps:keys(Info)) andalso is_restricted(Info).

is_status(Status) -> is_integer(Status) andalso Status >= 200 andalso Status =< 999.

%% Codes that stand for what no CLOSE frame says. (RFC 6455, 7.4.1)
is_sendable(1005) -> false;
is_sendable(1006) -> false;
is_sendable(1015) -> false;
is_sendable(_) -> true.

%% What the node itself says in a handshake.
is_free_of_handshake([]) -> true;
is_free_of_handshake([<<"sec-websocket-", _/binary>> | _]) -> false;
is_free_of_handshake([_ | Rest]) -> is_free_of_handshake(Rest).

are_headers(Headers) -> is_map(Headers) andalso all_headers(maps:to_list(Headers)).

all_headers([]) -> true;
all_headers([{<<"set-cookie">>, [_ | _] = Values} | Rest]) ->
    are_binaries(Values) andalso all_headers(Rest);
all_headers([{<<"set-cookie">>, _} | _]) -> false;
all_headers([{Name, Value} | Rest]) when is_binary(Name), Name =/= <<>>, is_binary(Value) ->
    all_headers(Rest);
all_headers(_) -> false.

are_flat([]) -> true;
are_flat([{<<_, _/binary>>, Value} | Rest]) when is_binary(Value) -> are_flat(Rest);
are_flat(_) -> false.

are_binaries([]) -> true;
are_binaries([B | Rest]) when is_binary(B) -> are_binaries(Rest);
are_binaries(_) -> false.

are_ids([]) -> true;
are_ids([Id | Rest]) when ?IS_ID(Id) -> are_ids(Rest);
are_ids(_) -> false.

%% Never the payload: a message may hold what must not reach a log.
describe(Message) when is_tuple(Message), is_integer(element(1, Message)) ->
    Fields = [element(1, Message), tuple_size(Message) - 1],
    iolist_to_binary(io_lib:format("message ~b with ~b fields", Fields));
describe(_) ->
    <<"not a tuple that starts with a code">>.

bad_packet(Text) ->
    {error, {bad_packet, Text}}.

%% @doc Text as ERROR may carry it, at most 65536 bytes. UTF-8 is never cut within a character.
-spec cut_text(binary()) -> binary().
cut_text(Text) when byte_size(Text) =< ?MAX_TEXT -> Text;
cut_text(Text) -> cut_text(Text, ?MAX_TEXT).

cut_text(Text, Size) ->
    case binary:at(Text, Size) band 2#11000000 of
        %% A continuation byte comes next; a character has at most three of them.
        2#10000000 when Size > ?MAX_TEXT - 3 -> cut_text(Text, Size - 1);
        _ -> binary:part(Text, 0, Size)
    end.

%% @doc A value as the payload of a call, cast or result (design section 4).
-spec encode_value(term()) -> {ok, binary()} | {error, too_large}.
encode_value(Value) ->
    Payload = term_to_binary(Value, [{minor_version, 2}]),
    case byte_size(Payload) =< ?MAX_PAYLOAD of
        true -> {ok, Payload};
        false -> {error, too_large}
    end.

%% @doc Tags of the tuples that stand for Python's types in values. That they are here makes them
%% atoms that the node knows, whichever of its modules are loaded.
-spec value_tags() -> [bytes | ndarray, ...].
value_tags() -> [bytes, ndarray].

%% @doc The value of a payload. Atoms that the node does not know are refused, not created.
-spec decode_value(binary()) -> {ok, term()} | {error, bad_term}.
decode_value(<<131, 80, _/binary>>) ->
    {error, bad_term};
decode_value(Payload) ->
    try binary_to_term(Payload, [safe, used]) of
        {Value, Used} when Used =:= byte_size(Payload) -> {ok, Value};
        {_, _} -> {error, bad_term}
    catch
        error:badarg -> {error, bad_term}
    end.
