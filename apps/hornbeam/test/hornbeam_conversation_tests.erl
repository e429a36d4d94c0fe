%% SPDX-License-Identifier: Apache-2.0
%% @doc Every conversation of the vectors, run from the node's side: greeting, exchanges, calls and
%% events, as the worker process puts them together, without a process of either side but the one
%% that reads events.
%% Runs in: the EUnit process, which is the owner of the services that calls start. What a call of
%% the worker is answered is the vector's choice, so its service is one that runs in a process.
-module(hornbeam_conversation_tests).

-include_lib("eunit/include/eunit.hrl").
-include("hornbeam_wire.hrl").

-define(REST_OF_OPEN(Message), list_to_tuple(lists:nthtail(3, tuple_to_list(Message)))).

-record(node, {
    phase :: greeting | serving | over,
    handshake :: hornbeam_handshake:state() | undefined,
    exchanges :: hornbeam_exchanges:state(),
    calls = hornbeam_calls:new() :: hornbeam_calls:state(),
    events :: conversation_events:state() | undefined,
    %% aliases of the calls that the vector makes, by id
    callers = #{} :: #{pos_integer() => hornbeam_calls:from()},
    %% what the node has said and the vector has not come to yet
    said = [] :: [hornbeam_wire:message()]
}).

conversation_test_() ->
    {setup, fun serve_numbers/0, fun stop/1,
        [{binary_to_list(Name), fun() -> run(C) end}
            || #{<<"name">> := Name} = C <- conversations()]}.

conversations() -> message_vectors:read("conversations.json", 200).

%% This process is the worker process that has the handler of streams.
serve_numbers() ->
    {ok, Tables} = hornbeam_tables:start_link(),
    {ok, PubSub} = hornbeam_pubsub_sup:start_link(),
    ok = hornbeam_pubsub_registry:configure(
        #{pubsub_backlog => 1, pubsub_backlog_bytes => 65536, pubsub_backlog_age => 60000}
    ),
    Pool = hornbeam_pool:new(?MODULE, #{size => 1, queue_limit => 0, queue_timeout => 1}),
    ok = hornbeam_pool:set_worker(1, self(), Pool),
    ok = hornbeam_hooks_table:started(Pool, 1, #{}, [<<"numbers">>]),
    {Tables, PubSub}.

stop({Tables, PubSub}) ->
    ok = hornbeam_pool:delete(?MODULE),
    true = unlink(PubSub),
    ok = gen_server:stop(PubSub),
    true = persistent_term:erase({hornbeam_pubsub_registry, limits}),
    true = unlink(Tables),
    gen_server:stop(Tables).

run(#{<<"steps">> := [_ | _] = Steps} = Conversation) ->
    Events = conversation_events:new(legal_of_node(Steps)),
    Node = begin_with(Conversation),
    Outcome = lists:foldl(fun step/2, Node#node{events = Events}, Steps),
    ok = conversation_events:stop(Events),
    flush(),
    Outcome.

legal_of_node(Steps) -> of_node([Step || Step <- Steps, not is_map_key(<<"error">>, Step)]).

%%% The beginning

begin_with(#{<<"begin">> := <<"ready">>} = C) ->
    (node_of(C))#node{phase = serving};
begin_with(#{<<"begin">> := <<"start">>, <<"steps">> := Steps} = C) ->
    Handshake = hornbeam_handshake:new(versions(Steps), #{}, boot(Steps)),
    (node_of(C))#node{
        phase = greeting, handshake = Handshake, said = [hornbeam_handshake:hello(Handshake)]
    }.

node_of(#{<<"response_window">> := Response, <<"request_window">> := Request}) ->
    #node{
        exchanges = hornbeam_exchanges:new(#{
            timeout => infinity, response_window => Response, request_window => Request
        })
    }.

%% The node of some vectors is a newer one.
versions(Steps) ->
    case [{Min, Max} || {?HELLO, Min, Max, _} <- of_node(Steps)] of
        [Versions | _] -> Versions;
        [] -> {?PROTOCOL_MIN, ?PROTOCOL_MAX}
    end.

boot(Steps) ->
    case [Config || {?BOOT, Config} <- of_node(Steps)] of
        [Config | _] -> Config;
        [] -> #{}
    end.

of_node(Steps) ->
    [message_vectors:message(M) || #{<<"from">> := <<"node">>, <<"message">> := M} <- Steps].

%%% Steps

step(_, stopped) ->
    stopped;
%% The mark in the ledger is for the end of a worker, not for what it says.
step(#{<<"do">> := <<"start">>}, Node) ->
    Node;
step(#{<<"only">> := <<"worker">>}, _) ->
    stopped;
step(#{<<"from">> := <<"worker">>, <<"message">> := M} = Step, Node) ->
    {ok, [Message]} = hornbeam_wire:decode(hornbeam_wire:encode([message_vectors:message(M)])),
    heard(Message, maps:get(<<"error">>, Step, none), Node);
step(#{<<"from">> := <<"node">>, <<"message">> := M} = Step, Node) ->
    Message = message_vectors:message(M),
    case Step of
        #{<<"error">> := Error} -> refused(Message, Error, Node);
        #{<<"dropped">> := true} -> crossed(Message, Node);
        #{} -> said(Message, Node)
    end.

%%% What the worker says

heard({?STREAM, Id, Origin, Timeout, <<"numbers">>, Payload}, Error, Node) ->
    heard({?STREAM, Id, Origin, Timeout, <<"execute/numbers">>, Payload}, Error, Node);
heard(Message, none, Node) ->
    {ok, Heard} = handle(Message, Node),
    Heard;
heard(Message, Error, Node) ->
    {error, {Name, Text}} = handle(Message, Node),
    ?assertEqual(Error, atom_to_binary(Name)),
    ?assert(is_binary(Text) andalso Text =/= <<>>),
    stopped.

handle(_, #node{phase = over}) ->
    {error, {bad_state, <<"after the end">>}};
handle(Message, #node{phase = greeting, handshake = Handshake, said = Said} = Node) ->
    case hornbeam_handshake:handle([Message], Handshake) of
        {more, Out, [], Next} -> {ok, Node#node{handshake = Next, said = Said ++ Out}};
        {more, [], [Message], Next} -> handle_call(Message, Node#node{handshake = Next});
        {ready, Out, [], _} -> {ok, Node#node{phase = serving, said = Said ++ Out}};
        {failed, Out, {protocol, Error}} -> ?assertMatch([{?ERROR, _, _}], Out), {error, Error};
        {failed, Out, _} -> {ok, Node#node{phase = over, said = Said ++ Out}}
    end;
handle(Message, #node{exchanges = X} = Node) when ?IS_OF_EXCHANGE(element(1, Message)) ->
    case hornbeam_exchanges:handle(Message, 0, X) of
        {ok, _Effects, Next} -> {ok, Node#node{exchanges = Next}};
        {error, _} = Error -> Error
    end;
handle(Message, Node) ->
    handle_call(Message, Node).

handle_call({?EVENT_CREDIT, Id, N}, #node{events = Events} = Node) ->
    {ok, Node#node{events = conversation_events:credit(Id, N, Events)}};
handle_call(Message, #node{calls = Calls, said = Said} = Node) ->
    case hornbeam_calls:handle(Message, self(), Calls) of
        {ok, Out, Next} -> {ok, Node#node{calls = Next, said = Said ++ Out}};
        {error, _} = Error -> Error
    end.

%%% What the node says

%% A legal message of the node is one that it says by itself, or that it says when it is asked to.
said({?EVENT, _, _, _, _} = Event, #node{events = Events} = Node) ->
    Node#node{events = conversation_events:says(Event, Events)};
said(Message, #node{said = Said} = Node) ->
    case lists:member(Message, Said) of
        true -> Node#node{said = lists:delete(Message, Said)};
        false -> asked(Message, Node)
    end.

asked(Message, Node) ->
    {Out, Next} = say(Message, Node),
    ?assertEqual([Message], Out),
    Next.

%% It crosses the message that closed what it is about; a node that has read that one says nothing,
%% or has said it by itself at that time.
crossed(Message, #node{said = Said} = Node) ->
    case lists:member(Message, Said) of
        true ->
            Node#node{said = lists:delete(Message, Said)};
        false ->
            {[], Next} = say(Message, Node),
            Next
    end.

say({?ERROR, _, _} = Message, Node) ->
    {[Message], Node#node{phase = over}};
say({?DRAIN} = Message, Node) ->
    {[Message], Node};
say(Message, #node{exchanges = X} = Node) when ?IS_OF_EXCHANGE(element(1, Message)) ->
    {Out, Next} = say_exchange(Message, X),
    {Out, Node#node{exchanges = Next}};
say({Code, Id, Origin, Timeout, Service, Payload}, #node{callers = Callers} = Node) when
    Code =:= ?CALL; Code =:= ?STREAM
->
    From = {alias, alias()},
    Chain = chain(Origin, Node),
    Event =
        case Code of
            ?CALL -> {call, From, Chain, Timeout, Service, Payload};
            ?STREAM -> {hook, ?STREAM, From, Chain, Timeout, Service, Payload}
        end,
    {Out, Next} = hornbeam_calls:event(Event, phase(Node), Node#node.calls),
    {Out, Node#node{calls = Next, callers = Callers#{Id => From}}};
say(Message, #node{calls = Calls} = Node) ->
    {Out, Next} = hornbeam_calls:event(call_event(Message, Node), phase(Node), Calls),
    {Out, Node#node{calls = Next}}.

phase(#node{phase = serving}) -> up;
phase(_) -> down.

chain(0, _) -> [];
chain(Origin, #node{calls = Calls}) -> [{self(), hornbeam_calls:incarnation(Calls), Origin}].

say_exchange({?OPEN, _, _, _, _, _, _, _, _, _} = Message, X) ->
    open(element(2, Message), hornbeam_wire:request(?REST_OF_OPEN(Message)), X);
say_exchange({?WEBSOCKET, _, _, _, _, _, _, _, _} = Message, X) ->
    open(element(2, Message), hornbeam_wire:websocket(?REST_OF_OPEN(Message)), X);
say_exchange({?TEXT, Id, Data}, X) -> hornbeam_exchanges:message(Id, text, Data, X);
say_exchange({?BINARY, Id, Data}, X) -> hornbeam_exchanges:message(Id, binary, Data, X);
say_exchange({?CLOSE, Id, Code, Reason}, X) -> hornbeam_exchanges:close(Id, Code, Reason, 0, X);
say_exchange({?BODY, Id, Fin, Data}, X) -> hornbeam_exchanges:body(Id, Fin, Data, 0, X);
say_exchange({?CREDIT, Id, N}, X) -> hornbeam_exchanges:credit(Id, N, 0, X);
say_exchange({?CANCEL, Id, Reason}, X) -> hornbeam_exchanges:cancel(Id, Reason, 0, X).

open(Id, Request, X) ->
    {Open, Next} = hornbeam_exchanges:open({self(), Id}, Request, 0, X),
    {binary_to_term(iolist_to_binary(hornbeam_wire:encode_opens([Open]))), Next}.

call_event({?REVOKE, Id}, Node) -> {revoke, caller(Id, Node)};
call_event({?ITEM_CREDIT, Id, N}, Node) -> {credit, caller(Id, Node), N};
call_event({?CAST, Service, Payload}, _) -> {cast, Service, Payload};
call_event({?ITEM, Id, Payload}, Node) -> {item, key(Id, Node), Payload};
call_event(Answer, Node) -> {done, key(element(2, Answer), Node), Answer}.

caller(Id, #node{callers = Callers}) -> maps:get(Id, Callers, {alias, make_ref()}).

key(Id, #node{calls = Calls}) -> {hornbeam_calls:incarnation(Calls), Id}.

%%% What the node must not say

refused({?HELLO, _, _, _}, <<"version">>, #node{said = Said}) ->
    ?assertMatch([_, {?ERROR, <<"version">>, _}], Said),
    stopped;
refused(Message, <<"bad_state">>, Node) ->
    case has_means(Message, Node) of
        true -> refuses(Message, Node);
        false -> stopped
    end.

refuses({?EVENT, _, _, _, _} = Event, #node{events = Events}) ->
    ok = conversation_events:is_silent(Event, Events),
    stopped;
refuses({?BODY, _, _, _} = Message, Node) ->
    try say(Message, Node) of
        {Out, _} -> ?assertEqual([], Out)
    catch
        error:{illegal_body, _, _} -> ok
    end,
    stopped;
refuses({Code, _, _} = Message, Node) when
    Code =:= ?TEXT; Code =:= ?BINARY; Code =:= ?ITEM
->
    try say(Message, Node) of
        {Out, _} -> ?assertEqual([], Out)
    catch
        error:{illegal_message, _, _} -> ok
    end,
    stopped;
refuses(Message, Node) ->
    ?assertMatch({[], _}, say(Message, Node)),
    stopped.

%% Ids are chosen by the state machines; the greeting says each thing once; nothing is opened in a
%% state of the worker process but ready, which comes once; a stream whose request was sent whole
%% has no body left; an origin is what `hornbeam_services' was given.
has_means({Code, _, _, _}, _) when Code =:= ?HELLO -> false;
has_means({Code, _, _, _, _, _, _, _, _}, _) when Code =:= ?WEBSOCKET -> false;
has_means(Message, _) when element(1, Message) =:= ?BOOT; element(1, Message) =:= ?OPEN -> false;
has_means({?DRAIN}, _) -> false;
has_means({Code, 1, _, _, _, _}, #node{phase = Phase}) when Code =:= ?CALL; Code =:= ?STREAM ->
    Phase =/= serving;
has_means({?BODY, 1, true, <<>>}, _) -> false;
has_means(_, _) -> true.

%% Answers of services, ends of their processes, deadlines.
flush() ->
    receive
        _ -> flush()
    after 0 -> ok
    end.

%%% Nothing is skipped in silence

%% The conversations in which the runner stops before an illegal step of the node, for it cannot be
%% said.
unspeakable_test() ->
    Illegal = [
        {Name, message_vectors:message(M), begin_with(C)}
     || #{<<"name">> := Name, <<"steps">> := Steps} = C <- conversations(),
        #{<<"from">> := <<"node">>, <<"message">> := M, <<"error">> := <<"bad_state">>} <- Steps
    ],
    ?assertEqual(
        lists:sort([
            <<"a second HELLO">>, <<"BOOT before HELLO">>, <<"BOOT twice">>,
            <<"OPEN while the application loads">>, <<"OPEN with an id that was used">>,
            <<"OPEN with an id that is open">>, <<"OPEN with a lower id">>, <<"OPEN after DRAIN">>,
            <<"DRAIN twice">>, <<"CALL of the node with an id that was used">>,
            <<"BODY for a request that came whole">>, <<"an origin that was never made">>,
            <<"BODY of a WebSocket">>, <<"WEBSOCKET with an id that was used">>,
            <<"WEBSOCKET after DRAIN">>, <<"STREAM with an id that was used">>
        ]),
        lists:sort([Name || {Name, M, Node} <- Illegal, not has_means(M, Node)])
    ).

every_step_has_a_meaning_test() ->
    Steps = lists:append([S || #{<<"steps">> := S} <- conversations()]),
    Known = [S
        || #{<<"from">> := From} = S <- Steps, lists:member(From, [<<"node">>, <<"worker">>])],
    Started = [S || #{<<"do">> := <<"start">>} = S <- Steps],
    ?assertEqual(length(Steps), length(Known) + length(Started)).
