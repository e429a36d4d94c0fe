%% SPDX-License-Identifier: Apache-2.0
%% @doc One Python worker: owns its link, hands it requests, sends the answers straight to the streams.
%%
%% Runs in: the worker process, one per slot of a pool; others speak to it through `hornbeam_worker'. It outlives the operating-system processes that
%% it starts one after the other:
%%   booting   started, loading the application; gone when that fails
%%   ready     takes requests
%%   stalled   silent for three heartbeats; takes nothing new, what it had not started went elsewhere
%%   draining  takes nothing new, finishes what it holds, then ends (recycled) or is killed (stuck)
%%   gone      no process; started again after a delay that grows while it keeps failing
%% What can go wrong with requests and calls is in `hornbeam_exchanges' and `hornbeam_calls', both pure.
-module(hornbeam_worker_proc).
-behaviour(gen_statem).

-export([start_link/3]).
-export([callback_mode/0, init/1, terminate/3]).
-export([booting/3, ready/3, stalled/3, draining/3, gone/3]).
-export_type([options/0]).

-include("hornbeam_wire.hrl").
-include_lib("kernel/include/logger.hrl").

-type options() :: #{
    %% For hornbeam_link.
    boot := map(),
    python := binary(),
    env := [{string(), string() | false}],
    threads := pos_integer(),
    timeout := timeout(),
    response_window := pos_integer(),
    heartbeat := pos_integer(),
    %% Requests after which the worker is replaced; jitter included.
    max_requests := pos_integer() | infinity,
    max_requests_jitter := non_neg_integer(),
    boot_timeout := pos_integer(),
    %% Told `{Starter, Index, ready | {failed, Reason}}' about the first boot.
    starter := reference() | undefined
}.

-record(data, {
    pool :: hornbeam_pool:pool(),
    index :: hornbeam_pool:index(),
    options :: options(),
    link :: hornbeam_link:link() | undefined,
    %% of the link; undefined when there is none
    port :: port() | undefined,
    exchanges :: hornbeam_exchanges:state(),
    calls = hornbeam_calls:new() :: hornbeam_calls:state(),
    prefetch :: hornbeam_prefetch:state(),
    %% limit last written to the pool
    limit = 0 :: non_neg_integer(),
    %% microseconds: the worker has had work without a pause since then, or since its last answer
    busy_since = 0 :: integer(),
    %% milliseconds: the last sign of life
    heard = 0 :: integer(),
    %% requests until the worker is replaced
    remaining = infinity :: pos_integer() | infinity,
    %% why the worker drains
    drain = recycle :: recycle | stuck,
    %% boots in a row that did not lead to a single answer
    failures = 0 :: non_neg_integer(),
    restarts = 0 :: non_neg_integer(),
    served = 0 :: non_neg_integer(),
    starter :: reference() | undefined
}).

-define(TICK, 250).
%% Requests taken from the mailbox for one packet.
-define(BATCH, 64).
-define(STOP_TIMEOUT, 5000).
-define(LOG_META, #{domain => [hornbeam, worker]}).

%%% API: any process

-spec start_link(hornbeam_pool:pool(), hornbeam_pool:index(), options()) -> {ok, pid()}.
start_link(Pool, Index, Options) ->
    %% Room for a few packets between two collections.
    gen_statem:start_link(?MODULE, {Pool, Index, Options}, [{spawn_opt, [{min_heap_size, 16384}]}]).

%%% Life

-spec callback_mode() -> [state_functions | state_enter].
callback_mode() -> [state_functions, state_enter].

-spec init({hornbeam_pool:pool(), hornbeam_pool:index(), options()}) ->
    {ok, booting, #data{}}.
init({Pool, Index, #{threads := Threads, starter := Starter} = Options}) ->
    process_flag(trap_exit, true),
    ok = hornbeam_pool:set_worker(Index, self(), Pool),
    {ok, booting, #data{
        pool = Pool,
        index = Index,
        options = Options,
        starter = Starter,
        exchanges = new_exchanges(Options),
        prefetch = hornbeam_prefetch:new(Threads)
    }}.

new_exchanges(Options) ->
    hornbeam_exchanges:new(maps:with([timeout, response_window], Options)).

-spec booting(gen_statem:event_type() | enter, term(), #data{}) -> term().
booting(enter, _, #data{options = #{boot_timeout := Timeout} = Options, restarts = N} = D0) ->
    D = set_limit(0, D0),
    case hornbeam_link:open(Options) of
        {ok, Link} -> {keep_state, started(Link, D), [{state_timeout, Timeout, boot_timeout}]};
        {error, Reason} -> {keep_state, D#data{restarts = N + 1}, [{state_timeout, 0, Reason}]}
    end;
booting(info, {Port, {data, Packet}}, #data{port = Port, link = Link} = D) ->
    case hornbeam_wire:decode(Packet) of
        {ok, Messages} -> booted(hornbeam_link:handshake(Messages, Link), D);
        {error, Error} -> boot_failed({protocol, Error}, D)
    end;
booting(info, {Port, {exit_status, Status}}, #data{port = Port} = D) ->
    boot_failed({worker_exited, Status}, D);
booting(state_timeout, Reason, D) ->
    boot_failed(Reason, D);
booting(Type, Event, D) ->
    common(Type, Event, booting, D).

started(Link, #data{options = #{threads := Threads} = Options, restarts = N} = D) ->
    D#data{
        link = Link,
        port = hornbeam_link:port(Link),
        restarts = N + 1,
        exchanges = new_exchanges(Options),
        calls = hornbeam_calls:new(),
        prefetch = hornbeam_prefetch:new(Threads)
    }.

booted({more, Link}, D) ->
    {keep_state, D#data{link = Link}};
booted({ready, Rest, Link}, D) ->
    ?LOG_INFO((who(D))#{what => worker_started}, ?LOG_META),
    Ready = D#data{link = Link, heard = now_ms(), remaining = lifetime(D)},
    {next_state, ready, told(ready, Ready), [{next_event, internal, {messages, Rest}} || Rest =/= []]};
booted({failed, Reason}, D) ->
    boot_failed(Reason, D).

told(_, #data{starter = undefined} = D) ->
    D;
told(What, #data{starter = Starter, index = Index} = D) ->
    Starter ! {Starter, Index, What},
    D#data{starter = undefined}.

lifetime(#data{options = #{max_requests := infinity}}) ->
    infinity;
lifetime(#data{options = #{max_requests := Max, max_requests_jitter := Jitter}}) ->
    Max + rand:uniform(Jitter + 1) - 1.

boot_failed(Reason, #data{index = Index} = D) ->
    ?LOG_ERROR(#{what => worker_boot_failed, worker => Index, reason => Reason}, ?LOG_META),
    {next_state, gone, bury(told({failed, Reason}, D#data{failures = D#data.failures + 1}))}.

-spec ready(gen_statem:event_type() | enter, term(), #data{}) -> term().
ready(enter, _, D) ->
    {keep_state, relimit(D#data{limit = 0}), [{{timeout, tick}, ?TICK, tick}]};
ready(info, {hornbeam_open, To, Request}, D) ->
    true = erlang:yield(),
    opened(take_opens([{To, Request}], ?BATCH - 1), D);
ready(info, {Port, {data, Packet}}, #data{port = Port} = D) ->
    packet(hornbeam_wire:decode(Packet), ready, D);
ready(internal, {messages, Messages}, D) ->
    packet({ok, Messages}, ready, D);
ready({timeout, tick}, tick, D) ->
    tick(ready, D);
ready(Type, Event, D) ->
    common(Type, Event, ready, D).

-spec stalled(gen_statem:event_type() | enter, term(), #data{}) -> term().
stalled(enter, _, D) ->
    ?LOG_WARNING((who(D))#{what => worker_stalled}, ?LOG_META),
    {keep_state, give_away(set_limit(0, D)), [{{timeout, tick}, ?TICK, tick}]};
stalled(info, {Port, {data, Packet}}, #data{port = Port} = D) ->
    packet(hornbeam_wire:decode(Packet), stalled, D);
stalled({timeout, tick}, tick, D) ->
    tick(stalled, D);
stalled(Type, Event, D) ->
    common(Type, Event, stalled, D).

-spec draining(gen_statem:event_type() | enter, term(), #data{}) -> term().
draining(enter, _, #data{drain = recycle, link = Link} = D) ->
    ok = hornbeam_link:send([{?DRAIN}], Link),
    {keep_state, set_limit(0, D), [{{timeout, tick}, ?TICK, tick}]};
draining(enter, _, #data{drain = stuck} = D) ->
    {keep_state, give_away(set_limit(0, D)), [{{timeout, tick}, ?TICK, tick}]};
draining(info, {Port, {data, Packet}}, #data{port = Port} = D) ->
    packet(hornbeam_wire:decode(Packet), draining, D);
draining({timeout, tick}, tick, D) ->
    tick(draining, D);
draining(Type, Event, D) ->
    common(Type, Event, draining, D).

-spec gone(gen_statem:event_type() | enter, term(), #data{}) -> term().
gone(enter, _, D) ->
    {keep_state, set_limit(0, D), [{state_timeout, backoff(D#data.failures), boot}]};
gone(state_timeout, boot, D) ->
    {next_state, booting, D};
gone(Type, Event, D) ->
    common(Type, Event, gone, D).

%% Milliseconds: a worker that has answered anything is replaced at once.
backoff(0) -> 0;
backoff(Failures) -> min(10000, 50 bsl min(Failures, 8)).

%%% Events that mean the same in every state

common(info, {hornbeam_open, To, Request}, _, #data{index = Index, pool = Pool} = D) ->
    %% Claimed just before the limit became 0.
    _ = hornbeam_pool:release(Index, 1, Pool),
    ok = hornbeam_queue:requeue([{To, Request}], Pool),
    {keep_state, D};
common(info, {hornbeam_body, Id, Fin, Data}, _, #data{exchanges = X} = D) ->
    to_worker(hornbeam_exchanges:body(Id, Fin, Data, now_ms(), X), D);
common(info, {hornbeam_credit, Id, N}, _, #data{exchanges = X} = D) ->
    to_worker(hornbeam_exchanges:credit(Id, N, now_ms(), X), D);
common(info, {hornbeam_cancel, Id, Reason}, _, #data{exchanges = X} = D) ->
    to_worker(hornbeam_exchanges:cancel(Id, Reason, now_ms(), X), D);
common(info, {hornbeam_cancel, To}, _, #data{exchanges = X} = D) ->
    case hornbeam_exchanges:find(To, X) of
        {ok, Id} -> to_worker(hornbeam_exchanges:cancel(Id, <<"client_gone">>, now_ms(), X), D);
        error -> {keep_state, D}
    end;
common(info, {Port, {exit_status, Status}}, State, #data{port = Port} = D) ->
    died(Status, State, D);
common(info, {'EXIT', Port, _}, _, D) when is_port(Port) ->
    {keep_state, D};
common(info, {hornbeam_calls, Event}, State, #data{calls = Calls} = D) ->
    called(hornbeam_calls:event(Event, can_call(State), Calls), D);
common(info, {'DOWN', _, process, Pid, Reason}, _, #data{calls = Calls} = D) ->
    called(hornbeam_calls:down(Pid, Reason, Calls), D);
common({call, From}, info, State, D) ->
    {keep_state, D, [{reply, From, describe(State, D)}]};
common({call, From}, _, _, D) ->
    {keep_state, D, [{reply, From, {error, unknown_call}}]};
common({timeout, tick}, tick, _, D) ->
    {keep_state, D};
common(_, _, _, D) ->
    %% Frames and exits of an earlier port.
    {keep_state, D}.

can_call(State) -> State =:= ready orelse State =:= stalled orelse State =:= draining.

to_worker({Messages, X}, #data{link = Link} = D) ->
    ok = hornbeam_link:send(Messages, Link),
    {keep_state, D#data{exchanges = X}}.

called({Messages, Calls}, #data{link = Link} = D) ->
    ok = hornbeam_link:send(Messages, Link),
    {keep_state, D#data{calls = Calls}}.

%%% Requests out

%% Requests that are in the mailbox already travel in the same packet. Connections that are about to run on
%% this scheduler go first; when there are none, nothing is waited for.
take_opens(Opens, 0) ->
    Opens;
take_opens(Opens, N) ->
    receive
        {hornbeam_open, To, Request} -> take_opens([{To, Request} | Opens], N - 1)
    after 0 -> Opens
    end.

opened(NewestFirst, #data{exchanges = X0, link = Link, busy_since = Since} = D) ->
    Now = now_ms(),
    {Opens, X} = lists:mapfoldl(
        fun({To, Request}, Acc) -> hornbeam_exchanges:open(To, Request, Now, Acc) end,
        X0,
        lists:reverse(NewestFirst)
    ),
    ok = hornbeam_link:open_exchanges(Opens, Link),
    Busy =
        case hornbeam_exchanges:count(X0) of
            0 -> now_us();
            _ -> Since
        end,
    aged(length(Opens), D#data{exchanges = X, busy_since = Busy}).

aged(_, #data{remaining = infinity} = D) ->
    {keep_state, D};
aged(N, #data{remaining = Left} = D) when Left > N ->
    {keep_state, D#data{remaining = Left - N}};
aged(_, D) ->
    {next_state, draining, D#data{drain = recycle, remaining = infinity}}.

%%% Answers in

packet({ok, Messages}, State, #data{exchanges = X0} = D0) ->
    D = D0#data{heard = now_ms()},
    case handle_all(Messages, D#data.heard, [], X0, D) of
        {ok, Effects, X, D1} ->
            after_packet(State, carry_out(lists:reverse(Effects), D1#data{exchanges = X}));
        {error, Error, Effects, X, D1} ->
            broken(Error, carry_out(lists:reverse(Effects), D1#data{exchanges = X}))
    end;
packet({error, Error}, _, D) ->
    broken(Error, D).

handle_all([], _, Effects, X, D) ->
    {ok, Effects, X, D};
handle_all([Message | Rest], Now, Effects, X0, D) when element(1, Message) < ?CALL ->
    case exchange_message(Message, Now, X0) of
        {ok, More, X} -> handle_all(Rest, Now, join(More, Effects), X, D);
        {error, Error} -> {error, Error, Effects, X0, D}
    end;
handle_all([Message | Rest], Now, Effects, X, #data{calls = Calls0, link = Link} = D) ->
    case hornbeam_calls:handle(Message, self(), Calls0) of
        {ok, Replies, Calls} ->
            ok = hornbeam_link:send(Replies, Link),
            handle_all(Rest, Now, Effects, X, D#data{calls = Calls});
        {error, Error} ->
            {error, Error, Effects, X, D}
    end.

join([E], Effects) -> [E | Effects];
join(More, Effects) -> More ++ Effects.

exchange_message({?BEAT}, _, X) ->
    {ok, [], X};
exchange_message({?ERROR, Name, Text}, _, _) ->
    {error, {worker_error, <<Name/binary, ": ", Text/binary>>}};
exchange_message(Message, Now, X) when element(1, Message) >= ?OPEN ->
    hornbeam_exchanges:handle(Message, Now, X);
exchange_message(Message, _, _) ->
    {error, {bad_state, <<"message ", (integer_to_binary(element(1, Message)))/binary, " after READY">>}}.

%% Answers go straight to the streams; slots are free before the queue is told.
carry_out(Effects, #data{pool = Pool, index = Index} = D) ->
    {Released, Requeued} = perform(Effects, 0, []),
    Told = hornbeam_pool:release(Index, Released, Pool),
    ok = hornbeam_queue:requeue(lists:reverse(Requeued), Pool),
    _ = Told andalso Requeued =:= [] andalso hornbeam_queue:capacity(Pool),
    measured(Released - length(Requeued), D).

perform([{event, {Connection, _} = To, Id, Event} | Rest], Released, Requeued) ->
    Connection ! {To, {hornbeam, self(), Id, Event}},
    perform(Rest, Released, Requeued);
perform([released | Rest], Released, Requeued) ->
    perform(Rest, Released + 1, Requeued);
perform([{requeue, To, Request} | Rest], Released, Requeued) ->
    perform(Rest, Released, [{To, Request} | Requeued]);
perform([], Released, Requeued) ->
    {Released, Requeued}.

measured(Answers, D) when Answers =< 0 ->
    D;
measured(Answers, #data{busy_since = Since, prefetch = P0, served = Served} = D) ->
    Now = now_us(),
    P = hornbeam_prefetch:sample(max(0, Now - Since), Answers, P0),
    D#data{prefetch = P, busy_since = Now, served = Served + Answers, failures = 0}.

after_packet(ready, D) ->
    {keep_state, relimit(D)};
after_packet(stalled, #data{exchanges = X, link = Link} = D) ->
    case hornbeam_exchanges:given(X) of
        0 ->
            ok = hornbeam_link:allow(Link),
            {next_state, ready, D};
        _ ->
            {keep_state, D}
    end;
after_packet(draining, D) ->
    {keep_state, D}.

relimit(#data{prefetch = P} = D) ->
    set_limit(hornbeam_prefetch:limit(P), D).

set_limit(Limit, #data{limit = Limit} = D) when Limit > 0 ->
    D;
set_limit(Limit, #data{index = Index, pool = Pool} = D) ->
    ok = hornbeam_pool:set_limit(Index, Limit, Pool),
    _ = Limit > D#data.limit andalso hornbeam_pool:queued(Pool) > 0 andalso
        hornbeam_queue:capacity(Pool),
    D#data{limit = Limit}.

%%% What goes wrong

%% Deadlines and silence are looked at a few times a second, not per request.
tick(State, #data{exchanges = X0, link = Link} = D0) ->
    {Effects, Messages, Stuck, X} = hornbeam_exchanges:overdue(now_ms(), X0),
    ok = hornbeam_link:send(Messages, Link),
    D = carry_out(Effects, D0#data{exchanges = X}),
    Next = {{timeout, tick}, ?TICK, tick},
    case {State, Stuck, silent(D)} of
        {draining, _, _} -> drained(Stuck, Next, D);
        {_, [_ | _], _} -> {next_state, draining, D#data{drain = stuck}};
        {ready, [], true} -> {next_state, stalled, D};
        {_, [], _} -> {keep_state, D, [Next]}
    end.

silent(#data{heard = Heard, options = #{heartbeat := Heartbeat}}) ->
    now_ms() - Heard > 3 * Heartbeat.

%% Nothing but stuck requests is left: the process cannot be used any more.
drained(Stuck, Next, #data{exchanges = X} = D) ->
    case Stuck =/= [] andalso length(Stuck) =:= hornbeam_exchanges:count(X) of
        true ->
            ?LOG_ERROR((who(D))#{what => worker_killed, reason => timeout}, ?LOG_META),
            {next_state, gone, bury(D)};
        false ->
            {keep_state, D, [Next]}
    end.

%% What the worker has not started goes to others.
give_away(#data{link = Link, exchanges = X0} = D) ->
    {Effects, X} = hornbeam_exchanges:give_away(hornbeam_link:forbid(Link), X0),
    carry_out(Effects, D#data{exchanges = X}).

%% The worker broke the protocol: there is no way to know what it means any more.
broken({Name, Text}, #data{link = Link} = D) ->
    ?LOG_ERROR((who(D))#{what => worker_protocol_failed, reason => {Name, Text}}, ?LOG_META),
    ok = hornbeam_link:send([{?ERROR, atom_to_binary(Name), Text}], Link),
    {next_state, gone, bury(failed_once(D))}.

died(0, draining, #data{drain = recycle} = D) ->
    ?LOG_INFO((who(D))#{what => worker_recycled}, ?LOG_META),
    {next_state, gone, bury(D)};
died(Status, State, #data{exchanges = X} = D) ->
    Open = hornbeam_exchanges:count(X),
    ?LOG_ERROR(
        (who(D))#{what => worker_exited, status => Status, state => State, open => Open}, ?LOG_META
    ),
    {next_state, gone, bury(failed_once(D))}.

who(#data{index = Index, link = Link}) ->
    #{worker => Index, os_pid => hornbeam_link:os_pid(Link)}.

failed_once(#data{served = 0, failures = N} = D) -> D#data{failures = N + 1};
failed_once(D) -> D.

%% Kill what may still run, and answer everything it held.
bury(#data{link = undefined} = D) ->
    D#data{served = 0};
bury(#data{link = Link, exchanges = X0, calls = Calls} = D) ->
    Started = hornbeam_link:close(Link),
    {Effects, X} = hornbeam_exchanges:fail_all(Started, X0),
    ok = hornbeam_calls:fail_all(Calls),
    Empty = D#data{
        link = undefined, port = undefined, exchanges = X, calls = hornbeam_calls:new(),
        drain = recycle
    },
    (carry_out(Effects, Empty))#data{served = 0}.

%%% Stop

-spec terminate(term(), atom(), #data{}) -> ok.
terminate(_Reason, State, #data{port = Port, link = Link} = D) when
    State =:= ready; State =:= stalled; State =:= draining
->
    ok = hornbeam_link:send([{?DRAIN}], Link),
    receive
        {Port, {exit_status, _}} -> ok
    after ?STOP_TIMEOUT -> ok
    end,
    buried(D);
terminate(_Reason, _State, D) ->
    buried(D).

buried(D) ->
    _ = bury(set_limit(0, D)),
    ok.

describe(State, #data{index = Index, pool = Pool, link = Link} = D) ->
    #{
        state => State,
        load => hornbeam_pool:load(Index, Pool),
        limit => D#data.limit,
        served => D#data.served,
        restarts => max(0, D#data.restarts - 1),
        os_pid => Link =/= undefined andalso hornbeam_link:os_pid(Link),
        about => about(Link)
    }.

about(undefined) -> #{};
about(Link) -> hornbeam_link:about(Link).

now_ms() -> erlang:monotonic_time(millisecond).
now_us() -> erlang:monotonic_time(microsecond).
