%% SPDX-License-Identifier: Apache-2.0
%% @doc Effects of what a worker has said, carried out: events go straight to their streams, what
%% was not started goes back to the queue, slots are released before the queue is told.
%%
%% Runs in the worker process, whose priority it sets.
-module(hornbeam_worker_effects).

-export([carry_out/3]).

%% A packet with so many pieces of responses is one of many: see `hurry/1'.
-define(MANY_PIECES, 32).

%% @doc Effects in their order. How many requests were answered: slots released, less what was
%% handed back.
-spec carry_out([hornbeam_exchanges:effect()], hornbeam_pool:index(), hornbeam_pool:pool()) ->
    integer().
carry_out(Effects, Index, Pool) ->
    {Released, Requeued, Pieces} = perform(Effects, 0, [], 0),
    ok = hurry(Pieces),
    Waiting = hornbeam_pool:release(Index, Released, Pool),
    ok = hornbeam_queue:requeue(lists:reverse(Requeued), Pool),
    _ = Waiting andalso Requeued =:= [] andalso hornbeam_queue:capacity(Pool),
    Released - length(Requeued).

perform([{event, {Connection, _} = To, Id, {data, _} = Event} | Rest], Released, Requeued, N) ->
    Connection ! {To, {hornbeam, self(), Id, Event}},
    perform(Rest, Released, Requeued, N + 1);
perform([{event, {Connection, _} = To, Id, Event} | Rest], Released, Requeued, N) ->
    Connection ! {To, {hornbeam, self(), Id, Event}},
    perform(Rest, Released, Requeued, N);
perform([{event, Connection, Id, Event} | Rest], Released, Requeued, N) ->
    Connection ! {hornbeam, self(), Id, Event},
    perform(Rest, Released, Requeued, N);
perform([released | Rest], Released, Requeued, N) ->
    perform(Rest, Released + 1, Requeued, N);
perform([{requeue, To, Request} | Rest], Released, Requeued, N) ->
    perform(Rest, Released, [{To, Request} | Requeued], N);
perform([], Released, Requeued, N) ->
    {Released, Requeued, N}.

%% With a thousand streams in one worker this process would have its turn once for each thousand of
%% theirs, each woken for a single piece, and the worker's packets would wait here for seconds.
%% Ahead of them it hands out all that is there, and a stream finds many pieces for one write.
%% Otherwise it waits its turn, for then requests come together in its mailbox.
hurry(Pieces) when Pieces >= ?MANY_PIECES ->
    _ = process_flag(priority, high),
    ok;
hurry(_) ->
    _ = process_flag(priority, normal),
    ok.
