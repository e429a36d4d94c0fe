%% SPDX-License-Identifier: Apache-2.0
%% @doc The open exchanges of one worker: what may be sent to it, what it may answer, who gets it.
%% A WebSocket is an exchange like others until it is accepted, and then one of
%% `hornbeam_websocket_exchanges'.
%%
%% Pure: messages, requests of streams and the time go in, a new state and effects come out. Runs in
%% the worker process (`hornbeam_worker'), which carries the effects out. The rules are those of
%% priv/protocol/PROTOCOL.md, sections 4.2, 6 and 7.
-module(hornbeam_exchanges).

-export([new/1, open/4, body/5, credit/4, cancel/4, leave/3, handle/3]).
-export([message/4, close/5, close_websockets/4]).
-export([overdue/2, give_away/2, fail_all/2]).
-export([count/1, running/1, websockets/1, given/1, socket/2]).
-export_type([state/0, to/0, hearer/0, effect/0, event/0, config/0]).

-include("hornbeam_wire.hrl").

%% The stream that waits for the answer.
-type to() :: {ConnectionProcess :: pid(), cowboy_stream:streamid()}.

%% Whoever is told: the stream, or the connection process of a WebSocket over HTTP/1.1.
-type hearer() :: to() | pid().

-type config() :: #{
    %% Milliseconds the application may go without any progress: before and after the head.
    timeout := timeout(),
    stream_timeout => timeout(),
    %% Bytes of DATA granted with OPEN; of messages granted with WEBSOCKET.
    response_window := pos_integer(),
    %% Bytes of messages that ACCEPT grants.
    request_window := pos_integer()
}.

%% What a stream is told. `{credit, N}': the worker takes N more bytes of the body, of messages.
-type event() ::
    {response, cowboy:http_status(), cowboy:http_headers(), binary()}
    | {head, cowboy:http_status(), cowboy:http_headers()}
    | {data, binary()}
    | {file, Path :: binary(), Offset :: non_neg_integer(), Bytes :: pos_integer()}
    | {fin, cowboy:http_headers()}
    | {credit, pos_integer()}
    | {inform, 100..199, cowboy:http_headers()}
    | {push, Path :: binary(), cowboy:http_headers()}
    | {accept, Subprotocol :: binary() | undefined, cowboy:http_headers()}
    | {text, binary()}
    | {binary, binary()}
    | {close, Code :: 1000..4999, Reason :: binary()}
    | {abort, Name :: binary(), Text :: binary()}
    | {failed, worker_gone | timeout}.

-type effect() ::
    {event, hearer(), hornbeam_wire:exchange_id(), event()}
    | {requeue, to(), hornbeam_wire:request()}
    %% The exchange is closed and its slot is free.
    | released.

-record(exchange, {
    to :: to(),
    %% kept so that it can go to another worker as long as this one has not started it
    request :: hornbeam_wire:request(),
    %% waiting for a head; streaming after one; cancelled when nobody waits for the answer.
    phase = waiting :: waiting | streaming | cancelled,
    %% bytes of DATA the worker may still send
    credit :: integer(),
    %% bytes of BODY the worker still takes
    body_credit = 0 :: non_neg_integer(),
    %% a BODY with `Fin' went out
    body_done = false :: boolean(),
    %% when the application counts as stuck, milliseconds of the caller's clock
    deadline :: integer() | infinity
}).

-record(state, {
    config :: config(),
    last_id = 0 :: non_neg_integer(),
    open = #{} :: #{hornbeam_wire:exchange_id() => #exchange{}},
    %% exchanges above this have not started, as far as STARTED messages tell
    started = 0 :: non_neg_integer(),
    %% accepted WebSockets; they hold no slots
    sockets :: hornbeam_websocket_exchanges:state(),
    %% given to other workers while this one was stalled; it still has to hand them back
    given = #{} :: #{hornbeam_wire:exchange_id() => true}
}).

-opaque state() :: #state{}.

-spec new(config()) -> state().
new(Config) ->
    #state{config = Config, sockets = hornbeam_websocket_exchanges:new(Config)}.

%% @doc All that the worker has not let go of.
-spec count(state()) -> non_neg_integer().
count(#state{open = Open, sockets = Sockets}) ->
    map_size(Open) + hornbeam_websocket_exchanges:count(Sockets).

%% @doc Those that hold slots: all but accepted WebSockets.
-spec running(state()) -> non_neg_integer().
running(#state{open = Open}) -> map_size(Open).

%% @doc Accepted WebSockets that a client is connected to.
-spec websockets(state()) -> non_neg_integer().
websockets(#state{sockets = Sockets}) -> hornbeam_websocket_exchanges:open_count(Sockets).

%% @doc How many exchanges were given away and are still in the hands of the stalled worker.
-spec given(state()) -> non_neg_integer().
given(#state{given = Given}) -> map_size(Given).

%% @doc Who hears of an accepted WebSocket.
-spec socket(hornbeam_wire:exchange_id(), state()) -> {ok, hearer()} | {error, gone}.
socket(Id, #state{sockets = Sockets}) ->
    hornbeam_websocket_exchanges:hearer(Id, Sockets).

%% @doc Open an exchange: what `hornbeam_wire:encode_opens/1' takes, for the worker.
-spec open(to(), hornbeam_wire:request(), Now :: integer(), state()) ->
    {{hornbeam_wire:exchange_id(), non_neg_integer(), hornbeam_wire:request()}, state()}.
open(To, Request, Now, #state{config = Config, last_id = Last, open = Open} = State) ->
    Id = Last + 1,
    #{timeout := Timeout, response_window := Window} = Config,
    Exchange = #exchange{
        to = To, request = Request, credit = Window, deadline = deadline(Now, Timeout)
    },
    {{Id, milliseconds(Timeout), Request}, State#state{last_id = Id, open = Open#{Id => Exchange}}}.

milliseconds(infinity) -> 0;
milliseconds(Timeout) -> Timeout.

deadline(_, infinity) -> infinity;
deadline(Now, Timeout) -> Now + Timeout.

%% @doc More of the request body. What arrives for an exchange that is closed or cancelled is
%% dropped, the messages crossed. A stream sends no more than the worker granted and nothing after
%% `Fin'.
-spec body(hornbeam_wire:exchange_id(), boolean(), binary(), Now :: integer(), state()) ->
    {[hornbeam_wire:message()], state()}.
body(Id, Fin, Data, Now, #state{open = Open} = State) ->
    Size = byte_size(Data),
    case Open of
        #{Id := #exchange{phase = cancelled}} ->
            {[], State};
        #{Id := #exchange{body_done = false, body_credit = Credit} = E} when Size =< Credit ->
            Sent = E#exchange{body_done = Fin, body_credit = Credit - Size},
            {[{?BODY, Id, Fin, Data}], store(Id, Sent, Now, State)};
        #{Id := #exchange{body_done = Done, body_credit = Credit}} ->
            error({illegal_body, Id, #{size => Size, credit => Credit, done => Done}});
        #{} ->
            {[], State}
    end.

%% @doc The client's side has taken N bytes of the response.
-spec credit(hornbeam_wire:exchange_id(), pos_integer(), Now :: integer(), state()) ->
    {[hornbeam_wire:message()], state()}.
credit(Id, N, Now, #state{open = Open} = State) ->
    case Open of
        #{Id := #exchange{phase = streaming, credit = Credit} = E} ->
            {[{?CREDIT, Id, N}], store(Id, E#exchange{credit = Credit + N}, Now, State)};
        #{} ->
            #state{sockets = Sockets0} = State,
            {Messages, Sockets} = hornbeam_websocket_exchanges:credit(Id, N, Sockets0),
            {Messages, State#state{sockets = Sockets}}
    end.

%% @doc A message of the client of a WebSocket, at most as much as the worker granted.
-spec message(hornbeam_wire:exchange_id(), text | binary, binary(), state()) ->
    {[hornbeam_wire:message()], state()}.
message(Id, Kind, Data, #state{sockets = Sockets0} = State) ->
    {Messages, Sockets} = hornbeam_websocket_exchanges:message(Id, Kind, Data, Sockets0),
    {Messages, State#state{sockets = Sockets}}.

%% @doc A WebSocket is closed for the client.
-spec close(hornbeam_wire:exchange_id(), Code :: 1000..4999, binary(), Now :: integer(), state()) ->
    {[hornbeam_wire:message()], state()}.
close(Id, Code, Reason, Now, #state{sockets = Sockets0} = State) ->
    {Messages, Sockets} = hornbeam_websocket_exchanges:close(Id, Code, Reason, Now, Sockets0),
    {Messages, State#state{sockets = Sockets}}.

%% @doc Close every WebSocket: the worker is about to end.
-spec close_websockets(Code :: 1000..4999, Reason :: binary(), Now :: integer(), state()) ->
    {[effect()], [hornbeam_wire:message()], state()}.
close_websockets(Code, Reason, Now, #state{sockets = Sockets0} = State) ->
    {Effects, Messages, Sockets} =
        hornbeam_websocket_exchanges:close_all(Code, Reason, Now, Sockets0),
    {Effects, Messages, State#state{sockets = Sockets}}.

%% @doc Nobody waits for the answer any more. The slot stays taken until the worker lets go.
-spec cancel(hornbeam_wire:exchange_id(), Reason :: binary(), Now :: integer(), state()) ->
    {[hornbeam_wire:message()], state()}.
cancel(Id, Reason, Now, #state{open = Open} = State) ->
    case Open of
        #{Id := #exchange{phase = Phase} = E} when Phase =/= cancelled ->
            {[{?CANCEL, Id, Reason}], store(Id, E#exchange{phase = cancelled}, Now, State)};
        #{} ->
            {[], State}
    end.

%% @doc The client of a stream has left that had heard nothing of its exchange. A WebSocket may have
%% been accepted meanwhile.
-spec leave(to(), Now :: integer(), state()) -> {[hornbeam_wire:message()], state()}.
leave(To, Now, #state{open = Open, sockets = Sockets0} = State) ->
    case [Id || {Id, #exchange{to = T}} <- maps:to_list(Open), T =:= To] of
        [Id | _] ->
            cancel(Id, <<"client_gone">>, Now, State);
        [] ->
            {Messages, Sockets} = hornbeam_websocket_exchanges:leave(To, Now, Sockets0),
            {Messages, State#state{sockets = Sockets}}
    end.

store(Id, Exchange, Now, #state{open = Open, config = Config} = State) ->
    Deadline = deadline(Now, patience(Exchange, Config)),
    State#state{open = Open#{Id := Exchange#exchange{deadline = Deadline}}}.

patience(#exchange{phase = streaming}, #{stream_timeout := Timeout}) -> Timeout;
patience(_, #{timeout := Timeout}) -> Timeout.

%% @doc A message of the worker. Effects are newest first: callers fold over many messages.
-spec handle(hornbeam_wire:message(), Now :: integer(), state()) ->
    {ok, [effect()], state()} | {error, hornbeam_wire:error() | {worker_error, binary()}}.
handle({?RETURN, Ids}, _Now, State) ->
    returned(Ids, [], State);
handle({?STARTED, Id}, _Now, #state{started = Started, last_id = Last} = State) when Id =< Last ->
    {ok, [], State#state{started = max(Id, Started)}};
handle({?BEAT}, _Now, State) ->
    {ok, [], State};
handle({?ERROR, Name, Text}, _Now, _State) ->
    {error, {worker_error, <<Name/binary, ": ", Text/binary>>}};
handle(Message, _Now, _State) when element(1, Message) < ?OPEN ->
    Code = integer_to_binary(element(1, Message)),
    {error, {bad_state, <<"message ", Code/binary, " after READY">>}};
handle(Message, Now, #state{open = Open} = State) ->
    Id = element(2, Message),
    case Open of
        #{Id := Exchange} -> step(Message, Exchange, Now, State);
        #{} -> websocket(Message, Now, State)
    end.

websocket(Message, Now, #state{sockets = Sockets0} = State) ->
    case hornbeam_websocket_exchanges:handle(Message, Now, Sockets0) of
        {ok, Effects, Sockets} -> {ok, Effects, State#state{sockets = Sockets}};
        illegal -> bad_state(Message, <<"where it is not legal">>);
        unknown -> bad_state(Message, <<"which is not open">>)
    end.

step({?RESPONSE, Id, Status, Headers, Data} = M, #exchange{phase = Phase, to = To}, _, State) ->
    #state{config = #{response_window := Window}} = State,
    case Phase of
        waiting when byte_size(Data) =< Window ->
            close(Id, [{event, To, Id, {response, Status, Headers, Data}}], State);
        cancelled ->
            close(Id, [], State);
        _ ->
            bad_state(M, <<"where it is not legal">>)
    end;
step({?HEAD, Id, Status, Headers}, #exchange{phase = waiting} = E, Now, State) ->
    tell(Id, E#exchange{phase = streaming}, {head, Status, Headers}, Now, State);
step({?DATA, Id, Data}, #exchange{phase = streaming, credit = Credit} = E, Now, State) when
    Credit >= byte_size(Data)
->
    tell(Id, E#exchange{credit = Credit - byte_size(Data)}, {data, Data}, Now, State);
step({?SEND_FILE, Id, Path, Offset, N}, #exchange{phase = streaming} = E, Now, State) ->
    tell(Id, E, {file, Path, Offset, N}, Now, State);
step({?END, Id, Trailers}, #exchange{phase = streaming, to = To}, _, State) ->
    close(Id, [{event, To, Id, {fin, Trailers}}], State);
step({?ABORT, Id, _, _}, #exchange{phase = cancelled}, _, State) ->
    close(Id, [], State);
step({?ABORT, Id, Name, Text}, #exchange{to = To}, _, State) ->
    close(Id, [{event, To, Id, {abort, Name, Text}}], State);
step({?ACCEPT, _, _, _} = M, #exchange{request = Request} = E, Now, State) ->
    case hornbeam_wire:is_websocket(Request) of
        true -> accept(M, E, Now, State);
        false -> bad_state(M, <<"which is no WebSocket">>)
    end;
step(Message, #exchange{request = Request} = E, Now, State) when
    element(1, Message) =:= ?BODY_CREDIT;
    element(1, Message) =:= ?INFORM;
    element(1, Message) =:= ?PUSH
->
    case hornbeam_wire:is_websocket(Request) of
        true -> bad_state(Message, <<"which is a WebSocket">>);
        false -> http(Message, E, Now, State)
    end;
step({?END, Id, _}, #exchange{phase = cancelled}, _, State) ->
    close(Id, [], State);
step(Message, #exchange{phase = cancelled}, _, State) when
    element(1, Message) =:= ?HEAD; element(1, Message) =:= ?DATA; element(1, Message) =:= ?SEND_FILE
->
    {ok, [], State};
step(Message, _, _, _) ->
    bad_state(Message, <<"where it is not legal">>).

%% What only an HTTP request can have.
http({?BODY_CREDIT, Id, N}, #exchange{body_credit = Credit} = E, Now, State) ->
    tell(Id, E#exchange{body_credit = Credit + N}, {credit, N}, Now, State);
http({?INFORM, Id, Status, Headers}, #exchange{phase = Phase} = E, Now, State) when
    Phase =/= streaming
->
    tell(Id, E, {inform, Status, Headers}, Now, State);
http({?PUSH, Id, Path, Headers}, E, Now, State) ->
    tell(Id, E, {push, Path, Headers}, Now, State);
http(Message, _, _, _) ->
    bad_state(Message, <<"where it is not legal">>).

%% From here on it holds no slot.
accept({?ACCEPT, Id, Subprotocol, Headers}, #exchange{phase = waiting, to = To} = E, _, State) ->
    Hearer = hearer(hornbeam_wire:hearer(E#exchange.request), To),
    Sockets = hornbeam_websocket_exchanges:accept(Id, Hearer, State#state.sockets),
    Event = {accept, Subprotocol, Headers},
    close(Id, [{event, To, Id, Event}], State#state{sockets = Sockets});
accept({?ACCEPT, Id, _, _}, #exchange{phase = cancelled}, Now, State) ->
    Sockets = hornbeam_websocket_exchanges:abandon(Id, Now, State#state.sockets),
    close(Id, [], State#state{sockets = Sockets});
accept(Message, _, _, _) ->
    bad_state(Message, <<"where it is not legal">>).

hearer(stream, To) -> To;
hearer(connection, {Connection, _}) -> Connection.

tell(_Id, #exchange{phase = cancelled}, _Event, _Now, State) ->
    {ok, [], State};
tell(Id, #exchange{to = To} = Exchange, Event, Now, State) ->
    {ok, [{event, To, Id, Event}], store(Id, Exchange, Now, State)}.

close(Id, Effects, #state{open = Open} = State) ->
    {ok, [released | Effects], State#state{open = maps:remove(Id, Open)}}.

returned([], Effects, State) ->
    {ok, Effects, State};
returned([Id | Ids], Effects, #state{open = Open, given = Given} = State) ->
    case {Open, Given} of
        {#{Id := #exchange{phase = streaming}}, _} ->
            bad_state({?RETURN, Id}, <<"which has started">>);
        {#{Id := #exchange{phase = Phase, to = To, request = Request}}, _} ->
            Requeue = [{requeue, To, Request} || Phase =:= waiting],
            Left = State#state{open = maps:remove(Id, Open)},
            returned(Ids, [released | Requeue ++ Effects], Left);
        {_, #{Id := true}} ->
            returned(Ids, Effects, State#state{given = maps:remove(Id, Given)});
        {_, _} ->
            bad_state({?RETURN, Id}, <<"which is not open">>)
    end.

bad_state(Message, Why) ->
    Fields = [element(1, Message), element(2, Message), Why],
    {error, {bad_state, iolist_to_binary(io_lib:format("message ~b for exchange ~b, ~s", Fields))}}.

%% @doc Exchanges without progress for `timeout': their streams are told, the worker is asked to let
%% go. `Stuck' are those that were told before and still hold the worker.
-spec overdue(Now :: integer(), state()) ->
    {[effect()], [hornbeam_wire:message()], Stuck :: [hornbeam_wire:exchange_id()], state()}.
overdue(Now, #state{open = Open} = State) ->
    Late = [{Id, E} || {Id, #exchange{deadline = D} = E} <- maps:to_list(Open), D =< Now],
    {Messages, Stuck, Sockets} = hornbeam_websocket_exchanges:overdue(Now, State#state.sockets),
    Start = {[], Messages, Stuck, State#state{sockets = Sockets}},
    lists:foldl(fun(Each, Acc) -> late(Each, Now, Acc) end, Start, Late).

%% What was cancelled before and is late again holds the worker: cancel/4 gave it a whole timeout.
late({Id, #exchange{phase = cancelled}}, _Now, {Effects, Messages, Stuck, State}) ->
    {Effects, Messages, [Id | Stuck], State};
late({Id, #exchange{to = To} = E}, Now, {Effects, Messages, Stuck, #state{open = Open} = State}) ->
    Given = E#exchange{phase = cancelled, deadline = Now + grace(State)},
    {
        [{event, To, Id, {failed, timeout}} | Effects],
        [{?CANCEL, Id, <<"timeout">>} | Messages],
        Stuck,
        State#state{open = Open#{Id := Given}}
    }.

%% Long enough for an application that streams to reach its next chunk.
grace(#state{config = #{timeout := Timeout}}) -> min(1000, Timeout).

%% @doc Take back what lies above the mark: nothing above it has started, so it can go to another
%% worker. The ids are remembered until the worker has handed them back.
-spec give_away(Above :: non_neg_integer(), state()) -> {[effect()], state()}.
give_away(Above, #state{open = Open, given = Given0} = State) ->
    Mark = max(Above, State#state.started),
    Unstarted = [
        Id
     || {Id, #exchange{phase = Phase}} <- lists:sort(maps:to_list(Open)),
        Id > Mark,
        Phase =/= streaming
    ],
    Effects = lists:append([gone(Id, maps:get(Id, Open)) || Id <- Unstarted]),
    Given = lists:foldl(fun(Id, Acc) -> Acc#{Id => true} end, Given0, Unstarted),
    {Effects, State#state{open = maps:without(Unstarted, Open), given = Given}}.

gone(_Id, #exchange{phase = waiting, to = To, request = Request}) ->
    [{requeue, To, Request}, released];
gone(_Id, #exchange{phase = cancelled}) ->
    [released].

%% @doc The worker is dead. Exchanges above the mark go to another worker, the others have failed.
%% What comes next has higher ids.
-spec fail_all(StartedUpTo :: non_neg_integer(), state()) -> {[effect()], state()}.
fail_all(Above, State0) ->
    {Requeued, #state{open = Open, sockets = Sockets} = State} = give_away(Above, State0),
    Failed = lists:append([failed(Id, E) || {Id, E} <- lists:sort(maps:to_list(Open))]),
    {Closed, _} = hornbeam_websocket_exchanges:fail_all(Sockets),
    {Requeued ++ Failed ++ Closed, (new(State#state.config))#state{last_id = State#state.last_id}}.

failed(_Id, #exchange{phase = cancelled}) -> [released];
failed(Id, #exchange{to = To}) -> [{event, To, Id, {failed, worker_gone}}, released].
