%% SPDX-License-Identifier: Apache-2.0
%% @doc The heap of a process that keeps much for long: what its own collections leave behind.
%%
%% They look at what is new; what is old they look at when it has no room any more, so that a map of
%% thousands of entries is kept many times over. Runs in the process itself, now and then.
-module(hornbeam_heap).

-export([swept/1]).

%% Words. A smaller heap is not worth the time.
-define(SMALL, 65536).

%% @doc Collects all of it when it has doubled since the last time. Takes and returns the words that
%% the heap had then, 0 before the first time.
-spec swept(Words :: non_neg_integer()) -> Words :: non_neg_integer().
swept(Before) ->
    case words() > 2 * max(Before, ?SMALL) of
        true ->
            true = garbage_collect(),
            words();
        false ->
            Before
    end.

words() ->
    {total_heap_size, Words} = process_info(self(), total_heap_size),
    Words.
