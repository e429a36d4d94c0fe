%% SPDX-License-Identifier: Apache-2.0
%% Codes of the messages between a node and its workers: priv/protocol/PROTOCOL.md, section 4.

-define(PROTOCOL_MIN, 1).
-define(PROTOCOL_MAX, 1).
-define(MAX_PACKET, 67108864).
-define(MAX_MESSAGES, 65536).
-define(MAX_PAYLOAD, 33554432).
-define(MAX_TEXT, 65536).
%% Bytes that a message of a WebSocket costs beyond its data.
-define(WEBSOCKET_MESSAGE, 64).
%% Bytes of the reason of a CLOSE.
-define(MAX_REASON, 123).
%% Items of a stream, events of a subscription that one message can grant.
-define(MAX_ITEMS, 65536).

-define(HELLO, 1).
-define(BOOT, 2).
-define(READY, 3).
-define(FAILED, 4).
-define(DRAIN, 5).
-define(BEAT, 6).
-define(ERROR, 7).

-define(OPEN, 16).
-define(BODY, 17).
-define(BODY_CREDIT, 18).
-define(RESPONSE, 19).
-define(HEAD, 20).
-define(DATA, 21).
-define(END, 22).
-define(SEND_FILE, 23).
-define(CREDIT, 24).
-define(CANCEL, 25).
-define(ABORT, 26).
-define(RETURN, 27).
-define(STARTED, 28).
-define(INFORM, 29).
-define(PUSH, 30).

-define(CALL, 32).
-define(RESULT, 33).
-define(FAULT, 34).
-define(REVOKE, 35).
-define(CAST, 36).

-define(WEBSOCKET, 37).
-define(ACCEPT, 38).
-define(TEXT, 39).
-define(BINARY, 40).
-define(CLOSE, 41).

-define(STREAM, 44).
-define(ITEM, 45).
-define(ITEM_CREDIT, 46).
-define(EVENT, 48).
-define(EVENT_CREDIT, 49).

%% What is about calls, streams of items and subscriptions.
-define(IS_OF_CALL(Code),
    (Code >= ?CALL andalso Code =< ?EVENT_CREDIT andalso
        not (Code >= ?WEBSOCKET andalso Code =< ?CLOSE))).

%% What `hornbeam_exchanges' takes of a worker; the rest is for `hornbeam_calls'.
-define(IS_OF_EXCHANGE(Code),
    (Code < ?CALL orelse (Code >= ?WEBSOCKET andalso Code =< ?CLOSE))).
