%% SPDX-License-Identifier: Apache-2.0
%% @doc When the heap of a process is collected, in processes of their own.
-module(hornbeam_heap_tests).

-include_lib("eunit/include/eunit.hrl").

%% A heap that is small, or as large as it was, is left alone; one that has doubled and holds little
%% is smaller afterwards, and what it was is returned.
heap_test_() ->
    [
        {"a small one is left alone", fun() ->
            ?assertEqual(0, in_process(fun() -> hornbeam_heap:swept(0) end))
        end},
        {"one that has not doubled is left alone", fun() ->
            {Before, Words, After} = in_process(fun() ->
                Before = grown(),
                {Before, hornbeam_heap:swept(Before), words()}
            end),
            ?assertEqual(Before, Words),
            ?assert(After >= Before)
        end},
        {"garbage goes once it has doubled", fun() ->
            {Before, Words, After} = in_process(fun() ->
                Before = grown(),
                {Before, hornbeam_heap:swept(0), words()}
            end),
            ?assertEqual(Words, After),
            ?assert(After < Before div 2)
        end}
    ].

%% Words of a heap that is large and holds nothing.
grown() ->
    true = length(lists:seq(1, 200000)) > 0,
    words().

words() ->
    {total_heap_size, Words} = process_info(self(), total_heap_size),
    Words.

in_process(Fun) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({is, Fun()}) end),
    receive
        {'DOWN', Monitor, process, Pid, {is, Result}} -> Result
    end.
