%% SPDX-License-Identifier: Apache-2.0
%% @doc How many requests a worker may hold beyond those it runs, and how many are gathered at it.
%%
%% Pure. A worker may hold about a millisecond of work, as measured while it was busy. What waits
%% behind one slow request the worker hands back itself.
%%
%% To wake a second worker costs as much as many requests of a quick application: packets of its
%% own in both directions, and a process whose memory is in no cache. So requests are gathered at
%% one worker as long as that pays; the next one gets what is more.
-module(hornbeam_prefetch).

-export([new/2, fixed/2, sample/3, returned/1, resumed/1, limits/1]).
-export_type([state/0, limits/0]).

-define(BUDGET_US, 1000).
-define(MOST, 64).
%% With more at one worker the node and the worker take turns instead of working at the same time.
-define(MOST_GATHERED, 32).
%% Nobody waits behind a request of this length when another worker is idle; four are gathered if
%% they take half of it each, sixteen if they take a quarter.
-define(GATHER_US, 128).
%% The average counts as one that other processes on the machine have lengthened up to so many
%% times the best; beyond that some requests of the application are slow themselves.
-define(DISTURBANCE, 8).

-record(prefetch, {
    threads :: pos_integer(),
    %% instead of a measured one
    limit = undefined :: pos_integer() | undefined,
    %% with such a limit: whether the worker has handed requests back since it last answered
    blocked = false :: boolean(),
    %% that feed the workers
    schedulers :: pos_integer(),
    %% microseconds of one thread per request, on the average and at its best; infinity before the
    %% first measurement
    service = infinity :: number() | infinity,
    best = infinity :: number() | infinity
}).
-opaque state() :: #prefetch{}.

%% Requests up to which a worker is chosen even if another one has less to do, and requests that it
%% may hold at once.
-type limits() :: {Gather :: non_neg_integer(), Limit :: non_neg_integer()}.

-spec new(Threads :: pos_integer(), Schedulers :: pos_integer()) -> state().
new(Threads, Schedulers) ->
    #prefetch{threads = Threads, schedulers = Schedulers}.

%% @doc No prefetch: the worker itself starts up to Limit requests.
-spec fixed(Limit :: pos_integer(), Schedulers :: pos_integer()) -> state().
fixed(Limit, Schedulers) ->
    #prefetch{threads = 1, limit = Limit, schedulers = Schedulers}.

%% @doc The worker was busy for BusyUs microseconds and answered N requests in them.
-spec sample(BusyUs :: non_neg_integer(), N :: pos_integer(), state()) -> state().
sample(BusyUs, N, #prefetch{threads = Threads, service = Before, best = Best} = State) ->
    Service = max(1, BusyUs * Threads / N),
    State#prefetch{
        service = average(Service, Before), best = best(Service, Best), blocked = false
    }.

%% A single long pause at most doubles it, for it may be the machine's.
average(Service, infinity) -> Service;
average(Service, Before) when Service >= Before -> min((Before + Service) / 2, 2 * Before + 1);
average(Service, Before) -> Before + (Service - Before) / 4.

%% An application that has become slower is noticed, too. (A number is less than an atom.)
best(Service, Best) when Service < Best -> Service;
best(Service, Best) -> min(Service, Best * 1.05).

%% @doc The worker has handed requests back: what it runs is slow, whatever was measured before.
%% Until it answers again it gets no more than it runs, or the same requests would come back to it.
-spec returned(state()) -> state().
returned(#prefetch{limit = Limit} = State) ->
    State#prefetch{service = infinity, blocked = Limit =/= undefined}.

%% @doc A while has passed: what runs may be long and harmless, so the worker is tried again.
-spec resumed(state()) -> state().
resumed(State) ->
    State#prefetch{blocked = false}.

%% @doc Before the first measurement: one request per thread, and every worker gets its share.
-spec limits(state()) -> limits().
limits(#prefetch{blocked = true}) ->
    {1, 1};
limits(#prefetch{service = infinity} = State) ->
    {1, limit(infinity, State)};
limits(#prefetch{service = Average, best = Best} = State) ->
    Service = max(Best, Average / ?DISTURBANCE),
    Limit = limit(Service, State),
    {gather(Service, Limit, State), Limit}.

limit(infinity, #prefetch{threads = Threads, limit = undefined}) ->
    Threads;
limit(Service, #prefetch{threads = Threads, limit = undefined}) ->
    Threads + min(?MOST, trunc(?BUDGET_US * Threads / Service));
limit(_, #prefetch{limit = Limit}) ->
    Limit.

%% Several schedulers feed more than one worker can do.
gather(Service, Limit, #prefetch{schedulers = Schedulers}) ->
    max(1, min(min(?MOST_GATHERED, Limit), trunc(math:pow(?GATHER_US / Service, 2) / Schedulers))).
