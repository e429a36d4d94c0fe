%% SPDX-License-Identifier: Apache-2.0
%% @doc What an Erlang node does in the tests of Python nodes: a gen_server to be called, processes
%% that call, send, link and monitor on demand.
%%
%% Runs in: the node's shell-less emulator; functions run in processes of `erpc'.
-module(node_peer).
-behaviour(gen_server).

-export([main/0, burst/2, call_many/2, call_one/3, each_atom/2, exit_of/1, sleepy/1, spawn_idle/0]).
-export([watch/1, watched/1, unlinked/1, large/2, hidden/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-spec main() -> no_return().
main() ->
    {ok, _} = gen_server:start({local, peer}, ?MODULE, [], []),
    io:format("ready ~s~n", [node()]),
    receive
        stop -> halt()
    end.

init([]) -> {ok, []}.

handle_call({echo, Value}, _From, State) ->
    {reply, Value, State};
handle_call({late, Ms, Value}, From, State) ->
    _ = erlang:send_after(Ms, self(), {reply_to, From, Value}),
    {noreply, State};
handle_call(casts, _From, State) ->
    {reply, lists:reverse(State), []};
handle_call(crash, _From, _State) ->
    exit(crashed).

handle_cast(Value, State) -> {noreply, [Value | State]}.

handle_info({reply_to, From, Value}, State) ->
    gen_server:reply(From, Value),
    {noreply, State};
handle_info({send_back, To, Message}, State) ->
    To ! Message,
    {noreply, State};
handle_info(Other, State) ->
    {noreply, [Other | State]}.

%% Count calls at once, each from a process of its own: how many had the right reply.
-spec call_many(term(), pos_integer()) -> non_neg_integer().
call_many(Server, Count) ->
    Self = self(),
    Ref = make_ref(),
    [
        spawn(fun() -> Self ! {Ref, catch gen_server:call(Server, N, 60000) =:= {got, N}} end)
     || N <- lists:seq(1, Count)
    ],
    length([right || _ <- lists:seq(1, Count), receive {Ref, Right} -> Right =:= true end]).

-spec call_one(term(), term(), timeout()) -> {reply | exit, term()}.
call_one(Server, Request, Timeout) ->
    try
        {reply, gen_server:call(Server, Request, Timeout)}
    catch
        exit:{Reason, _} -> {exit, Reason}
    end.

-spec burst(pid(), pos_integer()) -> ok.
burst(To, Count) ->
    _ = [To ! {burst, N} || N <- lists:seq(1, Count)],
    ok.

%% Messages with more atoms than the cache of a connection holds, each atom several times.
-spec each_atom(pid(), pos_integer()) -> ok.
each_atom(To, Count) ->
    Names = [list_to_atom("atom_" ++ integer_to_list(N)) || N <- lists:seq(1, Count)],
    _ = [To ! {Name, N, Name} || N <- [1, 2], Name <- Names],
    ok.

-spec large(pid(), pos_integer()) -> ok.
large(To, Size) ->
    To ! binary:copy(<<"0123456789abcdef">>, Size div 16),
    ok.

-spec sleepy(pos_integer()) -> ok.
sleepy(Ms) -> timer:sleep(Ms).

-spec spawn_idle() -> pid().
spawn_idle() -> spawn(fun() -> receive stop -> ok end end).

%% A process that links to and monitors others, and keeps what it is told.
-spec watch([term()]) -> pid().
watch(Targets) ->
    Self = self(),
    Pid = spawn(fun() ->
        process_flag(trap_exit, true),
        _ = [watch_one(Target) || Target <- Targets],
        Self ! {watching, self()},
        keep([])
    end),
    receive
        {watching, Pid} -> Pid
    end.

watch_one({link, Pid}) -> link(Pid);
watch_one({monitor, Target}) -> monitor(process, Target);
watch_one({node, Node}) -> monitor_node(Node, true).

keep(Seen) ->
    receive
        {unlink, Pid, From} ->
            From ! {unlinked, unlink(Pid)},
            keep(Seen);
        {seen, Count, From} when length(Seen) >= Count ->
            From ! {seen, lists:reverse(Seen)},
            keep(Seen);
        {'DOWN', _, process, What, Reason} -> keep([{'DOWN', What, Reason} | Seen]);
        {'EXIT', Pid, Reason} -> keep([{'EXIT', Pid, Reason} | Seen]);
        {nodedown, Node} -> keep([{nodedown, Node} | Seen])
    end.

%% What a watching process was told, once that is so much.
-spec watched({pid(), pos_integer()}) -> [tuple()].
watched({Pid, Count}) ->
    Pid ! {seen, Count, self()},
    receive
        {seen, Seen} -> Seen
    end.

-spec unlinked({pid(), pid()}) -> true.
unlinked({Watcher, Pid}) ->
    Watcher ! {unlink, Pid, self()},
    receive
        {unlinked, true} -> true
    end.

-spec exit_of(pid()) -> term().
exit_of(Pid) ->
    exit(Pid, reason_of_exit2),
    ok.

-spec hidden() -> [node()].
hidden() -> nodes(hidden).
