%% SPDX-License-Identifier: Apache-2.0
%% @doc Publish and subscribe for Python workers. Runs in the process of the service call.
%%
%%   publish        [Topic, Message]                how many subscriptions it was sent to
%%   subscribe      [Id, Kind, Topic]               the worker's subscription Id
%%   unsubscribe    [Id]
%%   topics.join    [Exchange, Kind, Topic]         for the WebSocket of that exchange
%%   topics.leave   [Exchange, Kind, Topic]
%%
%% Kind is `topic' or `prefix', for subscribe also `internal', which has one topic: `nodes' that
%% come and go (`hornbeam_nodes'). All text is UTF-8.
-module(hornbeam_pubsub_service).
-behaviour(hornbeam_service).

-export([handle/3]).

%% Bytes.
-define(MAX_TOPIC, 1024).

-spec handle(hornbeam_service:arguments(), hornbeam_service:keywords(), Context) ->
    {ok, undefined | non_neg_integer()} | {error, term()} | {bad_term, binary()}
when
    Context :: hornbeam_service:context().
handle([Topic, Message], _, #{service := <<"publish">>, timeout := Timeout}) ->
    guarded(fun() -> hornbeam_pubsub:publish(topic(Topic), Message, most(Timeout)) end);
handle(Arguments, _, #{service := Service, worker := Worker}) ->
    guarded(fun() -> serve(Service, Arguments, Worker) end).

guarded(Serve) ->
    try
        {ok, Serve()}
    catch
        throw:{bad_term, Text} when is_binary(Text) -> {bad_term, Text};
        throw:{error, Reason} when Reason =:= gone; Reason =:= unknown_call -> {error, Reason};
        error:{not_json, Value} -> {bad_term, not_json(Value)};
        error:{too_large, _} -> {bad_term, <<"publish: the message is too large">>}
    end.

%% What other nodes may take: the caller must have the answer by its deadline.
most(Timeout) -> max(1, Timeout - Timeout div 10).

serve(<<"subscribe">>, [Id, <<"internal">>, <<"nodes">>], Worker) when is_integer(Id), Id > 0 ->
    subscribe(Worker, Id, hornbeam_nodes:channel());
serve(<<"subscribe">>, [Id, Kind, Topic], Worker) when is_integer(Id), Id > 0 ->
    subscribe(Worker, Id, channel(Kind, Topic));
serve(<<"unsubscribe">>, [Id], Worker) ->
    ok = hornbeam_worker_events:unsubscribe(events(Worker), Id),
    undefined;
serve(<<"topics.join">>, [Exchange, Kind, Topic], Worker) ->
    join(Exchange, Worker, channel(Kind, Topic));
serve(<<"topics.leave">>, [Exchange, Kind, Topic], Worker) ->
    ok = hornbeam_websocket_topics:leave(socket(Exchange, Worker), channel(Kind, Topic)),
    undefined;
serve(Service, _, _) ->
    throw({bad_term, <<Service/binary, ": arguments of other number or type than documented">>}).

subscribe(Worker, Id, Channel) ->
    case hornbeam_worker_events:subscribe(events(Worker), Id, Channel) of
        ok -> undefined;
        {error, taken} -> throw({bad_term, <<"subscribe: the number is that of another topic">>})
    end.

%% A stream that ends tells the worker and then takes its subscriptions back: one that was made
%% after that is found by asking once more.
join(Exchange, Worker, Channel) ->
    Socket = socket(Exchange, Worker),
    ok = hornbeam_websocket_topics:join(Socket, Channel),
    case hornbeam_worker:socket(Worker, Exchange) of
        {ok, _} ->
            undefined;
        {error, Reason} ->
            ok = hornbeam_pubsub:detach_all(Socket),
            throw({error, Reason})
    end.

channel(<<"topic">>, Topic) -> {topic, topic(Topic)};
channel(<<"prefix">>, Topic) -> {prefix, topic(Topic)};
channel(_, _) -> throw({bad_term, <<"the kind of a subscription is topic or prefix">>}).

topic(Topic) when is_binary(Topic), byte_size(Topic) =< ?MAX_TOPIC ->
    case unicode:characters_to_binary(Topic) of
        Topic -> Topic;
        _ -> throw({bad_term, <<"a topic is text in UTF-8">>})
    end;
topic(_) ->
    throw({bad_term, <<"a topic is text of at most 1024 bytes">>}).

not_json(Value) ->
    Text = unicode:characters_to_binary(io_lib:format("~0tP", [Value, 50])),
    <<"publish: a WebSocket is subscribed, and this has no JSON form: ", Text/binary>>.

events(Worker) ->
    known(hornbeam_worker:events(Worker)).

socket(Exchange, Worker) ->
    known(hornbeam_worker:socket(Worker, Exchange)).

known({ok, Pid}) -> Pid;
known({error, Reason}) -> throw({error, Reason}).
