%% SPDX-License-Identifier: Apache-2.0
%% @doc Publish and subscribe: topics by name or by prefix, in all processes and on all nodes.
%%
%% Everything here runs in the calling process. An Erlang process that subscribes gets
%% `{hornbeam_pubsub, Topic, Message}' in its mailbox, whose bound is its own affair. Python workers
%% and WebSockets read at their own pace from a log of the channel (`hornbeam_pubsub_log'): they
%% are told once that there is something to read, so that a slow one costs no memory and holds up
%% nobody.
-module(hornbeam_pubsub).

-export([publish/2, publish/3]).
-export([subscribe/1, subscribe/2, unsubscribe/1, unsubscribe/2, subscribers/1]).
-export([deliver/2, announce/2]).
-export([attach/3, detach/2, detach_all/1, tell/2, told/1, read/1]).
-export_type([topic/0, channel/0, subscription/0]).

-type topic() :: atom() | string() | binary().

%% What can be subscribed to: a topic, or all topics that start so.
-type channel() ::
    {topic, binary()}
    | {prefix, binary()}
    %% What this node alone tells, of itself: nobody can publish to it, no other node hears of it.
    | {internal, binary()}.

%% What a subscriber that reads from the log holds: see attach/3.
-opaque subscription() ::
    {channel(), hornbeam_pubsub_log:log(), Told :: atomics:atomics_ref(),
        hornbeam_pubsub_log:cursor()}.

-define(SUBSCRIBERS, hornbeam_pubsub_subscribers).
-define(CHANNELS, hornbeam_pubsub_channels).
%% Milliseconds that other nodes have for their count.
-define(REMOTE_TIMEOUT, 5000).

%%% Subscribing processes

%% @doc The calling process gets what is published to the topic, or to all topics with the prefix.
%% Subscribing twice counts twice, for unsubscribe/1 and for the publisher, but one copy is sent.
-spec subscribe(topic() | {prefix, topic()}) -> ok.
subscribe(Topic) ->
    subscribe(Topic, self()).

-spec subscribe(topic() | {prefix, topic()}, pid()) -> ok.
subscribe(Topic, Pid) when node(Pid) =:= node() ->
    _ = hornbeam_pubsub_registry:subscribe(channel(Topic), Pid, process),
    ok.

%% @doc Takes one subscription back; nothing when there is none. The end of the process takes all.
-spec unsubscribe(topic() | {prefix, topic()}) -> ok.
unsubscribe(Topic) ->
    unsubscribe(Topic, self()).

-spec unsubscribe(topic() | {prefix, topic()}, pid()) -> ok.
unsubscribe(Topic, Pid) ->
    hornbeam_pubsub_registry:unsubscribe(channel(Topic), Pid).

%% @doc How many subscriptions of this node a message to the topic would reach.
-spec subscribers(topic()) -> non_neg_integer().
subscribers(Topic) ->
    Rows = lists:append([rows(Channel) || Channel <- channels(text(Topic))]),
    lists:sum([Weight || {_, Weight, _, _} <- Rows]).

channel({prefix, Prefix}) -> {prefix, text(Prefix)};
channel(Topic) -> {topic, text(Topic)}.

text(Topic) when is_atom(Topic) -> atom_to_binary(Topic);
text(Topic) when is_binary(Topic); is_list(Topic) ->
    case unicode:characters_to_binary(Topic) of
        Text when is_binary(Text) -> Text;
        _ -> error({bad_topic, Topic, {expected, text}})
    end;
text(Topic) ->
    error({bad_topic, Topic, {expected, text}}).

%%% Publishing

%% @doc As `publish(Topic, Message, 5000)'.
-spec publish(topic(), Message :: term()) -> non_neg_integer().
publish(Topic, Message) ->
    publish(Topic, Message, ?REMOTE_TIMEOUT).

%% @doc Send Message to all who subscribe to Topic, on all nodes. Returns how many subscriptions it
%% was sent to. Other nodes have Timeout milliseconds to say how many they have; one that does not
%% counts as none, and is not waited for again until it answers.
%%
%% Errors: `{not_json, Value}' when a WebSocket would get a value that has no JSON form; then nobody
%% on the node of that WebSocket gets it. `{too_large, _}' when the message exceeds what workers can
%% be sent.
-spec publish(topic(), Message :: term(), Timeout :: pos_integer()) -> non_neg_integer().
publish(Topic, Message, Timeout) ->
    Name = text(Topic),
    Local = deliver(Name, Message),
    case hornbeam_pubsub_relay:interested(Name) of
        [] -> Local;
        Relays -> Local + hornbeam_pubsub_remote:publish(Relays, Name, Message, Timeout)
    end.

%% @doc The same for the subscribers of this node.
-spec deliver(binary(), term()) -> non_neg_integer().
deliver(Topic, Message) ->
    case [{Channel, Rows} || Channel <- channels(Topic), Rows <- [rows(Channel)], Rows =/= []] of
        [] -> 0;
        Reached -> deliver(Topic, Message, Reached)
    end.

%% @doc Tell those who subscribe to an internal channel; how many subscriptions that were.
-spec announce({internal, binary()}, term()) -> non_neg_integer().
announce({internal, Name} = Channel, Message) ->
    case rows(Channel) of
        [] -> 0;
        Rows -> deliver(Name, Message, [{Channel, Rows}])
    end.

deliver(Topic, Message, Reached) ->
    AllRows = lists:append([Rows || {_, Rows} <- Reached]),
    Entry = entry(Topic, Message, AllRows),
    lists:foreach(fun({Channel, Rows}) -> append(Channel, Rows, Entry) end, Reached),
    tell_processes(AllRows, {hornbeam_pubsub, Topic, Message}),
    lists:sum([Weight || {_, Weight, _, _} <- AllRows]).

%% A topic and the prefixes of it that somebody subscribes to.
channels(Topic) ->
    Prefixes = [
        {prefix, binary:part(Topic, 0, Length)}
     || Length <- hornbeam_pubsub_registry:prefix_lengths(), Length =< byte_size(Topic)
    ],
    [{topic, Topic} | Prefixes].

rows(Channel) ->
    ets:select(?SUBSCRIBERS, [{{{Channel, '_'}, '_', '_', '_'}, [], ['$_']}]).

%% Each form is made once, and only when somebody wants it.
entry(Topic, Message, Rows) ->
    Kinds = [Kind || {_, _, Kind, _} <- Rows],
    #{
        topic => Topic,
        payload => payload(Message, lists:member(worker, Kinds)),
        frame => frame(Message, lists:member(socket, Kinds))
    }.

payload(_, false) ->
    <<>>;
payload(Message, true) ->
    case hornbeam_wire:encode_value(Message) of
        {ok, Payload} -> Payload;
        {error, too_large} -> error({too_large, message})
    end.

frame(_, false) -> undefined;
frame({bytes, Data}, true) when is_binary(Data) -> {binary, Data};
frame(Data, true) when is_binary(Data) ->
    case unicode:characters_to_binary(Data) of
        Data -> {text, Data};
        _ -> {binary, Data}
    end;
frame(Message, true) ->
    case hornbeam_json:encode(Message) of
        {ok, Text} -> {text, Text};
        {error, Reason} -> error(Reason)
    end.

append(Channel, Rows, Entry) ->
    Readers = [Row || {_, _, Kind, _} = Row <- Rows, Kind =/= process],
    case Readers =/= [] andalso ets:lookup(?CHANNELS, Channel) of
        [{_, Log}] ->
            ok = hornbeam_pubsub_log:append(Channel, Log, Entry, hornbeam_pubsub_registry:limits()),
            ok = hornbeam_schedulers:many(length(Readers)),
            lists:foreach(fun(Row) -> tell_reader(Channel, Row) end, Readers);
        _ ->
            ok
    end.

%% One message until it has looked.
tell_reader(Channel, {{_, Subscriber}, _, _, Told}) ->
    case atomics:exchange(Told, 1, 1) of
        0 -> tell(Subscriber, {hornbeam_channel, Channel});
        1 -> ok
    end.

tell_processes(Rows, Message) ->
    Pids = lists:usort([Pid || {{_, Pid}, _, process, _} <- Rows]),
    lists:foreach(fun(Pid) -> Pid ! Message end, Pids).

%%% Subscribers that read from the log

%% @doc A process, or a stream of one, subscribes as a reader: `{hornbeam_channel, Channel}' tells
%% it that there is something to read/1. It is sent once until the reader has read to the end.
-spec attach(channel(), hornbeam_pubsub_registry:subscriber(), worker | socket) ->
    subscription().
attach(Channel, Subscriber, Kind) ->
    {Log, Told, Cursor} = hornbeam_pubsub_registry:subscribe(Channel, Subscriber, Kind),
    {Channel, Log, Told, Cursor}.

-spec detach(channel(), hornbeam_pubsub_registry:subscriber()) -> ok.
detach(Channel, Subscriber) ->
    hornbeam_pubsub_registry:unsubscribe(Channel, Subscriber).

%% @doc The end of a stream whose process goes on. The end of a process needs no word.
-spec detach_all(hornbeam_pubsub_registry:subscriber()) -> ok.
detach_all(Subscriber) ->
    hornbeam_pubsub_registry:unsubscribe_all(Subscriber).

%% @doc Sends a reader what it is to know: a process as it is, a stream as Cowboy hands it on.
-spec tell(hornbeam_pubsub_registry:subscriber(), term()) -> ok.
tell({Pid, _} = Stream, Message) ->
    Pid ! {Stream, Message},
    ok;
tell(Pid, Message) ->
    Pid ! Message,
    ok.

%% @doc To be called when the process has been told, before it reads: from here on it is told again.
-spec told(subscription()) -> ok.
told({_, _, Told, _}) ->
    ok = atomics:put(Told, 1, 0).

%% @doc The next message and how many were missed before it.
-spec read(subscription()) ->
    {ok, hornbeam_pubsub_log:message(), Missed :: non_neg_integer(), subscription()}
    | {empty, subscription()}.
read({Channel, Log, Told, Cursor0}) ->
    case hornbeam_pubsub_log:read(Channel, Log, Cursor0) of
        {ok, Message, Missed, Cursor} -> {ok, Message, Missed, {Channel, Log, Told, Cursor}};
        {empty, Cursor} -> {empty, {Channel, Log, Told, Cursor}}
    end.
