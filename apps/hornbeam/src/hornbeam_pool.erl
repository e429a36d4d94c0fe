%% SPDX-License-Identifier: Apache-2.0
%% @doc The pool of an application as every connection process sees it: which worker has a free
%% slot.
%%
%% Runs in connection processes, in the queue and in the workers; nothing here waits for a process.
%% Loads and limits are atomics, the worker processes are a tuple in a persistent term; a worker
%% process outlives the operating-system processes that it starts, so the tuple is written once.
-module(hornbeam_pool).

-export([new/2, delete/1, set_worker/3, lookup/1, name/1]).
-export([claim/1, release/3, set_limits/3, load/2, limit/2]).
-export([calls/2, count/2, busy/2]).
-export([enqueued/2, queued/1, queue/1, set_queue/2, worker/2, workers/1, config/1]).
-export([opened/1, closed/1, open_count/1, set_draining/1, is_draining/1]).
-export_type([pool/0, name/0, index/0, config/0, counter/0]).

%% One application, as it is mounted.
-type name() :: term().
%% 1..number of workers.
-type index() :: pos_integer().
-type config() :: #{
    %% Workers, those from other machines included; the first `local' ones are the node's own.
    size := pos_integer(),
    local => non_neg_integer(),
    queue_limit := non_neg_integer(),
    queue_timeout := timeout(),
    _ => _
}.

-record(pool, {
    name :: name(),
    config :: config(),
    %% ?QUEUED, ?OPEN, ?DRAINING; then for each worker load, limit, gather and calls
    counters :: atomics:atomics_ref()
}).
-opaque pool() :: #pool{}.
-opaque counter() :: {atomics:atomics_ref(), pos_integer()}.

-define(QUEUED, 1).
-define(OPEN, 2).
-define(DRAINING, 3).
-define(LOAD(I), (4 * (I))).
-define(LIMIT(I), (4 * (I) + 1)).
-define(GATHER(I), (4 * (I) + 2)).
-define(CALLS(I), (4 * (I) + 3)).

%% @doc A pool without workers; `set_worker/3' and `set_queue/2' complete it.
-spec new(name(), config()) -> pool().
new(Name, #{size := Size} = Config) ->
    Pool = #pool{
        name = Name, config = Config, counters = atomics:new(?CALLS(Size), [{signed, true}])
    },
    persistent_term:put({?MODULE, Name}, Pool),
    Pool.

-spec delete(name()) -> ok.
delete(Name) ->
    _ = persistent_term:erase({?MODULE, Name}),
    _ = persistent_term:erase({?MODULE, Name, workers}),
    _ = persistent_term:erase({?MODULE, Name, queue}),
    ok.

-spec lookup(name()) -> {ok, pool()} | error.
lookup(Name) ->
    case persistent_term:get({?MODULE, Name}, undefined) of
        undefined -> error;
        Pool -> {ok, Pool}
    end.

-spec name(pool()) -> name().
name(#pool{name = Name}) -> Name.

%% @doc A worker process has started, or started again: what an earlier one held is gone. Workers
%% of a pool start one after the other, by their supervisor.
-spec set_worker(index(), pid(), pool()) -> ok.
set_worker(Index, Pid, #pool{name = Name, counters = C, config = #{size := Size}} = Pool) ->
    atomics:put(C, ?LOAD(Index), 0),
    atomics:put(C, ?CALLS(Index), 0),
    ok = set_limits(Index, {0, 0}, Pool),
    None = erlang:make_tuple(Size, undefined),
    Workers = persistent_term:get({?MODULE, Name, workers}, None),
    persistent_term:put({?MODULE, Name, workers}, setelement(Index, Workers, Pid)).

-spec set_queue(pid(), pool()) -> ok.
set_queue(Pid, #pool{name = Name}) ->
    persistent_term:put({?MODULE, Name, queue}, Pid).

-spec queue(pool()) -> pid().
queue(#pool{name = Name}) ->
    persistent_term:get({?MODULE, Name, queue}).

-spec worker(index(), pool()) -> pid().
worker(Index, #pool{name = Name}) ->
    element(Index, persistent_term:get({?MODULE, Name, workers})).

-spec workers(pool()) -> [pid()].
workers(#pool{name = Name}) ->
    [Pid || Pid <- tuple_to_list(persistent_term:get({?MODULE, Name, workers}, {})), is_pid(Pid)].

-spec config(pool()) -> config().
config(#pool{config = Config}) -> Config.

%% @doc Take a slot of the first worker that requests are gathered at, else of the least loaded one
%% that has any.
-spec claim(pool()) -> {ok, index()} | full.
claim(#pool{counters = C, config = #{size := Size}} = Pool) ->
    case gathering(1, Size, C) of
        none -> full;
        Index -> take(Index, C, Pool)
    end.

gathering(I, Size, C) when I > Size ->
    least(Size, C, none, infinity);
gathering(I, Size, C) ->
    case atomics:get(C, ?LOAD(I)) < atomics:get(C, ?GATHER(I)) of
        true -> I;
        false -> gathering(I + 1, Size, C)
    end.

least(0, _, Best, _) -> Best;
least(I, C, Best, Least) ->
    Load = atomics:get(C, ?LOAD(I)),
    case Load < Least andalso Load < atomics:get(C, ?LIMIT(I)) of
        true -> least(I - 1, C, I, Load);
        false -> least(I - 1, C, Best, Least)
    end.

%% Between reading and adding another process may have taken the slot: look again.
take(Index, C, Pool) ->
    case atomics:add_get(C, ?LOAD(Index), 1) =< atomics:get(C, ?LIMIT(Index)) of
        true ->
            {ok, Index};
        false ->
            atomics:sub(C, ?LOAD(Index), 1),
            claim(Pool)
    end.

%% @doc Give N slots back; true when requests wait in the queue and it should be told.
-spec release(index(), non_neg_integer(), pool()) -> boolean().
release(_, 0, _) ->
    false;
release(Index, N, #pool{counters = C}) ->
    atomics:sub(C, ?LOAD(Index), N),
    atomics:get(C, ?QUEUED) > 0.

%% @doc How many requests are gathered at the worker and how many it may hold at once; zeros keep it
%% out of the choice.
-spec set_limits(index(), hornbeam_prefetch:limits(), pool()) -> ok.
set_limits(Index, {Gather, Limit}, #pool{counters = C}) ->
    atomics:put(C, ?LIMIT(Index), Limit),
    atomics:put(C, ?GATHER(Index), Gather).

-spec load(index(), pool()) -> integer().
load(Index, #pool{counters = C}) -> atomics:get(C, ?LOAD(Index)).

-spec limit(index(), pool()) -> integer().
limit(Index, #pool{counters = C}) -> atomics:get(C, ?LIMIT(Index)).

%% @doc Where the handlers' calls are counted that a worker has, or will have when their message
%% arrives.
-spec calls(index(), pool()) -> counter().
calls(Index, #pool{counters = C}) -> {C, ?CALLS(Index)}.

%% @doc N calls more (or less).
-spec count(integer(), counter()) -> ok.
count(N, {C, Position}) -> atomics:add(C, Position, N).

%% @doc Requests and calls of handlers that a worker has.
-spec busy(index(), pool()) -> integer().
busy(Index, #pool{counters = C}) ->
    atomics:get(C, ?LOAD(Index)) + atomics:get(C, ?CALLS(Index)).

%% @doc Count N requests more (or less) in the queue; the new number.
-spec enqueued(integer(), pool()) -> integer().
enqueued(N, #pool{counters = C}) -> atomics:add_get(C, ?QUEUED, N).

-spec queued(pool()) -> integer().
queued(#pool{counters = C}) -> atomics:get(C, ?QUEUED).

-spec opened(pool()) -> ok.
opened(#pool{counters = C}) -> atomics:add(C, ?OPEN, 1).

-spec closed(pool()) -> ok.
closed(#pool{counters = C}) -> atomics:sub(C, ?OPEN, 1).

%% @doc Requests that a client still waits for.
-spec open_count(pool()) -> integer().
open_count(#pool{counters = C}) -> atomics:get(C, ?OPEN).

%% @doc From now on every response closes its connection.
-spec set_draining(pool()) -> ok.
set_draining(#pool{counters = C}) -> atomics:put(C, ?DRAINING, 1).

-spec is_draining(pool()) -> boolean().
is_draining(#pool{counters = C}) -> atomics:get(C, ?DRAINING) =:= 1.
