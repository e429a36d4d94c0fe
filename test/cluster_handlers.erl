%% SPDX-License-Identifier: Apache-2.0
%% @doc Handlers and functions that nodes of suites about clusters register.
-module(cluster_handlers).

-export([node_of_handler/0, sleep_there/1, add_there/2, fail_there/1, crash_there/0, double/1]).
-export([items/1, endless/0]).

-spec node_of_handler() -> node().
node_of_handler() -> node().

%% @doc Milliseconds; anything else is a mistake of the caller, and takes no time.
-spec sleep_there(non_neg_integer()) -> slept.
sleep_there(Milliseconds) when is_integer(Milliseconds) ->
    receive after Milliseconds -> slept end.

-spec add_there(number(), number()) -> number().
add_there(A, B) -> A + B.

-spec fail_there(Reason) -> {error, Reason}.
fail_there(Reason) -> {error, Reason}.

-spec crash_there() -> no_return().
crash_there() -> error(broken).

-spec double(number()) -> number().
double(N) -> 2 * N.

-spec items(non_neg_integer()) -> [pos_integer()].
items(N) -> lists:seq(1, N).

-spec endless() -> {stream, fun((fun((term()) -> ok)) -> no_return())}.
endless() -> {stream, fun(Emit) -> emit(Emit, 0) end}.

emit(Emit, N) ->
    ok = Emit(N),
    emit(Emit, N + 1).
