%% SPDX-License-Identifier: Apache-2.0
%% @doc The nodes of the cluster, for Python workers. Runs where `hornbeam_services' says:
%% nodes.self and nodes.list are inline.
%%
%%   nodes.self         []                 the name of this node
%%   nodes.list         [WithHidden]       names of the nodes that it is connected to
%%   nodes.connect      [Node, Cookie]     undefined; Cookie may be undefined: the node's own
%%   nodes.disconnect   [Node]             whether there was a connection
%%   nodes.ping         [Node, Ms]         whether it has answered in time
%%
%% Names are text. Which nodes may be named is the option `rpc_allow'. Their coming and going is a
%% subscription of the kind `internal' to `nodes' (`hornbeam_pubsub_service').
-module(hornbeam_nodes_service).
-behaviour(hornbeam_service).

-export([handle/3]).

-type failure() ::
    hornbeam_names:failure()
    | {refused, Text :: binary()}
    | {node_down, Node :: binary(), Text :: binary()}.

-spec handle(hornbeam_service:arguments(), hornbeam_service:keywords(), Context) ->
    {ok, boolean() | undefined | binary() | [binary()]} | failure()
when
    Context :: hornbeam_service:context().
handle([], _, #{service := <<"nodes.self">>}) ->
    {ok, atom_to_binary(node())};
handle([WithHidden], _, #{service := <<"nodes.list">>}) when is_boolean(WithHidden) ->
    {ok, [atom_to_binary(Node) || Node <- connected(WithHidden)]};
handle([Node, Cookie], _, #{service := <<"nodes.connect">>}) ->
    with_node(Node, fun(Known) -> with_cookie(Known, Cookie) end);
handle([Node], _, #{service := <<"nodes.disconnect">>}) ->
    with_node(Node, fun(Known) -> {ok, erlang:disconnect_node(Known) =:= true} end);
handle([Node, Ms], _, #{service := <<"nodes.ping">>}) when is_integer(Ms), Ms > 0 ->
    with_node(Node, fun(Known) -> {ok, has_answered(Known, Ms)} end);
handle(_, _, #{service := Service}) ->
    {bad_term, <<Service/binary, ": arguments of other number or type than documented">>}.

connected(false) -> nodes();
connected(true) -> nodes(connected).

with_node(Name, Run) ->
    case hornbeam_rpc_allow:is_node_allowed(Name) of
        true -> with_atom(hornbeam_names:atom(node, Name), Run);
        false -> {refused, hornbeam_rpc_allow:refusal(Name)}
    end.

with_atom({ok, Node}, Run) ->
    case hornbeam_nodes:is_in_reach(Node) of
        true -> Run(Node);
        {false, Why} -> {node_down, atom_to_binary(Node), Why}
    end;
with_atom({error, Failure}, _) ->
    Failure.

with_cookie(Node, Cookie) when Cookie =:= undefined; Node =:= node() ->
    %% A cookie for the own node would be one for all that want to connect.
    connect(Node);
with_cookie(Node, Text) ->
    case hornbeam_names:atom(cookie, Text) of
        {ok, Cookie} ->
            true = erlang:set_cookie(Node, Cookie),
            connect(Node);
        {error, Failure} ->
            Failure
    end.

connect(Node) ->
    case net_kernel:connect_node(Node) of
        true -> {ok, undefined};
        _ -> {node_down, atom_to_binary(Node), hornbeam_nodes:why(Node, node())}
    end.

%% The node itself has to answer, not the connection alone.
has_answered(Node, Ms) ->
    try
        erpc:call(Node, erlang, node, [], Ms) =:= Node
    catch
        error:{erpc, _} -> false
    end.
