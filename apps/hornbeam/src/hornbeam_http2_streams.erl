%% SPDX-License-Identifier: Apache-2.0
%% @doc The streams of one HTTP/2 connection: how many are open, how many the client gave up, and
%% the time without any. What Cowboy 2.8 leaves out:
%%
%%  - its limit of concurrent streams holds from when the client has acknowledged the settings;
%%    until then nothing but this bounds them;
%%  - it takes any number of streams that are opened and reset at once (CVE-2023-44487), each of
%%    which has cost a worker work by then;
%%  - it has no idle time that does not run while streams are open; nor one for a client that never
%%    gets to the end of its first request's head, or that does not take the answers.
%%
%% Runs in the connection process, which is the process of all its streams; their common knowledge
%% is in its process dictionary. A connection that goes too far, or idles for too long, is told to
%% end as a supervisor would tell it: Cowboy says GOAWAY and closes it.
-module(hornbeam_http2_streams).

-export([start/1, opened/1, answered/1, ended/3]).

-define(KEY, hornbeam_http2_streams).

-record(streams, {
    open = 0 :: non_neg_integer(),
    %% of these, those whose answer is complete and waits for the client's windows
    answered = [] :: [cowboy_stream:streamid()],
    %% runs while all are answered
    idle = undefined :: undefined | reference(),
    %% given up by the client since then; monotonic milliseconds
    cancelled = 0 :: non_neg_integer(),
    since = 0 :: integer()
}).

%% Beyond the limit streams are refused, beyond so many times the limit the connection ends.
-define(TOLERANCE, 4).
%% Streams that a client may give up in so many milliseconds: a page that is left gives up dozens.
-define(MAX_CANCELLED, 500).
-define(PERIOD, 10000).
%% Milliseconds that a client may take for the rest of its answers. It is no more than a response
%% window for each.
-define(UNREAD, 60000).

%% @doc To be called when the connection starts: how long its first stream may take to come, in
%% milliseconds.
-spec start(non_neg_integer()) -> ok.
start(Timeout) ->
    _ = put(?KEY, idle(Timeout, streams())),
    ok.

%% @doc To be called when a stream starts, with the limit. `refuse' when it is one too many.
-spec opened(Max :: pos_integer()) -> ok | refuse.
opened(Max) ->
    #streams{open = Open} = Streams = stop_idling(streams()),
    _ = put(?KEY, Streams#streams{open = Open + 1}),
    if
        Open < Max -> ok;
        Open < ?TOLERANCE * Max -> refuse;
        true -> stop(too_many_streams), refuse
    end.

streams() ->
    case get(?KEY) of
        undefined -> #streams{since = now_ms()};
        Streams -> Streams
    end.

%% @doc To be called when nothing more is added to the answer of a stream. Most end in the same
%% moment; those that do not wait for the client.
-spec answered(cowboy_stream:streamid()) -> ok.
answered(StreamID) ->
    #streams{answered = Answered} = Streams = streams(),
    _ = put(?KEY, idle(?UNREAD, Streams#streams{answered = [StreamID | Answered]})),
    ok.

%% @doc To be called when a stream ends, with Cowboy's reason and the idle time after it in
%% milliseconds.
-spec ended(cowboy_stream:streamid(), cowboy_stream:reason() | atom(), non_neg_integer()) -> ok.
ended(StreamID, Reason, Keepalive) ->
    Streams0 = #streams{open = Open, answered = Answered} = count(Reason, streams()),
    Streams1 = Streams0#streams{open = Open - 1, answered = lists:delete(StreamID, Answered)},
    Streams =
        case Open of
            1 -> idle(Keepalive, stop_idling(Streams1));
            _ -> idle(?UNREAD, Streams1)
        end,
    _ = put(?KEY, Streams),
    ok.

count(Reason, Streams) ->
    case is_cancelled(Reason) of
        true -> cancelled(Streams, now_ms());
        false -> Streams
    end.

%% Cowboy 2.8 passes on the bare code of RST_STREAM.
is_cancelled(normal) -> false;
is_cancelled(shutdown) -> false;
is_cancelled(Reason) when is_atom(Reason) -> true;
is_cancelled({stream_error, _, _}) -> true;
is_cancelled(_) -> false.

cancelled(#streams{since = Since} = Streams, Now) when Now - Since > ?PERIOD ->
    Streams#streams{cancelled = 1, since = Now};
cancelled(#streams{cancelled = Cancelled} = Streams, _) ->
    _ = Cancelled =:= ?MAX_CANCELLED andalso stop(too_many_cancelled_streams),
    Streams#streams{cancelled = Cancelled + 1}.

%%% Idle time

idle(Timeout, #streams{open = Open, answered = Answered, idle = undefined} = Streams) when
    Open =:= length(Answered)
->
    Streams#streams{idle = erlang:send_after(Timeout, self(), exit_message(idle))};
idle(_, Streams) ->
    Streams.

%% The time may have run out while the request was in the mailbox.
stop_idling(#streams{idle = undefined} = Streams) ->
    Streams;
stop_idling(#streams{idle = Timer} = Streams) ->
    Message = exit_message(idle),
    _ = erlang:cancel_timer(Timer) =:= false andalso
        receive
            Message -> ok
        after 0 -> ok
        end,
    Streams#streams{idle = undefined}.

stop(Reason) ->
    self() ! exit_message(Reason),
    ok.

exit_message(Reason) ->
    [Parent | _] = get('$ancestors'),
    {'EXIT', Parent, {shutdown, Reason}}.

now_ms() -> erlang:monotonic_time(millisecond).
