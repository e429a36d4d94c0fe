%% SPDX-License-Identifier: Apache-2.0
%% @doc Results that are dear to compute, kept for all workers and computed once when many ask at
%% the same time.
%%
%% Runs in the caller. The table belongs to `hornbeam_tables'; `hornbeam_cache_server' writes it,
%% keeps it within `cache_max_entries' and `cache_max_bytes', and knows who computes what.
-module(hornbeam_cache).

-export([get/1, fetch/2, fetch/3, clear/1, stats/0]).
-export_type([key/0]).

-compile({no_auto_import, [get/1]}).

%% Text; what belongs together begins alike.
-type key() :: binary().

-define(TABLE, hornbeam_cache).

%% @doc The value, if it is there and its time is not over; counted as a hit.
-spec get(key()) -> {ok, term()} | none.
get(Key) ->
    case ets:lookup(?TABLE, Key) of
        [{_, Value, _, Until, Used, _}] ->
            case is_alive(Until) of
                true ->
                    %% For the eviction; written once, so that readers do not contend.
                    _ = Used orelse ets:update_element(?TABLE, Key, {5, true}),
                    ok = hornbeam_cache_server:count(hit),
                    {ok, Value};
                false ->
                    none
            end;
        [] ->
            none
    end.

is_alive(infinity) -> true;
is_alive(Until) -> erlang:monotonic_time(millisecond) < Until.

%% @doc The value of Key; computed by Fun, in the calling process, when it is not there. Who asks
%% meanwhile gets the same result. When Fun fails the next who asks computes, and the caller fails.
%%
%% `ttl_ms': milliseconds for which the value is kept; without it until it is evicted. `timeout':
%% milliseconds to wait for another process that computes it, 60000 unless told: after that the
%% caller computes, too.
-spec fetch(key(), fun(() -> Value)) -> Value.
fetch(Key, Fun) ->
    fetch(Key, Fun, #{}).

-spec fetch(key(), fun(() -> Value), #{ttl_ms => pos_integer(), timeout => pos_integer()}) ->
    Value.
fetch(Key, Fun, Options) ->
    case get(Key) of
        {ok, Value} -> Value;
        none -> claimed(claim(Key, Options), Fun, Options)
    end.

claim(Key, Options) ->
    hornbeam_cache_server:claim(Key, self(), self(), maps:get(timeout, Options, 60000)).

claimed({hit, Value}, _, _) ->
    Value;
claimed({compute, Token}, Fun, Options) ->
    try Fun() of
        Value ->
            ok = hornbeam_cache_server:store(Token, Value, maps:get(ttl_ms, Options, infinity)),
            Value
    catch
        Class:Reason:Stack ->
            ok = hornbeam_cache_server:abandon(Token),
            erlang:raise(Class, Reason, Stack)
    end.

%% @doc Forget all that begins with Prefix, also what is being computed now. How many there were.
-spec clear(Prefix :: binary()) -> non_neg_integer().
clear(Prefix) when is_binary(Prefix) ->
    hornbeam_cache_server:clear(Prefix).

%% @doc Since the node has started, in all workers. A miss is a computation; `hit_rate' is 0.0
%% before the first question.
-spec stats() -> #{
    hits := non_neg_integer(),
    misses := non_neg_integer(),
    hit_rate := float(),
    entries := non_neg_integer(),
    bytes := non_neg_integer()
}.
stats() ->
    {Hits, Misses, Bytes} = hornbeam_cache_server:counts(),
    #{
        hits => Hits,
        misses => Misses,
        hit_rate => Hits / max(1, Hits + Misses),
        entries => ets:info(?TABLE, size),
        bytes => Bytes
    }.
