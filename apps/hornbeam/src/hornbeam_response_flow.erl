%% SPDX-License-Identifier: Apache-2.0
%% @doc The body of a streaming response between its worker and its client: what lies in the
%% mailbox for one write, and what the worker is granted again.
%%
%% Runs in the connection process. Besides `{data, Data}' of the worker it knows one message, which
%% the stream sends itself: `{To, sent}', read after all that was handed to Cowboy before it.
-module(hornbeam_response_flow).

-export([new/1, gather/4, owe/3, sent/1, alarm/3, forget/2]).
-export_type([flow/0]).

-record(flow, {
    %% bytes that may be under way between worker and client
    window :: pos_integer(),
    %% bytes that the worker is owed; whether a message to ourselves will grant them
    owed = 0 :: non_neg_integer(),
    granting = false :: boolean(),
    %% HTTP/2: Cowboy's buffers that are full; nothing is granted meanwhile
    full = [] :: [atom()]
}).
-opaque flow() :: #flow{}.

%% `Window' is in bytes.
-spec new(pos_integer()) -> flow().
new(Window) ->
    #flow{window = Window}.

%% @doc A piece of the body, those that lie behind it in the mailbox, and the first event of the
%% exchange that is no piece, if it is there: where a worker is faster than the node, one write
%% takes what has come together. Credit bounds it. A failure, which is the last event, is put back:
%% request hooks, in front of the stream, must see it come.
-spec gather(hornbeam_exchanges:to(), pid(), hornbeam_wire:exchange_id(), Data :: iodata()) ->
    {iodata(), none | {event, hornbeam_exchanges:event()}}.
gather(To, Worker, Id, Data) ->
    receive
        {To, {hornbeam, Worker, Id, {data, More}}} -> gather(To, Worker, Id, [Data | More]);
        {To, {hornbeam, Worker, Id, Event}} -> {Data, behind(To, Worker, Id, Event)}
    after 0 -> {Data, none}
    end.

behind(To, Worker, Id, Event) when element(1, Event) =:= abort; element(1, Event) =:= failed ->
    self() ! {To, {hornbeam, Worker, Id, Event}},
    none;
behind(_, _, _, Event) ->
    {event, Event}.

%% @doc N bytes were handed to Cowboy. Credit goes back in quarters of the window, not per piece,
%% and when the bytes have left: Cowboy's sending blocks until the kernel has taken them, so a
%% message to ourselves is read after that.
-spec owe(pos_integer(), hornbeam_exchanges:to(), flow()) -> flow().
owe(N, To, #flow{owed = Owed, granting = false, window = Window} = Flow) when
    (Owed + N) * 4 >= Window
->
    {Connection, _} = To,
    Connection ! {To, sent},
    Flow#flow{owed = Owed + N, granting = true};
owe(N, _, #flow{owed = Owed} = Flow) ->
    Flow#flow{owed = Owed + N}.

%% @doc Bytes that the worker is to be granted, now that what it is owed has left.
-spec sent(flow()) -> {non_neg_integer(), flow()}.
sent(#flow{full = [], owed = Owed} = Flow) ->
    {Owed, Flow#flow{owed = 0, granting = false}};
sent(Flow) ->
    {0, Flow#flow{granting = false}}.

%% @doc A buffer of Cowboy is full, or is not any more.
-spec alarm(Buffer :: atom(), on | off, flow()) -> {non_neg_integer(), flow()}.
alarm(Buffer, on, #flow{full = Full} = Flow) ->
    {0, Flow#flow{full = [Buffer | Full]}};
alarm(Buffer, off, #flow{full = Full, granting = Granting} = Flow0) ->
    Flow = Flow0#flow{full = lists:delete(Buffer, Full)},
    case Granting of
        true -> {0, Flow};
        false -> sent(Flow)
    end.

%% @doc What we sent to ourselves would be for a stream that Cowboy does not know any more.
-spec forget(hornbeam_exchanges:to(), flow()) -> ok.
forget(_, #flow{granting = false}) ->
    ok;
forget(To, #flow{granting = true}) ->
    receive
        {To, sent} -> ok
    after 0 -> ok
    end.
