%% SPDX-License-Identifier: Apache-2.0
%% @doc What other processes say to a worker. Everything here runs in the process that calls it:
%% streams, the queue, services; the worker itself is `hornbeam_worker_proc'.
%%
%% Streams receive `{To, {hornbeam, WorkerPid, ExchangeId, Event}}', WebSockets over HTTP/1.1
%% `{hornbeam, WorkerPid, ExchangeId, Event}'; see `hornbeam_exchanges:event()'.
-module(hornbeam_worker).

-export([open/3, body/4, credit/3, cancel/2, cancel/3, event/2, call/4, cast/3, info/1]).
-export([events/1, socket/2]).
-export([message/4, close/4, close_websockets/3, drain/1]).

%% @doc Hand over a request whose slot has been claimed.
-spec open(pid(), hornbeam_exchanges:to(), hornbeam_wire:request()) -> ok.
open(Worker, To, Request) ->
    Worker ! {hornbeam_open, To, Request},
    ok.

%% @doc More of a request body, at most what the worker granted.
-spec body(pid(), hornbeam_wire:exchange_id(), Fin :: boolean(), binary()) -> ok.
body(Worker, Id, Fin, Data) ->
    Worker ! {hornbeam_body, Id, Fin, Data},
    ok.

%% @doc The client's side has taken N bytes more of the response.
-spec credit(pid(), hornbeam_wire:exchange_id(), pos_integer()) -> ok.
credit(Worker, Id, N) ->
    Worker ! {hornbeam_credit, Id, N},
    ok.

%% @doc A message of the client of a WebSocket, at most what the worker granted.
-spec message(pid(), hornbeam_wire:exchange_id(), text | binary, binary()) -> ok.
message(Worker, Id, Kind, Data) ->
    Worker ! {hornbeam_message, Id, Kind, Data},
    ok.

%% @doc A WebSocket is closed for its client.
-spec close(pid(), hornbeam_wire:exchange_id(), 1000..4999, Reason :: binary()) -> ok.
close(Worker, Id, Code, Reason) ->
    Worker ! {hornbeam_close, Id, Code, Reason},
    ok.

%% @doc Close every WebSocket of the worker, for clients and application.
-spec close_websockets(pid(), 1000..4999, Reason :: binary()) -> ok.
close_websockets(Worker, Code, Reason) ->
    Worker ! {hornbeam_close_websockets, Code, Reason},
    ok.

%% @doc Give the worker nothing new, and let it end when it has finished what it holds.
-spec drain(pid()) -> ok.
drain(Worker) ->
    Worker ! hornbeam_drain,
    ok.

%% @doc The client has left; for a stream that does not know the id of its exchange.
-spec cancel(pid(), hornbeam_exchanges:to()) -> ok.
cancel(Worker, To) ->
    Worker ! {hornbeam_cancel, To},
    ok.

-spec cancel(pid(), hornbeam_wire:exchange_id(), Reason :: binary()) -> ok.
cancel(Worker, Id, Reason) ->
    Worker ! {hornbeam_cancel, Id, Reason},
    ok.

%% @doc An event for a stream that no worker has.
-spec event(hornbeam_exchanges:to(), term()) -> ok.
event({Connection, _} = To, Event) ->
    Connection ! {To, {hornbeam, undefined, 0, Event}},
    ok.

%% @doc Call a service of the worker and wait for its answer, at most Timeout milliseconds. From
%% inside a service that this very worker called, the call runs on the thread that waits for it.
-spec call(pid(), Service :: binary(), Arguments :: [term()], Timeout :: pos_integer()) ->
    {ok, term()} | {error, hornbeam_caller:fault()}.
call(Worker, Service, Arguments, Timeout) ->
    hornbeam_caller:call(Worker, Service, Arguments, Timeout).

%% @doc The same without an answer.
-spec cast(pid(), Service :: binary(), Arguments :: [term()]) -> ok | {error, too_large}.
cast(Worker, Service, Arguments) ->
    hornbeam_caller:cast(Worker, Service, Arguments).

%% @doc State and figures, for `hornbeam:info/0'.
-spec info(pid()) -> {ok, map()} | gone.
info(Worker) ->
    try
        {ok, gen_statem:call(Worker, info, 5000)}
    catch
        exit:{Reason, _} when Reason =:= noproc; Reason =:= normal; Reason =:= shutdown -> gone
    end.

%% @doc The process that serves the worker's subscriptions.
-spec events(pid()) -> {ok, pid()} | {error, gone}.
events(Worker) ->
    gen_statem:call(Worker, events, 5000).

%% @doc The connection process of a WebSocket that the worker has accepted.
-spec socket(pid(), hornbeam_wire:exchange_id()) ->
    {ok, hornbeam_exchanges:hearer()} | {error, gone}.
socket(Worker, Id) ->
    gen_statem:call(Worker, {socket, Id}, 5000).
