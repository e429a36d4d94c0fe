%% SPDX-License-Identifier: Apache-2.0
%% @doc The nodes that this one is connected to: which come and go, and how calls of other nodes
%% print there.
%%
%% One process is told by the emulator which nodes come and go and tells those who subscribe to the
%% channel channel/0: `{Event, Node, IsHidden, Reason}', where Event is `nodeup' or `nodedown' and
%% Reason the emulator's (`connection_closed', `net_tick_timeout', ...), all as text. The other
%% functions run in the caller; the table `hornbeam_nodes' belongs to `hornbeam_tables'.
-module(hornbeam_nodes).
-behaviour(gen_server).

-export([start_link/0, channel/0, is_in_reach/1, why/2, print_on/2, waiting/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

%% {{leader, Node}, Pid}: the process of the node that prints for it; `none' when it has none.
%% {{waiting, Node}, Count}: casts that are being sent there.
-define(TABLE, hornbeam_nodes).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Where those who come and go are told.
-spec channel() -> hornbeam_pubsub:channel().
channel() ->
    {internal, <<"nodes">>}.

%% @doc Whether a call of that node can be tried, or else why not.
-spec is_in_reach(node()) -> true | {false, Why :: binary()}.
is_in_reach(Node) when Node =:= node() ->
    true;
is_in_reach(_) ->
    case is_alive() of
        true ->
            true;
        false ->
            {false, <<"this node has no name, so that it is part of no cluster: start it by "
                "hornbeam --sname NAME@HOST (or --name), in a program by start(name=...), in "
                "Erlang by erl -sname NAME">>}
    end.

%% @doc Why there may be no connection between the two nodes.
-spec why(Node :: node(), Own :: node()) -> binary().
why(Node, Own) ->
    iolist_to_binary(because(is_long(Node), is_long(Own), atom_to_binary(Own))).

because(true, false, Own) ->
    ["it has a long name, ", Own, " a short one; such nodes do not connect"];
because(false, true, Own) ->
    ["it has a short name, ", Own, " a long one; such nodes do not connect"];
because(_, _, _) ->
    "no connection: it does not run, cannot be reached, has another cookie, or was just lost".

is_long(Node) ->
    [_, Host] = binary:split(atom_to_binary(Node), <<"@">>),
    binary:match(Host, [<<".">>, <<":">>]) =/= nomatch.

%% @doc What the calling process has run on that node is to print and log there; without it, here.
%% The first time that node is asked. A node that cannot tell, such as a program in C, has nothing
%% that prints.
-spec print_on(node(), timeout()) -> ok | {error, noconnection | timeout}.
print_on(Node, _) when Node =:= node() ->
    ok;
print_on(Node, Timeout) ->
    case ets:lookup(?TABLE, {leader, Node}) of
        [{_, Leader}] -> led_by(Leader);
        [] -> ask(Node, Timeout)
    end.

ask(Node, Timeout) ->
    try erpc:call(Node, erlang, whereis, [user], Timeout) of
        Leader when is_pid(Leader) -> keep(Node, Leader);
        _ -> keep(Node, none)
    catch
        error:{erpc, Reason} when Reason =:= noconnection; Reason =:= timeout -> {error, Reason};
        _:_ -> keep(Node, none)
    end.

keep(Node, Leader) ->
    true = ets:insert(?TABLE, {{leader, Node}, Leader}),
    led_by(Leader).

led_by(none) ->
    ok;
led_by(Leader) ->
    true = group_leader(Leader, self()),
    ok.

%% @doc Count one more, or one less, of what is being sent to that node; how many that makes.
-spec waiting(node(), 1 | -1) -> integer().
waiting(Node, Change) ->
    Key = {waiting, Node},
    ets:update_counter(?TABLE, Key, Change, {Key, 0}).

-spec init([]) -> {ok, []}.
init([]) ->
    ok = net_kernel:monitor_nodes(true, [{node_type, all}, nodedown_reason]),
    %% What is known may be of nodes that have come and gone since.
    true = ets:match_delete(?TABLE, {{leader, '_'}, '_'}),
    {ok, []}.

-spec handle_call(term(), gen_server:from(), []) -> {reply, {error, unknown_call}, []}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), []) -> {noreply, []}.
handle_info({Event, Node, Info}, State) when Event =:= nodeup; Event =:= nodedown ->
    %% The next one of that name has other processes.
    true = ets:delete(?TABLE, {leader, Node}),
    %% The name that this node was just given is no news.
    ok = tell(Event, Node, Node =:= node(), Info),
    {noreply, State};
handle_info(_, State) ->
    {noreply, State}.

tell(_, _, true, _) ->
    ok;
tell(Event, Node, false, Info) ->
    IsHidden = proplists:get_value(node_type, Info) =:= hidden,
    Reason = reason(proplists:get_value(nodedown_reason, Info, '')),
    ok = log(Event, Node, Reason),
    Text = atom_to_binary(Node),
    _ = hornbeam_pubsub:announce(channel(), {atom_to_binary(Event), Text, IsHidden, Reason}),
    ok.

log(nodeup, Node, _) ->
    ?LOG_NOTICE(#{what => node_connected, node => Node}, #{domain => [hornbeam, nodes]});
log(nodedown, Node, Reason) ->
    ?LOG_NOTICE(
        #{what => node_disconnected, node => Node, reason => Reason},
        #{domain => [hornbeam, nodes]}
    ).

reason(Reason) when is_atom(Reason) -> atom_to_binary(Reason);
reason(Reason) ->
    unicode:characters_to_binary(io_lib:format("~0tp", [Reason], [{chars_limit, 200}])).
