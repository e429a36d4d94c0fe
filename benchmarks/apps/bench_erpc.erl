%% SPDX-License-Identifier: Apache-2.0
%% @doc Round trips by `erpc:call' from Erlang, for benchmarks/rpc.py. Runs in the node that the
%% Python worker belongs to, in as many processes as calls are made at once.
-module(bench_erpc).

-export([run/4]).

%% @doc Microseconds that Count calls took, after some that are not measured.
-spec run(Node :: binary(), Count :: pos_integer(), AtOnce :: pos_integer(), Value) ->
    non_neg_integer()
when
    Value :: term().
run(Name, Count, AtOnce, Value) ->
    Node = binary_to_existing_atom(Name),
    ok = calls(Node, max(1, Count div 20), Value),
    {Us, ok} = timer:tc(fun() -> at_once(Node, Count div AtOnce, AtOnce, Value) end),
    Us.

at_once(Node, Each, AtOnce, Value) ->
    Run = fun() -> ok = calls(Node, Each, Value) end,
    Calls = [spawn_monitor(Run) || _ <- lists:seq(1, AtOnce)],
    lists:foreach(
        fun({Pid, Monitor}) ->
            %% No deadline: a benchmark, whose asker has one.
            receive
                {'DOWN', Monitor, process, Pid, normal} -> ok
            end
        end,
        Calls
    ).

calls(_, 0, _) ->
    ok;
calls(Node, Count, Value) ->
    _ = erpc:call(Node, lists, reverse, [Value]),
    calls(Node, Count - 1, Value).
