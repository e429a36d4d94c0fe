%% SPDX-License-Identifier: Apache-2.0
%% @doc Nodes of their own for suites: named, with a cookie nobody else has, controlled over their
%% standard input so that the test node needs no distribution.
-module(hornbeam_peers).

-export([start/2, run/2, names/1, node/1]).

-define(TIMEOUT, 60000).

%% @doc A node on 127.0.0.1 with the code of this one. It ends with the process that starts it.
-spec start(string(), [string()]) -> {pid(), node()}.
start(Prefix, Arguments) ->
    Paths = lists:append([["-pa", Path] || Path <- code:get_path(), filelib:is_dir(Path)]),
    {ok, Peer, Node} = peer:start_link(#{
        name => peer:random_name(Prefix),
        host => "127.0.0.1",
        longnames => true,
        connection => standard_io,
        args => Arguments ++ Paths,
        wait_boot => ?TIMEOUT
    }),
    {Peer, Node}.

%% @doc Run on the node and wait for the result.
-spec run({pid(), node()}, fun(() -> Result)) -> Result.
run({Peer, _}, Fun) ->
    peer:call(Peer, erlang, apply, [Fun, []], ?TIMEOUT).

%% @doc Which nodes it sees.
-spec names({pid(), node()}) -> [node()].
names(Peer) ->
    run(Peer, fun() -> nodes(connected) end).

-spec node({pid(), node()}) -> node().
node({_, Node}) -> Node.
