%% SPDX-License-Identifier: Apache-2.0
%% @doc The accepted WebSockets of one worker: which messages may go which way, and how each ends.
%%
%% Pure; runs in the worker process as a part of `hornbeam_exchanges', which knows a WebSocket until
%% it is accepted. The rules: PROTOCOL.md, section 4.2, "WebSocket". An idle socket is a small
%% tuple in a map that nobody walks through; only those that are ending have a deadline.
-module(hornbeam_websocket_exchanges).

-export([new/1, accept/3, abandon/3, handle/3]).
-export([message/4, credit/3, close/5, leave/3, close_all/4, overdue/2, fail_all/1]).
-export([count/1, open_count/1, hearer/2]).
-export_type([state/0, config/0]).

-include("hornbeam_wire.hrl").

-type config() :: #{
    %% Milliseconds the application may take to let go of a socket that is closed.
    timeout := timeout(),
    %% Bytes that are granted to the worker with WEBSOCKET, to the node with ACCEPT.
    response_window := pos_integer(),
    request_window := pos_integer(),
    _ => _
}.

-type id() :: hornbeam_wire:exchange_id().

%% Milliseconds to let go of a closed socket where requests have no limit: nobody waits for what an
%% application does for a client that has left.
-define(PATIENCE, 30000).

-record(socket, {
    to :: hornbeam_exchanges:hearer(),
    %% what the worker may still send, and what may still be sent to it, bytes; the last message
    %% may overdraw both
    credit :: integer(),
    body_credit :: integer()
}).

%% Who has said CLOSE, or that the worker was asked with CANCEL to let go.
-type ending() :: node | worker | cancelled.

-record(state, {
    config :: config(),
    open = #{} :: #{id() => #socket{}},
    %% closed for the client; when the application counts as stuck, milliseconds
    ending = #{} :: #{id() => {ending(), Deadline :: integer() | infinity}}
}).
-opaque state() :: #state{}.

-spec new(config()) -> state().
new(Config) ->
    #state{config = Config}.

%% @doc All that the worker has not let go of.
-spec count(state()) -> non_neg_integer().
count(#state{open = Open, ending = Ending}) -> map_size(Open) + map_size(Ending).

%% @doc Those that a client is connected to.
-spec open_count(state()) -> non_neg_integer().
open_count(#state{open = Open}) -> map_size(Open).

%% @doc The process of an open one's connection, or its stream.
-spec hearer(id(), state()) -> {ok, hornbeam_exchanges:hearer()} | {error, gone}.
hearer(Id, #state{open = Open}) ->
    case Open of
        #{Id := #socket{to = To}} -> {ok, To};
        _ -> {error, gone}
    end.

%% @doc The worker has accepted.
-spec accept(id(), hornbeam_exchanges:hearer(), state()) -> state().
accept(Id, To, #state{config = Config, open = Open} = State) ->
    #{response_window := Credit, request_window := BodyCredit} = Config,
    State#state{open = Open#{Id => #socket{to = To, credit = Credit, body_credit = BodyCredit}}}.

%% @doc The worker has accepted what the client had left: the CANCEL crossed the ACCEPT.
-spec abandon(id(), Now :: integer(), state()) -> state().
abandon(Id, Now, State) ->
    ending(Id, cancelled, Now, State).

ending(Id, Who, Now, #state{config = Config, open = Open, ending = Ending} = State) ->
    #{timeout := Timeout} = Config,
    State#state{
        open = maps:remove(Id, Open), ending = Ending#{Id => {Who, deadline(Who, Now, Timeout)}}
    }.

%% Without a limit it is cancelled all the same, but never counts as stuck: the worker goes on.
deadline(cancelled, _, infinity) -> infinity;
deadline(_, Now, infinity) -> Now + ?PATIENCE;
deadline(_, Now, Timeout) -> Now + Timeout.

%% @doc A message of the worker about one of them; `unknown' when it is about none.
-spec handle(hornbeam_wire:message(), Now :: integer(), state()) ->
    {ok, [hornbeam_exchanges:effect()], state()} | illegal | unknown.
handle(Message, Now, #state{open = Open, ending = Ending} = State) ->
    Id = element(2, Message),
    case Open of
        #{Id := Socket} ->
            step(Message, Socket, Now, State);
        #{} ->
            case Ending of
                #{Id := {Who, _}} -> late(Message, Who, State);
                #{} -> unknown
            end
    end.

step({?TEXT, Id, Data}, Socket, _, State) ->
    sent(Id, {text, Data}, byte_size(Data), Socket, State);
step({?BINARY, Id, Data}, Socket, _, State) ->
    sent(Id, {binary, Data}, byte_size(Data), Socket, State);
step({?BODY_CREDIT, Id, N}, #socket{body_credit = Credit} = Socket, _, State) ->
    tell(Id, Socket#socket{body_credit = Credit + N}, {credit, N}, State);
step({?CLOSE, Id, Code, Reason}, #socket{to = To}, Now, State) ->
    {ok, [{event, To, Id, {close, Code, Reason}}], ending(Id, worker, Now, State)};
step({?END, Id, _}, #socket{to = To}, _, State) ->
    {ok, [{event, To, Id, {close, 1000, <<>>}}], forget(Id, State)};
step({?ABORT, Id, Name, Text}, #socket{to = To}, _, State) ->
    {ok, [{event, To, Id, {abort, Name, Text}}], forget(Id, State)};
step(_, _, _, _) ->
    illegal.

sent(Id, Message, Size, #socket{credit = Credit} = Socket, State) when Credit > 0 ->
    tell(Id, Socket#socket{credit = Credit - Size - ?WEBSOCKET_MESSAGE}, Message, State);
sent(_, _, _, _, _) ->
    illegal.

tell(Id, #socket{to = To} = Socket, Event, #state{open = Open} = State) ->
    {ok, [{event, To, Id, Event}], State#state{open = Open#{Id := Socket}}}.

forget(Id, #state{open = Open, ending = Ending} = State) ->
    State#state{open = maps:remove(Id, Open), ending = maps:remove(Id, Ending)}.

%% Its client is gone; what crossed the CLOSE of the node means nothing.
late({Code, Id, _}, _, State) when Code =:= ?END ->
    {ok, [], forget(Id, State)};
late({?ABORT, Id, _, _}, _, State) ->
    {ok, [], forget(Id, State)};
late({?BODY_CREDIT, _, _}, _, State) ->
    {ok, [], State};
late({Code, _, _}, Who, State) when Who =/= worker, (Code =:= ?TEXT orelse Code =:= ?BINARY) ->
    {ok, [], State};
late({?CLOSE, _, _, _}, Who, State) when Who =/= worker ->
    {ok, [], State};
late(_, _, _) ->
    illegal.

%% @doc A message of the client. Sockets send while they have credit, which they hear of later than
%% it is counted here.
-spec message(id(), text | binary, binary(), state()) -> {[hornbeam_wire:message()], state()}.
message(Id, Kind, Data, #state{open = Open} = State) ->
    case Open of
        #{Id := #socket{body_credit = Credit} = Socket} when Credit > 0 ->
            Left = Credit - byte_size(Data) - ?WEBSOCKET_MESSAGE,
            {[{code(Kind), Id, Data}], State#state{open = Open#{Id := Socket#socket{
                body_credit = Left
            }}}};
        #{Id := #socket{body_credit = Credit}} ->
            error({illegal_message, Id, #{size => byte_size(Data), credit => Credit}});
        #{} ->
            {[], State}
    end.

code(text) -> ?TEXT;
code(binary) -> ?BINARY.

%% @doc The client's side has taken N bytes.
-spec credit(id(), pos_integer(), state()) -> {[hornbeam_wire:message()], state()}.
credit(Id, N, #state{open = Open} = State) ->
    case Open of
        #{Id := #socket{credit = Credit} = Socket} ->
            More = Socket#socket{credit = Credit + N},
            {[{?CREDIT, Id, N}], State#state{open = Open#{Id := More}}};
        #{} ->
            {[], State}
    end.

%% @doc The client's side is closed; the application is told, and has a timeout to let go.
-spec close(id(), Code :: 1000..4999, Reason :: binary(), Now :: integer(), state()) ->
    {[hornbeam_wire:message()], state()}.
close(Id, Code, Reason, Now, #state{open = Open} = State) when is_map_key(Id, Open) ->
    {[{?CLOSE, Id, Code, Reason}], ending(Id, node, Now, State)};
close(_, _, _, _, State) ->
    {[], State}.

%% @doc The client has left before its stream had heard of the acceptance. A connection that leaves
%% has no other one.
-spec leave(hornbeam_exchanges:to(), Now :: integer(), state()) ->
    {[hornbeam_wire:message()], state()}.
leave({Pid, _} = To, Now, #state{open = Open} = State) ->
    case [Id || {Id, #socket{to = T}} <- maps:to_list(Open), T =:= To orelse T =:= Pid] of
        [Id | _] -> close(Id, 1006, <<>>, Now, State);
        [] -> {[], State}
    end.

%% @doc Close every socket, of clients and worker alike: the worker is about to end.
-spec close_all(Code :: 1000..4999, Reason :: binary(), Now :: integer(), state()) ->
    {[hornbeam_exchanges:effect()], [hornbeam_wire:message()], state()}.
close_all(Code, Reason, Now, #state{open = Open} = State0) ->
    maps:fold(
        fun(Id, #socket{to = To}, {Effects, Messages, State}) ->
            {More, Next} = close(Id, Code, Reason, Now, State),
            {[{event, To, Id, {close, Code, Reason}} | Effects], More ++ Messages, Next}
        end,
        {[], [], State0},
        Open
    ).

%% @doc Applications that were told by CLOSE and have not returned are cancelled; `Stuck' are those
%% that were cancelled before.
-spec overdue(Now :: integer(), state()) -> {[hornbeam_wire:message()], Stuck :: [id()], state()}.
overdue(Now, #state{ending = Ending} = State) ->
    Late = [{Id, Who} || {Id, {Who, Deadline}} <- maps:to_list(Ending), Deadline =< Now],
    Stuck = [Id || {Id, cancelled} <- Late],
    Asked = [Id || {Id, Who} <- Late, Who =/= cancelled],
    Until = until(Now, State),
    Cancelled = lists:foldl(fun(Id, Acc) -> Acc#{Id := {cancelled, Until}} end, Ending, Asked),
    {[{?CANCEL, Id, <<"timeout">>} || Id <- Asked], Stuck, State#state{ending = Cancelled}}.

until(_, #state{config = #{timeout := infinity}}) -> infinity;
until(Now, #state{config = #{timeout := Timeout}}) -> Now + min(1000, Timeout).

%% @doc The worker is dead.
-spec fail_all(state()) -> {[hornbeam_exchanges:effect()], state()}.
fail_all(#state{config = Config, open = Open}) ->
    Effects = [
        {event, To, Id, {failed, worker_gone}} || {Id, #socket{to = To}} <- maps:to_list(Open)
    ],
    {Effects, new(Config)}.
