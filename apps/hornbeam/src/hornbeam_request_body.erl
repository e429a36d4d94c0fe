%% SPDX-License-Identifier: Apache-2.0
%% @doc The body of one request between Cowboy and a worker: what has come, what the worker takes,
%% when Cowboy is to read on.
%%
%% Pure but for its timer; runs in the connection process, for `hornbeam_stream', whose stream is
%% sent `body_deadline' now and then. A body is gathered up to
%% `body_buffer' before a worker is chosen; then it goes on as the worker grants credit.
-module(hornbeam_request_body).

-export([new/0, none/0, received/3, take/1, sent/1, credit/2, forward/1, read_on/2]).
-export([is_done/1, size/1, await/3, deadline/4, forget/2]).
-export_type([body/0]).

-record(body, {
    %% bytes so far, and those no worker has yet, newest first
    received = 0 :: non_neg_integer(),
    pending = [] :: [binary()],
    pending_size = 0 :: non_neg_integer(),
    %% bytes that Cowboy still reads of its own accord; at or below 0 it has stopped
    flow = 0 :: integer(),
    %% bytes that the worker takes
    credit = 0 :: non_neg_integer(),
    %% all of it has come
    done = false :: boolean(),
    %% no worker is owed any more of it
    sent = false :: boolean(),
    %% when the last bytes came, milliseconds; a timer looks at it
    seen = 0 :: integer(),
    timer = undefined :: undefined | reference()
}).
-opaque body() :: #body{}.

%% Bytes of a streamed body that are read before the worker has asked for them: a client that is
%% not slow need not stop whenever the worker does.
-define(READ_AHEAD, 262144).

%% @doc A body of which nothing has come.
-spec new() -> body().
new() -> #body{}.

%% @doc Of a request without one.
-spec none() -> body().
none() -> #body{done = true, sent = true}.

%% @doc More has come.
-spec received(cowboy_stream:fin(), binary(), body()) -> body().
received(Fin, Data, #body{received = Before, pending = Pending} = Body) ->
    Size = byte_size(Data),
    Body#body{
        received = Before + Size,
        pending = [Data | Pending],
        pending_size = Body#body.pending_size + Size,
        flow = Body#body.flow - Size,
        done = Fin =:= fin,
        seen = now_ms()
    }.

%% @doc What no worker has yet, taken out.
-spec take(body()) -> {binary(), body()}.
take(#body{pending = Pending} = Body) ->
    {joined(Pending), Body#body{pending = [], pending_size = 0}}.

joined([]) -> <<>>;
joined([Data]) -> Data;
joined(Pending) -> iolist_to_binary(lists:reverse(Pending)).

%% @doc The worker has it whole.
-spec sent(body()) -> body().
sent(Body) -> Body#body{sent = true}.

%% @doc The worker takes N bytes more.
-spec credit(pos_integer(), body()) -> body().
credit(N, #body{credit = Credit} = Body) -> Body#body{credit = Credit + N}.

%% @doc What the worker is to be sent now, at most what it takes.
-spec forward(body()) -> {none | {Fin :: boolean(), binary()}, body()}.
forward(#body{sent = true} = Body) ->
    {none, Body};
forward(#body{credit = 0, done = false} = Body) ->
    {none, Body};
forward(#body{pending = Pending, credit = Credit, done = Done} = Body) ->
    case joined(Pending) of
        <<>> when not Done ->
            {none, Body};
        <<Now:Credit/binary, Later/binary>> when Later =/= <<>> ->
            Rest = Body#body{pending = [Later], pending_size = byte_size(Later), credit = 0},
            {part(Credit, Now), Rest};
        All ->
            {{Done, All}, Body#body{
                pending = [], pending_size = 0, credit = Credit - byte_size(All), sent = Done
            }}
    end.

part(0, _) -> none;
part(_, Data) -> {false, Data}.

%% @doc Let Cowboy read again when there is room for a good part of the read-ahead, of which Kept
%% bytes are taken. Cowboy forgets by how much it read too much, we do not.
-spec read_on(Kept :: all | gathered, body()) -> {cowboy_stream:commands(), body()}.
read_on(_, #body{done = true} = Body) ->
    {[], Body};
read_on(Kept, #body{flow = Flow} = Body) ->
    case ?READ_AHEAD - kept(Kept, Body) - max(0, Flow) of
        Room when Room * 2 >= ?READ_AHEAD ->
            {[{flow, Room}], Body#body{flow = max(0, Flow) + Room}};
        _ ->
            {[], Body}
    end.

%% While it is gathered, what is pending is bounded by body_buffer and does not count.
kept(gathered, _) -> 0;
kept(all, #body{pending_size = Pending}) -> Pending.

-spec is_done(body()) -> boolean().
is_done(#body{done = Done}) -> Done.

%% @doc Bytes so far.
-spec size(body()) -> non_neg_integer().
size(#body{received = Received}) -> Received.

%%% The deadline

%% @doc From now on the client may pause for Timeout milliseconds.
-spec await(hornbeam_exchanges:to(), timeout(), body()) -> body().
await(_, infinity, Body) ->
    Body;
await(To, Timeout, Body) ->
    Timer = erlang:send_after(Timeout, self(), {To, body_deadline}),
    Body#body{timer = Timer, seen = now_ms()}.

%% @doc The stream was sent `body_deadline'. Bytes that came since the timer was set move the
%% deadline; so does waiting for the worker to read, which a body that is gathered never does.
-spec deadline(IsGathering :: boolean(), hornbeam_exchanges:to(), timeout(), body()) ->
    late | body().
deadline(_, _, _, #body{done = true} = Body) ->
    Body#body{timer = undefined};
deadline(false, To, Timeout, #body{pending = [_ | _]} = Body) ->
    await(To, Timeout, Body);
deadline(_, To, Timeout, #body{seen = Seen} = Body) ->
    case Seen + Timeout - now_ms() of
        Left when Left > 0 ->
            Body#body{timer = erlang:send_after(Left, self(), {To, body_deadline})};
        _ ->
            late
    end.

%% @doc The stream is over: the message would be for one that Cowboy does not know any more.
-spec forget(hornbeam_exchanges:to(), body()) -> ok.
forget(_, #body{timer = undefined}) ->
    ok;
forget(To, #body{timer = Timer}) ->
    _ = erlang:cancel_timer(Timer) =:= false andalso
        receive
            {To, body_deadline} -> ok
        after 0 -> ok
        end,
    ok.

now_ms() -> erlang:monotonic_time(millisecond).
