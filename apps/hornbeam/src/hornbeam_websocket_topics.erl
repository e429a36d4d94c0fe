%% SPDX-License-Identifier: Apache-2.0
%% @doc The topics that a WebSocket has joined: what is published goes to its client without waking
%% Python.
%%
%% Runs in the connection process. `hornbeam_pubsub_service' joins and leaves on behalf of the
%% application; the publisher tells the process once that a channel has something, which is then
%% read from the log of the channel. A client that is slow misses the oldest messages.
-module(hornbeam_websocket_topics).

-export([join/2, leave/2]).
-export([new/0, joined/3, left/2, read/2]).
-export_type([topics/0, event/0]).

%% Messages, and bytes, after which others of the process's events have their turn.
-define(BATCH, 64).
-define(BATCH_BYTES, 1048576).

-opaque topics() :: #{
    hornbeam_pubsub:channel() => {Joined :: pos_integer(), hornbeam_pubsub:subscription()}
}.

%% What the connection process is sent.
-type event() ::
    {hornbeam_channel, hornbeam_pubsub:channel()}
    | {hornbeam_joined, hornbeam_pubsub:channel(), hornbeam_pubsub:subscription()}
    | {hornbeam_left, hornbeam_pubsub:channel()}.

%%% Whoever serves the application

%% @doc The WebSocket of that connection process gets what is published from now on.
-spec join(pid(), hornbeam_pubsub:channel()) -> ok.
join(Socket, Channel) ->
    Subscription = hornbeam_pubsub:attach(Channel, Socket, socket),
    Socket ! {hornbeam_joined, Channel, Subscription},
    ok.

%% @doc Takes one join back; nothing when there is none.
-spec leave(pid(), hornbeam_pubsub:channel()) -> ok.
leave(Socket, Channel) ->
    ok = hornbeam_pubsub:detach(Channel, Socket),
    Socket ! {hornbeam_left, Channel},
    ok.

%%% The connection process

-spec new() -> topics().
new() -> #{}.

-spec joined(hornbeam_pubsub:channel(), hornbeam_pubsub:subscription(), topics()) -> topics().
joined(Channel, Subscription, Topics) ->
    case Topics of
        #{Channel := {Joined, First}} -> Topics#{Channel := {Joined + 1, First}};
        _ -> Topics#{Channel => {1, Subscription}}
    end.

-spec left(hornbeam_pubsub:channel(), topics()) -> topics().
left(Channel, Topics) ->
    case Topics of
        #{Channel := {1, _}} -> maps:remove(Channel, Topics);
        #{Channel := {Joined, Subscription}} -> Topics#{Channel := {Joined - 1, Subscription}};
        _ -> Topics
    end.

%% @doc What the client is to be sent. When there may be more the process has told itself so.
-spec read(hornbeam_pubsub:channel(), topics()) -> {[{text | binary, binary()}], topics()}.
read(Channel, Topics) ->
    case Topics of
        #{Channel := {Joined, Subscription0}} ->
            ok = hornbeam_pubsub:told(Subscription0),
            {Messages, Subscription} = read(Channel, Subscription0, [], 0),
            {Messages, Topics#{Channel := {Joined, Subscription}}};
        _ ->
            %% It has just left, or is told of the join next, which reads.
            {[], Topics}
    end.

read(Channel, Subscription, Messages, Bytes) when
    length(Messages) >= ?BATCH; Bytes >= ?BATCH_BYTES
->
    self() ! {hornbeam_channel, Channel},
    {lists:reverse(Messages), Subscription};
read(Channel, Subscription0, Messages, Bytes) ->
    case hornbeam_pubsub:read(Subscription0) of
        {ok, #{frame := undefined}, _, Subscription} ->
            %% Published when nobody but workers were subscribed.
            read(Channel, Subscription, Messages, Bytes);
        {ok, #{frame := {_, Data} = Message}, _, Subscription} ->
            read(Channel, Subscription, [Message | Messages], Bytes + byte_size(Data));
        {empty, Subscription} ->
            {lists:reverse(Messages), Subscription}
    end.
