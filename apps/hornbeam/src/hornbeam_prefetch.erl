%% SPDX-License-Identifier: Apache-2.0
%% @doc How many requests a worker may hold beyond those it runs: about a millisecond of work.
%%
%% Pure. Follows the measured time between answers of a busy worker. A single long pause at most
%% halves the prefetch, for it may be the machine's; what waits behind one slow request the worker
%% hands back itself.
-module(hornbeam_prefetch).

-export([new/1, fixed/1, sample/3, limit/1]).
-export_type([state/0]).

-define(BUDGET_US, 1000).
-define(MOST, 64).

%% Worker threads, and microseconds of one thread per request (infinity before the first
%% measurement); or a limit that is given.
-opaque state() ::
    {Threads :: pos_integer(), ServiceUs :: number() | infinity}
    | {fixed, Limit :: pos_integer()}.

-spec new(Threads :: pos_integer()) -> state().
new(Threads) ->
    {Threads, infinity}.

%% @doc No prefetch: the worker itself starts up to Limit requests.
-spec fixed(Limit :: pos_integer()) -> state().
fixed(Limit) ->
    {fixed, Limit}.

%% @doc The worker was busy for BusyUs microseconds and answered N requests in them.
-spec sample(BusyUs :: non_neg_integer(), N :: pos_integer(), state()) -> state().
sample(_, _, {fixed, _} = State) ->
    State;
sample(BusyUs, N, {Threads, Before}) ->
    Service = BusyUs * Threads / N,
    {Threads, smooth(Service, Before)}.

smooth(Service, infinity) -> Service;
smooth(Service, Before) when Service >= Before -> min((Before + Service) / 2, 2 * Before + 1);
smooth(Service, Before) -> Before + (Service - Before) / 4.

%% @doc Requests the worker may hold at once: one per thread, and the prefetch.
-spec limit(state()) -> pos_integer().
limit({fixed, Limit}) ->
    Limit;
limit({Threads, infinity}) ->
    Threads;
limit({Threads, Service}) ->
    Threads + min(?MOST, trunc(?BUDGET_US * Threads / max(1, Service))).
