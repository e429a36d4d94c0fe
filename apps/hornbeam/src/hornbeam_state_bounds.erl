%% SPDX-License-Identifier: Apache-2.0
%% @doc How many rows and bytes the shared state has, and how many it may have.
%%
%% Runs in the process that reads or writes: two atomics, found by a persistent term. Whoever adds
%% reserves first and gives back what it did not use, so that the bounds hold for any number of
%% writers; a process that is killed in between leaves its reservation counted.
-module(hornbeam_state_bounds).

-export([new/1, set_limits/1, reserve/2, release/2, info/0]).
-export_type([limit/0, limits/0, overloaded/0]).

-type limit() :: pos_integer() | infinity.
%% The options of the same names.
-type limits() :: #{state_max_entries := limit(), state_max_bytes := limit(), _ => _}.
%% The option that is at its limit.
-type overloaded() :: {overloaded, Option :: binary(), Limit :: pos_integer()}.

-define(ROWS, 1).
-define(BYTES, 2).

%% @doc Nothing is counted yet.
-spec new(limits()) -> ok.
new(#{state_max_entries := MaxRows, state_max_bytes := MaxBytes}) ->
    persistent_term:put(?MODULE, {atomics:new(2, [{signed, true}]), MaxRows, MaxBytes}).

%% @doc From now on; what is there already stays.
-spec set_limits(limits()) -> ok.
set_limits(#{state_max_entries := MaxRows, state_max_bytes := MaxBytes}) ->
    {Counts, _, _} = persistent_term:get(?MODULE),
    persistent_term:put(?MODULE, {Counts, MaxRows, MaxBytes}).

%% @doc Count rows and bytes that are about to be added; bytes may be negative.
-spec reserve(Rows :: 0 | 1, Bytes :: integer()) -> ok | overloaded().
reserve(Rows, Bytes) ->
    {Counts, MaxRows, MaxBytes} = persistent_term:get(?MODULE),
    %% An atom is greater than every integer.
    case {add(Counts, ?ROWS, Rows) > MaxRows, add(Counts, ?BYTES, Bytes) > MaxBytes} of
        {true, _} when Rows > 0 -> refuse(Rows, Bytes, <<"state_max_entries">>, MaxRows);
        {_, true} when Bytes > 0 -> refuse(Rows, Bytes, <<"state_max_bytes">>, MaxBytes);
        _ -> ok
    end.

add(_, _, 0) -> 0;
add(Counts, Which, N) -> atomics:add_get(Counts, Which, N).

refuse(Rows, Bytes, Option, Limit) ->
    ok = release(Rows, Bytes),
    {overloaded, Option, Limit}.

%% @doc What has been removed, or was reserved in vain.
-spec release(Rows :: 0 | 1, Bytes :: integer()) -> ok.
release(Rows, Bytes) ->
    {Counts, _, _} = persistent_term:get(?MODULE),
    _ = Rows =:= 0 orelse atomics:sub(Counts, ?ROWS, Rows),
    _ = Bytes =:= 0 orelse atomics:sub(Counts, ?BYTES, Bytes),
    ok.

-spec info() -> #{
    entries := integer(), bytes := integer(), max_entries := limit(), max_bytes := limit()
}.
info() ->
    {Counts, MaxRows, MaxBytes} = persistent_term:get(?MODULE),
    #{
        entries => atomics:get(Counts, ?ROWS),
        bytes => atomics:get(Counts, ?BYTES),
        max_entries => MaxRows,
        max_bytes => MaxBytes
    }.
