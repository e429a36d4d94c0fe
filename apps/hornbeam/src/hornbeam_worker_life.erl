%% SPDX-License-Identifier: Apache-2.0
%% @doc Rules of the life of a worker: what is configured, how many requests it serves, when it is
%% started again, what its state allows. Pure, but for the dice; runs in the worker process
%% (`hornbeam_worker_proc').
-module(hornbeam_worker_life).

-export([lifetime/1, backoff/1, failures/2, phase/1, is_orderly/2]).
-export_type([options/0]).

-type options() :: #{
    %% For hornbeam_link.
    boot := map(),
    python => binary(),
    env => [{string(), string() | false}],
    descriptors => hornbeam_port:descriptors(),
    session => hornbeam_session:session(),
    %% What follows the end of a connection: the next one, or, where nobody here can start the
    %% process again, the end of the worker process. Default: again.
    renew => again | never,
    %% Whether the pool was made for this worker alone. Default: false.
    own_pool => boolean(),
    %% For hornbeam_worker_traffic.
    worker_class := wsgi | asgi,
    threads := pos_integer(),
    max_concurrent := pos_integer(),
    timeout := timeout(),
    response_window := pos_integer(),
    request_window := pos_integer(),
    %% Milliseconds.
    heartbeat := pos_integer(),
    boot_timeout := pos_integer(),
    %% What a process that has nothing left gets to end.
    stop_timeout := pos_integer(),
    %% Requests after which the worker is replaced, and how many more at random.
    max_requests := pos_integer() | infinity,
    max_requests_jitter := non_neg_integer(),
    %% Told `{Starter, Index, ready | {failed, Reason}}' about the first boot.
    starter := reference()
}.

%% @doc Requests until the next process of the worker is replaced.
-spec lifetime(#{
    max_requests := pos_integer() | infinity, max_requests_jitter := non_neg_integer(), _ => _
}) -> pos_integer() | infinity.
lifetime(#{max_requests := infinity}) ->
    infinity;
lifetime(#{max_requests := Max, max_requests_jitter := Jitter}) ->
    Max + rand:uniform(Jitter + 1) - 1.

%% @doc Milliseconds until the next process is started: one that has answered anything is replaced
%% at once.
-spec backoff(Failures :: non_neg_integer()) -> 0..10000.
backoff(0) -> 0;
backoff(Failures) -> min(10000, 50 bsl min(Failures, 8)).

%% @doc Processes in a row that have answered nothing, after one that has answered so many requests.
-spec failures(Answered :: non_neg_integer(), non_neg_integer()) -> non_neg_integer().
failures(0, Failures) -> Failures + 1;
failures(_, _) -> 0.

%% @doc What calls may go to a worker in this state.
-spec phase(State :: atom()) -> hornbeam_calls:phase().
phase(draining) -> draining;
phase(State) when State =:= ready; State =:= stalled -> up;
phase(_) -> down.

%% @doc Whether a worker process that ends so, in this state, lets its process finish. After a crash
%% of ours nobody knows what that would still say.
-spec is_orderly(Reason :: term(), State :: atom()) -> boolean().
is_orderly({shutdown, _}, State) -> phase(State) =/= down;
is_orderly(shutdown, State) -> phase(State) =/= down;
is_orderly(normal, State) -> phase(State) =/= down;
is_orderly(_, _) -> false.
