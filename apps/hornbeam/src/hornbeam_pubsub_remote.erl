%% SPDX-License-Identifier: Apache-2.0
%% @doc Publishing to other nodes: sends a message to their relays and counts their answers.
%%
%% Runs in the process that publishes, and never suspends it: a connection that takes nothing is
%% tried again until the deadline. It sets no monitors, which would suspend it there, too, but looks
%% now and then whether a relay that does not answer is still known. Since a publisher has
%% its answers before it publishes again, its messages arrive in the order it sent them.
%%
%% A relay that has not answered by the deadline is *silent* (`hornbeam_pubsub_relay'): it is sent
%% up to ?MOST messages more, which nobody waits for; what is beyond, or does not fit into the
%% connection, is dropped and counted.
-module(hornbeam_pubsub_remote).

-export([publish/4]).

%% {Relay, Sent, Dropped}
-define(SILENT, hornbeam_pubsub_silent).
-define(MOST, 1000).
%% Milliseconds after which a full connection is tried again, and after which is asked whether a
%% relay is still there.
-define(RETRY, 10).
-define(LOOK, 100).

-type answer() :: non_neg_integer() | {error, term()}.

-record(publication, {
    alias :: reference(),
    topic :: binary(),
    message :: term(),
    deadline :: integer(),
    %% relays that were sent the message; those that could not be, so far
    waiting = [] :: [pid()],
    busy = [] :: [pid()],
    answers = [] :: [answer()]
}).

%% @doc How many subscriptions of those nodes the message was sent to, as far as they answered
%% within Timeout milliseconds. Raises what a relay could not do, for example `{not_json, Value}'.
-spec publish([pid()], binary(), term(), pos_integer()) -> non_neg_integer().
publish(Relays, Topic, Message, Timeout) ->
    Alias = alias([explicit_unalias]),
    Deadline = erlang:monotonic_time(millisecond) + Timeout,
    New = #publication{alias = Alias, topic = Topic, message = Message, deadline = Deadline},
    #publication{answers = Answers} = await(lists:foldl(fun send/2, New, Relays)),
    _ = unalias(Alias),
    ok = flush(Alias),
    counted(Answers).

counted(Answers) ->
    case [Reason || {error, Reason} <- Answers] of
        [] -> lists:sum(Answers);
        [Reason | _] -> error(Reason)
    end.

send(Relay, #publication{waiting = Waiting, busy = Busy} = P) ->
    case ets:member(?SILENT, Relay) of
        true ->
            ok = send_unanswered(Relay, P),
            P;
        false ->
            case try_to_send(Relay, P) of
                ok -> P#publication{waiting = [Relay | Waiting]};
                nosuspend -> P#publication{busy = [Relay | Busy]};
                noconnect -> P
            end
    end.

try_to_send(Relay, #publication{alias = Alias, topic = Topic, message = Message}) ->
    erlang:send(Relay, {publish, Alias, Topic, Message}, [nosuspend, noconnect]).

send_unanswered(Relay, P) ->
    Sent = lists:sum([Count || {_, Count, _} <- ets:lookup(?SILENT, Relay)]),
    case Sent < ?MOST andalso try_to_send(Relay, P) of
        ok -> count(Relay, 2);
        _ -> count(Relay, 3)
    end.

%% The relay may have answered meanwhile, then there is nothing to count in.
count(Relay, Position) ->
    try ets:update_counter(?SILENT, Relay, {Position, 1}) of
        _ -> ok
    catch
        error:badarg -> ok
    end.

await(#publication{waiting = [], busy = []} = P) ->
    P;
await(#publication{alias = Alias, deadline = Deadline, waiting = Waiting} = P) ->
    Left = Deadline - erlang:monotonic_time(millisecond),
    receive
        {Alias, Relay, Answer} ->
            Answers = [Answer | P#publication.answers],
            await(P#publication{waiting = lists:delete(Relay, Waiting), answers = Answers})
    after max(0, min(Left, pause(P))) ->
        await(P, Left)
    end.

pause(#publication{busy = []}) -> ?LOOK;
pause(#publication{}) -> ?RETRY.

await(#publication{waiting = Waiting, busy = Busy} = P, Left) when Left =< 0 ->
    lists:foreach(fun hornbeam_pubsub_relay:silent/1, Waiting ++ Busy),
    P;
await(#publication{waiting = Waiting, busy = Busy} = P, _) ->
    There = [Relay || Relay <- Waiting, hornbeam_pubsub_relay:is_there(Relay)],
    Still = [Relay || Relay <- Busy, hornbeam_pubsub_relay:is_there(Relay)],
    await(lists:foldl(fun send/2, P#publication{waiting = There, busy = []}, Still)).

flush(Alias) ->
    receive
        {Alias, _, _} -> flush(Alias)
    after 0 -> ok
    end.
