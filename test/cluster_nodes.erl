%% SPDX-License-Identifier: Apache-2.0
%% @doc Nodes for suites about clusters: started with `peer', driven over their standard input and
%% output, so that they can be told what to do whatever becomes of the network between them.
%%
%% The node of the suite itself is not distributed. collect/1 and what follows it run on the nodes.
-module(cluster_nodes).

-export([start/1, start/2, stop/1, name/1, call/4, call/5, connect/2, sees/2, signal/2, os_pid/1]).
-export([arguments/0, cookie/0]).
-export([collect/1, collected/1, publish_all/3, published_in/3]).
-export_type([peer/0]).

%% The process that controls the node, its name, the id of its operating-system process.
-opaque peer() :: {pid(), node(), string()}.

-define(PATIENCE, 60000).

%% @doc A node on this machine with hornbeam started.
-spec start(atom()) -> peer().
start(Name) ->
    start(Name, #{}).

%% @doc The same; options are those of `peer:start/1' on top of ours.
-spec start(atom(), map()) -> peer().
start(Name, Options) ->
    Unique = lists:concat([Name, "-", os:getpid(), "-", erlang:unique_integer([positive])]),
    Defaults = #{
        name => Unique, host => "localhost", longnames => false, connection => standard_io,
        args => arguments(), wait_boot => ?PATIENCE
    },
    {ok, Peer, Node} = peer:start(maps:merge(Defaults, Options)),
    {ok, _} = peer:call(Peer, application, ensure_all_started, [hornbeam], ?PATIENCE),
    {Peer, Node, peer:call(Peer, os, getpid, [], ?PATIENCE)}.

%% @doc The code of this node, a cookie of the suite.
-spec arguments() -> [string()].
arguments() ->
    Paths = lists:append([["-pa", Path] || Path <- code:get_path(), filelib:is_dir(Path)]),
    Paths ++ ["-setcookie", cookie(), "-kernel", "logger_level", "critical"].

-spec cookie() -> string().
cookie() -> "cookie-of-the-suite".

%% @doc Ends the node, also one that does not react.
-spec stop(peer()) -> ok.
stop({Peer, _, OsPid}) ->
    _ = os:cmd("kill -KILL " ++ OsPid ++ " 2>/dev/null"),
    try peer:stop(Peer)
    catch exit:_ -> ok
    end.

-spec name(peer()) -> node().
name({_, Node, _}) -> Node.

-spec os_pid(peer()) -> string().
os_pid({_, _, OsPid}) -> OsPid.

-spec call(peer(), module(), atom(), [term()]) -> term().
call(Peer, Module, Function, Arguments) ->
    call(Peer, Module, Function, Arguments, ?PATIENCE).

-spec call(peer(), module(), atom(), [term()], pos_integer()) -> term().
call({Peer, _, _}, Module, Function, Arguments, Timeout) ->
    peer:call(Peer, Module, Function, Arguments, Timeout).

-spec connect(peer(), peer()) -> ok.
connect(Peer, Other) ->
    true = call(Peer, net_kernel, connect_node, [name(Other)]),
    ok.

%% @doc Whether Peer is connected to exactly these others.
-spec sees(peer(), [peer()]) -> boolean().
sees(Peer, Others) ->
    lists:sort(call(Peer, erlang, nodes, [])) =:= lists:sort([name(Other) || Other <- Others]).

%% @doc Send a signal; a node that is stopped does nothing any more when this returns.
-spec signal(string(), peer()) -> ok.
signal(Signal, {_, _, OsPid}) ->
    [] = os:cmd("kill -" ++ Signal ++ " " ++ OsPid),
    Signal =:= "STOP" andalso hornbeam_case:await(fun() -> is_stopped(OsPid) end),
    ok.

%% Each of its threads stops when it next runs.
is_stopped(OsPid) ->
    Files = filelib:wildcard("/proc/" ++ OsPid ++ "/task/*/stat"),
    lists:all(fun(File) -> string:find(stat(File), ") T ") =/= nomatch end, Files).

stat(File) ->
    case file:read_file(File) of
        {ok, Text} -> Text;
        %% A thread that has ended meanwhile.
        {error, _} -> <<") T ">>
    end.

%%% On the nodes

%% @doc A process that subscribes to these channels and keeps what it gets.
-spec collect([hornbeam_pubsub:topic() | {prefix, hornbeam_pubsub:topic()}]) -> pid().
collect(Channels) ->
    Caller = self(),
    Pid = spawn(fun() ->
        lists:foreach(fun hornbeam_pubsub:subscribe/1, Channels),
        Caller ! {self(), subscribed},
        collecting([])
    end),
    receive {Pid, subscribed} -> Pid after ?PATIENCE -> error(not_subscribed) end.

collecting(Messages) ->
    receive
        {hornbeam_pubsub, _, Message} ->
            collecting([Message | Messages]);
        {collected, From} ->
            From ! {self(), lists:reverse(Messages)},
            collecting(Messages)
    end.

%% @doc What it has got so far, in the order it came.
-spec collected(pid()) -> [term()].
collected(Pid) ->
    Pid ! {collected, self()},
    receive {Pid, Messages} -> Messages after ?PATIENCE -> error(no_answer) end.

%% @doc What publishing each message in turn returned.
-spec publish_all(hornbeam_pubsub:topic(), [term()], pos_integer()) -> [non_neg_integer()].
publish_all(Topic, Messages, Timeout) ->
    [hornbeam_pubsub:publish(Topic, Message, Timeout) || Message <- Messages].

%% @doc How many were reached, and how many milliseconds it took.
-spec published_in(hornbeam_pubsub:topic(), term(), pos_integer()) ->
    {non_neg_integer(), Milliseconds :: non_neg_integer()}.
published_in(Topic, Message, Timeout) ->
    Before = erlang:monotonic_time(millisecond),
    Count = hornbeam_pubsub:publish(Topic, Message, Timeout),
    {Count, erlang:monotonic_time(millisecond) - Before}.
