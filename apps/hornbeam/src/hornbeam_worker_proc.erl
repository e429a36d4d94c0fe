%% SPDX-License-Identifier: Apache-2.0
%% @doc The life of one Python worker.
%%
%% Runs in: the worker process, one per slot of a pool; others speak to it through
%% `hornbeam_worker'. It outlives the operating-system processes that it starts one after the
%% other:
%%   booting   started, loading the application; gone when that fails
%%   ready     takes requests
%%   stalled   silent for three heartbeats; takes nothing new, what it had not started went
%%             elsewhere
%%   draining  takes nothing new, finishes what it holds, then ends (recycled) or is killed (stuck)
%%   gone      no process; started again after a delay that grows while it keeps failing
%% What it holds is `hornbeam_worker_traffic', its connection `hornbeam_link'.
-module(hornbeam_worker_proc).
-behaviour(gen_statem).

-export([start_link/3]).
-export([callback_mode/0, init/1, terminate/3]).
-export([booting/3, ready/3, stalled/3, draining/3, gone/3]).

-include("hornbeam_wire.hrl").
-include_lib("kernel/include/logger.hrl").

-record(data, {
    index :: hornbeam_pool:index(),
    options :: hornbeam_worker_life:options(),
    traffic :: hornbeam_worker_traffic:state(),
    link :: hornbeam_link:link() | undefined,
    %% of the link, or the process that stands for one; undefined when there is none
    port :: port() | pid() | undefined,
    %% requests until the worker is replaced
    remaining = infinity :: pos_integer() | infinity,
    %% why the worker drains, and when it had nothing left (milliseconds)
    drain = recycle :: recycle | stuck,
    drained_at = undefined :: integer() | undefined,
    %% processes in a row that did not answer a single request
    failures = 0 :: non_neg_integer(),
    boots = 0 :: non_neg_integer(),
    %% of the heap when it was last swept
    words = 0 :: non_neg_integer(),
    %% who waits for the first boot, until it was told
    starter :: reference() | undefined
}).

%% Deadlines and silence are looked at as often as this, milliseconds.
-define(TICK, 250).
%% Close code of WebSockets whose worker ends: "service restart".
-define(RESTART, 1012).
%% Milliseconds for which one that will not come back answers whoever has not heard of that.
-define(LINGER, 100).
%% Words: room for a few packets between two collections.
-define(MIN_HEAP_SIZE, 16384).
-define(LOG_META, #{domain => [hornbeam, worker]}).
-define(NEXT_TICK, {{timeout, tick}, ?TICK, tick}).

-type result() :: gen_statem:event_handler_result(atom()) | gen_statem:state_enter_result(atom()).

-spec start_link(hornbeam_pool:pool(), hornbeam_pool:index(), hornbeam_worker_life:options()) ->
    {ok, pid()}.
start_link(Pool, Index, Options) ->
    Spawn = {spawn_opt, [{min_heap_size, ?MIN_HEAP_SIZE}]},
    gen_statem:start_link(?MODULE, {Pool, Index, Options}, [Spawn]).

-spec callback_mode() -> [state_functions | state_enter, ...].
callback_mode() -> [state_functions, state_enter].

-spec init({hornbeam_pool:pool(), hornbeam_pool:index(), hornbeam_worker_life:options()}) ->
    {ok, booting, #data{}}.
init({Pool, Index, #{starter := Starter} = Options}) ->
    process_flag(trap_exit, true),
    ok = hornbeam_pool:set_worker(Index, self(), Pool),
    Traffic = hornbeam_worker_traffic:new(Pool, Index, Options),
    {ok, booting, #data{index = Index, options = Options, traffic = Traffic, starter = Starter}}.

%%% booting

-spec booting(gen_statem:event_type() | enter, term(), #data{}) -> result().
booting(enter, _, #data{options = #{boot_timeout := Timeout} = Options, boots = Boots} = D0) ->
    D = D0#data{boots = Boots + 1},
    case hornbeam_link:open(Options) of
        {ok, Link} -> {keep_state, linked(Link, D), [{state_timeout, Timeout, boot_timeout}]};
        {error, Reason} -> {keep_state, D, [{state_timeout, 0, Reason}]}
    end;
booting(info, {Port, {data, Packet}}, #data{port = Port, link = Link} = D) ->
    case hornbeam_wire:decode(Packet) of
        {ok, Messages} -> greeted(hornbeam_link:handshake(Messages, Link), D);
        {error, Error} -> boot_failed({protocol, Error}, D)
    end;
booting(info, {Port, {exit_status, Status}}, #data{port = Port} = D) ->
    boot_failed({worker_exited, Status}, D);
booting(state_timeout, Reason, D) ->
    boot_failed(Reason, D);
booting(Type, Event, D) ->
    common(Type, Event, booting, D).

linked(Link, #data{traffic = T, options = Options} = D) ->
    D#data{
        link = Link,
        port = hornbeam_link:port(Link),
        traffic = hornbeam_worker_traffic:renew(T),
        remaining = hornbeam_worker_life:lifetime(Options)
    }.

greeted({more, [], Link}, D) ->
    {keep_state, D#data{link = Link}};
greeted({more, Calls, Link}, #data{traffic = T} = D) ->
    case hornbeam_worker_traffic:messages(Calls, Link, T) of
        {ok, T1} -> {keep_state, D#data{link = Link, traffic = T1}};
        {error, Error, T1} -> broken(Error, told({failed, {protocol, Error}}, D#data{traffic = T1}))
    end;
greeted({ready, Rest, Link}, #data{traffic = T} = D) ->
    ?LOG_INFO((who(D))#{what => worker_started}, ?LOG_META),
    More = [{next_event, internal, {messages, Rest}} || Rest =/= []],
    Ready = hornbeam_worker_traffic:ready(Link, T),
    {next_state, ready, told(ready, D#data{link = Link, traffic = Ready}), More};
greeted({failed, Reason}, D) ->
    boot_failed(Reason, D).

boot_failed(Reason, D) ->
    ?LOG_ERROR((who(D))#{what => worker_boot_failed, reason => Reason}, ?LOG_META),
    {next_state, gone, bury(told({failed, Reason}, D))}.

told(_, #data{starter = undefined} = D) ->
    D;
told(What, #data{starter = Starter, index = Index} = D) ->
    Starter ! {Starter, Index, What},
    D#data{starter = undefined}.

%%% ready

-spec ready(gen_statem:event_type() | enter, term(), #data{}) -> result().
ready(enter, _, #data{traffic = T} = D) ->
    {keep_state, D#data{traffic = hornbeam_worker_traffic:open_limit(T)}, [?NEXT_TICK]};
ready(info, {hornbeam_open, To, Request}, D) ->
    opened(hornbeam_worker_mailbox:opens({To, Request}), D);
ready(info, {Port, {data, Packet}}, #data{port = Port, link = Link, traffic = T} = D) ->
    taken(hornbeam_worker_traffic:packet(Packet, Link, T), D);
ready(info, hornbeam_drain, D) ->
    {next_state, draining, D#data{drain = recycle}};
ready(internal, {messages, Messages}, #data{link = Link, traffic = T} = D) ->
    taken(hornbeam_worker_traffic:messages(Messages, Link, T), D);
ready({timeout, tick}, tick, #data{options = #{heartbeat := Heartbeat}, traffic = T} = D0) ->
    {Stuck, D} = overdue(D0#data{traffic = hornbeam_worker_traffic:retry(T)}),
    case Stuck =/= [] orelse hornbeam_worker_traffic:silent_for(D#data.traffic) > 3 * Heartbeat of
        false -> {keep_state, D, [?NEXT_TICK]};
        true when Stuck =:= [] -> {next_state, stalled, D};
        true -> {next_state, draining, D#data{drain = stuck}}
    end;
ready(Type, Event, D) ->
    common(Type, Event, ready, D).

opened(Requests, #data{link = Link, traffic = T, remaining = Left} = D0) ->
    D = D0#data{traffic = hornbeam_worker_traffic:open(Requests, Link, T)},
    case Left =/= infinity andalso Left - length(Requests) of
        false -> {keep_state, D};
        Fewer when Fewer > 0 -> {keep_state, D#data{remaining = Fewer}};
        _ -> {next_state, draining, D#data{drain = recycle}}
    end.

%%% stalled

-spec stalled(gen_statem:event_type() | enter, term(), #data{}) -> result().
stalled(enter, _, D) ->
    ?LOG(severity(D), (who(D))#{what => worker_stalled}, ?LOG_META),
    {keep_state, give_away(D), [?NEXT_TICK]};
stalled(info, {Port, {data, Packet}}, #data{port = Port, link = Link, traffic = T} = D) ->
    case hornbeam_worker_traffic:packet(Packet, Link, T) of
        {ok, T1} -> recovered(D#data{traffic = T1});
        {error, Error, T1} -> broken(Error, D#data{traffic = T1})
    end;
stalled(info, hornbeam_drain, D) ->
    {next_state, draining, D#data{drain = recycle}};
stalled({timeout, tick}, tick, D0) ->
    case overdue(D0) of
        {[], D} -> given_up(D);
        {_, D} -> {next_state, draining, D#data{drain = stuck}}
    end;
stalled(Type, Event, D) ->
    common(Type, Event, stalled, D).

given_up(#data{link = Link, traffic = T} = D) ->
    case hornbeam_link:is_given_up(hornbeam_worker_traffic:silent_for(T), Link) of
        true -> died(silent, stalled, D);
        false -> {keep_state, D, [?NEXT_TICK]}
    end.

%% A program with a node of its own may be stopped by whoever looks at it with a debugger.
severity(#data{options = #{descriptors := _}}) -> info;
severity(_) -> warning.

%% It speaks again, and has handed back what others were given.
recovered(#data{link = Link, traffic = T} = D) ->
    case hornbeam_worker_traffic:given(T) of
        0 ->
            ok = hornbeam_link:allow(Link),
            {next_state, ready, D};
        _ ->
            {keep_state, D}
    end.

give_away(#data{link = Link, traffic = T} = D) ->
    Closed = hornbeam_worker_traffic:close_limit(T),
    D#data{traffic = hornbeam_worker_traffic:give_away(Link, Closed)}.

%%% draining

-spec draining(gen_statem:event_type() | enter, term(), #data{}) -> result().
draining(enter, _, #data{drain = recycle, link = Link} = D0) ->
    %% They would keep it from ending for as long as their clients like.
    #data{traffic = T} = D = close_websockets(?RESTART, <<>>, D0),
    ok = hornbeam_link:send([{?DRAIN}], Link),
    ok = leave(D),
    {keep_state, D#data{traffic = hornbeam_worker_traffic:close_limit(T)}, [?NEXT_TICK]};
draining(enter, _, #data{drain = stuck} = D) ->
    {keep_state, give_away(close_websockets(?RESTART, <<>>, D)), [?NEXT_TICK]};
draining(info, {Port, {data, Packet}}, #data{port = Port, link = Link, traffic = T} = D) ->
    taken(hornbeam_worker_traffic:packet(Packet, Link, T), D);
draining({timeout, tick}, tick, D0) ->
    {Stuck, D} = overdue(D0),
    case has_finished(length(Stuck), D) of
        true -> drained(D);
        false -> {keep_state, D, [?NEXT_TICK]}
    end;
draining(Type, Event, D) ->
    common(Type, Event, draining, D).

%% Handlers of one that nobody replaces are not asked for any more.
leave(#data{options = #{session := _}, traffic = T}) -> hornbeam_worker_traffic:closed(T);
leave(_) -> ok.

%% Callers give up in time what it does not answer.
has_finished(Stuck, #data{traffic = T, drain = Drain}) ->
    hornbeam_worker_traffic:count(T) =:= Stuck andalso
        (Drain =:= stuck orelse hornbeam_worker_traffic:calls(T) =:= 0).

%% Nothing is left but what holds the process for good. One that was told to end gets a little
%% time for that.
drained(#data{drain = stuck} = D) ->
    killed(timeout, D);
drained(#data{drained_at = undefined} = D) ->
    {keep_state, D#data{drained_at = now_ms()}, [?NEXT_TICK]};
drained(#data{drained_at = Since, options = #{stop_timeout := Timeout}} = D) ->
    case now_ms() - Since > Timeout of
        true -> killed(does_not_end, D);
        false -> {keep_state, D, [?NEXT_TICK]}
    end.

killed(Reason, D) ->
    ?LOG_ERROR((who(D))#{what => worker_killed, reason => Reason}, ?LOG_META),
    {next_state, gone, bury(D)}.

%%% gone

-spec gone(gen_statem:event_type() | enter, term(), #data{}) -> result().
gone(enter, _, #data{options = #{session := _}} = D) ->
    %% Who has found it before its end is answered yet.
    ok = leave(D),
    {keep_state, D, [{state_timeout, ?LINGER, leave}]};
gone(enter, _, #data{options = #{renew := never}}) ->
    {stop, normal};
gone(enter, _, #data{failures = Failures} = D) ->
    {keep_state, D, [{state_timeout, hornbeam_worker_life:backoff(Failures), boot}]};
gone(state_timeout, leave, _) ->
    {stop, normal};
gone(state_timeout, boot, D) ->
    {next_state, booting, D};
gone(Type, Event, D) ->
    common(Type, Event, gone, D).

%%% Events that mean the same in every state

common(info, {hornbeam_open, To, Request}, _, #data{traffic = T} = D) ->
    ok = hornbeam_worker_traffic:refuse({To, Request}, T),
    {keep_state, D};
common(info, {hornbeam_message, _, _, _} = Event, _, #data{link = Link, traffic = T} = D) ->
    %% What other sockets are about to say travels in the same packet.
    true = erlang:yield(),
    Events = hornbeam_worker_mailbox:events(Event),
    {keep_state, D#data{traffic = hornbeam_worker_traffic:events(Events, Link, T)}};
common(info, Event, _, #data{link = Link, traffic = T} = D) when
    element(1, Event) =:= hornbeam_body;
    element(1, Event) =:= hornbeam_credit;
    element(1, Event) =:= hornbeam_cancel;
    element(1, Event) =:= hornbeam_close
->
    {keep_state, D#data{traffic = hornbeam_worker_traffic:events([Event], Link, T)}};
common(info, {hornbeam_close_websockets, Code, Reason}, _, D) ->
    {keep_state, close_websockets(Code, Reason, D)};
common(info, {Port, {exit_status, Status}}, State, #data{port = Port, link = Link} = D) ->
    died(Status, State, D#data{link = hornbeam_link:ended(Status, Link)});
common(info, {hornbeam_calls, Event}, State, #data{link = Link, traffic = T} = D) ->
    Phase = hornbeam_worker_life:phase(State),
    {keep_state, D#data{traffic = hornbeam_worker_traffic:call_event(Event, Phase, Link, T)}};
common(info, {'DOWN', _, process, Peer, Reason}, State, #data{port = Peer, link = Link} = D) ->
    ?MODULE:State(info, {Peer, {exit_status, hornbeam_link:lost(Reason, Link)}}, D);
common(info, {'DOWN', _, process, Pid, Reason}, _, #data{link = Link, traffic = T} = D) ->
    {keep_state, D#data{traffic = hornbeam_worker_traffic:call_down(Pid, Reason, Link, T)}};
common({call, From}, info, State, D) ->
    {keep_state, D, [{reply, From, describe(State, D)}]};
common({call, From}, Question, _, #data{traffic = T} = D) ->
    {keep_state, D, [{reply, From, hornbeam_worker_traffic:ask(Question, T)}]};
common(info, {'EXIT', Port, Reason}, State, #data{port = Port, link = Link} = D) ->
    %% A write met a pipe that nobody reads before the end of the process was known: there will be
    %% no exit status.
    ok = hornbeam_link:kill(Link),
    ?MODULE:State(info, {Port, {exit_status, Reason}}, D);
common(info, {'EXIT', Pid, Reason}, _, D) when is_pid(Pid), Reason =/= shutdown ->
    %% The process of its subscriptions has crashed: nobody could tell the worker what it missed.
    {stop, Reason, D};
common(_, _, _, D) ->
    %% Ticks, frames and exits of an earlier process.
    {keep_state, D}.

close_websockets(Code, Reason, #data{link = Link, traffic = T} = D) ->
    D#data{traffic = hornbeam_worker_traffic:close_websockets(Code, Reason, Link, T)}.

overdue(#data{link = Link, traffic = T, words = Words} = D) ->
    {Stuck, T1} = hornbeam_worker_traffic:overdue(Link, T),
    {Stuck, D#data{traffic = T1, words = hornbeam_heap:swept(Words)}}.

%% What the worker has said was legal, or was not.
taken({ok, T}, D) -> {keep_state, D#data{traffic = T}};
taken({error, Error, T}, D) -> broken(Error, D#data{traffic = T}).

%% The worker broke the protocol: there is no way to know what it means any more.
broken({Name, Text}, #data{link = Link} = D) ->
    ?LOG_ERROR((who(D))#{what => worker_protocol_failed, reason => {Name, Text}}, ?LOG_META),
    ok = hornbeam_link:send([{?ERROR, atom_to_binary(Name), hornbeam_wire:cut_text(Text)}], Link),
    {next_state, gone, bury(D)}.

died(_, _, #data{options = #{own_pool := true}} = D) ->
    ?LOG_INFO((who(D))#{what => client_left}, ?LOG_META),
    {next_state, gone, bury(D)};
died(0, draining, #data{drain = recycle} = D) ->
    ?LOG_INFO((who(D))#{what => worker_recycled}, ?LOG_META),
    {next_state, gone, bury(D)};
died(Status, State, #data{traffic = T} = D) ->
    Open = hornbeam_worker_traffic:count(T),
    ?LOG_ERROR(
        (who(D))#{what => worker_exited, status => Status, state => State, open => Open}, ?LOG_META
    ),
    {next_state, gone, bury(D)}.

%% Kill what may still run, and answer everything it held.
bury(#data{link = undefined, failures = Failures} = D) ->
    D#data{failures = Failures + 1};
bury(#data{link = Link, traffic = T, failures = Failures} = D) ->
    Closed = hornbeam_worker_traffic:close_limit(T),
    Buried = hornbeam_worker_traffic:fail_all(hornbeam_link:close(Link), Closed),
    D#data{
        link = undefined,
        port = undefined,
        traffic = Buried,
        drain = recycle,
        drained_at = undefined,
        failures = hornbeam_worker_life:failures(hornbeam_worker_traffic:answered(T), Failures)
    }.

%%% The end

-spec terminate(term(), atom(), #data{}) -> ok.
terminate(Reason, State, D) ->
    _ = hornbeam_worker_life:is_orderly(Reason, State) andalso ended(State, D),
    #data{traffic = T, options = Options} = bury(D),
    ok = hornbeam_worker_traffic:closed(T),
    ok = lists:foreach(
        fun(Request) -> ok = hornbeam_worker_traffic:refuse(Request, T) end,
        hornbeam_worker_mailbox:rest()
    ),
    case maps:get(own_pool, Options, false) of
        true -> hornbeam_worker_traffic:delete_pool(T);
        false -> ok
    end.

%% A worker that drains to be recycled has been told already.
ended(State, #data{drain = Drain, port = Port, link = Link, options = Options}) ->
    _ = (State =:= draining andalso Drain =:= recycle) orelse hornbeam_link:send([{?DRAIN}], Link),
    receive
        {Port, {exit_status, _}} -> ok;
        {'EXIT', Port, _} -> ok;
        {'DOWN', _, process, Port, _} -> ok
    after maps:get(stop_timeout, Options) -> ok
    end.

describe(State, #data{boots = Boots, link = Link, traffic = T} = D) ->
    Info = maps:merge(hornbeam_worker_traffic:info(T), who(D)),
    Info#{state => State, restarts => max(0, Boots - 1), about => about(Link)}.

who(#data{index = Index, link = undefined}) ->
    #{worker => Index, os_pid => undefined};
who(#data{index = Index, link = Link}) ->
    (hornbeam_link:who(Link))#{worker => Index}.

about(undefined) -> #{};
about(Link) -> hornbeam_link:about(Link).

now_ms() -> erlang:monotonic_time(millisecond).
