%% SPDX-License-Identifier: Apache-2.0
%% @doc The Erlang side of benchmarks/node_messages.py: a gen_server that echoes and counts, and the
%% same measurements as the Python node makes, for comparison.
%%
%% Runs in: an `erl' of its own; measurements run in processes of `erpc'.
-module(node_peer).
-behaviour(gen_server).

-export([main/0, flood/2, receive_from/2, send_to/2, call_to/2, call_to/3]).
-export([init/1, handle_call/3, handle_cast/2]).

-spec main() -> no_return().
main() ->
    {ok, _} = gen_server:start({local, peer}, ?MODULE, [], []),
    io:format("ready~n"),
    receive
        stop -> halt()
    end.

init([]) -> {ok, 0}.

handle_call({echo, Value}, _From, Count) -> {reply, Value, Count};
handle_call(count, _From, Count) -> {reply, Count, 0}.

handle_cast(_Message, Count) -> {noreply, Count + 1}.

%% Sends messages to a process, as fast as they go.
-spec flood(pid(), pos_integer()) -> ok.
flood(To, Count) ->
    _ = [To ! {message, N} || N <- lists:seq(1, Count)],
    ok.

%% Each of these: nanoseconds for so many operations on the peer of a node.
-spec send_to(node(), pos_integer()) -> integer().
send_to(Node, Count) ->
    timed(fun() ->
        _ = [gen_server:cast({peer, Node}, N) || N <- lists:seq(1, Count)],
        Count = gen_server:call({peer, Node}, count, 60000)
    end).

-spec receive_from(node(), pos_integer()) -> integer().
receive_from(Node, Count) ->
    timed(fun() ->
        ok = erpc:cast(Node, ?MODULE, flood, [self(), Count]),
        _ = [receive {message, N} -> N end || N <- lists:seq(1, Count)]
    end).

-spec call_to(node(), pos_integer()) -> integer().
call_to(Node, Count) ->
    timed(fun() -> calls(Node, Count) end).

%% The same from so many processes at once.
-spec call_to(node(), pos_integer(), pos_integer()) -> integer().
call_to(Node, Count, Callers) ->
    timed(fun() ->
        Each = Count div Callers,
        Pids = [spawn_monitor(fun() -> calls(Node, Each) end) || _ <- lists:seq(1, Callers)],
        _ = [receive {'DOWN', Ref, process, Pid, normal} -> ok end || {Pid, Ref} <- Pids]
    end).

calls(Node, Count) ->
    _ = [N = gen_server:call({peer, Node}, {echo, N}, 60000) || N <- lists:seq(1, Count)],
    ok.

timed(Fun) ->
    Start = erlang:monotonic_time(nanosecond),
    _ = Fun(),
    erlang:monotonic_time(nanosecond) - Start.
