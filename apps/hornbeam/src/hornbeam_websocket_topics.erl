%% SPDX-License-Identifier: Apache-2.0
%% @doc The topics that a WebSocket has joined: what is published goes to its client without waking
%% Python.
%%
%% Runs in the connection process; over HTTP/2 for one of its streams. `hornbeam_pubsub_service'
%% joins and leaves on behalf of the application; the publisher tells the process once that a
%% channel has something, which is then read from the log of the channel. A client that is slow
%% misses the oldest messages.
-module(hornbeam_websocket_topics).

-export([join/2, leave/2]).
-export([new/0, event/3]).
-export_type([topics/0, event/0]).

%% Messages, and bytes, after which others of the process's events have their turn.
-define(BATCH, 64).
-define(BATCH_BYTES, 1048576).

-opaque topics() :: #{
    hornbeam_pubsub:channel() => {Joined :: pos_integer(), hornbeam_pubsub:subscription()}
}.

%% What the connection process, or the stream, is sent.
-type event() ::
    {hornbeam_channel, hornbeam_pubsub:channel()}
    | {hornbeam_joined, hornbeam_pubsub:channel(), hornbeam_pubsub:subscription()}
    | {hornbeam_left, hornbeam_pubsub:channel()}.

%%% Whoever serves the application

%% @doc The WebSocket gets what is published from now on.
-spec join(hornbeam_exchanges:hearer(), hornbeam_pubsub:channel()) -> ok.
join(Socket, Channel) ->
    Subscription = hornbeam_pubsub:attach(Channel, Socket, socket),
    hornbeam_pubsub:tell(Socket, {hornbeam_joined, Channel, Subscription}).

%% @doc Takes one join back; nothing when there is none.
-spec leave(hornbeam_exchanges:hearer(), hornbeam_pubsub:channel()) -> ok.
leave(Socket, Channel) ->
    ok = hornbeam_pubsub:detach(Channel, Socket),
    hornbeam_pubsub:tell(Socket, {hornbeam_left, Channel}).

%%% The connection process

-spec new() -> topics().
new() -> #{}.

%% @doc What the client is to be sent after the event. `Self' is how the process, or the stream, is
%% told that there may be more.
-spec event(event(), hornbeam_exchanges:hearer(), topics()) ->
    {[{text | binary, binary()}], topics()}.
event({hornbeam_joined, Channel, Subscription}, Self, Topics) ->
    read(Channel, Self, joined(Channel, Subscription, Topics));
event({hornbeam_left, Channel}, _, Topics) ->
    {[], left(Channel, Topics)};
event({hornbeam_channel, Channel}, Self, Topics) ->
    read(Channel, Self, Topics).

joined(Channel, Subscription, Topics) ->
    case Topics of
        #{Channel := {Joined, First}} -> Topics#{Channel := {Joined + 1, First}};
        _ -> Topics#{Channel => {1, Subscription}}
    end.

left(Channel, Topics) ->
    case Topics of
        #{Channel := {1, _}} -> maps:remove(Channel, Topics);
        #{Channel := {Joined, Subscription}} -> Topics#{Channel := {Joined - 1, Subscription}};
        _ -> Topics
    end.

read(Channel, Self, Topics) ->
    case Topics of
        #{Channel := {Joined, Subscription0}} ->
            ok = hornbeam_pubsub:told(Subscription0),
            {More, Messages, Subscription} = batch(Subscription0, [], 0),
            _ = More andalso hornbeam_pubsub:tell(Self, {hornbeam_channel, Channel}),
            {Messages, Topics#{Channel := {Joined, Subscription}}};
        _ ->
            %% It has just left, or is told of the join next, which reads.
            {[], Topics}
    end.

batch(Subscription, Messages, Bytes) when length(Messages) >= ?BATCH; Bytes >= ?BATCH_BYTES ->
    {true, lists:reverse(Messages), Subscription};
batch(Subscription0, Messages, Bytes) ->
    case hornbeam_pubsub:read(Subscription0) of
        {ok, #{frame := undefined}, _, Subscription} ->
            %% Published when nobody but workers were subscribed.
            batch(Subscription, Messages, Bytes);
        {ok, #{frame := {_, Data} = Message}, _, Subscription} ->
            batch(Subscription, [Message | Messages], Bytes + byte_size(Data));
        {empty, Subscription} ->
            {false, lists:reverse(Messages), Subscription}
    end.
